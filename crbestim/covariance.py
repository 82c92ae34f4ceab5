"""Covariance of coloured noise: colouring, whitening, and what compression makes of it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from ._validation import check_basis, check_finite, check_matrix, numeric_array

__all__ = ["NoiseCovariance"]

# In units of the input's rounding error.
_HERMITIAN_TOLERANCE = 1e8
_SINGULAR = 10.0


class NoiseCovariance:
    r"""Covariance C of Gaussian noise between the points of one signal; immutable.

    Noise of covariance :math:`C = L L^H` is white noise times L, and :math:`L^{-1}` whitens it:

    .. math:: n = \sigma L\, (\epsilon_1 + i \epsilon_2), \qquad
        C_{jk} = \frac{1}{2 \sigma^2} \mathrm{E}[n_j n_k^*]

    for complex data, whose noise is circular (its phase is uniform), and :math:`n = \sigma L \epsilon`,
    :math:`C = \mathrm{E}[n n^T] / \sigma^2` for real data. With the identity the noise is white and has the standard
    deviation :math:`\sigma` in each real channel.

    Parameters
    ----------
    matrix : array_like of shape (m, m), real or complex
        C: Hermitian and positive definite.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    ValueError
        If it is not square, finite, Hermitian and positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> correlated = NoiseCovariance(0.5 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4))))
    >>> noise = correlated.colour(np.random.default_rng(0).standard_normal((100_000, 4)))
    >>> np.cov(noise.T).round(1)[0]
    array([1. , 0.5, 0.3, 0.1])
    """

    _matrix: NDArray
    _lower: NDArray

    def __init__(self, matrix: ArrayLike) -> None:
        values, eps = _in_double(matrix, "covariance")
        if values.shape[0] != values.shape[1]:
            raise ValueError(f"covariance must be square (m, m); got shape {values.shape}.")
        if np.abs(values - values.conj().T).max() > _HERMITIAN_TOLERANCE * eps * np.abs(values).max():
            raise ValueError("covariance must be Hermitian: equal to its conjugate transpose.")
        hermitian = (values + values.conj().T) / 2
        try:
            lower = np.linalg.cholesky(hermitian)
        except np.linalg.LinAlgError as error:
            raise ValueError("covariance must be positive definite.") from error
        if _is_singular(np.diagonal(lower) ** 2, np.diagonal(hermitian).real, eps):
            raise ValueError("covariance must be positive definite; it is singular to rounding.")
        self._keep(hermitian, lower)

    @classmethod
    def from_square_root(cls, root: ArrayLike) -> NoiseCovariance:
        """Covariance from a square root.

        Parameters
        ----------
        root : array_like of shape (m, q), q >= m, real or complex
            Any R with C = R R^H, such as a Cholesky factor or a reconstruction operator.

        Returns
        -------
        NoiseCovariance

        Raises
        ------
        ValueError
            If it is not finite, or has a rank below m.
        """
        values, eps = _in_double(root, "root")
        if values.shape[1] < values.shape[0]:
            raise ValueError(f"root must have at least as many columns as rows; got shape {values.shape}.")
        # C is not formed, as its condition number is the square of the root's.
        matrix = _product(values, values.conj().T, "root")
        upper = np.linalg.qr(values.conj().T, mode="r")
        diagonal = np.diagonal(upper).copy()
        if _is_singular(diagonal, np.linalg.norm(values, axis=1), eps):
            raise ValueError("root must have full row rank: the covariance must be positive definite.")
        covariance = cls.__new__(cls)
        positive = (upper * (np.abs(diagonal) / diagonal)[:, None]).conj().T
        covariance._keep(matrix, positive)
        return covariance

    @classmethod
    def from_samples(cls, noise: ArrayLike) -> NoiseCovariance:
        """Covariance measured from noise alone, such as pseudo-replicas of a reconstruction.

        Parameters
        ----------
        noise : array_like of shape (n, m), real or complex
            Samples without signal and with a mean of zero, n > m. Their noise level is part of the result, so use it
            with ``noise_std=1``.

        Returns
        -------
        NoiseCovariance

        Raises
        ------
        ValueError
            If it is not finite, or there are too few samples.
        """
        values, _ = _in_double(noise, "noise")
        n, m = values.shape
        if n <= m:
            raise ValueError(f"noise must have more samples than columns; got shape {values.shape}.")
        channels = 2 if values.dtype.kind == "c" else 1
        return cls(_product(values.T, values.conj(), "noise") / (channels * n))

    @property
    def matrix(self) -> NDArray:
        """C, of shape (m, m)."""
        return self._matrix

    @property
    def size(self) -> int:
        """Number m of the signal's points."""
        return len(self._matrix)

    @property
    def is_complex(self) -> bool:
        """Whether noises of different points are correlated with a phase, which real data cannot have."""
        return self._matrix.dtype.kind == "c"

    def colour(self, noise: ArrayLike) -> NDArray:
        """Give white noise this covariance.

        Parameters
        ----------
        noise : array_like of shape (n, m)
            White noise of unit variance in each real channel; complex if C is.

        Returns
        -------
        ndarray of shape (n, m)

        Raises
        ------
        ValueError
            If it has another number of dimensions or columns, or is not finite.
        """
        white = check_matrix(noise, "noise", kind="either")
        self._check_length(white.shape[1])
        return white @ self._lower.T

    def whiten(self, values: ArrayLike, axis: int = -1) -> NDArray:
        r"""Multiply data, signals or derivatives with :math:`L^{-1}`.

        Parameters
        ----------
        values : array_like
            Any array with an axis of length m.
        axis : int, default=-1
            That axis.

        Returns
        -------
        ndarray of the same shape

        Raises
        ------
        ValueError
            If there is no such axis, it has another length, or values are not finite.
        """
        array = numeric_array(values, "values")
        if not -array.ndim <= axis < array.ndim:
            raise ValueError(f"values must have an axis {axis}; got shape {array.shape}.")
        self._check_length(array.shape[axis])
        check_finite(array, "values")
        moved = np.moveaxis(array, axis, 0)
        solved = solve_triangular(self._lower, moved.reshape(self.size, -1), lower=True, check_finite=False)
        return np.moveaxis(solved.reshape(moved.shape), 0, axis)

    def compress(self, basis: ArrayLike) -> NoiseCovariance:
        r"""Covariance of coefficients :math:`x V`, which is :math:`V^T C V^*`.

        Parameters
        ----------
        basis : array_like of shape (m, k)
            Orthonormal basis V of the signals' m points.

        Returns
        -------
        NoiseCovariance
            Of size k.

        Raises
        ------
        ValueError
            If the basis does not fit.
        """
        return NoiseCovariance.from_square_root(check_basis(basis, self.size).T @ self._lower)

    def _check_length(self, length: int) -> None:
        if length != self.size:
            raise ValueError(
                f"covariance is that of {self.size} points, but the data have {length}: signals need the covariance "
                "of the signals, coefficients that of the coefficients (NoiseCovariance.compress)."
            )

    def _keep(self, matrix: NDArray, lower: NDArray) -> None:
        """Store C and L for good, as real numbers if they are real: equal ones are then equal to the last bit."""
        if not np.any(matrix.imag):
            matrix, lower = matrix.real, lower.real
        self.__setstate__({"_matrix": matrix + 0.0, "_lower": lower + 0.0})  # no negative zeros

    def __setstate__(self, state: dict[str, NDArray]) -> None:
        for array in state.values():
            array.setflags(write=False)
        self.__dict__.update(state)

    def __copy__(self) -> NoiseCovariance:
        return self

    def __deepcopy__(self, memo: object) -> NoiseCovariance:
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"NoiseCovariance is immutable; make a new one instead of setting {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"NoiseCovariance is immutable; {name!r} cannot be deleted.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NoiseCovariance):
            return NotImplemented
        return np.array_equal(self._matrix, other._matrix)

    def __hash__(self) -> int:
        return hash(self._matrix.tobytes())

    def __repr__(self) -> str:
        digest = hashlib.sha256(self._matrix.tobytes()).hexdigest()[:12]
        return f"NoiseCovariance({self.size} x {self.size}, {self._matrix.dtype}, sha256 {digest})"


def _in_double(array: ArrayLike, name: str) -> tuple[NDArray, float]:
    """Return a matrix in double precision, and the rounding error of the precision that it had."""
    values = check_matrix(array, name, kind="either")
    return values.astype(np.result_type(values, np.float64), copy=False), float(np.finfo(values.dtype).eps)


def _product(left: NDArray, right: NDArray, name: str) -> NDArray:
    """Return a matrix product; raise ValueError if it leaves the range of numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = left @ right
    if not np.isfinite(product).all():
        raise ValueError(
            f"{name} has a covariance beyond the range of numbers; its largest value is "
            f"{max(np.abs(left).max(), np.abs(right).max()):g}."
        )
    return product


def _is_singular(pivots: NDArray, norms: NDArray, rounding: float) -> bool:
    """Tell whether what is new in a row, given the ones before it, vanishes to rounding beside the row."""
    return bool((np.abs(pivots) <= _SINGULAR * len(pivots) * rounding * norms).any())


def as_covariance(covariance: ArrayLike | NoiseCovariance | None) -> NoiseCovariance | None:
    """Return a covariance given as an array, or as what it is already, or not at all."""
    if covariance is None or isinstance(covariance, NoiseCovariance):
        return covariance
    return NoiseCovariance(covariance)


def compressed_covariance(covariance: NoiseCovariance | None, basis: NDArray | None) -> NoiseCovariance | None:
    """Return the covariance of the data in a basis, from that of the signals or of the coefficients themselves.

    With a square basis it is taken for that of the coefficients.

    Raises
    ------
    ValueError
        If its size is that of neither.
    """
    if covariance is None or basis is None or covariance.size == basis.shape[1]:
        return covariance
    if covariance.size == basis.shape[0]:
        return covariance.compress(basis)
    raise ValueError(
        f"covariance must be that of the {basis.shape[0]} time points or of the {basis.shape[1]} coefficients; got "
        f"{covariance.size} x {covariance.size}."
    )

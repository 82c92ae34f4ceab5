"""Fisher information and Cramér-Rao bound as pure functions of a Jacobian."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ._threads import run_blocks
from ._validation import FloatArray, check_finite, check_positive, numeric_array
from .covariance import NoiseCovariance, as_covariance

__all__ = ["cramer_rao_bound", "fisher_information"]

# Beyond this condition number (of columns scaled to unit norm) the bound is taken from the singular
# values, and a direction whose singular value is zero to rounding carries no information.
_LARGE_CONDITION = 1e11
# Entries of a null vector below this are rounding: that parameter has no part in the ambiguity.
_NULL_COMPONENT = 1e-6
_BLOCK = 64  # samples that a thread takes at a time


def fisher_information(
    jacobian: ArrayLike, noise_std: float = 1.0, covariance: ArrayLike | NoiseCovariance | None = None
) -> FloatArray:
    r"""Fisher information of real parameters in Gaussian noise.

    .. math:: F = \mathrm{Re}(J^H C^{-1} J) / \sigma^2

    Every parameter is real: a complex amplitude counts as two, its real and its imaginary part.

    Parameters
    ----------
    jacobian : array_like of shape (..., T, P), real or complex
        Derivatives of the signal with respect to the P real parameters.
    noise_std : float, default=1.0
        Standard deviation :math:`\sigma` of the noise in EACH real channel.
    covariance : array_like of shape (T, T) or NoiseCovariance, optional
        Covariance C of coloured noise, in units of :math:`\sigma^2` (see `NoiseCovariance`); by default the noise is
        white, and C the identity.

    Returns
    -------
    ndarray of shape (..., P, P)
        Symmetric, positive semi-definite; its unit is the inverse product of the parameters' units.

    Raises
    ------
    ValueError
        If the Jacobian has fewer than two dimensions or a value that is not finite, if ``noise_std`` is not positive,
        or if the covariance does not fit.

    References
    ----------
    C. R. Rao, Information and the accuracy attainable in the estimation of statistical parameters, 1945.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import cramer_rao_bound, fisher_information
    >>> times, T2 = np.array([0.02, 0.04, 0.08, 0.16]), 0.08  # s
    >>> signal = np.exp(-times / T2)
    >>> jacobian = np.stack([signal * times / T2**2, signal], axis=1)  # by T2 and by a real M0, at M0 = 1
    >>> information = fisher_information(jacobian, noise_std=0.01)
    >>> information.shape
    (2, 2)
    >>> bound = cramer_rao_bound(jacobian, noise_std=0.01)
    >>> bool(np.allclose(np.diag(np.linalg.inv(information)), bound))
    True
    """
    stacked = _stacked(jacobian, covariance)
    check_finite(stacked, "jacobian")
    noise_std = check_positive(noise_std, "noise_std")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scaled = stacked / noise_std
        information = np.swapaxes(scaled, -1, -2) @ scaled
    if not np.isfinite(information).all():
        raise ValueError(
            f"jacobian and noise_std = {noise_std:g} give information beyond the range of numbers; the largest "
            f"derivative is {np.abs(stacked).max():g}."
        )
    return information


def cramer_rao_bound(
    jacobian: ArrayLike, noise_std: float = 1.0, covariance: ArrayLike | NoiseCovariance | None = None
) -> FloatArray:
    r"""Lower bound of the variance of any unbiased estimator, for each parameter.

    .. math:: \mathrm{CRB}_i = (F^{-1})_{ii}

    F is never formed, as its condition number is the square of J's: the columns of J are scaled to unit
    norm, :math:`J = QR`, and :math:`\mathrm{CRB}_i` is the squared norm of row i of :math:`R^{-1}`.

    Parameters
    ----------
    jacobian : array_like of shape (..., T, P), real or complex
        Derivatives of the signal with respect to ALL unknown real parameters, nuisance parameters
        included; select the parameters of interest from the result.
    noise_std : float, default=1.0
        Standard deviation of the noise in each real channel.
    covariance : array_like of shape (T, T) or NoiseCovariance, optional
        As for `fisher_information`. The Jacobian is whitened first: :math:`L^{-1} J` with :math:`C = L L^H`.

    Returns
    -------
    ndarray of shape (..., P)
        Variances in squared units of the parameters. A parameter that the signal does not tell (a zero
        column, or a part in a linear dependence of columns) has inf. A zero column does not affect the
        others.

    Raises
    ------
    ValueError
        As `fisher_information`.

    References
    ----------
    C. R. Rao, Information and the accuracy attainable in the estimation of statistical parameters, 1945.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import cramer_rao_bound
    >>> times, T2 = np.array([0.02, 0.04, 0.08, 0.16]), 0.08  # s
    >>> signal = np.exp(-times / T2)
    >>> jacobian = np.stack([signal * times / T2**2, signal], axis=1)  # by T2 and by a real M0, at M0 = 1
    >>> np.sqrt(cramer_rao_bound(jacobian, noise_std=0.01)).round(4)  # s, and relative to M0
    array([0.0024, 0.0165])
    >>> np.sqrt(cramer_rao_bound(jacobian[:, :1], noise_std=0.01)).round(4)  # with M0 known
    array([0.0014])
    >>> noise = 0.5 ** np.abs(np.subtract.outer(range(4), range(4)))  # correlated from echo to echo
    >>> cramer_rao_bound(jacobian, noise_std=0.01, covariance=noise).shape
    (2,)
    """
    stacked = _stacked(jacobian, covariance)
    noise_std = check_positive(noise_std, "noise_std")
    n_rows, n_parameters = stacked.shape[-2:]
    norm, upper = _triangular(stacked.reshape(-1, n_rows, n_parameters))
    if not np.isfinite(norm).all():
        check_finite(stacked, "jacobian")
    with np.errstate(divide="ignore", over="ignore"):
        bound = _inverse_row_norms(upper, n_rows) * np.square(noise_std / norm)
    bound[norm == 0] = np.inf
    return bound.reshape(*stacked.shape[:-2], n_parameters)


def information_root(jacobian: NDArray) -> FloatArray:
    r"""Return G, (n, P, P), with :math:`F^{-1} = G G^T`, of Jacobians, (n, T, P), real or complex.

    A zero column is left out and has zeros in its row of G; G is inf where the others depend on one another.
    """
    if jacobian.dtype.kind == "c":
        jacobian = np.concatenate([jacobian.real, jacobian.imag], axis=1)
    norm, upper = _triangular(jacobian)
    if not np.isfinite(norm).all():
        check_finite(jacobian, "jacobian")
    root = np.full_like(upper, np.inf)
    regular = (np.diagonal(upper, axis1=1, axis2=2) > jacobian.shape[1] * np.finfo(float).eps).all(axis=1)
    root[regular] = np.linalg.inv(upper[regular]) / np.where(norm > 0, norm, np.inf)[regular][:, :, None]
    return root


def _triangular(jacobian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Norms of the columns, (n, P), and R of the scaled columns, (n, P, P), of Jacobians, (n, T, P)."""
    flat = np.ascontiguousarray(jacobian)
    n, _, n_parameters = flat.shape
    norm = np.empty((n, n_parameters))
    upper = np.zeros((n, n_parameters, n_parameters))
    run_blocks(lambda block: _orthogonalise(flat[block], norm[block], upper[block]), n, _BLOCK)
    return norm, upper


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _orthogonalise(matrices, norm, upper):  # type: ignore[no-untyped-def]
    """Norms of the columns, (n, P), and R of the scaled columns, (n, P, P), by modified Gram-Schmidt.

    R is as accurate as that of Householder's reflections (Bjoerck and Paige, SIAM J. Matrix Anal. Appl. 13, 1992). A
    zero column has the unit vector as its row and column of R, and so no part in the bound of the others.
    """
    n, n_rows, n_columns = matrices.shape
    columns = np.empty((n_columns, n_rows))
    for sample in range(n):
        for row in range(n_rows):
            for i in range(n_columns):
                columns[i, row] = matrices[sample, row, i]
        for i in range(n_columns):
            norm[sample, i] = _normalise(columns[i])
        for i in range(n_columns):
            direction = columns[i]
            length = _normalise(direction)
            upper[sample, i, i] = length if norm[sample, i] > 0 else 1.0
            for j in range(i + 1, n_columns):
                other = columns[j]
                part = 0.0
                for row in range(n_rows):
                    part += direction[row] * other[row]
                upper[sample, i, j] = part
                for row in range(n_rows):
                    other[row] -= part * direction[row]


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _normalise(column):  # type: ignore[no-untyped-def]
    """Scale a column to unit norm, unless it is zero, and return its norm."""
    length = _length(column)
    largest = 1.0
    if not 1e-140 < length < 1e140:  # squares may have left the range of numbers
        largest = np.abs(column).max()
        if largest == 0:
            return 0.0
        column /= largest
        length = _length(column)
    inverse = 1 / length
    for row in range(len(column)):
        column[row] *= inverse
    return largest * length


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _length(column):  # type: ignore[no-untyped-def]
    square = 0.0
    for row in range(len(column)):
        square += column[row] * column[row]
    return np.sqrt(square)


def _stacked(jacobian: ArrayLike, covariance: ArrayLike | NoiseCovariance | None) -> FloatArray:
    """Whitened, real parts above imaginary parts, in double precision."""
    values = numeric_array(jacobian, "jacobian")
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(f"jacobian must have shape (..., time points, parameters); got {values.shape}.")
    noise = as_covariance(covariance)
    if noise is not None:
        if values.shape[-2] != noise.size:
            raise ValueError(
                f"covariance is that of {noise.size} points, but the data have {values.shape[-2]}: jacobian has the "
                f"shape {values.shape}."
            )
        check_finite(values, "jacobian")
        values = noise.whiten(values, axis=-2)
    if values.dtype.kind == "c":
        values = np.concatenate([values.real, values.imag], axis=-2)
    return values.astype(np.float64, copy=False)


def _inverse_row_norms(upper: FloatArray, n_rows: int) -> FloatArray:
    """Squared row norms of R^-1 for each triangular R; inf where R is singular."""
    diagonal = np.abs(np.diagonal(upper, axis1=-2, axis2=-1))
    solvable = diagonal.min(axis=-1) > n_rows * np.finfo(float).eps
    variance = np.empty(diagonal.shape)
    inverse = np.linalg.inv(upper[solvable])
    variance[solvable] = (inverse**2).sum(axis=-1)
    doubtful = ~solvable
    doubtful[solvable] = np.sqrt(variance[solvable].max(axis=-1, initial=0.0)) > _LARGE_CONDITION
    if doubtful.any():
        variance[doubtful] = _variance_from_singular_values(upper[doubtful], n_rows)
    return variance


def _variance_from_singular_values(upper: FloatArray, n_rows: int) -> NDArray:
    _, singular, right = np.linalg.svd(upper)
    null = singular <= n_rows * np.finfo(float).eps * singular[:, :1]
    share = np.swapaxes(right, -1, -2) ** 2  # (sample, parameter, direction)
    variance = (share / np.where(null, np.inf, singular**2)[:, None, :]).sum(axis=-1)
    ambiguous = (share > _NULL_COMPONENT**2) & null[:, None, :]
    return np.where(ambiguous.any(axis=-1), np.inf, variance)

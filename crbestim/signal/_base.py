"""What every signal model offers: signal, Jacobian and bound, with checked parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._threads import run_blocks
from .._validation import FloatArray, check_basis, check_finite, check_matrix, check_names, ordered_columns
from ..bounds import cramer_rao_bound
from ..covariance import NoiseCovariance, as_covariance, compressed_covariance
from ._parameter import Parameter

# Most working memory of one chunk, in bytes: more would not stay in the processor's cache, and takes longer.
_CHUNK_BYTES = 2**26


class SignalModel(ABC):
    r"""A deterministic signal :math:`s(\theta)` for :math:`M_0 = 1`, and its derivatives.

    A model learns nothing, and estimators take it as a constructor argument and share it: make it immutable, such
    as a frozen dataclass. To bring your own, subclass and define `parameters`, `n_timepoints`, `_signal` and
    `_jacobian`; the arguments of the latter two are checked before.

    Attributes
    ----------
    parameters : tuple of Parameter
        The model's real parameters, in the order of theta's columns.
    default_targets : tuple of str
        Parameters that are estimated unless others are asked for; all of them if empty.
    not_above : dict of str to str
        Parameters that never exceed another one, such as T2f <= T1. A fit varies their ratio.
    real_valued : bool
        Whether the data are real numbers, such as magnitudes, with a real M0 and real noise. By default they are
        complex, even if the signal is real for M0 = 1. The bounds of the parameters are the same.

    Examples
    --------
    A model of your own, spin-lock images of several durations:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from crbestim import Parameter, SignalModel
    >>> @dataclass(frozen=True)
    ... class SpinLockModel(SignalModel):
    ...     lock_times: tuple[float, ...]  # s
    ...
    ...     parameters = (Parameter("T1rho", r"T_{1\rho}", "s", (0.0, 10.0), closed="right"),)
    ...
    ...     @property
    ...     def n_timepoints(self):
    ...         return len(self.lock_times)
    ...
    ...     def _signal(self, theta):
    ...         return np.exp(-np.array(self.lock_times) / theta)
    ...
    ...     def _jacobian(self, theta):
    ...         times = np.array(self.lock_times)
    ...         return (np.exp(-times / theta) * times / theta**2)[:, :, None]

    It has what every model has:

    >>> model = SpinLockModel((0.01, 0.03, 0.06, 0.1))
    >>> model.signal([[0.05]]).real.round(2)
    array([[0.82, 0.55, 0.3 , 0.14]])
    >>> model.jacobian([[0.05], [0.08]]).shape
    (2, 4, 1)
    >>> np.sqrt(model.crb([[0.05]]) / 100**2).round(4)  # s, at an SNR_max of 100
    array([[0.0013]])
    """

    parameters: tuple[Parameter, ...]
    default_targets: tuple[str, ...] = ()
    not_above: Mapping[str, str] = MappingProxyType({})
    real_valued: bool = False

    @property
    @abstractmethod
    def n_timepoints(self) -> int:
        """Length T of the signal."""

    @abstractmethod
    def _signal(self, theta: FloatArray) -> NDArray:
        """Return the signal, (n, T), of checked parameters, (n, P)."""

    @abstractmethod
    def _jacobian(self, theta: FloatArray) -> NDArray:
        """Return the derivatives of the signal, (n, T, P), at checked parameters, (n, P)."""

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        """Return both; override where they share work."""
        return self._signal(theta), self._jacobian(theta)

    def _coefficients(self, theta: FloatArray, basis: NDArray, derivatives: bool) -> tuple[NDArray, NDArray | None]:
        """Return signal @ basis, (n, k), and its derivatives, (n, k, P), or None; override to project on the fly."""
        if not derivatives:
            return self._checked(self._signal(theta), "_signal", theta) @ basis, None
        signal, jacobian = self._checked_pair(theta)
        return signal @ basis, basis.T @ jacobian

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        """Return where the bound is evaluated, (n, P), and a factor on each parameter's bound, (n, P).

        Override for a model with points where a parameter vanishes from the signal: the bound there is the
        limit, which a nearby regular point gives; the vanishing parameter's own bound grows to inf. How fast can
        depend on the parameters that are known.
        """
        return theta, np.ones_like(theta)

    def _target_values(self, theta: FloatArray) -> FloatArray:
        """Return what an estimator can tell of each parameter, (n, P); override for symmetries (folding)."""
        return theta

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta's columns."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def _dtype(self) -> type[np.float64] | type[np.complex128]:
        """Of the data."""
        return np.float64 if self.real_valued else np.complex128

    def signal(self, theta: ArrayLike | pd.DataFrame, basis: ArrayLike | None = None) -> NDArray:
        """Signal for M0 = 1, or its coefficients.

        Parameters
        ----------
        theta : array_like or DataFrame of shape (n, P)
            Parameters in SI units; an array's columns in the order of `parameters`, a DataFrame's in any.
        basis : array_like of shape (T, k), optional
            Orthonormal basis V: return the coefficients s V.

        Returns
        -------
        ndarray of shape (n, T) or (n, k)
            Complex128; float64 if the data are real.

        Raises
        ------
        ValueError
            If theta has wrong columns, or values that are not finite or not physical, or at which the model's signal
            (for the others, its derivatives) is not finite; for a basis that does not fit.
        """
        values = self.check_theta(theta)
        if basis is None:
            with np.errstate(all="ignore"):
                signal = self._checked(self._signal(values), "_signal", values).astype(self._dtype)
            return _finite(signal, "signal")
        checked = self._check_basis(basis)
        result = np.empty((len(values), checked.shape[1]), dtype=np.result_type(self._dtype, checked))
        with np.errstate(all="ignore"):
            for chunk in self._chunks(len(values), 1):
                result[chunk] = self._coefficients(values[chunk], checked, derivatives=False)[0]
        return _finite(result, "signal")

    def jacobian(self, theta: ArrayLike | pd.DataFrame, basis: ArrayLike | None = None) -> NDArray:
        """Derivatives of the signal for M0 = 1, or of its coefficients, with respect to the parameters.

        Parameters
        ----------
        theta : array_like or DataFrame of shape (n, P)
            As for `signal`.
        basis : array_like of shape (T, k), optional
            As for `signal`.

        Returns
        -------
        ndarray of shape (n, T, P) or (n, k, P)
            Complex128, or float64 if the data are real, in inverse units of the parameters. The first takes 16 n T P
            bytes; the second 16 n k P, and whatever a chunk of voxels needs. For the bound of a large data set use
            `crb`, which works in chunks too.

        Raises
        ------
        ValueError
            As `signal`.
        """
        values = self.check_theta(theta)
        n_parameters = len(self.parameters)
        if basis is None:
            with np.errstate(all="ignore"):
                jacobian = self._checked(self._jacobian(values), "_jacobian", values, n_parameters)
            return _finite(jacobian.astype(self._dtype), "derivatives")
        checked = self._check_basis(basis)
        shape = len(values), checked.shape[1], n_parameters
        result = np.empty(shape, dtype=np.result_type(self._dtype, checked))
        with np.errstate(all="ignore"):
            for chunk in self._chunks(len(values), n_parameters + 1):
                result[chunk] = self._coefficients(values[chunk], checked, derivatives=True)[1]
        return _finite(result, "derivatives")

    def crb(
        self,
        theta: ArrayLike | pd.DataFrame,
        targets: str | Sequence[str] | None = None,
        basis: ArrayLike | None = None,
        known: str | Sequence[str] = (),
        covariance: ArrayLike | NoiseCovariance | None = None,
    ) -> FloatArray:
        r"""Cramér-Rao bound of chosen parameters at :math:`|M_0| = 1`, :math:`\sigma = 1`.

        All other parameters, and the real and the imaginary part of M0, are unknown too, unless `known`
        says otherwise. For another amplitude and noise, multiply with :math:`\sigma^2 / |M_0|^2`.

        Parameters
        ----------
        theta : array_like or DataFrame of shape (n, P)
            As for `signal`.
        targets : sequence of str, optional
            Parameters whose bound is wanted; by default those of the model's `default_targets` that are not known.
        basis : array_like of shape (T, k), optional
            Orthonormal basis V: the bound for the compressed data s V instead of s.
        known : sequence of str, default=()
            Parameters that are not estimated, but known exactly.
        covariance : array_like of shape (T, T) or (k, k), or NoiseCovariance, optional
            Of coloured noise, in units of :math:`\sigma^2` (see `NoiseCovariance`): that of the signals, or with a
            basis that of the coefficients. By default the noise is white.

        Returns
        -------
        ndarray of shape (n, len(targets))
            Variances, in squared units of the targets. At a point where a parameter vanishes from the
            signal, the bound of the others is the limit; its own is inf.

        Raises
        ------
        ValueError
            As `signal`; for unknown names, a target that is known, or a basis or covariance that does not fit.
        """
        chunks = self._stream_bounds(self.check_theta(theta), targets, (basis,), known, (covariance,))
        return np.concatenate([bound for _, _, (bound,) in chunks])

    def check_theta(self, theta: ArrayLike | pd.DataFrame) -> FloatArray:
        """Return parameters as a float64 array of shape (n, P), or raise.

        Parameters
        ----------
        theta : array_like or DataFrame of shape (n, P)
            As for `signal`.

        Returns
        -------
        ndarray of shape (n, P)

        Raises
        ------
        ValueError
            If columns are missing or unknown, or values are not finite or not physical.
        """
        names = self.parameter_names
        if isinstance(theta, pd.DataFrame):
            theta = ordered_columns(theta, names, "theta")
        values = np.ascontiguousarray(
            check_matrix(theta, "theta", n_columns=len(names), column_names=names), dtype=np.float64
        )
        self._check_ranges(values, names, "theta")
        return values

    def target_values(self, theta: ArrayLike | pd.DataFrame, targets: str | Sequence[str] | None = None) -> FloatArray:
        """Values of the targets as an estimator can know them, with symmetries folded.

        Parameters
        ----------
        theta : array_like or DataFrame of shape (n, P)
            As for `signal`.
        targets : sequence of str, optional
            By default the model's `default_targets`.

        Returns
        -------
        ndarray of shape (n, len(targets))

        Raises
        ------
        ValueError
            As `signal`, and for unknown names.
        """
        return self._target_values(self.check_theta(theta))[:, self._columns(self.check_names(targets))]

    def check_names(self, targets: str | Sequence[str] | None, known: str | Sequence[str] = ()) -> tuple[str, ...]:
        """Return target names, for None the default ones that are not known; raise ValueError for unknown ones."""
        fixed = check_names(known, self.parameter_names, "known")
        if targets is None:
            chosen = tuple(name for name in self.default_targets or self.parameter_names if name not in fixed)
        else:
            chosen = check_names(targets, self.parameter_names, "targets")
        if not chosen:
            rest = [name for name in self.parameter_names if name not in fixed]
            raise ValueError(f"targets is empty; expected names of parameters that are not known, out of {rest}.")
        both = [name for name in chosen if name in fixed]
        if both:
            raise ValueError(f"targets and known must not share a parameter; both name {both}.")
        return chosen

    def _check_basis(self, basis: ArrayLike) -> NDArray:
        """Return a compression basis of the signals, (T, k); raise ValueError if it does not fit."""
        checked = check_basis(basis, self.n_timepoints)
        if self.real_valued and checked.dtype.kind == "c":
            raise ValueError("basis must be real for a model of real data; it is complex.")
        return checked

    def _check_covariance(
        self, covariance: ArrayLike | NoiseCovariance | None, basis: NDArray | None
    ) -> NoiseCovariance | None:
        """Return the covariance of the data in a checked basis; raise ValueError if it does not fit."""
        noise = compressed_covariance(as_covariance(covariance), basis)
        if self.real_valued and noise is not None and noise.is_complex:
            raise ValueError("covariance must be real for a model of real data.")
        return noise

    def _check_ranges(
        self,
        values: FloatArray,
        names: Sequence[str],
        argument: str,
        present: NDArray[np.bool_] | None = None,
    ) -> None:
        """Raise ValueError if parameters, (n, len(names)), are not physical in a row that is present."""
        ignored = np.zeros(len(values), dtype=bool) if present is None else ~present
        for column, name in zip(values.T, names, strict=True):
            parameter = self.parameters[self.parameter_names.index(name)]
            inside = parameter.contains(column) | ignored
            if not inside.all():
                row = int(np.argmin(inside))
                unit = "" if parameter.unit == "1" else f" {parameter.unit}"
                raise ValueError(
                    f"{argument}: {name} must lie in {parameter.interval}{unit}; got {column[row]:g} in row {row}. "
                    f"All quantities are in SI units.{parameter.guess(column[row])}"
                )
        for lower, upper in self.not_above.items():
            if lower in names and upper in names:
                low, high = (values[:, list(names).index(name)] for name in (lower, upper))
                above = (low > high) & ~ignored
                if above.any():
                    row = int(np.argmax(above))
                    raise ValueError(
                        f"{argument}: {lower} must not exceed {upper}; got {lower} = {low[row]:g}, "
                        f"{upper} = {high[row]:g} in row {row}."
                    )

    def _columns(self, names: Sequence[str]) -> list[int]:
        return [self.parameter_names.index(name) for name in names]

    def _stream_bounds(
        self,
        theta: FloatArray,
        targets: str | Sequence[str] | None,
        bases: Sequence[ArrayLike | None],
        known: str | Sequence[str] = (),
        covariances: Sequence[ArrayLike | NoiseCovariance | None] = (None,),
        memory_limit: int = _CHUNK_BYTES,
    ) -> Iterator[tuple[slice, list[NDArray], list[FloatArray]]]:
        """Yield slices of the samples and, for each basis (None: all of the data), signals and bounds.

        The bound is that in the noise of the covariance at the same place.
        """
        names = self.check_names(targets, known)
        fixed = check_names(known, self.parameter_names, "known")
        checked = [None if basis is None else self._check_basis(basis) for basis in bases]
        noises = [self._check_covariance(c, basis) for c, basis in zip(covariances, checked, strict=True)]
        phase_matters = any(noise is not None and noise.is_complex for noise in noises)
        columns = self._columns(names)
        free = [column for column, name in enumerate(self.parameter_names) if name not in fixed]
        position = [free.index(column) for column in columns]
        for chunk in self._chunks(len(theta), self._bound_copies, memory_limit):
            where, factor = self._regular_point(theta[chunk], fixed)
            moved = (where != theta[chunk]).any(axis=1)
            signals, bounds = [], []
            for basis, noise in zip(checked, noises, strict=True):
                with np.errstate(all="ignore"):
                    signal, jacobian = self._checked_pair(where, basis)
                _finite(signal, "signal", chunk.start)
                _finite(jacobian, "derivatives", chunk.start)
                with np.errstate(invalid="ignore"):
                    bound = cramer_rao_bound(_with_scale(signal, jacobian, free, phase_matters), covariance=noise)
                    bounds.append(bound[:, position] * factor[:, columns])
                if moved.any():
                    signal = signal.copy()
                    signal[moved] = self._checked_signal(theta[chunk][moved], basis)
                signals.append(signal)
            yield chunk, signals, bounds

    def _stream_unknowns(
        self, theta: FloatArray, targets: Sequence[str], basis: NDArray | None, known: str | Sequence[str]
    ) -> Iterator[tuple[NDArray, NDArray]]:
        """Yield signals, or coefficients, and the derivatives by all that is unknown.

        First by the targets, last by M0, at regular points, where no parameter vanishes.
        """
        fixed = check_names(known, self.parameter_names, "known")
        others = [name for name in self.parameter_names if name not in (*targets, *fixed)]
        columns = self._columns([*targets, *others])
        for chunk in self._chunks(len(theta), self._bound_copies):
            signal, jacobian = self._checked_pair(self._regular_point(theta[chunk], fixed)[0], basis)
            yield signal, _with_scale(signal, jacobian, columns, False)

    def _chunks(self, n: int, n_copies: int, memory_limit: int = _CHUNK_BYTES) -> Iterator[slice]:
        """Slices of n samples, each of which needs the memory of some complex signals."""
        step = self._chunk_size(n_copies, memory_limit)
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def _chunk_size(self, n_copies: int, memory_limit: int) -> int:
        return max(1, min(memory_limit, _CHUNK_BYTES) // (16 * self.n_timepoints * n_copies))

    @property
    def _bound_copies(self) -> int:
        """The Jacobian, its copy with M0's columns, and that one's copy as real numbers, in signals."""
        return 3 * len(self.parameters) + 4

    def _bound_chunk(self, memory_limit: int) -> int:
        """Samples whose signals and bounds `_stream_bounds` computes at a time, at most."""
        return self._chunk_size(self._bound_copies, memory_limit)

    def _checked_signal(self, theta: FloatArray, basis: NDArray | None) -> NDArray:
        if basis is None:
            return self._checked(self._signal(theta), "_signal", theta)
        return self._coefficients(theta, basis, derivatives=False)[0]

    def _checked_pair(self, theta: FloatArray, basis: NDArray | None = None) -> tuple[NDArray, NDArray]:
        """Signal and Jacobian, or their coefficients."""
        if basis is not None:
            coefficients, derivatives = self._coefficients(theta, basis, derivatives=True)
            assert derivatives is not None
            return coefficients, derivatives
        signal, jacobian = self._signal_and_jacobian(theta)
        self._checked(jacobian, "_jacobian", theta, len(self.parameters))
        return self._checked(signal, "_signal", theta), jacobian

    def _checked(self, values: NDArray, method: str, theta: FloatArray, *last: int) -> NDArray:
        """Return what a model's own method gave, if it has the right shape."""
        shape = (len(theta), self.n_timepoints, *last)
        if np.shape(values) != shape:
            raise ValueError(
                f"{type(self).__name__}.{method} must return shape {shape} for {len(theta)} rows of theta; "
                f"got {np.shape(values)}."
            )
        if self.real_valued and values.dtype.kind == "c":
            raise ValueError(f"{type(self).__name__}.{method} must return real numbers, as the model is real_valued.")
        return values

    def __sklearn_clone__(self) -> SignalModel:
        return self


def _finite(values: NDArray, what: str, first: int = 0) -> NDArray:
    """Return a model's answer to rows of theta; raise ValueError where it is not finite."""
    try:
        check_finite(values, what)
    except ValueError as error:
        row = first + int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"theta: the model has no finite {what} at row {row}.") from error
    return values


def _with_scale(signal: NDArray, jacobian: NDArray, columns: Sequence[int], phase_matters: bool) -> NDArray:
    """Columns of the Jacobian, and the derivatives with respect to Re M0 and Im M0 at M0 = 1.

    For a real signal, real derivatives and noise without correlations of a phase, the column of Im M0, which is
    imaginary, is orthogonal to all others: it changes no bound and is left out.
    """
    is_complex = phase_matters or signal.dtype.kind == "c" or jacobian.dtype.kind == "c"
    n_columns = len(columns)
    augmented = np.empty(
        (*signal.shape, n_columns + 1 + is_complex), dtype=np.complex128 if is_complex else np.float64
    )

    def fill(block: slice) -> None:
        if n_columns == jacobian.shape[2]:
            augmented[block, :, :n_columns] = jacobian[block]
        else:
            augmented[block, :, :n_columns] = jacobian[block][:, :, columns]
        augmented[block, :, n_columns] = signal[block]
        if is_complex:
            augmented[block, :, n_columns + 1] = 1j * signal[block]

    run_blocks(fill, len(signal), len(signal))
    return augmented


def check_model(model: object) -> SignalModel:
    """Return a signal model; raise TypeError if it is none."""
    if not isinstance(model, SignalModel):
        raise TypeError(f"model must be a SignalModel; got {type(model).__name__}.")
    return model

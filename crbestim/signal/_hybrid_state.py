"""What the hybrid-state models share: a pulse sequence, immutability, and the symmetries in B0."""

from __future__ import annotations

import inspect
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._base import SignalModel
from ._sequence import PulseSequence

# Where B0 vanishes from the signal, the bound is the limit; it is evaluated this far off, in pi / TR.
_LEAST_B0 = 1e-3
# Closer to a stop band (fraction of pi / TR), or below this B1, the signal is zero and nothing is encoded.
_NO_SIGNAL = 1e-6


class HybridStateModel(SignalModel):
    """A model of a periodic pulse train that keeps the free pool in the hybrid state; has B0 and B1.

    Parameters
    ----------
    sequence : PulseSequence or None
        The pulse train; None is the built-in one.
    **options : object
        Further attributes.

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.
    """

    sequence: PulseSequence

    def __init__(self, sequence: PulseSequence | None, **options: object) -> None:
        sequence = PulseSequence.default() if sequence is None else sequence
        if not isinstance(sequence, PulseSequence):
            raise TypeError(f"sequence must be a PulseSequence; got {type(sequence).__name__}.")
        self.__dict__.update(sequence=sequence, **options)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new one instead of setting {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; {name!r} cannot be deleted.")

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T of a cycle."""
        return self.sequence.n_pulses

    @abstractmethod
    def _simulate(
        self, theta: FloatArray, derivatives: bool, basis: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the signal and, if wanted, its derivatives, projected on real columns if these are given."""

    def _signal(self, theta: FloatArray) -> NDArray:
        return self._simulate(theta, derivatives=False)[0]

    def _jacobian(self, theta: FloatArray) -> NDArray:
        return self._simulate(theta, derivatives=True)[1]

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        return self._simulate(theta, derivatives=True)

    def _coefficients(self, theta: FloatArray, basis: NDArray, derivatives: bool) -> tuple[NDArray, NDArray | None]:
        if basis.dtype.kind != "c":
            signal, jacobian = self._simulate(theta, derivatives, basis)
        else:
            both = self._simulate(theta, derivatives, np.concatenate([basis.real, basis.imag], axis=1))
            signal, jacobian = (values[:, : basis.shape[1]] + 1j * values[:, basis.shape[1] :] for values in both)
        return signal, jacobian if derivatives else None

    def _target_values(self, theta: FloatArray) -> FloatArray:
        folded = theta.copy()
        column = self.parameter_names.index("B0")
        folded[:, column] = self._fold(theta[:, column])
        return folded

    def _fold(self, b0: FloatArray) -> FloatArray:
        """Fold B0 [rad/s] into [0, pi/TR], where alone it is identifiable."""
        period = 2 * np.pi / self.sequence.repetition_time
        rest = np.mod(b0, period)
        return np.minimum(rest, period - rest)

    def _away_from_bands(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Move off B0 = 0, where its derivative is proportional to B0, the stop bands, and B1 = 0.

        In the latter two the signal itself vanishes, and every bound with it is inf. Returns a new theta and the
        factor on the bounds, both (n, P).
        """
        column_b0, column_b1 = self._columns(("B0", "B1"))
        band = np.pi / self.sequence.repetition_time
        where, factor = theta.copy(), np.ones_like(theta)
        b0 = self._fold(theta[:, column_b0])
        close = b0 < _LEAST_B0 * band
        where[close, column_b0] = _LEAST_B0 * band
        with np.errstate(divide="ignore", over="ignore"):
            factor[close, column_b0] = (_LEAST_B0 * band / b0[close]) ** 2
        silent = (band - b0 < _NO_SIGNAL * band) | (theta[:, column_b1] < _NO_SIGNAL)
        where[silent, column_b0] = np.minimum(b0[silent], (1 - _NO_SIGNAL) * band)
        where[silent, column_b1] = np.maximum(theta[silent, column_b1], _NO_SIGNAL)
        factor[silent] = np.inf
        return where, factor

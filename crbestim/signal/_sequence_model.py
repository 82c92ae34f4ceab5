"""What the models of a pulse sequence share: the sequence, immutability, and one function that simulates."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._base import SignalModel
from ._sequence import PulseSequence

# Below this B1 the signal is zero and nothing is encoded.
LEAST_B1 = 1e-6


class SequenceModel(SignalModel):
    """A model of a periodic pulse train with compiled signal and derivatives.

    Parameters
    ----------
    sequence : PulseSequence or None
        The pulse train; None is the built-in one.
    **options : object
        Further attributes.

    Attributes
    ----------
    has_pulse_gradient : bool
        Whether `_pulse_gradient` is there; without it, a design takes differences.

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.
    """

    sequence: PulseSequence
    has_pulse_gradient = False

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

    def with_sequence(self, sequence: PulseSequence) -> Self:
        """Return the same model of another pulse train.

        Parameters
        ----------
        sequence : PulseSequence
            The pulse train.

        Returns
        -------
        SequenceModel
            Of the same class.

        Raises
        ------
        TypeError
            If `sequence` is no PulseSequence.
        """
        if sequence is None:
            raise TypeError("sequence must be a PulseSequence; got NoneType.")
        options = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return type(self)(**{**options, "sequence": sequence})

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T of a cycle."""
        return self.sequence.n_pulses

    @abstractmethod
    def _simulate(
        self, theta: FloatArray, derivatives: bool, basis: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the signal and, if wanted, its derivatives, projected on real columns if these are given."""

    def _pulse_gradient(self, theta: FloatArray, weights: NDArray) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of a weighted sum by flip angles and durations, two of (T,).

        The sum is that of Re(conj(weights) [s, J]), (n, T, 1 + P), over all entries; with weights of shape (n, T, 1)
        it is that of the signal. Only for models with `has_pulse_gradient`.
        """
        raise NotImplementedError

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

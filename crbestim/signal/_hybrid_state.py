"""What the hybrid-state models share: the signal in torch, and the symmetries in B0."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._validation import FloatArray
from ._generalized_bloch import GeneralizedBlochTable
from ._mt_bloch import MTBlochModel
from ._saturation import SaturationTable
from ._sequence_model import LEAST_B1, SequenceModel
from ._torch_engine import hybrid_state_signal
from ._two_pool_adjoint import pulse_gradient

# Columns of the two-pool model's parameters.
_TWO_POOL_COLUMNS = {"m0s": 0, "T1": 1, "T2f": 2, "T2": 2, "Rx": 3, "T2s": 4, "B0": 5, "B1": 6, "T1s": 7}

# Where B0 vanishes from the signal, the bound is the limit; it is evaluated this far off, in pi / TR.
_LEAST_B0 = 1e-3
# Closer to a stop band (fraction of pi / TR) the signal is zero and nothing is encoded.
_NO_SIGNAL = 1e-6


class HybridStateModel(SequenceModel):
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

    has_pulse_gradient = True

    def torch_signal(
        self, theta: Tensor, flip_angle: Tensor | None = None, pulse_duration: Tensor | None = None
    ) -> Tensor:
        """Signal in torch, differentiable in the tissue parameters and the pulses.

        Works with reverse and forward differentiation and with `torch.func`. Values are not checked, but for the
        range of the model's saturation table.

        Parameters
        ----------
        theta : Tensor of shape (n, P)
            Parameters in SI units, in the order of `parameters`, in single or double precision on any device.
        flip_angle : Tensor of shape (T,) or (n, T), optional
            Flip angles of the pulses as played, in rad, for all voxels or for each; by default the sequence's.
        pulse_duration : Tensor of shape (T,) or (n, T), optional
            Their durations, in s.

        Returns
        -------
        Tensor of shape (n, T)
            Real, for M0 = 1; with theta's dtype and device.

        Raises
        ------
        ValueError
            If theta or a control has the wrong shape, or a pulse leaves the range of the table: a duration over T2s
            what is possible for durations from 10 us (or the sequence's shortest) to TR, or, for the generalized
            Bloch model, B1 times a flip angle 3 times the sequence's largest (or pi).
        """
        sequence = self.sequence
        if theta.ndim != 2 or theta.shape[1] != len(self.parameters):
            raise ValueError(f"theta must have the shape (n, {len(self.parameters)}); got {tuple(theta.shape)}.")
        flip_angle = _control("flip_angle", flip_angle, sequence.flip_angle, theta)
        pulse_duration = _control("pulse_duration", pulse_duration, sequence.pulse_duration, theta)
        if flip_angle.shape[-1] != pulse_duration.shape[-1]:
            raise ValueError(
                "flip_angle and pulse_duration must have the same length; got "
                f"{flip_angle.shape[-1]} and {pulse_duration.shape[-1]}."
            )
        return hybrid_state_signal(
            self._two_pools(theta),
            flip_angle,
            pulse_duration,
            sequence.repetition_time,
            sequence.inversion_duration,
            self._table,
        )

    @property
    @abstractmethod
    def _table(self) -> SaturationTable | GeneralizedBlochTable:
        """Saturation of a semi-solid pool."""

    def _two_pools(self, theta: Tensor) -> Tensor:
        """Parameters of the two-pool model."""
        return theta

    @abstractmethod
    def _rotating(self, theta: FloatArray) -> tuple[MTBlochModel, FloatArray]:
        """Return the model that the hybrid state approximates, with rotating magnetisation, and its parameters."""

    def _pulse_gradient(self, theta: FloatArray, weights: NDArray) -> tuple[FloatArray, FloatArray]:
        pools = self._two_pools(torch.from_numpy(theta)).numpy()
        n_columns = 1 + pools.shape[1]
        if weights.shape[2] != n_columns:
            places = [0, *(1 + _TWO_POOL_COLUMNS[name] for name in self.parameter_names)]
            columns = np.zeros((*weights.shape[:2], n_columns))
            columns[:, :, places[: weights.shape[2]]] = weights.real
            weights = columns
        return pulse_gradient(pools, self.sequence, self._table, weights.real)

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
        silent = (band - b0 < _NO_SIGNAL * band) | (theta[:, column_b1] < LEAST_B1)
        where[silent, column_b0] = np.minimum(b0[silent], (1 - _NO_SIGNAL) * band)
        where[silent, column_b1] = np.maximum(theta[silent, column_b1], LEAST_B1)
        factor[silent] = np.inf
        return where, factor


def _control(name: str, control: Tensor | None, own: FloatArray, theta: Tensor) -> Tensor:
    """Return the control, or the sequence's own one."""
    if control is None:
        return torch.as_tensor(own.copy()).to(theta)
    if control.ndim not in (1, 2) or (control.ndim == 2 and len(control) != len(theta)):
        raise ValueError(f"{name} must have the shape (T,) or (n, T); got {tuple(control.shape)}.")
    return control

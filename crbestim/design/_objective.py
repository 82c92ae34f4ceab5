"""What the optimiser minimises: the cost of the bound, and what power and hybrid state do not allow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._validation import FloatArray
from ..signal import PulseSequence, SignalModel
from ..signal._sequence_model import SequenceModel
from ._constraints import SequenceConstraints
from ._controls import PulseControls
from ._cost import BoundCost
from ._hybrid_state_error import HybridStateError, limited_error

_DIFFERENCE = 1e-6  # of a knot, for models without gradients
_STIFFNESS = 5.0  # in the beginning
_MARGIN = 0.01  # by which the limit of the error is undercut, as it is met approximately


class Objective:
    r"""Cost of the bound with an augmented Lagrangian for the power and the error of the hybrid state.

    Either limit is an inequality :math:`g = \log(value / limit) \le 0`, for which

    .. math:: \frac{\max(0, \lambda + 2 \rho g)^2 - \lambda^2}{4 \rho}

    is added; the multiplier :math:`\lambda`, from 0 on, becomes :math:`\max(0, \lambda + 2 \rho g)` at a minimum, and
    the stiffness :math:`\rho` doubles.

    Parameters
    ----------
    make_model : callable
        Returns the model of a PulseSequence.
    controls : PulseControls
        Knots.
    cost : BoundCost
        Cost of the bound.
    constraints : SequenceConstraints
        The limits.
    """

    def __init__(
        self,
        make_model: Callable[[PulseSequence], SignalModel],
        controls: PulseControls,
        cost: BoundCost,
        constraints: SequenceConstraints,
    ) -> None:
        self._make_model, self.controls, self._cost = make_model, controls, cost
        self._limits = constraints
        self.multipliers = np.zeros(2)
        self._stiffness = _STIFFNESS

    def __call__(self, knots: FloatArray) -> tuple[float, FloatArray]:
        """Return value and gradient by the knots."""
        sequence = self.controls.sequence(knots)
        model = self._make_model(sequence)
        if not (isinstance(model, SequenceModel) and model.has_pulse_gradient):
            return self._differences(knots)
        error = self._error(model)
        pressure = self._pressure(sequence, error)
        if error is None or not pressure[1]:
            value, by_flip, by_duration = self._cost.value_and_gradient(model)
        else:
            weights = pressure[1] * error.signal_weights()
            value, by_flip, by_duration = self._cost.value_and_gradient(model, weights)
            for sum_, part in zip((by_flip, by_duration), error.gradient_of_reference(), strict=True):
                sum_ += pressure[1] * part
        if not np.isfinite(value):
            return np.inf, np.zeros_like(knots)
        if pressure[0]:
            flip_angle, duration = sequence.flip_angle, sequence.pulse_duration
            energy = (flip_angle**2 / duration).sum()
            by_flip += pressure[0] * 2 * flip_angle / duration / energy
            by_duration -= pressure[0] * (flip_angle / duration) ** 2 / energy
        return value + self._penalty(pressure), self.controls.pull_back(knots, by_flip, by_duration)

    def value(self, knots: FloatArray) -> float:
        """Return the value alone."""
        sequence = self.controls.sequence(knots)
        model = self._make_model(sequence)
        pressure = self._pressure(sequence, self._error(model))
        return self._cost.value(self._cost.bounds(model)) + self._penalty(pressure)

    def tighten(self, knots: FloatArray) -> None:
        """Adapt the multipliers at a minimum, and double the stiffness."""
        sequence = self.controls.sequence(knots)
        self.multipliers = self._pressure(sequence, self._error(self._make_model(sequence)))
        self._stiffness *= 2

    def _error(self, model: SignalModel) -> HybridStateError | None:
        """Error of the hybrid state, if it is limited."""
        return limited_error(model, self._cost.theta, self._limits)

    def _pressure(self, sequence: PulseSequence, error: HybridStateError | None) -> FloatArray:
        """Derivatives of the penalty by the logarithms of power and error."""
        excess = np.full(2, -np.inf)
        if self._limits.rf_power is not None and sequence.rf_power > 0:
            excess[0] = np.log(sequence.rf_power / self._limits.rf_power)
        if error is not None and self._limits.hybrid_state_error is not None:
            excess[1] = error.mean_log - np.log((1 - _MARGIN) * self._limits.hybrid_state_error)
        return np.maximum(0, self.multipliers + 2 * self._stiffness * excess)

    def _penalty(self, pressure: FloatArray) -> float:
        return float(((pressure**2 - self.multipliers**2) / (4 * self._stiffness)).sum())

    def _differences(self, knots: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient by differences, into the range of the knots."""
        value, gradient = self.value(knots), np.zeros_like(knots)
        for i in self.controls.free_knots:
            knot = knots[i]
            step = _DIFFERENCE if knot < 0.5 else -_DIFFERENCE
            shifted = knots.copy()
            shifted[i] += step
            gradient[i] = (self.value(shifted) - value) / step if np.isfinite(value) else 0.0
        return value, gradient

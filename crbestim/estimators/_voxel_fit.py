"""Bounded non-linear least squares of one voxel, with M0 projected out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .._validation import FloatArray, check_not_above
from ..datasets import Prior
from ..signal import SignalModel

_MAX_EVALUATIONS = 200
_TOLERANCE = 1e-10
_LEAST_RANGE = 1e-6  # of a parameter that a known one bounds, relative to it


class ParameterScaling(NamedTuple):
    """Map between the model's parameters and the fit's, which run from 0 to 1 within the bounds.

    A parameter that never exceeds another one is replaced by the ratio of the two, from 0 to 1 itself, if both are
    fitted. Known parameters keep the values of a voxel; they bound what must not exceed them or fall below them.
    """

    low: FloatArray
    high: FloatArray
    ratios: tuple[tuple[int, int], ...]
    floors: tuple[tuple[int, int], ...]
    ceilings: tuple[tuple[int, int], ...]
    free: NDArray[np.intp]
    known: NDArray[np.intp]
    values: FloatArray

    @classmethod
    def of(cls, model: SignalModel, prior: Prior, known: Sequence[str] = ()) -> ParameterScaling:
        names = model.parameter_names
        fixed = model._columns(known)
        support = prior.support()
        low, high = (np.array([support[name][end] for name in names]) for end in (0, 1))
        for i, parameter in enumerate(model.parameters):
            if not np.isfinite([low[i], high[i]]).all():
                low[i], high[i] = max(low[i], parameter.bounds[0]), min(high[i], parameter.bounds[1])
            if not np.isfinite([low[i], high[i]]).all() and i not in fixed:
                raise ValueError(f"prior must bound {names[i]}, as the model does not; got ({low[i]}, {high[i]}).")
        check_not_above(model.not_above)
        pairs = [(names.index(lower), names.index(upper)) for lower, upper in model.not_above.items()]
        ratios = tuple((lower, upper) for lower, upper in pairs if lower not in fixed and upper not in fixed)
        floors = tuple((lower, upper) for lower, upper in pairs if lower in fixed and upper not in fixed)
        ceilings = tuple((lower, upper) for lower, upper in pairs if lower not in fixed and upper in fixed)
        for lower, upper in ratios:
            largest = high[lower] / low[upper] if low[upper] > 0 else 1.0
            low[lower], high[lower] = low[lower] / high[upper], min(1.0, largest)
        free = np.setdiff1d(np.arange(len(names)), fixed)
        for i in free:
            if not low[i] < high[i]:
                raise ValueError(f"prior must leave {names[i]} a range; if it has one value, name it in known.")
        return cls(low, high, ratios, floors, ceilings, free, np.array(fixed, np.intp), np.full(len(names), np.nan))

    def holding(self, known: FloatArray) -> ParameterScaling:
        """Return the map of a voxel with these values of the known parameters."""
        values, low, high = self.values.copy(), self.low.copy(), self.high.copy()
        values[self.known] = known
        for lower, upper in self.floors:
            high[upper] = max(high[upper], values[lower])
            low[upper] = min(max(low[upper], values[lower]), high[upper] * (1 - _LEAST_RANGE))
        for lower, upper in self.ceilings:
            high[lower] = min(high[lower], values[upper])
            low[lower] = min(low[lower], high[lower] * (1 - _LEAST_RANGE))
        return self._replace(values=values, low=low, high=high)

    def to_unit(self, theta: FloatArray) -> FloatArray:
        free = theta.copy()
        for lower, upper in self.ratios:
            free[lower] = theta[lower] / theta[upper]
        low, high = self.low[self.free], self.high[self.free]
        return (free[self.free] - low) / (high - low)

    def from_unit(self, unit: FloatArray) -> FloatArray:
        low, high = self.low[self.free], self.high[self.free]
        theta = self.values.copy()
        theta[self.free] = np.clip(low + unit * (high - low), low, high)
        for lower, upper in self.ratios:
            theta[lower] *= theta[upper]
        for lower, upper in self.floors:
            theta[upper] = max(theta[upper], theta[lower])
        return theta

    def pull_back(self, jacobian: NDArray, theta: FloatArray) -> NDArray:
        """Turn derivatives by the model's parameters, (k, P), into those by the fit's."""
        by_free = jacobian.copy()
        for lower, upper in self.ratios:
            by_free[:, upper] += jacobian[:, lower] * (theta[lower] / theta[upper])
            by_free[:, lower] = jacobian[:, lower] * theta[upper]
        return by_free[:, self.free] * (self.high[self.free] - self.low[self.free])


class ProjectedResidual:
    """Projected residual of one voxel and its Jacobian; both come from one simulation."""

    def __init__(self, model: SignalModel, operator: NDArray | None, scaling: ParameterScaling, data: NDArray) -> None:
        self.model, self.operator, self.scaling = model, operator, scaling
        self.norm = np.linalg.norm(data)
        self.data = data / self.norm
        self.unit: FloatArray | None = None

    def residual(self, unit: FloatArray) -> FloatArray:
        self._evaluate(unit)
        return self._residual

    def jacobian(self, unit: FloatArray) -> FloatArray:
        self._evaluate(unit)
        return self._derivatives

    def _evaluate(self, unit: FloatArray) -> None:
        if self.unit is not None and np.array_equal(unit, self.unit):
            return
        theta = self.scaling.from_unit(unit)
        signal, jacobian = (values[0] for values in self.model._signal_and_jacobian(theta[None]))
        if self.operator is not None:
            signal, jacobian = signal @ self.operator, self.operator.T @ jacobian
        jacobian = self.scaling.pull_back(jacobian, theta)
        energy = np.vdot(signal, signal).real
        if energy > 0:
            m0 = np.vdot(signal, self.data) / energy
            by_m0 = (jacobian.conj().T @ self.data - 2 * m0 * (jacobian.conj().T @ signal).real) / energy
        else:
            m0, by_m0 = 0.0, np.zeros(jacobian.shape[1])
        residual = self.data - m0 * signal
        derivatives = -m0 * jacobian - np.outer(signal, by_m0)
        self._residual = np.concatenate([residual.real, residual.imag])
        self._derivatives = np.concatenate([derivatives.real, derivatives.imag])
        self.unit = unit.copy()


def fit_voxel(
    model: SignalModel, operator: NDArray | None, scaling: ParameterScaling, data: NDArray, starts: FloatArray
) -> FloatArray:
    """Return the parameters, (P,), of the best of several fits."""
    objective = ProjectedResidual(model, operator, scaling, data)
    best: Any = None
    for start in starts:
        fit = least_squares(
            objective.residual,
            np.clip(scaling.to_unit(start), 1e-6, 1 - 1e-6),
            jac=objective.jacobian,
            bounds=(0.0, 1.0),
            method="trf",
            x_scale=1.0,
            ftol=_TOLERANCE,
            xtol=_TOLERANCE,
            gtol=None,  # absolute: it would stop a fit of nearly clean data too early
            max_nfev=_MAX_EVALUATIONS,
        )
        if best is None or fit.cost < best.cost:
            best = fit
    return scaling.from_unit(best.x)

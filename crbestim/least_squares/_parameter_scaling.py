"""Map between a model's parameters and those of a fit, which run from 0 to 1 within their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray, check_not_above
from ..datasets import Prior
from ..signal import SignalModel

_LEAST_RANGE = 1e-6  # of a parameter that a known one bounds, relative to it
_OPEN_END = 1e-6  # distance from an end that is not physical, where the model may be singular, relative to the range


class ParameterScaling(NamedTuple):
    """Bounds of the parameters in each voxel, and the map to the unit cube.

    A parameter that never exceeds another one is replaced by the ratio of the two, from 0 to 1 itself, if both are
    fitted. Known parameters keep the values of a voxel; they bound what must not exceed them or fall below them.

    Attributes
    ----------
    low, high : ndarray of shape (n, P), or (1, P) if they are the same for all voxels
        Bounds.
    ratios, floors, ceilings : tuple of (int, int)
        Columns of a lower and an upper parameter: both fitted, only the upper, only the lower one.
    free, known : ndarray of int
        Columns that are fitted, of which there are F, and those that are not.
    values : ndarray of shape (n, P) or (1, P)
        Values of the known parameters in their columns.
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
        """Return the scaling by the prior's support, with known parameters that have no values yet."""
        names = model.parameter_names
        fixed = model._columns(known)
        support = prior.support()
        low, high = (np.array([support[name][end] for name in names]) for end in (0, 1))
        for i, parameter in enumerate(model.parameters):
            if not np.isfinite([low[i], high[i]]).all():
                low[i], high[i] = max(low[i], parameter.bounds[0]), min(high[i], parameter.bounds[1])
            if not np.isfinite([low[i], high[i]]).all() and i not in fixed:
                raise ValueError(f"prior must bound {names[i]}, as the model does not; got ({low[i]}, {high[i]}).")
            margin = _OPEN_END * (high[i] - low[i]) if i not in fixed else 0.0
            if parameter.closed in ("right", "neither"):
                low[i] = max(low[i], parameter.bounds[0] + margin)
            if parameter.closed in ("left", "neither"):
                high[i] = min(high[i], parameter.bounds[1] - margin)
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
        values = np.full((1, len(names)), np.nan)
        return cls(low[None], high[None], ratios, floors, ceilings, free, np.array(fixed, np.intp), values)

    def holding(self, known: FloatArray) -> ParameterScaling:
        """Return the scaling of voxels with these values of the known parameters, (n, len(known))."""
        if not len(self.known):
            return self
        n = len(known)
        low, high, values = (np.repeat(array, n, axis=0) for array in (self.low, self.high, self.values))
        values[:, self.known] = known
        for lower, upper in self.floors:
            floor = values[:, lower]
            high[:, upper] = np.maximum(high[:, upper], floor)
            low[:, upper] = np.minimum(np.maximum(low[:, upper], floor), high[:, upper] * (1 - _LEAST_RANGE))
        for lower, upper in self.ceilings:
            high[:, lower] = np.minimum(high[:, lower], values[:, upper])
            low[:, lower] = np.minimum(low[:, lower], high[:, lower] * (1 - _LEAST_RANGE))
        return self._replace(values=values, low=low, high=high)

    def rows(self, index: NDArray | slice) -> ParameterScaling:
        """Return the scaling of some of the voxels."""
        if len(self.low) == 1 and not len(self.known):
            return self
        return self._replace(low=self.low[index], high=self.high[index], values=self.values[index])

    def to_unit(self, theta: FloatArray) -> FloatArray:
        """Map parameters, (n, P), to the fit's, (n, F)."""
        fitted = theta.copy()
        for lower, upper in self.ratios:
            fitted[:, lower] = theta[:, lower] / theta[:, upper]
        low, high = self.low[:, self.free], self.high[:, self.free]
        return (fitted[:, self.free] - low) / (high - low)

    def from_unit(self, unit: FloatArray) -> FloatArray:
        """Map the fit's parameters, (n, F), to the model's, (n, P)."""
        low, high = self.low[:, self.free], self.high[:, self.free]
        theta = np.repeat(self.values, len(unit), axis=0) if len(self.values) == 1 else self.values.copy()
        theta[:, self.free] = np.clip(low + unit * (high - low), low, high)
        for lower, upper in self.ratios:
            theta[:, lower] *= theta[:, upper]
        for lower, upper in self.floors:
            theta[:, upper] = np.maximum(theta[:, upper], theta[:, lower])
        return theta

    def pull_back(self, jacobian: NDArray, theta: FloatArray) -> NDArray:
        """Turn derivatives by the model's parameters, (n, m, P), into those by the fit's, (n, m, F)."""
        if self.ratios:
            jacobian = jacobian.copy()
        for lower, upper in self.ratios:
            by_lower = jacobian[:, :, lower].copy()
            jacobian[:, :, upper] += by_lower * (theta[:, lower] / theta[:, upper])[:, None]
            jacobian[:, :, lower] = by_lower * theta[:, upper, None]
        return jacobian[:, :, self.free] * (self.high[:, self.free] - self.low[:, self.free])[:, None, :]

"""Bounded Levenberg-Marquardt fits of many voxels at once, each from several starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .._validation import FloatArray
from ._bounded_step import bounded_steps
from ._problem import Problem, Quadratic

_MARGIN = 1e-6  # starts keep off the bounds: there a parameter may have no derivative
_FIRST_DAMPING = 1e-2
_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e12
# A fit has converged if a nearly undamped step lowers the cost by less than a fraction, or than rounding (costs are
# those of data of unit norm), or if the step is below this (in ranges of the parameters).
_COST_TOLERANCE, _COST_ROUNDING, _STEP_TOLERANCE = 1e-8, 1e-24, 1e-10
_UNDAMPED = 1e-2
# From this iteration on, of two fits of a voxel whose signals differ by less than a fraction of the residual the
# costlier one is given up, and from that one on a fit that ten steps such as its last would not make the best.
_MERGE_FROM, _MERGE_BELOW = 3, 0.03
_GIVE_UP_FROM, _STEPS_LEFT = 6, 10


class Fits(NamedTuple):
    """Best fit of each voxel.

    Attributes
    ----------
    unit : ndarray of shape (n, F)
        Parameters in the unit cube; NaN where the model was not finite at any start.
    cost : ndarray of shape (n,)
        Squared norm of the residual.
    n_iterations : ndarray of int, (n,)
        Steps tried by the best fit.
    converged : ndarray of bool, (n,)
        Whether it converged.
    """

    unit: FloatArray
    cost: FloatArray
    n_iterations: NDArray[np.intp]
    converged: NDArray[np.bool_]

    @classmethod
    def none(cls, n: int, n_free: int) -> Fits:
        """Return fits that any other one beats."""
        return cls(np.full((n, n_free), np.nan), np.full(n, np.inf), np.zeros(n, np.intp), np.zeros(n, np.bool_))

    def rows(self, index: NDArray) -> Fits:
        """Return those of some of the voxels."""
        return Fits(*(array[index] for array in self))

    def keep_better(
        self, voxel: NDArray, unit: FloatArray, cost: FloatArray, iteration: int, converged: NDArray | bool
    ) -> None:
        """Take over fits that are better; of those of one voxel the best, and of equal ones the first."""
        order = np.lexsort((np.arange(len(cost)), cost))
        order = order[np.unique(voxel[order], return_index=True)[1]]
        order = order[cost[order] < self.cost[voxel[order]]]
        rows = voxel[order]
        self.unit[rows], self.cost[rows], self.n_iterations[rows] = unit[order], cost[order], iteration
        self.converged[rows] = np.broadcast_to(converged, cost.shape)[order]


class _Running(NamedTuple):
    """State of the fits that have not ended, those of a voxel next to each other."""

    voxel: NDArray[np.intp]
    data: NDArray[np.complex128]
    unit: FloatArray
    damping: FloatArray
    growth: FloatArray
    quadratic: Quadratic

    def rows(self, index: NDArray) -> _Running:
        voxel, data, unit, damping, growth, quadratic = self
        return _Running(voxel[index], data[index], unit[index], damping[index], growth[index], quadratic.rows(index))


def levenberg_marquardt(problem: Problem, data: NDArray, starts: FloatArray, max_iterations: int) -> Fits:
    """Fit voxels from several starts each; what has converged leaves the batch.

    Each step minimises the damped quadratic exactly within the bounds. The damping follows the ratio of the cost's
    actual and predicted decrease (Nielsen's rule), with Marquardt's scaling.

    Parameters
    ----------
    problem : Problem
        What is fitted.
    data : ndarray of shape (n, m), complex
        Of unit norm.
    starts : ndarray of shape (n, s, F)
        In the unit cube.
    max_iterations : int
        Steps a start.

    Returns
    -------
    Fits

    References
    ----------
    D. W. Marquardt, An algorithm for least-squares estimation of nonlinear parameters, J. SIAM 11, 1963.
    H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark, 1999.
    """
    n, n_starts, n_free = starts.shape
    best = Fits.none(n, n_free)
    running = _begin(problem, data, starts)
    lowest = np.full(n, np.inf)
    for iteration in range(1, max_iterations + 1):
        if not len(running.voxel):
            break
        step, reduction = bounded_steps(running.unit, running.quadratic, running.damping)
        moved = np.clip(running.unit + step, 0, 1)
        trial = problem.rows(running.voxel).quadratic(moved, running.data)
        cost = running.quadratic.cost
        better = trial.is_finite & (trial.cost < cost)
        decrease = np.where(better, cost - trial.cost, 0.0)
        threshold = _COST_TOLERANCE * cost + _COST_ROUNDING
        small = (reduction < threshold) & (decrease < threshold)
        converged = small & (running.damping <= _UNDAMPED) | (np.abs(step).max(axis=1) < _STEP_TOLERANCE)
        running = _advanced(running, moved, trial, better, decrease / np.maximum(reduction, 1e-300))
        cost = running.quadratic.cost
        best.keep_better(running.voxel[converged], running.unit[converged], cost[converged], iteration, True)
        np.minimum.at(lowest, running.voxel, cost)
        going_on = ~converged
        if iteration >= _GIVE_UP_FROM and n_starts > 1:
            going_on &= cost - _STEPS_LEFT * reduction <= lowest[running.voxel]
        running = running.rows(np.flatnonzero(going_on))
        if iteration >= _MERGE_FROM and n_starts > 1:
            apart = np.ones(len(running.voxel), np.bool_)
            _merge(running.voxel, running.unit, running.quadratic.cost, running.quadratic.gram, apart)
            running = running.rows(np.flatnonzero(apart))
    best.keep_better(running.voxel, running.unit, running.quadratic.cost, max_iterations, False)
    return best


def _begin(problem: Problem, data: NDArray, starts: FloatArray) -> _Running:
    """Return the fits at their starts, without those where the model is not finite."""
    n, n_starts, n_free = starts.shape
    voxel = np.repeat(np.arange(n), n_starts)
    unit = np.clip(starts.reshape(-1, n_free), _MARGIN, 1 - _MARGIN)
    quadratic = problem.rows(voxel).quadratic(unit, data[voxel])
    size = n * n_starts
    running = _Running(voxel, data[voxel], unit, np.full(size, _FIRST_DAMPING), np.full(size, 2.0), quadratic)
    return running.rows(np.flatnonzero(quadratic.is_finite))


def _advanced(
    running: _Running, moved: FloatArray, trial: Quadratic, better: NDArray[np.bool_], gain: FloatArray
) -> _Running:
    """Accept steps that lower the cost, and adapt the damping to how much they gain of what was predicted."""
    factor = np.clip(1 - (2 * np.minimum(gain, 1) - 1) ** 3, 0.1, 2)
    damping = running.damping * np.where(better, factor, running.growth)
    for old, new in zip((running.unit, *running.quadratic), (moved, *trial), strict=True):
        old[better] = new[better]
    return running._replace(
        damping=np.clip(damping, _LEAST_DAMPING, _MOST_DAMPING),
        growth=np.where(better, 2.0, 2 * running.growth),
    )


@njit(cache=True, error_model="numpy", nogil=True)
def _merge(voxel, unit, cost, gram, apart):  # type: ignore[no-untyped-def]
    """Mark fits that lie in the same minimum as a better one of their voxel."""
    n, n_free = unit.shape
    first = 0
    while first < n:
        last = first + 1
        while last < n and voxel[last] == voxel[first]:
            last += 1
        for i in range(first, last):
            for j in range(first, last):
                if i == j or not apart[i] or not apart[j] or cost[j] < cost[i]:
                    continue
                distance = 0.0
                for a in range(n_free):
                    for b in range(n_free):
                        distance += gram[i, a, b] * (unit[j, a] - unit[i, a]) * (unit[j, b] - unit[i, b])
                if distance < _MERGE_BELOW * cost[i]:
                    apart[j] = False
        first = last

"""The same fit by scipy, one voxel and one start at a time: the reference of the batched one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .._validation import FloatArray
from ._levenberg_marquardt import _COST_TOLERANCE, _MARGIN, _STEP_TOLERANCE, Fits
from ._problem import Problem


class ProjectedResidual:
    """Projected residual of one voxel and its Jacobian; both come from one simulation."""

    def __init__(self, problem: Problem, data: NDArray) -> None:
        self.problem, self.data = problem, data
        self.unit: FloatArray | None = None

    def residual(self, unit: FloatArray) -> FloatArray:
        """Return real parts, then imaginary parts, (2m,)."""
        self._evaluate(unit)
        return self._residual

    def jacobian(self, unit: FloatArray) -> FloatArray:
        """Return the residual's derivatives, (2m, F)."""
        self._evaluate(unit)
        return self._derivatives

    def _evaluate(self, unit: FloatArray) -> None:
        if self.unit is not None and np.array_equal(unit, self.unit):
            return
        signal, jacobian = (values[0] for values in self.problem.signal_and_jacobian(unit[None]))
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


def scipy_fit(problem: Problem, data: NDArray, starts: FloatArray, max_iterations: int) -> Fits:
    """Fit each voxel from each start by scipy's trust-region reflective method; arguments and result as there."""
    n, _, n_free = starts.shape
    best = Fits.none(n, n_free)
    for i in range(n):
        objective = ProjectedResidual(problem.rows(np.array([i])), data[i])
        for start in np.clip(starts[i], _MARGIN, 1 - _MARGIN):
            if not (np.isfinite(objective.residual(start)).all() and np.isfinite(objective.jacobian(start)).all()):
                continue
            fit = least_squares(
                objective.residual,
                start,
                jac=objective.jacobian,
                bounds=(0.0, 1.0),
                method="trf",
                x_scale=1.0,
                ftol=_COST_TOLERANCE,
                xtol=_STEP_TOLERANCE,
                gtol=None,  # absolute: it would stop a fit of nearly clean data too early
                max_nfev=max_iterations,
            )
            best.keep_better(np.array([i]), fit.x[None], np.array([2 * fit.cost]), fit.nfev, fit.status > 0)
    return best

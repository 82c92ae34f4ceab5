"""Steps of the fit against scipy's bounded least squares."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from crbestim.least_squares._bounded_step import bounded_steps
from crbestim.least_squares._problem import Quadratic


def quadratic_of(jacobian, residual):
    gram = np.einsum("nmf,nmg->nfg", jacobian, jacobian)
    gradient = np.einsum("nmf,nm->nf", jacobian, residual)
    cost = (residual**2).sum(axis=1)
    return Quadratic(cost, np.ones(len(cost), complex), gradient, gram)


@pytest.mark.parametrize("damping", [1e-14, 1e-2, 10.0])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_steps_are_those_of_bounded_least_squares(size, damping):
    rng = np.random.default_rng(size)
    n, m = 60, size + 4
    jacobian, residual = rng.standard_normal((n, m, size)), 2 * rng.standard_normal((n, m))
    unit = rng.choice([0.0, 1.0, 0.1, 0.5, 0.95], (n, size))
    step, reduction = bounded_steps(unit, quadratic_of(jacobian, residual), np.full(n, damping))
    at_end = 0
    for i in range(n):
        scale = np.sqrt(damping) * np.linalg.norm(jacobian[i], axis=0)
        stacked = np.vstack([jacobian[i], np.diag(scale)])
        target = np.concatenate([-residual[i], np.zeros(size)])
        expected = lsq_linear(stacked, target, (-unit[i] - 1e-300, 1 - unit[i] + 1e-300), method="bvls", tol=1e-14)
        np.testing.assert_allclose(step[i], expected.x, atol=1e-9)
        fall = (residual[i] ** 2).sum() - ((residual[i] + jacobian[i] @ step[i]) ** 2).sum()
        np.testing.assert_allclose(reduction[i], fall, atol=1e-10 * (residual[i] ** 2).sum())
        at_end += int(((unit[i] + step[i] < 1e-12) | (unit[i] + step[i] > 1 - 1e-12)).any())
    assert at_end > n // 5  # bounds were active


def test_a_parameter_that_vanishes_from_the_signal_does_not_move():
    rng = np.random.default_rng(0)
    jacobian, residual = rng.standard_normal((5, 9, 3)), rng.standard_normal((5, 9))
    jacobian[:, :, 1] = 0
    step, _ = bounded_steps(np.full((5, 3), 0.5), quadratic_of(jacobian, residual), np.full(5, 1e-14))
    assert np.isfinite(step).all()
    np.testing.assert_array_equal(step[:, 1], 0)


def test_steps_of_dependent_parameters_are_finite():
    """Two parameters of which the signal tells the sum only."""
    rng = np.random.default_rng(0)
    jacobian, residual = rng.standard_normal((5, 9, 3)), rng.standard_normal((5, 9))
    jacobian[:, :, 2] = jacobian[:, :, 1]
    step, reduction = bounded_steps(np.full((5, 3), 0.5), quadratic_of(jacobian, residual), np.full(5, 1e-14))
    assert np.isfinite(step).all()
    assert (np.abs(step) <= 0.5).all()
    assert (reduction >= 0).all()

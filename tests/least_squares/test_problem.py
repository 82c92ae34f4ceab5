"""The compiled projection against the plain one, which scipy's fit uses and whose derivatives are checked."""

import numpy as np
import pytest
from models import CASES

from crbestim.least_squares._parameter_scaling import ParameterScaling
from crbestim.least_squares._problem import Problem
from crbestim.least_squares._scipy_fit import ProjectedResidual

NAMES = [name for name in CASES if name != "two pools, reference"]  # slow, and of the same kind


@pytest.mark.parametrize("name", NAMES)
def test_cost_gradient_and_gram_are_those_of_the_projected_residual(name):
    case = CASES[name]
    model, rng = case.model, np.random.default_rng(0)
    theta = case.draw(3)
    scaling = ParameterScaling.of(model, case.prior, case.known)
    scaling = scaling.holding(theta[list(case.known)].to_numpy())
    problem = Problem(model, None, scaling)
    clean = model.signal(theta)
    noise = rng.standard_normal(clean.shape) + (0 if model.real_valued else 1j * rng.standard_normal(clean.shape))
    data = 0.3 * clean + 0.1 * np.abs(clean).max() * noise
    if not model.real_valued:
        data = data * np.exp(1j)
    unit = rng.uniform(0.2, 0.8, (3, len(scaling.free)))
    quadratic = problem.quadratic(unit, data.astype(complex))
    for i in range(3):
        objective = ProjectedResidual(problem.rows(np.array([i])), data[i])
        residual, jacobian = objective.residual(unit[i]), objective.jacobian(unit[i])
        np.testing.assert_allclose(quadratic.cost[i], residual @ residual, rtol=1e-12)
        np.testing.assert_allclose(
            quadratic.gradient[i], jacobian.T @ residual, rtol=1e-9, atol=1e-12 * np.abs(jacobian).max()
        )
        gram = jacobian.T @ jacobian
        np.testing.assert_allclose(quadratic.gram[i], gram, rtol=1e-9, atol=1e-12 * np.abs(gram).max())


def test_a_signal_of_zero_has_a_finite_quadratic(short_model):
    """In a stop band of the hybrid state."""
    prior = CASES["two pools, hybrid state"].prior
    problem = Problem(short_model, None, ParameterScaling.of(short_model, prior))
    theta = np.array([[0.1, 1.0, 0.1, 40.0, 1e-5, np.pi / short_model.sequence.repetition_time, 1.0]])
    scaling = problem.scaling._replace(low=problem.scaling.low * 0, high=np.array([[1, 6, 1, 99, 1e-4, 2000, 2.0]]))
    data = np.ones((1, short_model.n_timepoints), complex)
    quadratic = problem._replace(scaling=scaling).quadratic(scaling.to_unit(theta), data)
    assert all(np.isfinite(values).all() for values in quadratic)

"""The solver on small problems with known answers, and on models that misbehave."""

from dataclasses import dataclass

import numpy as np
import pytest
from models import CASES
from scipy import stats

from crbestim import FitStatus, MonoExponentialModel, NLLSEstimator, Parameter, Prior, SignalModel
from crbestim.least_squares._levenberg_marquardt import Fits, levenberg_marquardt
from crbestim.least_squares._parameter_scaling import ParameterScaling
from crbestim.least_squares._problem import Problem
from crbestim.least_squares._scipy_fit import scipy_fit

ECHOES = np.arange(1, 13) * 0.02
DECAY = MonoExponentialModel(ECHOES)
DECAY_PRIOR = Prior({"T2": stats.uniform(0.04, 0.16)})


def decay_problem():
    return Problem(DECAY, None, ParameterScaling.of(DECAY, DECAY_PRIOR))


def unit_data(theta):
    signal = DECAY.signal(theta).astype(complex)
    return signal / np.linalg.norm(signal, axis=1, keepdims=True)


def test_clean_data_are_fitted_to_rounding_in_a_few_steps():
    theta = np.linspace(0.05, 0.19, 20)[:, None]
    problem = decay_problem()
    fits = levenberg_marquardt(problem, unit_data(theta), np.full((20, 1, 1), 0.5), 50)
    np.testing.assert_allclose(problem.scaling.from_unit(fits.unit), theta, rtol=1e-9)
    assert fits.converged.all()
    assert fits.n_iterations.max() < 15
    assert fits.cost.max() < 1e-18


@pytest.mark.parametrize(
    "name", ["two pools, hybrid state", "two pools, Bloch", "one pool, hybrid state", "multi-echo gradient echo"]
)
def test_the_cost_at_the_end_cannot_be_lowered_by_scipy(name):
    """First-order optimality: scipy, started at the end, finds nothing lower."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    clean = case.model.signal(case.draw(6))
    noise = rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape)
    data = (clean + 1e-3 * np.abs(clean).max() * noise).astype(complex)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    problem = Problem(case.model, None, ParameterScaling.of(case.model, case.prior))
    starts = rng.uniform(0.2, 0.8, (6, 3, len(problem.scaling.free)))
    fits = levenberg_marquardt(problem, data, starts, 300)
    again = scipy_fit(problem, data, fits.unit[:, None], 300)
    assert fits.converged.all()
    np.testing.assert_array_less(fits.cost, again.cost * (1 + 1e-6))
    np.testing.assert_array_less(again.cost, fits.cost * (1 + 1e-5))


def test_more_starts_of_one_minimum_are_joined_and_cost_no_accuracy():
    theta = np.linspace(0.05, 0.19, 20)[:, None]
    problem = decay_problem()
    rng = np.random.default_rng(0)
    data = unit_data(theta) + 0.01 * rng.standard_normal((20, 12))
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    one = levenberg_marquardt(problem, data, np.full((20, 1, 1), 0.5), 50)
    evaluated = []

    class Counting(Problem):
        def quadratic(self, unit, data):
            evaluated.append(len(unit))
            return super().quadratic(unit, data)

    five = levenberg_marquardt(Counting(*problem), data, np.tile(np.linspace(0.1, 0.9, 5)[:, None], (20, 1, 1)), 50)
    np.testing.assert_allclose(five.cost, one.cost, rtol=1e-7)
    assert evaluated[0] == 100
    assert evaluated[5] <= 20


@dataclass(frozen=True)
class Partial(SignalModel):
    """A decay that is not finite for some of its parameters."""

    limit: float
    parameters = (Parameter("T2", "T_2", "s", (0.0, 1.0), closed="right"),)
    n_timepoints = 12

    def _signal(self, theta):
        signal = np.exp(-ECHOES / theta)
        signal[theta[:, 0] > self.limit] = np.nan
        return signal

    def _jacobian(self, theta):
        return (ECHOES / theta**2 * self._signal(theta))[:, :, None]


@pytest.mark.parametrize("solver", ["levenberg-marquardt", "scipy"])
@pytest.mark.parametrize("n_starts", [1, 64])
def test_a_model_that_is_not_finite_everywhere_is_fitted_where_it_is(solver, n_starts):
    data = DECAY.signal([[0.08], [0.1]])
    estimator = NLLSEstimator(
        Partial(0.15), prior=DECAY_PRIOR, solver=solver, n_starts=n_starts, n_candidates=64, verbose=0, random_state=0
    )
    np.testing.assert_allclose(estimator.fit().predict(data), [[0.08], [0.1]], rtol=1e-6)


@pytest.mark.parametrize("solver", ["levenberg-marquardt", "scipy"])
def test_a_model_that_is_finite_nowhere_gives_nan_and_a_status(solver):
    estimator = NLLSEstimator(
        Partial(0.0), prior=DECAY_PRIOR, solver=solver, n_candidates=64, verbose=0, random_state=0
    )
    result = estimator.fit().estimate(DECAY.signal([[0.08], [0.1]]))
    assert np.isnan(result.targets).all()
    assert (result.status == FitStatus.MAX_ITERATIONS).all()


def test_of_equal_fits_the_first_is_kept():
    best = Fits.none(2, 1)
    voxel = np.array([0, 0, 1])
    best.keep_better(voxel, np.array([[0.1], [0.2], [0.3]]), np.array([1.0, 1.0, 2.0]), 3, True)
    best.keep_better(
        voxel, np.array([[0.4], [0.5], [0.6]]), np.array([1.0, 0.5, 3.0]), 4, np.array([True, False, True])
    )
    np.testing.assert_array_equal(best.unit, [[0.5], [0.3]])
    np.testing.assert_array_equal(best.cost, [0.5, 2.0])
    np.testing.assert_array_equal(best.n_iterations, [4, 3])
    np.testing.assert_array_equal(best.converged, [False, True])

from dataclasses import dataclass

import joblib
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import dblquad, quad
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch

from crbestim import (
    InversionRecoveryModel,
    MonoExponentialModel,
    MTHybridStateModel,
    NoiseCovariance,
    NoiseModel,
    Parameter,
    Prior,
    SignalModel,
    SVDCompressor,
    crb_loss,
    paper_prior,
)
from crbestim._validation import stack_complex
from crbestim.estimators._mixture_sampling import Drawn, Mixture, Settings, log_prior, sample_posterior
from crbestim.estimators._posterior_mean import PosteriorMean
from crbestim.estimators._posterior_target import NormalCoordinates, marginal_likelihood

TIMES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0)
MODEL = InversionRecoveryModel(TIMES)
REAL_MODEL = InversionRecoveryModel(TIMES, data="real")
PRIOR = Prior({"T1": stats.uniform(0.5, 1.5), "efficiency": stats.truncnorm(-2, 1, loc=0.9, scale=0.1)})
NOISE = NoiseModel(noise_std=0.05, m0_range=(0.1, 1.0))
DECAY = MonoExponentialModel(np.arange(1, 9) * 0.02)
DECAY_PRIOR = Prior({"T2": stats.uniform(0.03, 0.17)})
DECAY_NOISE = NoiseModel(noise_std=0.08, m0_range=(0.3, 1.0))


def estimator(model=MODEL, prior=PRIOR, noise=NOISE, **options):
    settings = {"n_samples": 4000, "n_adaptation_samples": 500, "n_candidates": 4096, "n_components": 8}
    settings |= {"verbose": 0, "random_state": 0} | options
    return PosteriorMean(model, prior=prior, noise=noise, **settings).fit()


def quick(**options):
    settings = {"n_samples": 400, "n_adaptation_samples": 200, "n_candidates": 256, "n_components": 3}
    return estimator(DECAY, DECAY_PRIOR, DECAY_NOISE, **(settings | options))


def simulated(model, theta, noise, magnitude=None, seed=0):
    signal = model.signal(theta)
    magnitude = None if magnitude is None else np.broadcast_to(magnitude, (len(signal),))
    return noise.add_to(signal, np.random.default_rng(seed), magnitude, real=model.real_valued)


def by_quadrature(model, prior, noise, x, n_nodes=48):
    """Plain mean, weighted mean, std, expected loss and log evidence by brute force over theta, |M0| and the phase."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    unit, weights = (nodes + 1) / 2, weights / 2
    dimension = len(prior.names)
    points = np.stack(np.meshgrid(*[unit] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weight = np.prod(np.meshgrid(*[weights] * dimension, indexing="ij"), axis=0).ravel()
    theta = prior.transform(points)
    signal, bound = model.signal(theta), model.crb(theta, model.parameter_names, covariance=noise.covariance)
    if noise.covariance is not None:
        signal, x = noise.covariance.whiten(signal), noise.covariance.whiten(x[None])[0]
    nodes, m_weights = np.polynomial.legendre.leggauss(48)
    low, high = noise.m0_range
    m = low + (high - low) * (nodes + 1) / 2
    m_weights = m_weights / 2
    phase = np.exp(2j * np.pi * np.arange(100) / 100) if not model.real_valued else np.ones(1)
    likelihood = np.empty((len(points), len(m)))
    peak = max(0.0, float(np.vdot(x, x).real)) / (2 * noise.noise_std**2)
    power = (np.abs(signal) ** 2).sum(axis=1)
    overlap = signal.conj() @ x
    for column, magnitude in enumerate(m):
        cross = magnitude * (phase.conj() * overlap[:, None]).real
        exponent = (cross - magnitude**2 * power[:, None] / 2) / noise.noise_std**2
        likelihood[:, column] = np.exp(exponent - peak).mean(axis=1)
    joint = likelihood * weight[:, None] * m_weights
    evidence = joint.sum()
    joint /= evidence
    values = model.target_values(theta, model.parameter_names)
    mean = joint.sum(axis=1) @ values
    std = np.sqrt(joint.sum(axis=1) @ (values - mean) ** 2)
    information = (joint @ m**2)[:, None] / bound / noise.noise_std**2
    weighted = (information * values).sum(axis=0) / information.sum(axis=0)
    loss = (information * (values - weighted) ** 2).sum(axis=0)
    channels = len(x) if model.real_valued else 2 * len(x)
    return mean, weighted, std, loss, np.log(evidence) - channels / 2 * np.log(2 * np.pi * noise.noise_std**2)


CASES = {
    "inner": (MODEL, [1.1, 0.9], 0.5),
    "at the lower end of |M0|": (MODEL, [1.1, 0.9], 0.1),
    "at the upper end of |M0|": (MODEL, [1.3, 0.85], 1.0),
    "beyond the upper end of |M0|": (MODEL, [1.3, 0.85], 1.15),
    "cut by the prior": (MODEL, [1.98, 0.995], 0.6),
    "real data": (REAL_MODEL, [1.1, 0.9], 0.5),
    "real data of low amplitude": (REAL_MODEL, [0.8, 0.8], 0.12),
}


@pytest.mark.parametrize(("model", "theta", "magnitude"), CASES.values(), ids=CASES)
def test_both_means_agree_with_quadrature(model, theta, magnitude):
    x = simulated(model, [theta], NOISE, magnitude)
    result = estimator(model, targets=model.parameter_names).estimate(x)
    mean, weighted, std, loss, evidence = by_quadrature(model, PRIOR, NOISE, x[0])
    error = std / np.sqrt(result.effective_sample_size[0])
    assert result.effective_sample_size[0] > 2000
    assert (np.abs(result.mean[0] - mean) < 4 * error).all()
    weighted_error = std / np.sqrt(result.crb_effective_sample_size[0])
    assert (np.abs(result.crb_weighted_mean[0] - weighted) < 5 * weighted_error).all()
    np.testing.assert_allclose(result.std[0], std, rtol=0.06)
    np.testing.assert_allclose(result.expected_crb_loss[0], loss, rtol=0.1)
    np.testing.assert_allclose(result.log_evidence[0], evidence, atol=0.06)


def test_the_weighted_mean_differs_from_the_plain_one_by_much_more_than_its_error():
    """Otherwise the comparison with quadrature would not tell the two apart."""
    x = simulated(MODEL, [[1.1, 0.9]], NOISE, 0.1)
    mean, weighted, std, *_ = by_quadrature(MODEL, PRIOR, NOISE, x[0])
    assert np.abs(weighted - mean)[0] > 0.1 * std[0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("energy", [1e-8, 0.3, 4.0, 60.0])
@pytest.mark.parametrize("amplitude", [-0.5, 0.02, 0.1, 0.4, 0.99, 1.4])
def test_integral_over_the_amplitude(energy, amplitude, signed):
    """Against adaptive quadrature over |M0| and the phase."""
    noise_std, low, high = 0.05, 0.1, 1.0
    overlap = amplitude * energy if signed else abs(amplitude) * energy
    log_likelihood, mean_square = marginal_likelihood(
        np.array([energy]), np.array([overlap]), noise_std, (low, high), signed=signed
    )

    def integral(power):
        def integrand(m, phase=0.0):
            exponent = (m * overlap * np.cos(phase) - m**2 * energy / 2) / noise_std**2
            return m**power * np.exp(exponent - log_likelihood[0])

        centre = np.clip(overlap / energy, low, high)
        width = 10 * noise_std / np.sqrt(energy)
        limits = max(low, centre - width), min(high, centre + width)
        if signed:
            return quad(integrand, *limits, epsabs=0, epsrel=1e-9)[0] / (high - low)
        reach = min(np.pi, 12 * noise_std / np.sqrt(max(overlap * low, 1e-300)))
        value = dblquad(lambda p, m: integrand(m, p), *limits, 0, reach, epsabs=0, epsrel=1e-7)[0]
        return value / np.pi / (high - low)

    assert integral(0) == pytest.approx(1, rel=2e-5)
    assert integral(2) == pytest.approx(mean_square[0], rel=2e-5)


def test_signals_without_energy_or_far_from_the_data():
    """Where nothing is encoded M0 keeps its prior; where the data are far larger it sits at its upper end."""
    energy, overlap = np.array([0.0, 1e-300, 1e-12, 1.0]), np.array([0.0, 0.0, 1e-6, 1e4])
    for signed in (False, True):
        log_likelihood, mean_square = marginal_likelihood(energy, overlap, 0.05, (0.1, 1.0), signed=signed)
        np.testing.assert_allclose(log_likelihood[:2], 0, atol=1e-12)
        np.testing.assert_allclose(mean_square, [0.37, 0.37, 0.37, 1.0], rtol=1e-3)
        assert np.isfinite(log_likelihood).all()


def test_amplitude_of_one_value():
    """The integral over a range that shrinks to a point."""
    arguments = np.array([2.0]), np.array([1.2]), 0.05
    narrow = marginal_likelihood(*arguments, (0.6, 0.6 + 1e-9), signed=False)
    point = marginal_likelihood(*arguments, (0.6, 0.6), signed=False)
    np.testing.assert_allclose(point, narrow, rtol=1e-6)
    assert point[1][0] == pytest.approx(0.36)


@pytest.fixture(scope="module")
def decays():
    """Posteriors of many decays drawn from prior and noise, with the truth and its bound."""
    n = 300
    theta = DECAY_PRIOR.sample(n, random_state=1)
    rng = np.random.default_rng(2)
    magnitude = DECAY_NOISE.draw_magnitude(n, rng)
    X = DECAY_NOISE.add_to(DECAY.signal(theta), rng, magnitude)
    fitted = quick()
    posteriors = [fitted._posterior(x, row, False) for row, x in enumerate(X)]
    columns = [fitted._moments(posterior) for posterior in posteriors]
    mean, weighted, _, expected, *_ = (np.array(column) for column in zip(*columns, strict=True))
    crb = DECAY_NOISE.scale_crb(DECAY.crb(theta), magnitude)
    return Bunch(
        truth=theta.to_numpy(), crb=crb, posteriors=posteriors, mean=mean, weighted=weighted, expected=expected
    )


def test_no_other_estimator_has_a_smaller_crb_loss(decays):
    """Weighted against plain mean, and against shrinking and stretching about the prior's mean."""
    truth, crb, weighted = decays.truth, decays.crb, decays.weighted
    best = crb_loss(truth, weighted, crb)
    centre = DECAY_PRIOR.mean()["T2"]
    assert best < 0.95 * crb_loss(truth, decays.mean, crb)
    for factor in (0.92, 1.08):
        assert best < crb_loss(truth, centre + factor * (weighted - centre), crb)
    assert ((decays.mean - truth) ** 2).mean() < ((weighted - truth) ** 2).mean()
    error = ((weighted - truth) ** 2 / crb).std() / np.sqrt(len(truth))
    assert abs(decays.expected.mean() - best) < 3 * error


def test_posterior_is_calibrated(decays):
    """The truth's rank in its posterior is uniform over prior and noise; that of another value is not."""

    def uniform(factor):
        rank = [
            posterior.weight @ (posterior.theta[:, 0] < factor * value)
            for posterior, (value,) in zip(decays.posteriors, decays.truth, strict=True)
        ]
        return stats.kstest(rank, "uniform").pvalue

    assert uniform(1) > 0.05
    assert uniform(1.05) < 0.01


@dataclass(frozen=True)
class Even(SignalModel):
    """A decay with an off-resonance whose sign the signal does not tell."""

    parameters = (
        Parameter("B0", "B_0", "rad/s", (-np.inf, np.inf), closed="neither"),
        Parameter("T2", "T_2", "s", (0.0, 10.0), closed="right"),
    )
    n_timepoints = 8

    def _signal(self, theta):
        times = np.arange(1, 9) * 0.02
        return np.cos(theta[:, :1] * times) * np.exp(-times / theta[:, 1:])

    def _jacobian(self, theta):
        times = np.arange(1, 9) * 0.02
        decay = np.exp(-times / theta[:, 1:])
        turn = theta[:, :1] * times
        return np.stack([-times * np.sin(turn) * decay, np.cos(turn) * decay * times / theta[:, 1:] ** 2], axis=2)

    def _target_values(self, theta):
        return np.abs(theta)


INDEPENDENT = Prior({"B0": stats.norm(4, 8), "T2": stats.uniform(0.04, 0.2)})
LINKED = Prior({"B0": stats.norm(4, 8), "T2": lambda theta: stats.uniform(0.04, 0.2 + 0 * theta["B0"].to_numpy())})
DEPENDENT = Prior({"T2": stats.uniform(0.04, 0.2), "B0": lambda theta: stats.norm(4, 40 * theta["T2"].to_numpy())})


@pytest.mark.parametrize(("prior", "folded"), [(INDEPENDENT, True), (LINKED, True), (DEPENDENT, False)])
def test_symmetries(prior, folded):
    """A prior that is not symmetric, folded or with both modes, against quadrature without a fold."""
    model = Even()
    noise = NoiseModel(0.05, (0.3, 1.0))
    fitted = estimator(model, prior, noise, targets=("B0", "T2"))
    assert bool(fitted._coordinates.folded) == folded
    x = simulated(model, [[5.0, 0.1]], noise, 0.6).astype(complex)
    result = fitted.estimate(x)
    mean, _, std, _, evidence = by_quadrature(model, Reordered(prior), noise, x[0], n_nodes=80)
    assert (np.abs(result.mean[0] - mean) < 4 * std / np.sqrt(result.effective_sample_size[0])).all()
    np.testing.assert_allclose(result.log_evidence[0], evidence, atol=0.06)


class Reordered:
    """A prior whose transform gives what a model takes."""

    def __init__(self, prior):
        self.names, self.transform = prior.names, prior.transform


def test_normal_coordinates_give_the_prior():
    model, prior = MTHybridStateModel(), paper_prior()
    coordinates = NormalCoordinates.of(model, prior)
    assert list(coordinates.folded) == ["B0"]
    rng = np.random.default_rng(0)
    theta = coordinates.theta(rng.standard_normal((4000, 7)))
    expected = prior.sample(4000, random_state=1)[list(model.parameter_names)].to_numpy()
    expected = model.target_values(expected, model.parameter_names)
    for values, others in zip(theta.T, expected.T, strict=True):
        assert stats.ks_2samp(values, others).pvalue > 1e-3
    assert (theta[:, 2] <= theta[:, 1]).all()


def test_mixture_density_is_that_of_its_draws():
    """Its integral is 1, and weighted draws have the moments of another distribution."""
    mixture = Mixture.of(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [0.5, -1.0]]), np.array([np.eye(2), 0.5 * np.eye(2)])
    )
    points = mixture.draw(200_000, np.random.default_rng(0))
    weight = np.exp(log_prior(points) - mixture.log_density(points))
    assert weight.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(weight @ points / weight.sum(), 0, atol=0.02)
    np.testing.assert_allclose((points.T * weight) @ points / weight.sum(), np.eye(2), atol=0.03)


def test_a_thin_curved_posterior_of_two_modes():
    """Sampled from few points of the prior, against quadrature."""

    def log_likelihood(z):
        ring = (np.hypot(z[:, 0], z[:, 1]) - 1.5) / 0.03
        return -(ring**2) / 2 - ((np.abs(z[:, 2]) - 1) / 0.05) ** 2 / 2 + z[:, 2]

    rng = np.random.default_rng(0)

    def draw(z):
        return Drawn(z, log_likelihood(z), np.ones(len(z)))

    sample = sample_posterior(draw, draw(rng.standard_normal((2000, 3))), Settings(4000, 1000, 16, 30), rng)
    radius = np.hypot(sample.normal[:, 0], sample.normal[:, 1])
    grid = np.linspace(1.2, 1.8, 4001)
    density = grid * np.exp(-(grid**2) / 2 - ((grid - 1.5) / 0.03) ** 2 / 2)
    heights = np.linspace(-1.5, 1.5, 8001)
    profile = np.exp(-(heights**2) / 2 - ((np.abs(heights) - 1) / 0.05) ** 2 / 2 + heights)
    assert 1 / (sample.weight**2).sum() > 1000
    assert sample.weight @ radius == pytest.approx(grid @ density / density.sum(), abs=0.003)
    up = sample.weight @ (sample.normal[:, 2] > 0)
    assert up == pytest.approx(profile[heights > 0].sum() / profile.sum(), abs=0.02)
    evidence = density.sum() * (grid[1] - grid[0]) * profile.sum() * (heights[1] - heights[0]) / np.sqrt(2 * np.pi)
    assert sample.log_evidence == pytest.approx(np.log(evidence), abs=0.06)


def test_coloured_noise():
    """Against quadrature; data and covariance turned by the same rotation have the same posterior."""
    rng = np.random.default_rng(0)
    lag = np.subtract.outer(np.arange(8), np.arange(8))
    noise = NoiseModel(0.05, (0.1, 1.0), covariance=NoiseCovariance(0.9 ** np.abs(lag)))
    x = noise.add_to(MODEL.signal([[1.1, 0.9]]).astype(complex), rng, np.array([0.6]))
    mean, weighted, std, _, evidence = by_quadrature(MODEL, PRIOR, noise, x[0])
    basis = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    for fitted in (estimator(noise=noise), estimator(noise=noise.compress(basis), basis=basis)):
        result = fitted.estimate(x)
        np.testing.assert_allclose(result.mean[0], mean, atol=0.06 * std.min())
        np.testing.assert_allclose(result.crb_weighted_mean[0], weighted, atol=0.06 * std.min())
        np.testing.assert_allclose(result.std[0], std, rtol=0.06)
        if fitted.basis is None:
            np.testing.assert_allclose(result.log_evidence[0], evidence, atol=0.06)


def test_compressed_signals_coefficients_and_stacked_ones_give_the_same():
    X = simulated(MODEL, PRIOR.sample(3, random_state=1), NOISE)
    basis = SVDCompressor(4).fit(MODEL.signal(PRIOR.sample(50, random_state=0))).basis_
    fitted = estimator(basis=basis, n_samples=500)
    expected = fitted.predict(X)
    assert fitted.n_features_in_ == 4
    for data in (X @ basis, stack_complex(X @ basis)):
        np.testing.assert_allclose(fitted.predict(data), expected, rtol=1e-6)


def test_short_train_of_two_pools(short_model):
    """All seven parameters; the bound's inf where nothing is encoded does no harm."""
    theta = paper_prior().sample(4, random_state=0)
    noise = NoiseModel(0.01, (0.5, 0.5))
    basis = SVDCompressor(8).fit(short_model.signal(paper_prior().sample(300, random_state=1))).basis_
    X = noise.add_to((short_model.signal(theta) @ basis).astype(complex), 0)
    fitted = PosteriorMean(
        short_model, basis=basis, noise=noise, n_samples=1000, n_candidates=4096, verbose=0, random_state=0
    ).fit()
    result = fitted.estimate(X)
    assert result.mean.shape == (4, 3)
    assert (result.effective_sample_size > 200).all()
    assert (result.std < 1.5 * paper_prior().std()[["m0s", "T1", "T2f"]].to_numpy()).all()
    truth = short_model.target_values(theta)
    assert (np.abs(result.mean - truth) < 5 * result.std).all()


def test_bounds_that_are_infinite_leave_the_plain_mean():
    """m0s = 0: the bounds of Rx and T2s are inf."""
    model = MTHybridStateModel()
    distributions = dict(paper_prior().distributions) | {"m0s": stats.uniform(0, 5e-324)}
    fitted = PosteriorMean(
        model, ("Rx", "T1"), np.eye(model.n_timepoints)[:, ::200], Prior(distributions), n_samples=100,
        n_adaptation_samples=100, n_candidates=100, verbose=0, random_state=0,
    ).fit()  # fmt: skip
    result = fitted.estimate(0.5 * model.signal(paper_prior().sample(1, random_state=0)).astype(complex))
    assert result.crb_weighted_mean[0, 0] == result.mean[0, 0]
    assert result.crb_effective_sample_size[0, 0] == 0 == result.expected_crb_loss[0, 0]
    assert np.isfinite(result.crb_weighted_mean).all()


def test_weight_chooses_what_predict_returns():
    X = simulated(DECAY, [[0.08]], DECAY_NOISE)
    result = quick().estimate(X)
    np.testing.assert_array_equal(quick().predict(X), result.crb_weighted_mean)
    np.testing.assert_array_equal(quick(weight=None).predict(X), result.mean)


def test_the_seed_decides():
    X = simulated(DECAY, DECAY_PRIOR.sample(20, random_state=0), DECAY_NOISE)
    fitted = quick()
    first = fitted.predict(X)
    np.testing.assert_array_equal(fitted.predict(X), first)
    with joblib.parallel_config(backend="threading"):
        np.testing.assert_array_equal(clone(fitted).set_params(n_jobs=2).fit().predict(X), first)
    np.testing.assert_array_equal(fitted.predict(X[:5]), first[:5])
    assert (quick(random_state=1).predict(X) != first).all()


def test_rows_without_a_signal_are_nan():
    X = simulated(DECAY, [[0.08]] * 4, DECAY_NOISE)
    expected = quick().predict(X)
    X[1], X[2, 3] = 0, np.nan
    result = quick().estimate(X)
    np.testing.assert_array_equal(np.isnan(result.mean[:, 0]), [False, True, True, False])
    np.testing.assert_array_equal(result.crb_weighted_mean[[0, 3]], expected[[0, 3]])
    frame = result.to_frame()
    assert len(frame) == len(result) == 4
    assert frame["T2_crb_weighted"].isna().tolist() == [False, True, True, False]
    assert "4 voxels" in repr(result)
    assert np.isnan(quick().predict(np.zeros((2, 8), complex))).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "T1"}, TypeError, "model must be a SignalModel"),
        ({"noise": 0.01}, TypeError, "noise must be a NoiseModel; got float"),
        ({"weight": "CRB"}, ValueError, "weight must be one of"),
        ({"n_samples": 10}, ValueError, "n_samples must be at least 100"),
        ({"n_adaptation_samples": 0}, ValueError, "n_adaptation_samples must be at least 100"),
        ({"n_candidates": 5.5}, TypeError, "n_candidates must be an integer"),
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ({"prior": None}, ValueError, "prior must be given"),
        ({"prior": Prior({"T2": stats.uniform(-1, 2)})}, ValueError, "prior must give parameters that are physical"),
        ({"targets": "T1"}, ValueError, "targets contains"),
        ({"basis": np.ones((8, 2))}, ValueError, "basis must have orthonormal columns"),
        ({"noise": NoiseModel(covariance=np.eye(5))}, ValueError, "covariance"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        PosteriorMean(**({"model": DECAY, "prior": DECAY_PRIOR} | arguments)).fit()


def test_bad_data():
    with pytest.raises(NotFittedError):
        PosteriorMean(DECAY, prior=DECAY_PRIOR).predict(np.ones((1, 8), complex))
    with pytest.raises(ValueError, match=r"X must be complex with 8 columns"):
        quick().predict(np.ones((1, 7), complex))
    with pytest.raises(ValueError, match="y must have one column"):
        PosteriorMean(DECAY, prior=DECAY_PRIOR).fit(np.ones((3, 8), complex), np.ones((3, 2)))

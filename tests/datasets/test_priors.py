import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crbestim import MTHybridStateModel, Prior, paper_prior
from crbestim.datasets import truncated_normal

# Mean and standard deviation before truncation, and the range, of the distributions that stand alone.
TRUNCATED = {
    "m0s": (0.12, 0.08, 0.0, 1.0),
    "T1": (1.6, 0.8, 0.1, 6.0),
    "Rx": (44.0, 20.0, 0.0, 150.0),
    "T2s": (10e-6, 2e-6, 5e-6, 20e-6),
    "B1": (1.0, 0.3, 0.3, 1.7),
}
NAMES = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
TR = 3.5e-3
N = 50_000


def both_methods(function):
    return pytest.mark.parametrize("method", ["random", "sobol"])(function)


@pytest.fixture(scope="module")
def prior():
    return paper_prior(TR)


@pytest.fixture(scope="module")
def sample(prior):
    return prior.sample(N, random_state=0)


def conditional():
    """T2 is uniform below T1 / 2, T1 uniform between 1 and 3."""
    return Prior({"T1": stats.uniform(1, 2), "T2": lambda theta: stats.uniform(0, theta["T1"] / 2)})


# --- the paper's prior ----------------------------------------------------------------------------


@both_methods
def test_sample_lies_within_the_truncation(prior, method):
    theta = prior.sample(N, random_state=1, method=method)
    for name, (_, _, low, high) in TRUNCATED.items():
        assert theta[name].between(low, high).all(), name
    assert (theta["m0s"] < 1).all()
    assert theta["T2f"].ge(0.005).all()
    assert (theta["T2f"] <= theta["T1"]).all()
    assert theta["B0"].abs().max() <= 2 * np.pi / TR


def test_extreme_quantiles_lie_within_the_model(prior):
    """Also where the inverse distribution functions are evaluated next to 0 and 1."""
    tiny = np.finfo(float).eps
    corners = np.stack(np.meshgrid(*[[tiny, 1 - tiny]] * 7), axis=-1).reshape(-1, 7)
    theta = prior.transform(corners)
    assert (theta["T2f"] <= theta["T1"]).all()
    MTHybridStateModel().check_theta(theta)


@pytest.mark.parametrize("name", TRUNCATED)
def test_marginals_are_truncated_normal(sample, name):
    mean, std, low, high = TRUNCATED[name]
    inside = np.diff(stats.norm(mean, std).cdf([low, high]))[0]

    def cdf(x):
        return (stats.norm(mean, std).cdf(x) - stats.norm(mean, std).cdf(low)) / inside

    assert stats.kstest(sample[name], cdf).pvalue > 1e-6


def test_b0_is_uniform_over_two_bands(sample):
    limit = 2 * np.pi / TR
    assert stats.kstest(sample["B0"], stats.uniform(-limit, 2 * limit).cdf).pvalue > 1e-6


def test_t2f_given_t1_is_truncated_normal(sample):
    """Its conditional distribution function is uniform, whatever T1."""
    normal = stats.norm(0.1, 0.2)
    low, high = normal.cdf(0.005), normal.cdf(sample["T1"])
    quantile = (normal.cdf(sample["T2f"]) - low) / (high - low)
    for part in np.array_split(quantile[np.argsort(sample["T1"].to_numpy())], 5):
        assert stats.kstest(part, "uniform").pvalue > 1e-6


def test_other_parameters_are_independent(sample):
    correlation = stats.spearmanr(sample.drop(columns="T2f")).statistic
    assert np.abs(correlation - np.eye(6)).max() < 5 / np.sqrt(N)


def test_repetition_time_sets_the_range_of_b0():
    assert paper_prior(5e-3).sample(5000, random_state=0)["B0"].abs().max() == pytest.approx(
        2 * np.pi / 5e-3, rel=1e-2
    )


@pytest.mark.parametrize(
    ("repetition_time", "error"),
    [(0.0, ValueError), (-3.5e-3, ValueError), (np.nan, ValueError), ("3.5 ms", TypeError)],
)
def test_bad_repetition_time_is_refused(repetition_time, error):
    with pytest.raises(error, match="repetition_time"):
        paper_prior(repetition_time)


# --- moments and ranges ---------------------------------------------------------------------------


def test_moments_are_those_of_a_large_sample(prior, sample):
    std, mean = prior.std(), prior.mean()
    assert list(std.index) == list(mean.index) == list(NAMES)
    for name in NAMES:
        values = sample[name]
        assert abs(values.mean() - mean[name]) < 5 * std[name] / np.sqrt(N)
        fourth = ((values - values.mean()) ** 4).mean()
        error = np.sqrt((fourth - values.var() ** 2) / N)
        assert abs(values.var() - std[name] ** 2) < 5 * error


def test_std_is_that_after_truncation(prior):
    std = prior.std()
    for name, (_, before, _, _) in TRUNCATED.items():
        assert std[name] < before
    assert std["m0s"] == pytest.approx(stats.truncnorm(-1.5, 11, 0.12, 0.08).std(), rel=1e-6)


def test_moments_of_a_conditional_parameter():
    """T2 = u T1 / 2: the mean is 1/2, E[T2^2] = E[T1^2] / 12 = 13/36."""
    prior = conditional()
    assert prior.mean()["T2"] == pytest.approx(0.5, rel=1e-3)
    assert prior.std()["T2"] == pytest.approx(np.sqrt(13 / 36 - 0.25), rel=1e-3)
    assert prior.std()["T1"] == pytest.approx(2 / np.sqrt(12), rel=1e-12)


def test_support(prior):
    support = prior.support()
    for name, (_, _, low, high) in TRUNCATED.items():
        np.testing.assert_allclose(support[name], (low, high), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(support["B0"], (-2 * np.pi / TR, 2 * np.pi / TR))
    assert support["T2f"][0] == pytest.approx(0.005)
    assert 4.0 < support["T2f"][1] <= 6.0  # as far as T1 of the sample goes


def test_support_of_a_conditional_parameter():
    np.testing.assert_allclose(conditional().support()["T2"], (0, 1.5), rtol=1e-3, atol=1e-12)


# --- drawing --------------------------------------------------------------------------------------


@both_methods
def test_sample_is_a_frame_with_the_names_in_order(prior, method):
    theta = prior.sample(10, random_state=0, method=method)
    assert isinstance(theta, pd.DataFrame)
    assert tuple(theta.columns) == NAMES == prior.names
    assert theta.shape == (10, 7)
    assert (theta.dtypes == np.float64).all()


@both_methods
def test_random_state_decides(prior, method):
    first = prior.sample(20, random_state=3, method=method)
    pd.testing.assert_frame_equal(first, prior.sample(20, random_state=3, method=method))
    pd.testing.assert_frame_equal(first, prior.sample(20, random_state=np.random.default_rng(3), method=method))
    assert (first != prior.sample(20, random_state=4, method=method)).all(axis=None)
    assert (first != prior.sample(20, method=method)).all(axis=None)


@both_methods
def test_a_generator_goes_on(prior, method):
    rng = np.random.default_rng(0)
    assert (prior.sample(5, random_state=rng, method=method) != prior.sample(5, random_state=rng, method=method)).all(
        axis=None
    )


@pytest.mark.parametrize("n_samples", [1, 2, 100, 128])
def test_sobol_gives_as_many_as_asked_for(prior, n_samples):
    assert len(prior.sample(n_samples, random_state=0, method="sobol")) == n_samples


def test_sobol_fills_the_space_more_evenly():
    prior = Prior({name: stats.uniform() for name in "abc"})
    discrepancy = {
        method: stats.qmc.discrepancy(prior.sample(256, random_state=0, method=method).to_numpy())
        for method in ("random", "sobol")
    }
    assert discrepancy["sobol"] < 0.1 * discrepancy["random"]


@both_methods
def test_conditional_parameter_sees_its_own_row(method):
    theta = conditional().sample(1000, random_state=0, method=method)
    assert (theta["T2"] < theta["T1"] / 2).all()
    assert (theta["T2"] > 0.45 * theta["T1"]).any()


def test_transform_maps_through_the_inverse_distribution():
    theta = conditional().transform(np.array([[0.5, 0.5], [0.25, 1.0]]))
    np.testing.assert_allclose(theta.to_numpy(), [[2.0, 0.5], [1.5, 0.75]])


def test_truncated_normal_takes_arrays():
    distribution = truncated_normal(0.0, 1.0, -1.0, np.array([0.0, 1.0]))
    np.testing.assert_allclose(distribution.ppf([1.0, 1.0]), [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(distribution.ppf([0.0, 0.0]), -1.0)


# --- what is no prior -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distributions", "error", "message"),
    [
        ({}, ValueError, "distributions must name at least one parameter"),
        ({"T1": 1.0}, TypeError, r"distributions\['T1'\] must be .* got float"),
        ({"T1": stats.norm(), "T2": "normal"}, TypeError, r"distributions\['T2'\] must be .* got str"),
        ([stats.norm()], TypeError, "distributions"),
    ],
)
def test_bad_distributions_are_refused(distributions, error, message):
    with pytest.raises(error, match=message):
        Prior(distributions)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"n_samples": 2.5}, TypeError, "n_samples must be an integer"),
        ({"n_samples": 2, "method": "halton"}, ValueError, "method must be 'random' or 'sobol'; got 'halton'"),
    ],
)
def test_bad_samples_are_refused(prior, arguments, error, message):
    with pytest.raises(error, match=message):
        prior.sample(**arguments)

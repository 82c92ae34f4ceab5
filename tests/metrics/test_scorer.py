"""The scorer, on an estimator whose bias and variance are known."""

import numpy as np
import pytest
from amplitudes import SNR, AmplitudeEstimator, T, amplitude_data
from sklearn.linear_model import LinearRegression

from crbestim import CRBEfficiencyScorer, NoiseModel, bias_variance


@pytest.fixture
def data():
    return amplitude_data()


def scorer(**kwargs):
    return CRBEfficiencyScorer(NoiseModel.at_snr(SNR), random_state=0, **kwargs)


def test_efficient_estimator_scores_nearly_one(data):
    X, y, crb = data
    score = scorer(n_realizations=20)(AmplitudeEstimator(), X, y, crb=crb)
    assert score == pytest.approx(0.89, abs=0.02)
    assert score < scorer(n_realizations=400)(AmplitudeEstimator(), X, y, crb=crb) <= 1


def test_score_falls_with_bias_and_with_variance(data):
    X, y, crb = data
    step = np.sqrt(1 / T) / SNR
    best = scorer()(AmplitudeEstimator(), X, y, crb=crb)
    assert scorer()(AmplitudeEstimator(offset=2 * step), X, y, crb=crb) == pytest.approx(1 / 5.2, abs=0.03)
    assert scorer()(AmplitudeEstimator(shrink=3.0), X, y, crb=crb) < 0.01 * best


def test_shrinking_does_not_win():
    """Of n(theta, CRB) with a wide bound, the shrunk estimate has a lower loss, but no better score."""
    rng = np.random.default_rng(0)
    theta = rng.normal(10, 1, 3000)
    X = np.repeat(theta[:, None], T, axis=1).astype(complex)
    noise = NoiseModel.at_snr(np.sqrt(1 / T) / 0.3)  # sqrt(CRB) = 0.3 spreads of theta
    crb = np.full((3000, 1), 1 / T)
    weight = 1 / (1 + 0.3**2)
    plain, shrunk = AmplitudeEstimator(), AmplitudeEstimator(shrink=weight, offset=(1 - weight) * 10)
    judge = CRBEfficiencyScorer(noise, n_realizations=100, random_state=0)
    assert judge(shrunk, X, theta[:, None], crb=crb) < judge(plain, X, theta[:, None], crb=crb)
    snr = 1 / noise.noise_std
    losses = [
        bias_variance(each, X, theta[:, None], crb, snr=snr, n_realizations=100, progress=False, random_state=0)
        for each in (plain, shrunk)
    ]
    assert losses[1]["crb_loss"][0] < losses[0]["crb_loss"][0]


def test_data_with_their_own_noise(data):
    X, y, crb = data
    noise = NoiseModel.at_snr(SNR)
    noisy = noise.add_to(X, np.random.default_rng(0), np.ones(len(X)))
    own = CRBEfficiencyScorer(noise=None)
    assert own(AmplitudeEstimator(), noisy, y, crb=crb / SNR**2) == pytest.approx(1, abs=0.2)
    assert own(AmplitudeEstimator(offset=10 / SNR), noisy, y, crb=crb / SNR**2) < 0.01


def test_scores_are_reproducible(data):
    X, y, crb = data
    assert scorer()(AmplitudeEstimator(), X, y, crb=crb) == scorer()(AmplitudeEstimator(), X, y, crb=crb)


def test_missing_or_useless_bounds_are_named(data):
    X, y, crb = data
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        scorer()(AmplitudeEstimator(), X, y)
    with pytest.raises(ValueError, match="no entry is informative"):
        scorer()(AmplitudeEstimator(), X, y, crb=crb * SNR**2 * 100)


class Constant:
    def __init__(self, value, n_columns):
        self.value, self.n_columns = value, n_columns

    def predict(self, X):
        return np.full((len(X), self.n_columns), self.value)


@pytest.mark.parametrize("noise", [NoiseModel.at_snr(SNR), None])
@pytest.mark.parametrize(
    ("value", "n_columns", "message"),
    [(np.nan, 1, "the estimator's prediction contains NaN"), (1.0, 2, "the estimator's prediction \\(400, 2\\)")],
)
def test_useless_predictions_are_named(data, noise, value, n_columns, message):
    X, y, crb = data
    with pytest.raises(ValueError, match=message):
        CRBEfficiencyScorer(noise)(Constant(value, n_columns), X, y, crb=crb / SNR**2 if noise is None else crb)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"noise": 0.1}, TypeError, "noise must be a NoiseModel"),
        ({"n_realizations": 1}, ValueError, "n_realizations must be at least 2"),
        ({"random_state": "seed"}, TypeError, "random_state must be an int"),
    ],
)
def test_bad_settings_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        CRBEfficiencyScorer(**arguments)


def test_what_real_arrays_hold_may_be_told():
    X, y, crb = amplitude_data()
    linear = LinearRegression().fit(X.real, y)
    noise = NoiseModel.at_snr(SNR)
    with pytest.raises(ValueError, match="pass real=True or real=False"):
        CRBEfficiencyScorer(noise)(linear, X.real, y, crb=crb)
    assert CRBEfficiencyScorer(noise, random_state=0, real=True)(linear, X.real, y, crb=crb) > 0.85

"""Flags of signals that are none of the model's."""

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator

from crbestim import MonoExponentialModel, NoiseModel, Prior, goodness_of_fit

TIMES = np.linspace(0.005, 0.3, 12)
SIGMA = 0.01


@pytest.fixture(scope="module")
def model():
    return MonoExponentialModel(TIMES)


@pytest.fixture(scope="module")
def prior(model):
    return Prior(dict.fromkeys(model.parameter_names, stats.uniform(0.01, 0.3)))


@pytest.fixture(scope="module")
def signals(model, prior):
    clean = model.signal(prior.sample(600, random_state=0))
    return NoiseModel(SIGMA, (0.3, 1.0)).add_to(clean.astype(complex), np.random.default_rng(1))


def flags(model, prior, X, **kwargs):
    return goodness_of_fit(model, X, SIGMA, prior=prior, verbose=0, **kwargs)


def test_good_voxels_are_flagged_as_rarely_as_the_significance_says(model, prior, signals):
    fit = flags(model, prior, signals, significance=0.05)
    share, error = fit.flagged.mean(), np.sqrt(0.05 * 0.95 / 600)
    assert share == pytest.approx(0.05, abs=4 * error)
    inside = fit.n_degrees == 2 * 12 - 3
    assert inside.mean() > 0.9
    assert stats.kstest(fit.p_value[inside], "uniform").pvalue > 1e-3
    np.testing.assert_allclose(fit.chi_square[inside].mean(), 21, atol=4 * np.sqrt(2 * 21 / 600))


def test_corrupted_voxels_are_flagged(model, prior, signals):
    X = signals.copy()
    X[:100, 5] += 0.15  # a spike
    X[100:200] *= np.exp(2j * np.arange(12))  # a phase that drifts
    X[200:300] = np.random.default_rng(2).normal(size=(100, 24)).view(complex)  # no signal of anything
    fit = flags(model, prior, X)
    assert fit.flagged[:100].mean() > 0.95
    assert fit.flagged[100:200].mean() > 0.9
    assert fit.flagged[200:300].all()
    assert fit.flagged[300:].mean() < 0.02


def test_images_masks_and_what_is_not_finite(model, prior, signals):
    X = signals[:6].reshape(2, 3, 12).copy()
    X[0, 1] = 0
    X[1, 2, 3] = np.nan
    fit = flags(model, prior, X)
    assert fit.flagged.shape == (2, 3)
    assert fit.flagged.tolist() == [[False, False, False], [False, False, True]]
    assert np.isnan(fit.p_value[0, 1])
    assert np.isnan(fit.chi_square[1, 2])


def test_a_poor_start_flags_nothing(model, prior, signals):
    class Wrong(BaseEstimator):
        def fit(self):
            self.fitted_ = True
            return self

        def predict(self, X):
            return np.full((len(X), 1), 0.3)

    assert flags(model, prior, signals[:200], init=Wrong().fit()).flagged.mean() < 0.02


@pytest.mark.parametrize("significance", [0.0, 1.0])
def test_significance_lies_between_0_and_1(model, prior, signals, significance):
    with pytest.raises(ValueError, match="significance must"):
        flags(model, prior, signals, significance=significance)


def test_the_noise_must_be_positive(model, signals):
    with pytest.raises(ValueError, match="noise_std must be positive"):
        goodness_of_fit(model, signals, 0.0)

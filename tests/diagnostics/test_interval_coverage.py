"""Coverage of an estimator whose standard deviation is known."""

import numpy as np
import pandas as pd
import pytest
from amplitudes import SNR, AmplitudeEstimator, T, amplitude_data

from crbestim import interval_coverage


class WithErrorBars(AmplitudeEstimator):
    def __init__(self, claimed=1.0, **kwargs):
        super().__init__(**kwargs)
        self.claimed = claimed

    def predict(self, X, return_std=False, noise_std=None):
        estimate = super().predict(X)
        std = np.full_like(estimate, self.claimed * noise_std / np.sqrt(T))
        return (estimate, std) if return_std else estimate


def coverage(estimator, **kwargs):
    X, y, _ = amplitude_data()
    defaults = {"snr": SNR, "n_realizations": 50, "random_state": 0, "progress": False}
    return interval_coverage(estimator, X, y, **(defaults | kwargs))


def test_calibrated_error_bars_cover_as_often_as_they_claim():
    table = coverage(WithErrorBars())
    assert list(table["level"]) == [0.5, 0.6827, 0.9, 0.95]
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["coverage_se"]).all()
    assert (table["coverage_se"] < 0.005).all()
    expected = np.sqrt(table["level"] * (1 - table["level"]) / 50 / 400)
    np.testing.assert_allclose(table["coverage_se"], expected, rtol=0.15)
    np.testing.assert_allclose(table["std_ratio"], 1, atol=0.02)
    assert set(table["n_samples"]) == {400}


def test_too_narrow_error_bars_and_bias_are_noticed():
    narrow = coverage(WithErrorBars(claimed=0.5), levels=[0.6827])
    assert narrow["coverage"].item() == pytest.approx(0.3829, abs=0.02)
    assert narrow["std_ratio"].item() == pytest.approx(0.5, abs=0.01)
    biased = coverage(WithErrorBars(offset=2 / np.sqrt(T) / SNR), levels=[0.6827])
    assert biased["coverage"].item() == pytest.approx(0.1573, abs=0.02)  # P(|z + 2| < 1)


def test_groups_are_told_apart_and_missing_ones_left_out():
    _, y, _ = amplitude_data()
    groups = pd.cut(y[:, 0], [1.5, 2, 3], labels=["low", "high"])
    table = coverage(WithErrorBars(), groups=groups, levels=[0.9], target_names=["a"])
    counts = dict(zip(table["group"], table["n_samples"], strict=True))
    assert counts == {"low": ((y > 1.5) & (y <= 2)).sum(), "high": (y > 2).sum()}
    assert set(table["target"]) == {"a"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"levels": [0.5, 1.0]}, "levels must be numbers between 0 and 1"),
        ({"levels": []}, "levels must be numbers between 0 and 1"),
        ({"groups": ["a", "b"]}, r"groups must have shape \(400,\) or \(400, 1\)"),
        ({"n_realizations": 1}, "n_realizations must be at least 2"),
        ({"target_names": ["a", "b"]}, "target_names must have one name for each of y's 1 columns"),
    ],
)
def test_bad_input_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        coverage(WithErrorBars(), **kwargs)


def test_estimates_that_do_not_scatter_have_an_infinite_ratio():
    class Constant(WithErrorBars):
        def predict(self, X, return_std=False, noise_std=None):
            estimate = np.full((len(X), 1), 0.1)
            return estimate, np.full_like(estimate, 0.3)

    assert np.isinf(coverage(Constant())["std_ratio"]).all()


def test_a_finished_search_knows_its_targets():
    class Search(WithErrorBars):
        pass

    search, best = Search(), WithErrorBars()
    best.target_names_ = ["a"]
    search.best_estimator_ = best
    assert set(coverage(search)["target"]) == {"a"}

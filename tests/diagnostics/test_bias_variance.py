"""The table of bias and variance, on an estimator whose bias and variance are known."""

import numpy as np
import pandas as pd
import pytest
from amplitudes import SNR, AmplitudeEstimator, T, amplitude_data
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

from crbestim import Pipeline, SVDCompressor, bias_and_std, bias_variance


@pytest.fixture
def data():
    return amplitude_data()


def table(estimator, data, **kwargs):
    frame = bias_variance(
        estimator, *data, snr=SNR, n_realizations=100, random_state=0, progress=False, target_names=["a"], **kwargs
    )
    return frame.set_index("region").loc["all"]


def test_an_efficient_estimator_has_variance_one_and_no_bias(data):
    row = table(AmplitudeEstimator(), data)
    assert row["variance_over_crb"] == pytest.approx(1, abs=4 * row["variance_over_crb_se"])
    assert row["bias2_over_crb"] == pytest.approx(0, abs=4 * row["bias2_over_crb_se"])
    assert row["variance_over_crb_se"] == pytest.approx(np.sqrt(2 / 99 / 400), rel=0.2)
    assert row["crb_loss"] == pytest.approx(row["variance_over_crb"] + row["bias2_over_crb"])
    assert row["std"] == pytest.approx(np.sqrt(1 / T) / SNR, rel=0.02)
    assert row["n_samples"] == 400
    assert row["n_realizations"] == 100
    assert row["informative_share"] == 1


def test_an_offset_is_all_bias(data):
    offset = 3 * np.sqrt(1 / T) / SNR
    row = table(AmplitudeEstimator(offset=offset), data)
    assert row["bias"] == pytest.approx(offset, abs=4 * row["bias_se"])
    assert row["bias2_over_crb"] == pytest.approx(9, abs=4 * row["bias2_over_crb_se"])
    assert row["variance_over_crb"] == pytest.approx(1, abs=4 * row["variance_over_crb_se"])


def test_samples_without_information_are_left_out_and_informative_ones_counted(data):
    X, y, crb = data
    crb = crb.copy()
    crb[:100] = np.inf
    crb[100:200] = (y.std() * SNR) ** 2  # sqrt(CRB) = spread: finite, but not informative
    frame = bias_variance(
        AmplitudeEstimator(), X, y, crb, snr=SNR, n_realizations=5, random_state=0, progress=False
    ).set_index("region")
    assert frame.loc["all", "n_samples"] == 300
    assert frame.loc["informative", "n_samples"] == 200
    assert frame.loc["informative", "informative_share"] == 0.5
    assert list(frame["target"]) == ["target0", "target0"]


def test_several_bounds_are_compared_with_the_same_estimates(data):
    X, y, crb = data
    both = bias_variance(
        AmplitudeEstimator(), X, y, {"full": crb, "compressed": 4 * crb}, snr=SNR, n_realizations=5, random_state=0,
        progress=False,
    )  # fmt: skip
    loss = both[both["region"] == "all"].set_index("bound")["crb_loss"]
    assert loss["full"] == pytest.approx(4 * loss["compressed"])


def test_the_first_bound_decides_what_is_informative(data):
    X, y, crb = data
    wide = crb.copy()
    wide[:300] = (y.std() * SNR) ** 2
    table = bias_variance(
        AmplitudeEstimator(), X, y, {"wide": wide, "narrow": crb}, snr=SNR, n_realizations=5, random_state=0,
        progress=False,
    )  # fmt: skip
    informative = table[table["region"] == "informative"]
    assert list(informative["n_samples"]) == [100, 100]
    assert list(informative["informative_share"]) == [0.25, 0.25]


def test_bias_variance_is_reproducible(data):
    first, second = (table(AmplitudeEstimator(), data) for _ in range(2))
    assert first.equals(second)


def test_columns_must_agree(data):
    X, y, crb = data
    y2, crb2 = (
        pd.DataFrame(np.hstack([y, y]), columns=["a", "b"]),
        pd.DataFrame(np.hstack([crb, crb]), columns=["b", "a"]),
    )
    with pytest.raises(ValueError, match="crb must have the columns of y"):
        bias_variance(AmplitudeEstimator(), X, y2, crb2, progress=False)
    named = AmplitudeEstimator()
    named.target_names_ = ["amplitude"]
    with pytest.raises(ValueError, match="y must have the columns that the estimator predicts"):
        bias_variance(named, X, pd.DataFrame(y, columns=["a"]), crb, progress=False)


def test_real_signals_before_a_compressor_are_real_data(data):
    """Noise is real and M0 positive: a linear estimate of the amplitude is unbiased and reaches the bound."""
    X, y, crb = data
    pipe = Pipeline([SVDCompressor(1), LinearRegression()]).fit(X.real, y)
    table = bias_variance(pipe, X.real, y, crb, random_state=0, progress=False)
    assert abs(table["bias2_over_crb"][0]) < 4 * table["bias2_over_crb_se"][0]
    assert abs(table["variance_over_crb"][0] - 1) < 4 * table["variance_over_crb_se"][0]


def test_real_signals_for_a_compressor_of_complex_ones_are_refused(data):
    X, y, crb = data
    pipe = Pipeline([SVDCompressor(1), LinearRegression()]).fit(X, y)
    with pytest.raises(TypeError, match="X must be complex, as it was in fit"):
        bias_variance(pipe, X.real, y, crb, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snr": -1.0}, "snr must be positive"),
        ({"n_realizations": 1}, "n_realizations must be at least 2"),
        ({"target_names": ["a", "b"]}, "target_names must have one name"),
        ({"prior_std": [1.0, 2.0]}, "prior_std must be real numbers of shape"),
        ({"crb": {}}, "crb is an empty mapping"),
        ({"y": np.ones((3, 1))}, "y has 3 rows"),
    ],
)
def test_bad_arguments_are_named(data, change, message):
    X, y, crb = data
    arguments = {"X": X, "y": y, "crb": crb, "progress": False} | change
    with pytest.raises(ValueError, match=message):
        bias_variance(AmplitudeEstimator(), **arguments)


def test_an_estimator_that_does_not_tell_has_to_be_told(data):
    X, y, crb = data
    linear = LinearRegression().fit(X.real, y)
    with pytest.raises(ValueError, match="LinearRegression does not tell .* pass real=True or real=False"):
        bias_variance(linear, X.real, y, crb, progress=False)
    table = bias_variance(linear, X.real, y, crb, real=True, random_state=0, progress=False)
    assert abs(table["variance_over_crb"][0] - 1) < 4 * table["variance_over_crb_se"][0]
    with pytest.raises(TypeError, match="X must be real for real=True"):
        bias_variance(linear, X, y, crb, real=True, progress=False)


def test_a_finished_search_is_judged_like_its_best_estimator(data):
    X, y, crb = data
    pipe = Pipeline([SVDCompressor(1), LinearRegression()])
    search = GridSearchCV(pipe, {"svdcompressor__n_components": [1]}, cv=2).fit(X.real, y)
    options = {"random_state": 0, "progress": False}
    pd.testing.assert_frame_equal(
        bias_variance(search, X.real, y, crb, **options),
        bias_variance(search.best_estimator_, X.real, y, crb, **options),
    )


def test_samples_are_what_the_table_averages(data):
    X, y, crb = data
    crb = crb.copy()
    crb[:7] = np.inf
    settings = {"snr": SNR, "n_realizations": 20, "random_state": 0, "progress": False, "target_names": ["a"]}
    samples = bias_and_std(AmplitudeEstimator(offset=1e-5), X, y, crb, **settings)
    row = bias_variance(AmplitudeEstimator(offset=1e-5), X, y, crb, **settings).set_index("region").loc["all"]
    used = np.isfinite(samples.sqrt_crb)
    assert used.sum() == 393
    assert row["bias"] == samples.bias[used].mean()
    assert row["variance_over_crb"] == (samples.std**2 / samples.sqrt_crb**2)[used].mean()
    assert row["bias2_over_crb"] == (samples.squared_bias / samples.sqrt_crb**2)[used].mean()
    np.testing.assert_allclose(samples.squared_bias, samples.bias**2 - samples.std**2 / 20)
    np.testing.assert_allclose(samples.sqrt_crb[used], np.sqrt(1 / T) / SNR)
    assert samples.informative[used].all()
    assert samples.target_names == ["a"]

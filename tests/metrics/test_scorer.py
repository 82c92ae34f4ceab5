"""The scorer and the bias-variance table, on estimators whose bias and variance are known."""

import numpy as np
import pytest

from crbestim import CRBEfficiencyScorer, NoiseModel, bias_variance


class MeanOfReal:
    """Estimates the amplitude of a constant complex signal of known phase... from |x|, at high SNR.

    X = theta for all of T time points and M0 of magnitude 1: |mean(x)| has variance sigma^2 / T.
    """

    def __init__(self, shrink=1.0, offset=0.0, blur=0.0):
        self.shrink, self.offset, self.blur = shrink, offset, blur

    def predict(self, X):
        estimate = np.abs(X.mean(axis=1))
        noise = self.blur * np.random.default_rng(0).standard_normal(len(X))
        return (self.shrink * estimate + self.offset + noise)[:, None]


T = 16
SNR = 1e4


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    theta = rng.uniform(1, 3, 400)
    X = np.repeat(theta[:, None], T, axis=1).astype(complex)
    return X, theta[:, None], np.full((400, 1), 1 / T)


def table(estimator, data, **kwargs):
    frame = bias_variance(
        estimator, *data, snr=SNR, n_realizations=100, random_state=0, progress=False, target_names=["a"], **kwargs
    )
    return frame.set_index("region").loc["all"]


def test_an_efficient_estimator_has_variance_one_and_no_bias(data):
    row = table(MeanOfReal(), data)
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
    row = table(MeanOfReal(offset=offset), data)
    assert row["bias"] == pytest.approx(offset, abs=4 * row["bias_se"])
    assert row["bias2_over_crb"] == pytest.approx(9, abs=4 * row["bias2_over_crb_se"])
    assert row["variance_over_crb"] == pytest.approx(1, abs=4 * row["variance_over_crb_se"])


def test_samples_without_information_are_left_out_and_informative_ones_counted(data):
    X, y, crb = data
    crb = crb.copy()
    crb[:100] = np.inf
    crb[100:200] = (y.std() * SNR) ** 2  # sqrt(CRB) = spread: finite, but not informative
    frame = bias_variance(
        MeanOfReal(), X, y, crb, snr=SNR, n_realizations=5, random_state=0, progress=False
    ).set_index("region")
    assert frame.loc["all", "n_samples"] == 300
    assert frame.loc["informative", "n_samples"] == 200
    assert frame.loc["informative", "informative_share"] == 0.5
    assert list(frame["target"]) == ["target0", "target0"]


def test_several_bounds_are_compared_with_the_same_estimates(data):
    X, y, crb = data
    both = bias_variance(
        MeanOfReal(), X, y, {"full": crb, "compressed": 4 * crb}, snr=SNR, n_realizations=5, random_state=0,
        progress=False,
    )  # fmt: skip
    loss = both[both["region"] == "all"].set_index("bound")["crb_loss"]
    assert loss["full"] == pytest.approx(4 * loss["compressed"])


def test_bias_variance_is_reproducible(data):
    first, second = (table(MeanOfReal(), data) for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snr": -1.0}, "snr must be positive"),
        ({"n_realizations": 1}, "n_realizations must be at least 2"),
        ({"target_names": ["a", "b"]}, "target_names must have one name"),
        ({"prior_std": [1.0, 2.0]}, "prior_std must have shape"),
        ({"crb": {}}, "crb is an empty mapping"),
        ({"y": np.ones((3, 1))}, "y has 3 rows"),
    ],
)
def test_bad_arguments_are_named(data, change, message):
    X, y, crb = data
    arguments = {"X": X, "y": y, "crb": crb, "progress": False} | change
    with pytest.raises(ValueError, match=message):
        bias_variance(MeanOfReal(), **arguments)


def scorer(**kwargs):
    return CRBEfficiencyScorer(NoiseModel.at_snr(SNR), random_state=0, **kwargs)


def test_efficient_estimator_scores_nearly_one(data):
    X, y, crb = data
    score = scorer(n_realizations=400)(MeanOfReal(), X, y, crb=crb)
    assert 0.94 < score <= 1


def test_score_falls_with_bias_and_with_variance(data):
    X, y, crb = data
    step = np.sqrt(1 / T) / SNR
    best = scorer()(MeanOfReal(), X, y, crb=crb)
    assert scorer()(MeanOfReal(offset=2 * step), X, y, crb=crb) == pytest.approx(1 / 5.2, abs=0.03)
    assert scorer()(MeanOfReal(shrink=3.0), X, y, crb=crb) < 0.01 * best


def test_shrinking_does_not_win():
    """Of n(theta, CRB) with a wide bound, the shrunk estimate has a lower loss, but no better score."""
    rng = np.random.default_rng(0)
    theta = rng.normal(10, 1, 3000)
    X = np.repeat(theta[:, None], T, axis=1).astype(complex)
    noise = NoiseModel.at_snr(np.sqrt(1 / T) / 0.3)  # sqrt(CRB) = 0.3 spreads of theta
    crb = np.full((3000, 1), 1 / T)
    weight = 1 / (1 + 0.3**2)
    plain, shrunk = MeanOfReal(), MeanOfReal(shrink=weight, offset=(1 - weight) * 10)
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
    assert own(MeanOfReal(), noisy, y, crb=crb / SNR**2) == pytest.approx(1, abs=0.2)
    assert own(MeanOfReal(offset=10 / SNR), noisy, y, crb=crb / SNR**2) < 0.01


def test_scores_are_reproducible(data):
    X, y, crb = data
    assert scorer()(MeanOfReal(), X, y, crb=crb) == scorer()(MeanOfReal(), X, y, crb=crb)


def test_missing_or_useless_bounds_are_named(data):
    X, y, crb = data
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        scorer()(MeanOfReal(), X, y)
    with pytest.raises(ValueError, match="no entry is informative"):
        scorer()(MeanOfReal(), X, y, crb=crb * SNR**2 * 100)


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

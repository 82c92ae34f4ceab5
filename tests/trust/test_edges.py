"""Numbers at the edges: finite, or inf and NaN exactly where the documentation says so."""

from itertools import product

import numpy as np
import pytest
from models import CASES, TRAIN
from tissues import TR

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    MTHybridStateModel,
    NLLSEstimator,
    Pipeline,
    PosteriorMean,
    SVDCompressor,
    bias_variance,
    crb_loss,
    make_fingerprints,
)

SHORTEST = 1e-6  # s, where a range begins at an open zero
STOP_BAND = np.pi / TR
SLOW = {"two pools, reference": 120}  # every so many corners


def edges(parameter):
    """The ends of a parameter's range, and one value inside."""
    low, high = parameter.bounds
    if parameter.name == "B0":
        return [0.0, STOP_BAND, -STOP_BAND, 2 * STOP_BAND, 0.3 * STOP_BAND]
    least = low if parameter.closed in ("both", "left") else low + SHORTEST
    most = high if parameter.closed in ("both", "right") else np.nextafter(high, low)
    return [least, most, low + 0.05 * (high - low)]


def corners(model):
    """All combinations of the edges that the model allows."""
    theta = np.array(list(product(*(edges(parameter) for parameter in model.parameters))))
    for lower, upper in model.not_above.items():
        theta = theta[
            np.diff(theta[:, [model.parameter_names.index(lower), model.parameter_names.index(upper)]])[:, 0] >= 0
        ]
    return theta


@pytest.mark.parametrize("name", CASES)
def test_signal_and_bound_at_every_corner_of_the_ranges(name):
    model = CASES[name].model
    theta = corners(model)[:: SLOW.get(name, 1)]
    assert np.isfinite(model.signal(theta)).all()
    bound = model.crb(theta, targets=model.parameter_names)
    assert not np.isnan(bound).any()
    assert (bound > 0).all()


TISSUE = {"m0s": 0.12, "T1": 1.5, "T2f": 0.1, "Rx": 40.0, "T2s": 1e-5, "B0": 0.3 * STOP_BAND, "B1": 1.0}
ALL = list(TISSUE)


@pytest.mark.parametrize(
    ("edge", "unknowable"),
    [
        ({}, []),
        ({"m0s": 0.0}, ["Rx", "T2s"]),
        ({"Rx": 0.0}, ["m0s", "Rx", "T2s"]),
        ({"T2f": 1.5}, []),
        ({"B0": 0.0}, ["B0"]),
        ({"B0": 2 * STOP_BAND}, ["B0"]),
        ({"B0": STOP_BAND}, ALL),
        ({"B0": -STOP_BAND}, ALL),
        ({"B1": 0.3}, []),
        ({"B1": 1.7}, []),
        ({"B1": 0.0}, ALL),
    ],
    ids=str,
)
def test_where_a_bound_is_infinite(edge, unknowable):
    model = MTHybridStateModel(TRAIN)
    theta = np.array([list((TISSUE | edge).values())])
    bound = model.crb(theta, targets=model.parameter_names)[0]
    assert [name for name, value in zip(model.parameter_names, bound, strict=True) if np.isinf(value)] == unknowable


@pytest.fixture(scope="module")
def fitted():
    """Data of a two-pool model, and every kind of estimator for them."""
    case = CASES["two pools, hybrid state"]
    data = make_fingerprints(case.model, n_samples=200, prior=case.prior, random_state=0, progress=False)
    shared = {"prior": case.prior, "random_state": 0, "verbose": 0}
    network = CRBWeightedRegressor(max_epochs=2, refinement_epochs=1, batch_size=64, random_state=0, verbose=0)
    estimators = {
        "network": Pipeline([SVDCompressor(9), network]).fit(data.X, data.y, crb=data.crb),
        "least squares": NLLSEstimator(case.model, **shared).fit(),
        "dictionary": DictionaryMatcher(case.model, entries=200, **shared).fit(),
        "posterior mean": PosteriorMean(
            case.model, n_samples=100, n_adaptation_samples=100, n_candidates=256, n_components=2, **shared
        ).fit(),
    }
    return data, estimators


KINDS = ["network", "least squares", "dictionary", "posterior mean"]


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("m0", [1e-300, 1e-45, 1e45, 1e300])
def test_estimates_do_not_depend_on_the_size_of_m0(fitted, kind, m0):
    data, estimators = fitted
    X = data.X[:3]
    np.testing.assert_allclose(estimators[kind].predict(m0 * X), estimators[kind].predict(X), rtol=1e-4)


@pytest.mark.parametrize("m0", [1e-200, 1e-45, 1e45, 1e200])
def test_error_bars_of_a_network_do_not_depend_on_the_size_of_m0(fitted, m0):
    data, estimators = fitted
    compressor, network = estimators["network"][:-1], estimators["network"][-1]
    X = compressor.transform(data.X[:3])
    _, std = network.predict(X, return_std=True, noise_std=0.01)
    _, scaled = network.predict(m0 * X, return_std=True, noise_std=0.01 * m0)
    np.testing.assert_allclose(scaled, std, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_background_of_zeros_is_nan_and_nothing_else_is(fitted, kind):
    data, estimators = fitted
    X = data.X[:3].copy()
    X[1] = 0
    estimate = estimators[kind].predict(X)
    np.testing.assert_array_equal(np.isnan(estimate).all(axis=1), [False, True, False])
    assert np.isfinite(estimate[[0, 2]]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "edge", [{"m0s": 0.0}, {"Rx": 0.0}, {"T2f": 1.5}, {"B0": 0.0}, {"B1": 0.3}, {"B1": 1.7}], ids=str
)
@pytest.mark.parametrize("snr", [1, 1e4])
def test_estimates_of_tissues_at_the_edges_are_finite(fitted, kind, edge, snr):
    _, estimators = fitted
    signal = MTHybridStateModel(TRAIN).signal([list((TISSUE | edge).values())])
    real, imag = np.random.default_rng(0).standard_normal((2, *signal.shape))
    assert np.isfinite(estimators[kind].predict(signal + (real + 1j * imag) / snr)).all()


@pytest.mark.parametrize("kind", ["least squares", "dictionary", "posterior mean"])
def test_estimates_from_noise_stay_in_the_range_of_the_prior(fitted, kind):
    data, estimators = fitted
    real, imag = np.random.default_rng(1).standard_normal((2, 5, data.X.shape[1]))
    estimate = estimators[kind].predict(data.X[:5] + real + 1j * imag)
    case = CASES["two pools, hybrid state"]
    low, high = np.array([case.ranges[name] for name in case.model.default_targets]).T
    if kind == "least squares":  # varies the ratio of T2f to T1
        assert (estimate[:, 2] <= estimate[:, 1] * (1 + 1e-9)).all()
        estimate, low, high = estimate[:, :2], low[:2], high[:2]
    assert (estimate >= low * (1 - 1e-9)).all()
    assert (estimate <= high * (1 + 1e-9)).all()


@pytest.mark.parametrize("snr", [1, 10, 100, 1e4])
def test_losses_are_finite_at_every_snr(fitted, snr):
    data, estimators = fitted
    table = bias_variance(
        estimators["network"], data.X[:40], data.y[:40], data.crb[:40], snr=snr, n_realizations=3, random_state=0,
        progress=False,
    )  # fmt: skip
    whole = table[table["region"] == "all"]
    assert np.isfinite(whole[["bias2_over_crb", "variance_over_crb", "crb_loss"]]).all(axis=None)


def test_loss_leaves_out_what_cannot_be_known_and_refuses_to_average_nothing():
    truth, estimate = np.zeros((2, 2)), np.array([[1.0, 1e300], [2.0, -1e300]])
    bound = np.array([[1.0, np.inf], [4.0, np.inf]])
    assert crb_loss(truth, estimate, bound) == 1.0
    with pytest.raises(ValueError, match="crb is inf everywhere"):
        crb_loss(truth, estimate, np.full((2, 2), np.inf))

"""Parameters that are known in each voxel, in all that estimates, scores or searches."""

import pickle
from dataclasses import dataclass
from types import MappingProxyType

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import stats
from scipy.optimize import least_squares
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from tissues import BAND

from crbestim import (
    CRBEfficiencyScorer,
    CRBWeightedRegressor,
    FunctionModel,
    MultiEchoGradientEchoModel,
    NLLSEstimator,
    NoiseModel,
    Parameter,
    Pipeline,
    Prior,
    SignalModel,
    SVDCompressor,
    VariableFlipAngleModel,
    bias_variance,
    make_fingerprints,
)
from crbestim._validation import stack_complex
from crbestim.estimators import _callbacks

ANGLES, TR = np.deg2rad([2.0, 4.0, 8.0, 14.0, 20.0]), 5e-3
VFA = VariableFlipAngleModel(ANGLES, TR)
PRIOR = Prior({"T1": stats.uniform(0.8, 0.8), "B1": stats.uniform(0.8, 0.4)})
NOISE = NoiseModel.at_snr(3e3)


@pytest.fixture(scope="module")
def data():
    return make_fingerprints(VFA, PRIOR, 240, random_state=0, known="B1", progress=False)


def regressor(**kwargs):
    defaults = {"noise": NOISE, "max_epochs": 1, "batch_size": 128, "verbose": 0, "random_state": 0}
    return CRBWeightedRegressor(**(defaults | kwargs))


def pipeline(**kwargs):
    return Pipeline([SVDCompressor(3), regressor(**kwargs)])


@pytest.fixture(scope="module")
def pipe(data):
    """A fitted one."""
    return pipeline().fit(data.X, data.y, crb=data.crb, covariates=data.covariates)


@pytest.fixture(params=["routing", "no routing"])
def either_routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param == "routing"):
        yield


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- simulated data -------------------------------------------------------------------------------


def test_known_parameters_of_data_are_their_covariates():
    data = make_fingerprints(VFA, PRIOR, 20, random_state=0, known="B1", progress=False)
    assert isinstance(data.covariates, pd.DataFrame)
    pd.testing.assert_frame_equal(data.covariates, data.theta[["B1"]])
    assert data.target_names == ("T1",)
    np.testing.assert_array_equal(data.crb, VFA.crb(data.theta, known=("B1",)))
    unknown = make_fingerprints(VFA, PRIOR, 20, random_state=0, progress=False)
    assert "covariates" not in unknown
    np.testing.assert_array_equal(unknown.X, data.X)
    assert (data.crb < unknown.crb).all()


def test_covariates_of_data_come_in_the_order_of_known(short_model):
    known = ["T2s", "B1", "B0"]
    data = make_fingerprints(short_model, n_samples=5, random_state=0, known=known, progress=False)
    assert list(data.covariates.columns) == known
    assert data.target_names == ("m0s", "T1", "T2f")
    np.testing.assert_array_equal(data.covariates, data.theta[known])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"known": "B0"}, "known contains \\['B0'\\]"),
        ({"known": ("B1", "B1")}, "known contains a name twice"),
        ({"known": "B1", "targets": ("T1", "B1")}, "targets and known must not share"),
        ({"known": ("T1", "B1")}, "targets is empty"),
    ],
)
def test_bad_names_of_known_parameters_are_told(arguments, message):
    for function in (
        lambda: make_fingerprints(VFA, PRIOR, 5, progress=False, **arguments),
        lambda: NLLSEstimator(VFA, prior=PRIOR, **arguments).fit(),
        lambda: VFA.crb([[1.0, 1.0]], **arguments),
    ):
        with pytest.raises(ValueError, match=message):
            function()


# --- the network ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up():
    """Stacked coefficients, targets, bounds and two covariates of different size."""
    rng = np.random.default_rng(0)
    y = rng.uniform(0.5, 2.0, (128, 2))
    X = stack_complex(np.exp(1j * np.arange(3) * y[:, :1]) / (1 + y[:, 1:]))
    return X, y, 0.1 * y**2, pd.DataFrame({"field": 1e3 * y[:, 0] ** 2, "B1": rng.uniform(0.8, 1.2, 128)})


def fitted(made_up, covariates, **kwargs):
    X, y, crb, _ = made_up
    return regressor(**kwargs).fit(X, y, crb=crb, covariates=covariates)


@pytest.mark.parametrize("network", ["residual", "paper"])
def test_columns_of_a_frame_may_come_in_any_order(made_up, network):
    X, *_, frame = made_up
    first = fitted(made_up, frame, network=network)
    estimate = first.predict(X, covariates=frame)
    assert estimate.shape == (128, 2)
    assert first.covariate_names_ == ["field", "B1"]
    assert first.n_covariates_ == 2
    np.testing.assert_array_equal(first.predict(X, covariates=frame[["B1", "field"]]), estimate)
    np.testing.assert_array_equal(first.predict(X, covariates=frame.to_numpy()), estimate)
    np.testing.assert_array_equal(first.predict(X, covariates=frame.to_numpy().tolist()), estimate)
    from_array = fitted(made_up, frame.to_numpy(), network=network)
    assert from_array.covariate_names_ is None
    np.testing.assert_array_equal(from_array.predict(X, covariates=frame.to_numpy()), estimate)


@pytest.mark.parametrize("network", ["residual", "paper"])
def test_each_voxel_has_its_own_covariates(made_up, network):
    X, *_, frame = made_up
    network = fitted(made_up, frame, network=network)
    estimate, order = network.predict(X, covariates=frame), np.random.default_rng(1).permutation(128)
    np.testing.assert_allclose(network.predict(X[order], covariates=frame.iloc[order]), estimate[order], rtol=1e-4)
    for name in frame:
        changed = network.predict(X, covariates=frame.assign(**{name: frame[name].to_numpy()[order]}))
        assert (np.abs(changed - estimate).max(axis=0) > 1e-4).all()


@pytest.mark.parametrize("kind", [np.array, list, pd.Series, pd.DataFrame, lambda values: values[:, None]])
def test_a_single_covariate_may_be_one_dimensional(made_up, kind):
    X, *_, frame = made_up
    values = frame["field"].to_numpy()
    column = values[:, None]
    network = fitted(made_up, column)
    np.testing.assert_array_equal(network.predict(X, covariates=kind(values)), network.predict(X, covariates=column))
    again = fitted(made_up, kind(values))
    np.testing.assert_array_equal(again.predict(X, covariates=column), network.predict(X, covariates=column))


def test_a_frame_without_names_serves_as_an_array(made_up):
    """Its columns are called 0 and 1, which are no strings."""
    X, *_, frame = made_up
    unnamed = pd.DataFrame(frame.to_numpy())
    network = fitted(made_up, unnamed)
    expected = fitted(made_up, frame).predict(X, covariates=frame)
    np.testing.assert_array_equal(network.predict(X, covariates=unnamed), expected)


def test_covariates_may_have_any_unit(made_up):
    """Powers of two change no digit."""
    X, *_, frame = made_up
    scaled = frame * [2.0**40, 2.0**-40]
    expected = fitted(made_up, frame).predict(X, covariates=frame)
    np.testing.assert_array_equal(fitted(made_up, scaled).predict(X, covariates=scaled), expected)


def test_single_precision_whole_numbers_and_truth_values_are_covariates(made_up):
    X, *_, frame = made_up
    for values in (frame.to_numpy(np.float32), frame.to_numpy(int), frame.to_numpy() > 1, frame.astype(object)):
        network = fitted(made_up, values)
        assert np.isfinite(network.predict(X, covariates=values)).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 0.9])
def test_a_covariate_that_is_constant_in_training_does_nothing(made_up, value):
    """Not even in single precision, in which 0.9 is another number."""
    X, *_ = made_up
    network = fitted(made_up, np.full(128, value))
    expected = network.predict(X, covariates=np.full(128, value))
    near = network.predict(X, covariates=np.full(128, value, dtype=np.float32))
    np.testing.assert_allclose(near, expected, rtol=1e-4)


def test_fit_and_predict_leave_covariates_alone(made_up):
    X, *_, frame = made_up
    frame = frame.copy()
    before = frame.copy()
    fitted(made_up, frame).predict(X, covariates=frame)
    pd.testing.assert_frame_equal(frame, before)


def test_the_network_uses_the_covariate():
    """Small angles tell T1 B1^2: with B1, T1 is estimated several times as well as without."""
    train, test = (
        make_fingerprints(VFA, PRIOR, n, random_state=seed, known="B1", progress=False)
        for seed, n in enumerate((800, 200))
    )
    error = []
    for known in (True, False):
        pipe = pipeline(max_epochs=20)
        pipe.fit(train.X, train.y, crb=train.crb, **({"covariates": train.covariates} if known else {}))
        estimate = pipe.predict(test.X, **({"covariates": test.covariates} if known else {}))
        error.append(np.sqrt(np.mean((estimate - test.y) ** 2)))
    assert error[0] < 0.1 * test.y.std()
    assert error[1] > 5 * error[0]
    assert error[1] > 0.5 * test.y.std()


def test_rows_of_zeros_are_nan_and_disturb_no_other(made_up):
    X, *_, frame = made_up
    network = fitted(made_up, frame)
    masked, expected = X.copy(), network.predict(X, covariates=frame)
    masked[[0, 7]] = 0
    estimate = network.predict(masked, covariates=frame)
    assert np.isnan(estimate[[0, 7]]).all()
    others = np.delete(np.arange(128), [0, 7])
    np.testing.assert_array_equal(estimate[others], expected[others])


def test_a_fitted_network_can_be_pickled_and_cloned(made_up):
    X, *_, frame = made_up
    network = fitted(made_up, frame)
    again = pickle.loads(pickle.dumps(network))
    expected = network.predict(X, covariates=frame)
    np.testing.assert_array_equal(again.predict(X, covariates=frame[["B1", "field"]]), expected)
    copy = clone(network)
    assert not hasattr(copy, "n_covariates_")
    assert copy.fit(X, made_up[1], crb=made_up[2]).n_covariates_ == 0


def test_a_new_fit_forgets_the_covariates_of_the_last(made_up):
    X, y, crb, frame = made_up
    network = fitted(made_up, frame).fit(X, y, crb=crb)
    assert network.n_covariates_ == 0
    assert network.covariate_names_ is None
    np.testing.assert_array_equal(network.predict(X), regressor().fit(X, y, crb=crb).predict(X))


def _changed(frame, value):
    changed = frame.astype(type(value)) if isinstance(value, complex) else frame.copy()
    changed.iloc[3, 0] = value
    return changed


BAD_ANYWHERE = [
    (lambda frame: frame.iloc[:-1], ValueError, "covariates has 127 rows; expected 128"),
    (lambda frame: frame.to_numpy().T, ValueError, "covariates has 2 rows; expected 128"),
    (lambda frame: _changed(frame, np.nan), ValueError, "covariates contains NaN or infinity, first in row 3"),
    (lambda frame: _changed(frame, np.inf), ValueError, "covariates contains NaN or infinity, first in row 3"),
    (lambda frame: _changed(frame, 1j), TypeError, "covariates must be real"),
    (lambda frame: frame.to_numpy()[:, :, None], ValueError, "covariates must be 2-D"),
    (lambda frame: 1.0, ValueError, "covariates must be 2-D"),
    (lambda frame: frame.to_numpy()[:, :0], ValueError, "covariates is empty"),
    (lambda frame: frame.replace({"B1": frame["B1"][0]}, "one"), TypeError, "covariates must hold numbers"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_ANYWHERE)
def test_bad_covariates_of_a_training_are_named(made_up, change, error, message):
    with pytest.raises(error, match=message):
        fitted(made_up, change(made_up[3]))


@pytest.fixture(scope="module")
def network(made_up):
    return fitted(made_up, made_up[3])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *BAD_ANYWHERE,
        (lambda frame: None, ValueError, "covariates must be given, as they were in fit \\(\\['field', 'B1'\\]\\)"),
        (lambda frame: frame[["B1"]], ValueError, "covariates must have the columns \\['field', 'B1'\\] in any order"),
        (lambda frame: frame.assign(T1=1.0), ValueError, "covariates must have the columns"),
        (lambda frame: frame.rename(columns={"B1": "b1"}), ValueError, "covariates must have the columns"),
        (lambda frame: frame[["B1", "B1"]], ValueError, "covariates must have the columns"),
        (lambda frame: frame["B1"], ValueError, "covariates must have one column for each"),
        (lambda frame: np.ones((128, 3)), ValueError, "covariates must have one column for each"),
    ],
)
def test_bad_covariates_of_a_prediction_are_named(made_up, network, change, error, message):
    with pytest.raises(error, match=message):
        network.predict(made_up[0], covariates=change(made_up[3]))


def test_covariates_that_were_not_in_the_training_are_refused(made_up):
    X, y, crb, frame = made_up
    without = regressor().fit(X, y, crb=crb)
    with pytest.raises(ValueError, match="covariates"):
        without.predict(X, covariates=frame)
    nameless = fitted(made_up, frame.to_numpy())
    with pytest.raises(ValueError, match="covariates must be given"):
        nameless.predict(X)
    with pytest.raises(ValueError, match="covariates must have 2 columns, as in fit; got 1"):
        nameless.predict(X, covariates=frame[["B1"]])


# --- warm start and checkpoints -------------------------------------------------------------------


def test_a_warm_start_goes_on_with_the_same_covariates(made_up):
    X, y, crb, frame = made_up
    warm = [fitted(made_up, frame, warm_start=True, max_epochs=2) for _ in range(2)]
    warm[0].fit(X, y, crb=crb, covariates=frame)
    warm[1].fit(X, y, crb=crb, covariates=frame[["B1", "field"]])
    first, second = (each.predict(X, covariates=frame) for each in warm)
    np.testing.assert_array_equal(first, second)
    assert warm[0].covariate_names_ == ["field", "B1"]
    cold = fitted(made_up, frame, max_epochs=2)
    assert not np.array_equal(cold.predict(X, covariates=frame), first)


def test_a_warm_start_keeps_the_scale_of_the_first_training(made_up):
    """A second training with covariates of a narrow range still knows what their values mean."""
    X, y, crb, frame = made_up
    warm = fitted(made_up, frame, warm_start=True, max_epochs=1, learning_rate=1e-12)
    before = warm.predict(X, covariates=frame)
    rows = frame["field"].to_numpy() < frame["field"].median()
    warm.fit(X[rows], y[rows], crb=crb[rows], covariates=frame[rows])
    np.testing.assert_allclose(warm.predict(X, covariates=frame), before, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: None, "covariates must be given"),
        (lambda frame: frame[["B1"]], "covariates must have the columns"),
        (lambda frame: frame.to_numpy()[:, 0], "covariates must have one column for each"),
        (lambda frame: frame.assign(T1=1.0), "covariates must have the columns"),
    ],
)
def test_a_warm_start_with_other_covariates_is_refused_and_harms_nothing(made_up, change, message):
    X, y, crb, frame = made_up
    warm = fitted(made_up, frame, warm_start=True)
    before = warm.predict(X, covariates=frame)
    with pytest.raises(ValueError, match=message):
        warm.fit(X, y, crb=crb, covariates=change(frame))
    np.testing.assert_array_equal(warm.predict(X, covariates=frame), before)


def test_a_warm_start_does_not_add_covariates(made_up):
    X, y, crb, frame = made_up
    warm = regressor(warm_start=True).fit(X, y, crb=crb)
    with pytest.raises(ValueError, match="covariates"):
        warm.fit(X, y, crb=crb, covariates=frame)
    assert np.isfinite(warm.predict(X)).all()


class Kill(BaseException):
    """As if the process ended."""


def killed_after(monkeypatch, epochs):
    write = _callbacks.TrainingCheckpoint.on_epoch_end

    def dying(self, net, **kwargs):
        write(self, net, **kwargs)
        if len(net.history) == epochs:
            raise Kill

    monkeypatch.setattr(_callbacks.TrainingCheckpoint, "on_epoch_end", dying)


@pytest.mark.parametrize("network", ["residual", "paper"])
def test_resumed_training_equals_uninterrupted_training(made_up, tmp_path, monkeypatch, network):
    X, *_, frame = made_up
    settings = {"max_epochs": 2, "network": network}
    whole = fitted(made_up, frame, **settings)
    path = tmp_path / "state.pt"
    with monkeypatch.context() as patch, pytest.raises(Kill):
        killed_after(patch, 1)
        fitted(made_up, frame, checkpoint=path, **settings)
    resumed = fitted(made_up, frame, checkpoint=path, **settings)
    expected = whole.predict(X, covariates=frame)
    np.testing.assert_array_equal(resumed.predict(X, covariates=frame[["B1", "field"]]), expected)


def test_a_checkpoint_of_other_covariates_is_refused(made_up, tmp_path):
    frame, path = made_up[3], tmp_path / "state.pt"
    fitted(made_up, frame, checkpoint=path)
    fitted(made_up, frame.to_numpy(), checkpoint=path)  # the same ones
    one = frame.copy()
    one.iloc[17, 1] += 1e-3
    for other in (one, frame.iloc[::-1], frame[["field"]], frame[["B1", "field"]], None):
        with pytest.raises(ValueError, match="checkpoint: .* other data or settings"):
            fitted(made_up, other, checkpoint=path)


# --- pipelines ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("either_routing")
def test_a_pipeline_hands_covariates_to_its_network(data, pipe):
    again = pipeline().fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    expected = pipe.predict(data.X, covariates=data.covariates)
    np.testing.assert_array_equal(again.predict(data.X, covariates=data.covariates), expected)
    np.testing.assert_array_equal(again.predict(data.X, covariates=data.covariates["B1"].to_numpy()), expected)
    stacked = again[0].transform(data.X)
    np.testing.assert_array_equal(again[-1].predict(stacked, covariates=data.covariates), expected)
    with pytest.raises(ValueError, match="covariates must be given"):
        again.predict(data.X)
    with pytest.raises(ValueError, match="covariates has 239 rows; expected 240"):
        again.predict(data.X, covariates=data.covariates[:-1])


def test_make_pipeline_of_scikit_learn_hands_covariates_to_its_network(data, pipe):
    expected = pipe.predict(data.X, covariates=data.covariates)
    with sklearn.config_context(enable_metadata_routing=True):
        theirs = make_pipeline(SVDCompressor(3), regressor())
        theirs.fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
        np.testing.assert_array_equal(theirs.predict(data.X, covariates=data.covariates), expected)
    theirs = make_pipeline(SVDCompressor(3), regressor()).fit(
        data.X, data.y, crbweightedregressor__crb=data.crb, crbweightedregressor__covariates=data.covariates
    )
    np.testing.assert_array_equal(theirs.predict(data.X, covariates=data.covariates), expected)


@pytest.mark.usefixtures("either_routing")
def test_a_pipeline_that_has_no_use_for_covariates_tells(data):
    bare = Pipeline([SVDCompressor(3), LinearRegression()])
    with pytest.raises(TypeError, match="covariates"):
        bare.fit(data.X, data.y, covariates=data.covariates)


@pytest.mark.usefixtures("either_routing")
def test_a_pipeline_hands_covariates_to_least_squares(data, pipe):
    basis = pipe[0].basis_
    fit = Pipeline([SVDCompressor(basis=basis), nlls(basis=basis)])
    fit.fit(data.X, data.y, covariates=data.covariates)
    np.testing.assert_allclose(fit.predict(data.X[:9], covariates=data.covariates[:9]), data.y[:9], rtol=1e-5)
    images, b1 = (data.X[:6] @ basis).reshape(2, 3, 3), data.covariates[:6].to_numpy().reshape(2, 3)
    maps = fit.predict_coefficients(images, covariates=b1)
    np.testing.assert_allclose(maps, data.y[:6].reshape(2, 3, 1), rtol=1e-5)


def _maps(pipe, data):
    """Coefficient images (4, 6, k), a map of B1 (4, 6) and estimates (4, 6, 1)."""
    rows = slice(24)
    expected = pipe.predict(data.X[rows], covariates=data.covariates[rows]).reshape(4, 6, 1)
    return (data.X[rows] @ pipe[0].basis_).reshape(4, 6, 3), data.covariates[rows].to_numpy().reshape(4, 6), expected


@pytest.mark.usefixtures("either_routing")
@pytest.mark.parametrize(
    "shape",
    [
        lambda b1: b1,
        lambda b1: b1[:, :, None],
        lambda b1: b1.tolist(),
        lambda b1: b1.astype(np.float32),
        lambda b1: pd.DataFrame({"B1": b1.ravel()}),
    ],
    ids=["(h, w)", "(h, w, 1)", "list", "single precision", "frame"],
)
def test_coefficient_images_with_a_map(data, pipe, shape):
    images, b1, expected = _maps(pipe, data)
    np.testing.assert_allclose(pipe.predict_coefficients(images, covariates=shape(b1)), expected, rtol=1e-5)


def test_coefficient_images_with_a_map_in_another_memory_order(data, pipe):
    images, b1, expected = _maps(pipe, data)
    maps = pipe.predict_coefficients(images.transpose(1, 0, 2), covariates=b1.T)
    np.testing.assert_allclose(maps, expected.transpose(1, 0, 2), rtol=1e-5)
    flat = pipe.predict_coefficients(images.reshape(24, 3), covariates=np.asfortranarray(b1).ravel())
    np.testing.assert_allclose(flat.reshape(4, 6, 1), expected, rtol=1e-5)
    volume = pipe.predict_coefficients(images.reshape(2, 2, 3, 2, 3), covariates=b1.reshape(2, 2, 3, 2))
    np.testing.assert_allclose(volume, expected.reshape(2, 2, 3, 2, 1), rtol=1e-5)


def test_coefficient_images_with_several_maps(short_model):
    data = make_fingerprints(short_model, n_samples=120, random_state=0, known=("B1", "B0"), progress=False)
    pipe = Pipeline([SVDCompressor(4), regressor()]).fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    expected = pipe.predict(data.X, covariates=data.covariates[["B0", "B1"]]).reshape(10, 12, 3)
    images, maps = (data.X @ pipe[0].basis_).reshape(10, 12, 4), data.covariates.to_numpy().reshape(10, 12, 2)
    np.testing.assert_allclose(pipe.predict_coefficients(images, covariates=maps), expected, rtol=1e-5)
    frame = data.covariates[["B0", "B1"]]
    np.testing.assert_allclose(pipe.predict_coefficients(images, covariates=frame), expected, rtol=1e-5)
    for bad in (maps[:, :, 0], maps[:, :, :1]):
        with pytest.raises(ValueError, match="covariates must have one column for each of \\['B1', 'B0'\\]; got 1"):
            pipe.predict_coefficients(images, covariates=bad)


def test_one_target_without_an_axis_has_maps_without_one(data):
    pipe = pipeline().fit(data.X, data.y[:, 0], crb=data.crb[:, 0], covariates=data.covariates)
    images = (data.X[:6] @ pipe[0].basis_).reshape(2, 3, 3)
    maps = pipe.predict_coefficients(images, covariates=data.covariates[:6].to_numpy().reshape(2, 3))
    expected = pipe.predict(data.X[:6], covariates=data.covariates[:6]).reshape(2, 3)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


@pytest.mark.usefixtures("either_routing")
def test_named_columns_stay_named(data):
    compressor = SVDCompressor(3).set_output(transform="pandas")
    pipe = Pipeline([compressor, regressor()]).fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    expected = pipe.predict(data.X, covariates=data.covariates)
    maps = pipe.predict_coefficients(data.X @ compressor.basis_, covariates=data.covariates)
    np.testing.assert_allclose(maps, expected, rtol=1e-4)


def test_background_is_nan_in_maps_and_disturbs_no_other(data, pipe):
    """A masked map of B1 may well be zero there."""
    images, b1, expected = _maps(pipe, data)
    masked, mask = images.copy(), np.zeros((4, 6), dtype=bool)
    mask[1, 2] = mask[3] = True
    masked[mask] = 0
    for values in (b1, np.where(mask, 0.0, b1)):
        maps = pipe.predict_coefficients(masked, covariates=values)
        assert np.isnan(maps[mask]).all()
        np.testing.assert_allclose(maps[~mask], expected[~mask], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda b1: None, ValueError, "covariates must be given"),
        (lambda b1: b1.T, ValueError, "covariates must have shape \\(4, 6, 'c'\\).*; got \\(6, 4\\)"),
        (lambda b1: b1.ravel(), ValueError, "covariates must have shape"),
        (lambda b1: b1.ravel()[:, None], ValueError, "covariates must have shape"),
        (lambda b1: b1[None], ValueError, "covariates must have shape"),
        (lambda b1: 1.0, ValueError, "covariates must have shape"),
        (lambda b1: np.stack([b1, b1], axis=-1), ValueError, "covariates must have one column"),
        (lambda b1: np.where(b1 == b1[0, 3], np.nan, b1), ValueError, "covariates contains NaN or infinity.*row 3"),
        (lambda b1: b1 + 0j, TypeError, "covariates must be real"),
        (lambda b1: b1.astype(str), TypeError, "covariates must hold numbers"),
        (lambda b1: pd.DataFrame({"B1": b1.ravel()[1:]}), ValueError, "covariates has 23 rows; expected 24"),
        (lambda b1: pd.DataFrame(b1), ValueError, "covariates must have the columns \\['B1'\\]"),
    ],
)
def test_bad_maps_are_named(data, pipe, change, error, message):
    images, b1, _ = _maps(pipe, data)
    with pytest.raises(error, match=message):
        pipe.predict_coefficients(images, covariates=change(b1))


def test_a_fitted_pipeline_can_be_pickled_and_cloned(data, pipe):
    again = pickle.loads(pickle.dumps(pipe))
    expected = pipe.predict(data.X, covariates=data.covariates)
    np.testing.assert_array_equal(again.predict(data.X, covariates=data.covariates), expected)
    copy = clone(pipe).fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    np.testing.assert_array_equal(copy.predict(data.X, covariates=data.covariates), expected)


# --- scores and searches --------------------------------------------------------------------------


def scorer(n_realizations=3, noise=NOISE):
    return CRBEfficiencyScorer(noise, n_realizations=n_realizations, random_state=0)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("make", [lambda *steps: Pipeline(list(steps)), make_pipeline], ids=["ours", "scikit-learn"])
def test_cross_validation_splits_covariates_with_the_samples(data, make):
    pipe = make(SVDCompressor(3), regressor(max_epochs=2))
    params = {"crb": data.crb, "covariates": data.covariates}
    options = {"scoring": scorer(), "cv": 2, "error_score": "raise"}
    scores = cross_val_score(pipe, data.X, data.y, params=params, **options)
    half = slice(120), slice(120, None)
    reference = clone(pipe).fit(data.X[half[0]], data.y[half[0]], crb=data.crb[:120], covariates=data.covariates[:120])
    expected = scorer()(reference, data.X[120:], data.y[120:], crb=data.crb[120:], covariates=data.covariates[120:])
    assert scores[1] == pytest.approx(expected, rel=1e-6)
    labelled = data.covariates.set_axis(np.arange(240)[::-1], axis=0)  # rows count, not their labels
    for covariates in (labelled, data.covariates["B1"].tolist()):
        again = cross_val_score(pipe, data.X, data.y, params=params | {"covariates": covariates}, **options)
        np.testing.assert_allclose(again, scores, rtol=1e-6)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("make", [lambda *steps: Pipeline(list(steps)), make_pipeline], ids=["ours", "scikit-learn"])
def test_a_grid_search_takes_covariates(data, make):
    pipe = make(SVDCompressor(3), regressor())
    grid = {"svdcompressor__n_components": [2, 3], "crbweightedregressor__batch_size": [64]}
    search = GridSearchCV(pipe, grid, scoring=scorer(), cv=2, error_score="raise")
    search.fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    assert 0 < search.best_score_ <= 1
    best = search.best_estimator_
    assert best[-1].covariate_names_ == ["B1"]
    assert best.predict(data.X, covariates=data.covariates).shape == data.y.shape
    assert 0 < search.score(data.X, data.y, crb=data.crb, covariates=data.covariates) <= 1


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("bare", [True, False])
def test_least_squares_is_cross_validated_with_covariates(data, bare):
    """`NLLSEstimator.fit` takes covariates "so that a pipeline or a cross-validation may pass them"."""
    n = slice(24)
    estimator = nlls(n_starts=1) if bare else Pipeline([("fit", nlls(n_starts=1))])
    params = {"crb": data.crb[n], "covariates": data.covariates[n]}
    scores = cross_val_score(
        estimator, data.X[n], data.y[n], params=params, scoring=scorer(10), cv=2, error_score="raise"
    )
    assert (scores > 0.6).all()
    search = GridSearchCV(
        estimator, {"n_starts" if bare else "fit__n_starts": [1, 2]}, scoring=scorer(), cv=2, error_score="raise"
    )
    search.fit(data.X[n], data.y[n], **params)
    assert search.best_score_ > 0.5


def test_the_scorer_hands_covariates_to_the_estimator(data):
    pipe = pipeline(max_epochs=15).fit(data.X, data.y, crb=data.crb, covariates=data.covariates)
    score = scorer()(pipe, data.X, data.y, crb=data.crb, covariates=data.covariates)
    same = scorer()(pipe, data.X, data.y, crb=data.crb, covariates=data.covariates["B1"].to_numpy())
    assert same == score
    wrong = scorer()(pipe, data.X, data.y, crb=data.crb, covariates=data.covariates.iloc[::-1])
    assert wrong < 0.5 * score
    with pytest.raises(ValueError, match="covariates must be given"):
        scorer()(pipe, data.X, data.y, crb=data.crb)
    with pytest.raises(ValueError, match="covariates has 239 rows"):
        scorer()(pipe, data.X, data.y, crb=data.crb, covariates=data.covariates[1:])


def test_the_scorer_hands_covariates_to_the_estimator_of_data_with_their_own_noise(data):
    n = slice(60)
    noisy = NOISE.add_to(data.X[n], np.random.default_rng(0), np.ones(60))
    own, bound = scorer(noise=None), data.crb[n] * NOISE.noise_std**2
    fit = nlls(n_starts=1).fit()
    assert own(fit, noisy, data.y[n], crb=bound, covariates=data.covariates[n]) > 0.6
    assert own(fit, noisy, data.y[n], crb=bound, covariates=1.1 * data.covariates[n]) < 0.05


def test_bias_variance_of_least_squares_with_a_known_field(data):
    """No bias and the variance of the bound; a B1 that is 2 % too great makes T1 4 % too small at small angles."""
    n, snr = slice(20), 3e4
    fit = nlls(n_starts=1, n_candidates=256).fit()

    def table(covariates):
        frame = bias_variance(
            fit, data.X[n], data.y[n], data.crb[n], snr=snr, n_realizations=10, covariates=covariates, random_state=0,
            progress=False,
        )  # fmt: skip
        return frame.set_index("region").loc["all"]

    right = table(data.covariates[n])
    assert right["variance_over_crb"] == pytest.approx(1, abs=4 * np.sqrt(2 / 9 / 20))
    assert right["bias"] == pytest.approx(0, abs=4 * right["bias_se"])
    wrong = table(1.02 * data.covariates[n])
    assert wrong["bias"] == pytest.approx((1.02**-2 - 1) * data.y[n].mean(), rel=0.1)


def test_bias_variance_needs_the_covariates_of_the_estimator(data, pipe):
    options = {"n_realizations": 2, "progress": False, "random_state": 0}
    with pytest.raises(ValueError, match="covariates must be given"):
        bias_variance(pipe, data.X, data.y, data.crb, **options)
    with pytest.raises(ValueError, match="covariates has 5 rows"):
        bias_variance(pipe, data.X, data.y, data.crb, covariates=data.covariates[:5], **options)
    frames = [
        bias_variance(pipe, data.X, data.y, data.crb, covariates=covariates, **options)
        for covariates in (data.covariates, data.covariates.to_numpy(), data.covariates.to_numpy()[:, 0])
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_frame_equal(frames[0], frames[2])


# --- least squares --------------------------------------------------------------------------------


def nlls(model=VFA, prior=PRIOR, known="B1", **kwargs):
    defaults = {"n_candidates": 512, "verbose": 0, "random_state": 0}
    return NLLSEstimator(model, prior=prior, known=known, **(defaults | kwargs))


def test_a_fit_with_known_b1_is_that_of_t1_alone(data):
    """By another minimiser, of T1 and both parts of M0, with Ernst's formula and each voxel's B1."""
    n = 20
    b1 = data.covariates["B1"].to_numpy()[:n]
    noisy = NoiseModel(1e-4, m0_range=(0.5, 2.0)).add_to(data.X[:n], np.random.default_rng(0))
    estimate = nlls().fit().predict(noisy, covariates=b1)
    for row, field, value in zip(noisy, b1, estimate[:, 0], strict=True):

        def residual(x, row=row, field=field):
            e1, angle = np.exp(-TR / x[0]), field * ANGLES
            error = row - (x[1] + 1j * x[2]) * np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle))
            return np.concatenate([error.real, error.imag])

        start = [1.2, *np.array([row[2].real, row[2].imag]) / 0.05]
        expected = least_squares(residual, start, x_scale=[1, 10, 10], xtol=1e-14, ftol=1e-14, gtol=1e-14).x[0]
        assert value == pytest.approx(np.clip(expected, 0.8, 1.6), rel=1e-5)


def test_columns_of_known_parameters_come_by_name_or_in_the_order_of_known(short_model):
    theta = make_fingerprints(short_model, n_samples=3, random_state=3, progress=False).theta
    X, known = short_model.signal(theta), ("B1", "T2s", "B0", "Rx")
    fit = NLLSEstimator(short_model, known=known, n_candidates=512, verbose=0, random_state=0).fit()
    frame = theta[list(known)]
    estimate = fit.predict(X, covariates=frame.to_numpy())
    np.testing.assert_allclose(estimate, theta[["m0s", "T1", "T2f"]], rtol=1e-4)
    np.testing.assert_array_equal(fit.predict(X, covariates=frame[["Rx", "B0", "B1", "T2s"]]), estimate)
    relabelled = frame.set_axis(["x", "x", "x"], axis=0)
    np.testing.assert_array_equal(fit.predict(X, covariates=relabelled), estimate)
    assert fit.target_names_ == ("m0s", "T1", "T2f")


TISSUE = pd.DataFrame([[0.15, 1.2, 0.08, 40.0, 1e-5, 0.2 * BAND, 0.95]], index=["a"])


@pytest.mark.parametrize("free", ["m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1"])
def test_all_parameters_but_one_may_be_known(short_model, free):
    theta = TISSUE.set_axis(short_model.parameter_names, axis=1)
    known = [name for name in theta if name != free][::-1]
    fit = NLLSEstimator(short_model, free, known=known, n_candidates=512, verbose=0, random_state=0).fit()
    estimate = fit.predict(short_model.signal(theta) * 3j, covariates=theta[known])
    np.testing.assert_allclose(estimate, theta[[free]], rtol=1e-5)


def test_a_parameter_may_be_known_beyond_the_prior():
    """Starts are the nearest ones; the fit takes the value as it is."""
    theta = np.array([[1.0, 0.5], [1.2, 2.5]])
    estimate = nlls().fit().predict(VFA.signal(theta), covariates=theta[:, 1])
    np.testing.assert_allclose(estimate, theta[:, :1], rtol=1e-6)


def test_jobs_do_not_matter(data):
    noisy = NOISE.add_to(data.X[:8], np.random.default_rng(0))
    expected = nlls().fit().predict(noisy, covariates=data.covariates[:8])
    with joblib.parallel_config("threading"):
        estimate = nlls(n_jobs=2).fit().predict(noisy, covariates=data.covariates[:8])
    np.testing.assert_allclose(estimate, expected, rtol=1e-8)


def test_voxels_of_zeros_are_nan_and_disturb_no_other_fit(data):
    X, b1 = data.X[:6].copy(), data.covariates["B1"].to_numpy()[:6]
    X[[0, 3]] = 0
    fit = nlls().fit()
    estimate = fit.predict(X, covariates=b1)
    assert np.isnan(estimate[[0, 3]]).all()
    np.testing.assert_allclose(estimate[[1, 2, 4, 5]], data.y[[1, 2, 4, 5]], rtol=1e-6)
    assert np.isnan(fit.predict(np.zeros((2, 5), complex), covariates=b1[:2])).all()


def test_a_fitted_estimator_with_known_parameters_can_be_pickled_and_cloned(data):
    fit = nlls(known=["B1"]).fit()
    expected = fit.predict(data.X[:2], covariates=data.covariates[:2])
    for other in (pickle.loads(pickle.dumps(fit)), clone(fit).fit()):
        np.testing.assert_array_equal(other.predict(data.X[:2], covariates=data.covariates[:2]), expected)


@pytest.mark.parametrize(
    ("covariates", "error", "message"),
    [
        (None, ValueError, "covariates must be given: the values of the known parameters \\['B1'\\]"),
        ([1.0], ValueError, "covariates has 1 rows; expected 2"),
        ([[1.0, 1.0], [1.0, 1.0]], ValueError, "covariates must have one column for each of \\['B1'\\]; got 2"),
        ([1.0, np.nan], ValueError, "covariates contains NaN or infinity, first in row 1"),
        ([1.0, np.inf], ValueError, "covariates contains NaN or infinity, first in row 1"),
        ([1.0, 1j], TypeError, "covariates must be real"),
        (["1", "a"], TypeError, "covariates must hold numbers"),
        ([1.0, 0.0], ValueError, "covariates: B1 must lie in \\(0, 3\\]; got 0 in row 1"),
        ([1.0, -1.0], ValueError, "covariates: B1 must lie in \\(0, 3\\]; got -1 in row 1"),
        ([100.0, 1.0], ValueError, "covariates: B1 must lie in \\(0, 3\\]; got 100 in row 0"),
        (pd.DataFrame({"T1": [1.0, 1.0]}), ValueError, "covariates must have the columns \\['B1'\\]"),
        (pd.DataFrame({"B1": [1.0, 1.0], "T1": [1.0, 1.0]}), ValueError, "covariates must have the columns"),
        (pd.DataFrame([[1.0, 1.0]] * 2, columns=["B1", "B1"]), ValueError, "covariates must have the columns"),
    ],
)
def test_bad_values_of_known_parameters_are_named(data, covariates, error, message):
    with pytest.raises(error, match=message):
        nlls().fit().predict(data.X[:2], covariates=covariates)


def test_covariates_without_a_known_parameter_are_refused(data):
    with pytest.raises(ValueError, match="covariates were given, but no parameter is known"):
        nlls(known=()).fit().predict(data.X[:2], covariates=[1.0, 1.0])


@pytest.mark.parametrize("b0", [stats.norm(0.0, 100.0), stats.uniform(-200.0, 400.0)], ids=["unbounded", "bounded"])
def test_the_prior_of_a_known_parameter_may_be_unbounded(b0):
    """Only what is fitted needs bounds."""
    model = MultiEchoGradientEchoModel(np.arange(1, 9) * 3e-3)
    prior = Prior({"T2star": stats.uniform(0.02, 0.04), "B0": b0})
    theta = np.array([[0.03, 50.0], [0.05, -300.0]])
    estimate = nlls(model, prior, "B0").fit().predict(model.signal(theta), covariates=theta[:, 1])
    np.testing.assert_allclose(estimate, theta[:, :1], rtol=1e-6)


# --- known parameters of which one must not exceed another ------------------------------------------

T1, T2 = (Parameter(name, name, "s", (0.0, 30.0), closed="right") for name in ("T1", "T2"))
ECHOES = torch.linspace(0.01, 1.2, 20, dtype=torch.float64)


def two_decays(T1, T2):
    return 0.7 * torch.exp(-ECHOES / T1) + 0.5 * torch.exp((60j - 1 / T2) * ECHOES)


@dataclass(frozen=True)
class Decays(SignalModel):
    """A model of one's own: lines that decay with T1, T2, ..., of which some must not exceed others."""

    pairs: tuple[tuple[str, str], ...]
    n_lines: int = 2
    n_timepoints = 20

    @property
    def parameters(self):
        names = [f"T{i}" for i in range(1, self.n_lines + 1)]
        return tuple(Parameter(name, name, "s", (0.0, 30.0), closed="right") for name in names)

    @property
    def not_above(self):
        return MappingProxyType(dict(self.pairs))

    def _lines(self, theta):
        t = np.linspace(0.01, 1.2, 20)[:, None]
        weights, frequencies = np.array([0.7, 0.5, 1.0])[: self.n_lines], np.array([0.0, 60.0, 10.0])[: self.n_lines]
        lines = weights * np.exp((1j * frequencies - 1 / theta[:, None]) * t)
        return lines, lines * t / theta[:, None] ** 2

    def _signal(self, theta):
        return self._lines(theta)[0].sum(axis=2)

    def _jacobian(self, theta):
        return self._lines(theta)[1]


PAIR = Decays((("T2", "T1"),))
PAIR_PRIOR = Prior({"T1": stats.uniform(0.5, 1.5), "T2": stats.uniform(0.05, 0.4)})


@pytest.mark.parametrize(
    ("known", "truth"),
    [
        ("T2", (1.0, 0.1)),
        ("T2", (1.0, 1.0)),
        ("T2", (1.5, 1.2)),
        ("T1", (1.0, 0.1)),
        ("T1", (0.5, 0.44)),
        # beyond the support of what is known, but not of what is fitted
        ("T1", (0.3, 0.28)),
        ("T1", (4.0, 0.06)),
        ("T1", (30.0, 0.1)),
        ("T1", (0.2, 0.2)),
    ],
)
def test_either_of_a_pair_may_be_known(known, truth):
    truth = pd.DataFrame([truth], columns=["T1", "T2"])
    estimate = nlls(PAIR, PAIR_PRIOR, known).fit().predict(PAIR.signal(truth), covariates=truth[[known]])
    np.testing.assert_allclose(estimate, truth.drop(columns=known), rtol=1e-3)


def test_either_of_a_pair_of_a_function_may_be_known():
    model = FunctionModel(two_decays, (T1, T2), not_above={"T2": "T1"})
    truth = pd.DataFrame([[1.0, 0.1], [0.6, 0.4]], columns=["T1", "T2"])
    for known, other in (("T1", "T2"), ("T2", "T1")):
        fit = nlls(model, PAIR_PRIOR, known, n_starts=1).fit()
        estimate = fit.predict(model.signal(truth), covariates=truth[[known]])
        np.testing.assert_allclose(estimate, truth[[other]], rtol=1e-5)


@pytest.mark.parametrize("known", ["T1", "T2"])
@pytest.mark.parametrize("value", [1e-3, 0.03, 0.3, 3.0, 29.99, 30.0])
def test_estimates_of_a_pair_are_physical_wherever_the_other_is_known(known, value):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, 20)) + 1j * rng.standard_normal((3, 20))
    estimate = nlls(PAIR, PAIR_PRIOR, known).fit().predict(noise, covariates=np.full(3, value))
    t1, t2 = (np.full(3, value), estimate[:, 0]) if known == "T1" else (estimate[:, 0], np.full(3, value))
    assert (t2 <= t1).all()
    assert (t1 <= 30).all()
    assert (t2 > 0).all()


@pytest.mark.parametrize("known", ["T1", "T2f"])
def test_estimates_of_two_pools_are_physical_wherever_one_of_them_is_known(short_model, known):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, 60)) + 1j * rng.standard_normal((3, 60))
    values = np.array([0.05, 1.0, 7.0])
    fit = NLLSEstimator(short_model, known=known, n_starts=1, n_candidates=256, verbose=0, random_state=0).fit()
    estimate = pd.DataFrame(fit.predict(noise, covariates=values), columns=fit.target_names_).assign(**{known: values})
    assert (estimate["T2f"] <= estimate["T1"]).all()
    assert np.isfinite(estimate).all(axis=None)


@pytest.mark.parametrize("known", ["T1", "T2f"])
def test_two_pools_are_fitted_with_either_of_their_relaxation_times_known(short_model, known):
    theta = TISSUE.set_axis(short_model.parameter_names, axis=1)
    fit = NLLSEstimator(short_model, known=known, n_candidates=512, verbose=0, random_state=0).fit()
    estimate = fit.predict(short_model.signal(theta), covariates=theta[[known]])
    np.testing.assert_allclose(estimate, theta[list(fit.target_names_)], rtol=1e-3)


def test_known_values_that_contradict_each_other_are_named():
    """They are covariates, in a row of their own, and no theta."""
    model = Decays((("T2", "T1"),), 3)
    prior = Prior({"T1": stats.uniform(0.5, 1.5), "T2": stats.uniform(0.05, 0.4), "T3": stats.uniform(0.1, 0.8)})
    truth = np.array([[1.0, 0.2, 0.3], [0.5, 0.5, 0.4]])
    fit = nlls(model, prior, ("T1", "T2")).fit()
    np.testing.assert_allclose(fit.predict(model.signal(truth), covariates=truth[:, :2]), truth[:, 2:], rtol=1e-6)
    with pytest.raises(ValueError, match="covariates: T2 must not exceed T1; .* in row 1"):
        fit.predict(model.signal(truth), covariates=[[1.0, 0.2], [0.4, 0.5]])


@pytest.mark.parametrize("known", [(), ("T1",), ("T2",)])
def test_the_prior_of_the_upper_of_a_pair_may_begin_at_zero(known):
    prior = Prior({"T1": stats.gamma(4.0, scale=0.3), "T2": lambda theta: stats.uniform(0.0, theta["T1"])})
    truth = pd.DataFrame({"T1": [1.0], "T2": [0.2]})
    fit = nlls(PAIR, prior, known).fit()
    estimate = fit.predict(PAIR.signal(truth), covariates=truth[list(known)] if known else None)
    np.testing.assert_allclose(estimate, truth.drop(columns=list(known)), rtol=1e-5)


@pytest.mark.parametrize("known", [(), ("T1",), ("T2",), ("T3",), ("T1", "T3")], ids="-".join)
def test_pairs_may_share_an_upper_parameter(known):
    model = Decays((("T2", "T1"), ("T3", "T1")), 3)
    prior = Prior(
        {
            "T1": stats.uniform(0.2, 3.0),
            "T2": lambda theta: stats.uniform(0.1, np.minimum(theta["T1"], 0.7) - 0.1),
            "T3": lambda theta: stats.uniform(0.02, theta["T2"] - 0.02),
        }
    )
    truth = pd.DataFrame({"T1": [0.4, 3.0, 0.5], "T2": [0.3, 0.55, 0.45], "T3": [0.25, 0.5, 0.05]})
    covariates = truth[list(known)] if known else None
    estimate = nlls(model, prior, known).fit().predict(model.signal(truth), covariates=covariates)
    np.testing.assert_allclose(estimate, truth.drop(columns=list(known)), rtol=1e-4)


@pytest.mark.parametrize("pairs", [(("T3", "T2"), ("T2", "T1")), (("T2", "T1"), ("T3", "T2"))])
def test_chains_of_pairs_are_refused(pairs):
    prior = Prior({"T1": stats.uniform(2.0, 1.0), "T2": stats.uniform(1.0, 1.0), "T3": stats.uniform(0.1, 0.9)})
    with pytest.raises(ValueError, match=r"not_above must not make a chain: \['T2'\]"):
        nlls(Decays(pairs, 3), prior, ()).fit()


def test_a_parameter_without_a_range_is_named():
    prior = Prior({"T1": stats.uniform(0.5, 1.0), "T2": stats.uniform(0.1, 1e-30)})
    model = Decays((), 2)
    with pytest.raises(ValueError, match="prior must leave T2 a range; if it has one value, name it in known"):
        nlls(model, prior, ()).fit()

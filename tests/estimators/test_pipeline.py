"""The objects in combination: pipelines, cross-validation, search, pickling, with routing on and off."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from crbestim import (
    CRBEfficiencyScorer,
    CRBWeightedRegressor,
    NoiseModel,
    Pipeline,
    SVDCompressor,
    crb_efficiency_score,
    make_fingerprints,
)


@pytest.fixture(scope="module")
def data(short_model):
    return make_fingerprints(short_model, n_samples=300, random_state=0, progress=False)


def regressor(**kwargs):
    return CRBWeightedRegressor(**({"max_epochs": 2, "verbose": 0, "random_state": 0} | kwargs))


def scorer():
    # The short sequence tells little: nearly without noise its bounds are informative.
    return CRBEfficiencyScorer(NoiseModel.at_snr(1e5), n_realizations=3, random_state=0)


@pytest.mark.parametrize("routing", [True, False])
def test_the_line_of_the_readme(data, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = Pipeline([SVDCompressor(), CRBWeightedRegressor(max_epochs=2, verbose=0)]).fit(
            data.X, data.y, crb=data.crb
        )
        assert [name for name, _ in pipe.steps] == ["svdcompressor", "crbweightedregressor"]
        assert pipe.predict(data.X).shape == data.y.shape
        assert np.isfinite(pipe.score(data.X, data.y))


def test_routing_does_not_change_the_result(data):
    estimates = []
    for routing in (True, False):
        with sklearn.config_context(enable_metadata_routing=routing):
            pipe = Pipeline([SVDCompressor(5), regressor()]).fit(data.X, data.y, crb=data.crb)
            estimates.append(pipe.predict(data.X))
    np.testing.assert_array_equal(*estimates)


def test_the_bound_reaches_the_network(data):
    with pytest.raises(ValueError, match="crb must be given"):
        Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y)
    first = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    other = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb[::-1])
    assert not np.array_equal(first.predict(data.X), other.predict(data.X))


def test_any_parameters_can_be_targets(short_model):
    data = make_fingerprints(short_model, n_samples=200, targets=("B1", "B0"), random_state=0, progress=False)
    quiet = CRBWeightedRegressor("mse", noise=NoiseModel.at_snr(1e4), max_epochs=60, verbose=0, random_state=0)
    scale = data.y.std(axis=0)
    pipe = Pipeline([SVDCompressor(), quiet]).fit(data.X, data.y / scale)
    error = ((pipe.predict(data.X) - data.y / scale) ** 2).mean(axis=0)
    assert (error < 0.5).all()
    assert (data.y[:, 1] >= 0).all()
    assert np.isfinite(
        Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb).predict(data.X)
    ).all()


def test_make_pipeline_of_scikit_learn_works_with_routing(data):
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(SVDCompressor(), regressor()).fit(data.X, data.y, crb=data.crb)
    ours = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    np.testing.assert_array_equal(pipe.predict(data.X), ours.predict(data.X))


def test_named_steps_pass_untouched():
    steps = [("compress", SVDCompressor()), ("network", regressor())]
    assert Pipeline(steps).steps is steps
    with pytest.raises(TypeError, match="not a mixture"):
        Pipeline([("compress", SVDCompressor()), regressor()])


def test_equal_estimators_get_different_names():
    names = [name for name, _ in Pipeline([SVDCompressor(), SVDCompressor(), regressor()]).steps]
    assert names == ["svdcompressor-1", "svdcompressor-2", "crbweightedregressor"]


def test_clone_set_params_pickle_and_html(data):
    pipe = Pipeline([SVDCompressor(), regressor()])
    copy = clone(pipe)
    assert isinstance(copy, Pipeline)
    assert copy.get_params()["crbweightedregressor__max_epochs"] == 2
    copy.set_params(svdcompressor__n_components=7).fit(data.X, data.y, crb=data.crb)
    assert copy[0].basis_.shape[1] == 7
    again = pickle.loads(pickle.dumps(copy))
    np.testing.assert_array_equal(again.predict(data.X), copy.predict(data.X))
    assert "SVDCompressor" in copy._repr_html_()


def test_slices_are_pipelines_of_the_same_kind(data):
    pipe = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    assert isinstance(pipe[:1], Pipeline)
    np.testing.assert_array_equal(pipe[:1].transform(data.X), pipe[0].transform(data.X))


def test_coefficient_images(data):
    pipe = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    coefficients = data.X @ pipe[0].basis_
    np.testing.assert_allclose(pipe.predict_coefficients(coefficients), pipe.predict(data.X), rtol=1e-5)
    images = coefficients.reshape(10, 15, 2, 13)
    expected = pipe.predict(data.X).reshape(10, 15, 2, 3)
    np.testing.assert_allclose(pipe.predict_coefficients(images), expected, rtol=1e-5)


def test_background_is_nan_in_maps(data):
    pipe = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    images = (data.X[:20] @ pipe[0].basis_).reshape(4, 5, 13)
    images[1, 2] = 0
    maps = pipe.predict_coefficients(images)
    assert np.isnan(maps[1, 2]).all()
    assert np.isnan(maps).sum() == 3


@pytest.mark.parametrize("routing", [True, False])
def test_named_columns_stay_named(data, routing):
    compressor = SVDCompressor().set_output(transform="pandas")
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = Pipeline([compressor, regressor()]).fit(data.X, data.y, crb=data.crb)
    expected = pipe.predict(data.X)
    np.testing.assert_allclose(pipe.predict_coefficients(data.X @ compressor.basis_), expected, rtol=1e-4)


@pytest.mark.usefixtures("routing")
def test_a_search_as_the_last_step(data):
    search = GridSearchCV(regressor(), {"max_epochs": [1, 2]}, cv=2, scoring=scorer(), error_score="raise")
    pipe = Pipeline([SVDCompressor(), search]).fit(data.X, data.y, crb=data.crb)
    assert pipe.predict(data.X).shape == data.y.shape


def test_bad_coefficients_are_named(data):
    pipe = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    with pytest.raises(ValueError, match="C must have 13 columns"):
        pipe.predict_coefficients(np.ones((4, 12), complex))
    with pytest.raises(TypeError, match="C must be complex"):
        pipe.predict_coefficients(np.ones((4, 13)))
    with pytest.raises(ValueError, match="at least two dimensions"):
        pipe.predict_coefficients(np.ones(13, complex))
    bare = Pipeline([LinearRegression()]).fit(data.X.real, data.y)
    with pytest.raises(TypeError, match="needs an SVDCompressor"):
        bare.predict_coefficients(np.ones((4, 13), complex))


def test_a_step_that_does_not_ask_for_the_bound_is_told(data):
    with pytest.raises(TypeError, match="crb"):
        Pipeline([LinearRegression()]).fit(data.X.real, data.y, crb=data.crb)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_val_score(data, n_jobs):
    pipe = Pipeline([SVDCompressor(), regressor()])
    scores = cross_val_score(
        pipe, data.X, data.y, params={"crb": data.crb}, scoring=scorer(), cv=2, n_jobs=n_jobs, error_score="raise"
    )
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores <= 1)).all()
    reference = clone(pipe).fit(data.X[:150], data.y[:150], crb=data.crb[:150])
    expected = scorer()(reference, data.X[150:], data.y[150:], crb=data.crb[150:])
    assert scores[1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("routing")
def test_cross_validate_with_several_metrics(data):
    result = cross_validate(
        Pipeline([SVDCompressor(), regressor()]), data.X, data.y, params={"crb": data.crb}, cv=2, error_score="raise",
        scoring={"efficiency": scorer(), "r2": "r2"},
    )  # fmt: skip
    assert np.isfinite(result["test_efficiency"]).all()
    assert np.isfinite(result["test_r2"]).all()


@pytest.mark.usefixtures("routing")
def test_grid_search(data):
    search = GridSearchCV(
        Pipeline([SVDCompressor(), regressor()]), {"svdcompressor__n_components": [2, 6]}, scoring=scorer(), cv=2,
        error_score="raise",
    )  # fmt: skip
    search.fit(data.X, data.y, crb=data.crb)
    assert search.best_params_["svdcompressor__n_components"] in (2, 6)
    assert 0 < search.best_score_ <= 1
    assert search.predict(data.X).shape == data.y.shape


def test_cross_validation_without_routing_names_the_switch(data):
    with pytest.raises(Exception, match="enable_metadata_routing"):
        cross_val_score(
            Pipeline([SVDCompressor(), regressor()]), data.X, data.y, params={"crb": data.crb}, scoring=scorer(),
            error_score="raise",
        )  # fmt: skip


def test_the_metric_scores_predictions(data):
    noise = NoiseModel.at_snr(50)
    noisy, crb = noise.augment(data.X, data.crb, np.random.default_rng(0))
    pipe = Pipeline([SVDCompressor(), regressor()]).fit(data.X, data.y, crb=data.crb)
    assert crb_efficiency_score(data.y, pipe.predict(noisy), crb) > 0


@pytest.mark.parametrize("steps", [[], "ab"])
def test_steps_are_checked_by_scikit_learn(data, steps):
    with pytest.raises((ValueError, TypeError)) as found:
        Pipeline(steps).fit(data.X, data.y, crb=data.crb)
    with pytest.raises(type(found.value)) as expected:
        sklearn.pipeline.Pipeline(steps).fit(data.X, data.y)
    assert str(found.value) == str(expected.value)

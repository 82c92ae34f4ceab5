import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.utils import Bunch
from tissues import NAMES, TR

import crbestim
from crbestim import BlochHybridStateModel, MTHybridStateModel, Parameter, Prior, SignalModel, paper_prior
from crbestim.datasets import default_prior

make_fingerprints = partial(crbestim.make_fingerprints, progress=False)


@pytest.fixture(scope="module")
def basis(short_model, draw_theta):
    signals = short_model.signal(draw_theta(200, seed=5))
    return np.linalg.svd(signals, full_matrices=False)[2][:15].conj().T


@pytest.fixture(scope="module")
def dataset(short_model):
    return make_fingerprints(short_model, n_samples=50, random_state=0)


def assert_equal_data(first, second):
    for key in ("X", "y", "crb", "full_crb"):
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    pd.testing.assert_frame_equal(first.theta, second.theta)
    assert first.target_names == second.target_names


def test_contents(short_model, dataset):
    assert isinstance(dataset, Bunch)
    assert dataset.X.shape == (50, short_model.n_timepoints)
    assert dataset.X.dtype == np.complex128
    assert dataset.y.shape == dataset.crb.shape == dataset.full_crb.shape == (50, 3)
    assert dataset.theta.shape == (50, 7)
    assert tuple(dataset.theta.columns) == NAMES
    assert dataset.target_names == ("m0s", "T1", "T2f")


def test_signals_are_clean_and_belong_to_theta(short_model, dataset):
    np.testing.assert_allclose(dataset.X, short_model.signal(dataset.theta), rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(dataset.y, dataset.theta[["m0s", "T1", "T2f"]])


def test_bound_is_that_of_the_model(short_model, dataset):
    np.testing.assert_allclose(dataset.crb, short_model.crb(dataset.theta), rtol=1e-9)
    np.testing.assert_array_equal(dataset.full_crb, dataset.crb)
    assert (dataset.crb > 0).all()


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_random_state_decides(short_model, method):
    first, again, other = (
        make_fingerprints(short_model, n_samples=8, random_state=seed, method=method) for seed in (1, 1, 2)
    )
    assert_equal_data(first, again)
    assert (first.theta != other.theta).all(axis=None)
    generator = make_fingerprints(short_model, n_samples=8, random_state=np.random.default_rng(1), method=method)
    assert_equal_data(first, generator)


def test_default_prior_is_the_papers_at_the_sequence_s_repetition_time(short_model):
    expected = paper_prior(TR).sample(8, random_state=0)
    pd.testing.assert_frame_equal(make_fingerprints(short_model, n_samples=8, random_state=0).theta, expected)
    assert default_prior(short_model).support()["B0"][1] == pytest.approx(2 * np.pi / TR)


def test_default_prior_has_the_parameters_of_the_model(hybrid_model):
    """Those that all models share are distributed alike, and T2 as T2f."""
    prior, reference = default_prior(hybrid_model), paper_prior(TR).support()
    assert prior.names == hybrid_model.parameter_names
    support = prior.support()
    assert set(support) - set(NAMES) <= {"T1s", "T2"}
    for name, limits in support.items():
        if name == "T1s":
            assert limits == pytest.approx((0.1, 2.0))
            assert prior.mean()[name] == pytest.approx(0.35, abs=0.03)
        else:
            assert limits == pytest.approx(reference["T2f" if name == "T2" else name], rel=0.1)
    hybrid_model.check_theta(prior.sample(2000, random_state=0))


@pytest.mark.parametrize("compressed", [False, True])
def test_every_hybrid_state_model_makes_fingerprints(short_hybrid_model, draw_basis, compressed):
    model, basis = short_hybrid_model, draw_basis(60, 15)
    data = make_fingerprints(model, n_samples=20, random_state=0, basis=basis, compressed=compressed)
    assert tuple(data.theta.columns) == model.parameter_names
    assert data.target_names == model.default_targets
    np.testing.assert_array_equal(data.y, data.theta[list(model.default_targets)])
    expected = model.signal(data.theta, basis if compressed else None)
    np.testing.assert_allclose(data.X, expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(data.crb, model.crb(data.theta, basis=basis))
    np.testing.assert_array_equal(data.full_crb, model.crb(data.theta))


def test_prior_may_be_given_in_any_order(short_model):
    prior = paper_prior(TR)
    shuffled = Prior({name: prior.distributions[name] for name in ("B1", "T1", "T2f", "Rx", "B0", "T2s", "m0s")})
    data = make_fingerprints(short_model, shuffled, n_samples=8, random_state=0)
    pd.testing.assert_frame_equal(data.theta, shuffled.sample(8, random_state=0)[list(NAMES)])
    np.testing.assert_allclose(data.X, short_model.signal(data.theta), rtol=1e-10, atol=1e-14)


def test_theta_may_be_given(short_model, draw_theta):
    theta = pd.DataFrame(draw_theta(6), columns=list(NAMES))
    data = make_fingerprints(short_model, theta=theta[list(NAMES[::-1])])
    pd.testing.assert_frame_equal(data.theta, theta)
    np.testing.assert_allclose(data.X, short_model.signal(theta), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("targets", ["T2f", ("B1", "T1"), NAMES])
def test_targets(short_model, targets):
    data = make_fingerprints(short_model, n_samples=8, targets=targets, random_state=0)
    names = (targets,) if isinstance(targets, str) else targets
    assert data.target_names == names
    np.testing.assert_array_equal(data.y, short_model.target_values(data.theta, names))
    np.testing.assert_allclose(data.crb, short_model.crb(data.theta, names), rtol=1e-9)


def test_b0_is_folded_as_a_target_and_not_in_theta(short_model):
    data = make_fingerprints(short_model, n_samples=200, targets="B0", random_state=0)
    band = np.pi / TR
    b0 = data.theta["B0"].to_numpy()
    assert b0.min() < -band
    assert b0.max() > band
    magnitude = np.abs(b0)
    expected = np.where(magnitude > band, 2 * band - magnitude, magnitude)
    np.testing.assert_allclose(data.y[:, 0], expected, atol=1e-9)


def test_known_parameters_lower_the_bound(short_model, dataset):
    data = make_fingerprints(short_model, n_samples=50, random_state=0, known=("B0", "B1"))
    np.testing.assert_allclose(data.crb, short_model.crb(data.theta, known=("B0", "B1")), rtol=1e-9)
    assert (data.crb < dataset.crb).all()


def test_basis_gives_the_compressed_bound_beside_the_full_one(short_model, dataset, basis):
    data = make_fingerprints(short_model, n_samples=50, random_state=0, basis=basis)
    np.testing.assert_array_equal(data.X, dataset.X)
    np.testing.assert_allclose(data.full_crb, dataset.full_crb, rtol=1e-12)
    np.testing.assert_allclose(data.crb, short_model.crb(data.theta, basis=basis), rtol=1e-6)
    assert (data.crb >= data.full_crb * (1 - 1e-7)).all()
    assert (data.crb > 1.001 * data.full_crb).any()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_compressed_keeps_the_coefficients_and_both_bounds(short_model, dataset, draw_basis, kind):
    basis = draw_basis(60, 15, kind)
    options = {"n_samples": 50, "random_state": 0, "basis": basis}
    data, signals = (make_fingerprints(short_model, compressed=compressed, **options) for compressed in (True, False))
    assert data.X.dtype == np.complex128
    assert data.X.shape == (50, 15)
    np.testing.assert_allclose(data.X, dataset.X @ basis, rtol=0, atol=1e-14)
    for key in ("y", "crb", "full_crb"):
        np.testing.assert_array_equal(data[key], signals[key], err_msg=key)
    np.testing.assert_array_equal(data.full_crb, dataset.crb)
    assert (data.crb > data.full_crb).all()
    pd.testing.assert_frame_equal(data.theta, dataset.theta)


def test_coefficients_are_those_at_theta_where_the_bound_is_a_limit(short_model, draw_theta, draw_basis):
    theta, basis = draw_theta(6), draw_basis(60, 15)
    theta[:3, 0], theta[2:4, 5] = 0.0, np.pi / TR
    data = make_fingerprints(short_model, theta=theta, basis=basis, compressed=True)
    np.testing.assert_allclose(data.X, short_model.signal(theta, basis), rtol=0, atol=1e-14)


# --- chunks ---------------------------------------------------------------------------------------


@pytest.fixture(params=["full", "full, both bounds", "compressed"])
def options(request, basis):
    """What is kept of the signals, and which bounds are asked for."""
    if request.param == "full":
        return {}
    return {"basis": basis, "compressed": request.param == "compressed"}


@pytest.mark.parametrize("memory_limit", [1, 2**17, 2**20])
def test_memory_limit_does_not_change_the_result(short_model, memory_limit, options):
    options = {"n_samples": 37, "random_state": 0, "targets": NAMES, **options}
    small = make_fingerprints(short_model, memory_limit=memory_limit, **options)
    assert_equal_data(small, make_fingerprints(short_model, memory_limit=2**30, **options))


def peak_beyond_the_result(model, n_samples, memory_limit, **options):
    tracemalloc.start()
    try:
        data = make_fingerprints(model, n_samples=n_samples, random_state=0, memory_limit=memory_limit, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak - sum(data[key].nbytes for key in ("X", "y", "crb")) - data.theta.to_numpy().nbytes


def test_the_jacobian_of_the_dataset_is_never_held(short_model, options):
    n_samples, memory_limit = 4000, 2**20
    peak_beyond_the_result(short_model, 2, memory_limit, **options)  # what is made once is not counted
    peak = peak_beyond_the_result(short_model, n_samples, memory_limit, **options)
    theta_bytes = 8 * 7 * n_samples
    jacobian_bytes = short_model.n_timepoints * theta_bytes
    # Some copies of theta, while it is drawn and checked, beside the chunk.
    assert peak < memory_limit + 4 * theta_bytes
    assert peak < jacobian_bytes / 5


def test_working_memory_does_not_grow_with_the_number_of_samples(short_model):
    peak_beyond_the_result(short_model, 2, 2**20)
    small, large = (peak_beyond_the_result(short_model, n, 2**20) for n in (500, 3000))
    assert large - small < 4 * 8 * 7 * 2500


def test_progress_bar_counts_voxels(short_model, capsys):
    crbestim.make_fingerprints(short_model, n_samples=7, random_state=0)
    assert "7/7" in capsys.readouterr().err
    make_fingerprints(short_model, n_samples=7, random_state=0)
    assert capsys.readouterr().err == ""


# --- other models ---------------------------------------------------------------------------------


class Line(SignalModel):
    """A real signal a + b t."""

    parameters = (Parameter("a", "a", "1", (0.0, 10.0)), Parameter("b", "b", "1", (-1.0, 1.0)))
    n_timepoints = 4

    def _signal(self, theta):
        return theta[:, :1] + theta[:, 1:] * np.arange(4)

    def _jacobian(self, theta):
        return np.repeat(np.column_stack([np.ones(4), np.arange(4.0)])[None], len(theta), axis=0)


def test_own_model_with_its_own_prior():
    prior = Prior({"b": stats.uniform(0, 1), "a": stats.uniform(1, 2)})
    data = make_fingerprints(Line(), prior, n_samples=5, targets="b", random_state=0)
    np.testing.assert_allclose(data.X[:, 3], data.theta["a"] + 3 * data.theta["b"])
    assert data.X.dtype == np.complex128
    assert list(data.theta) == ["a", "b"]


def test_own_model_has_no_default_prior():
    with pytest.raises(ValueError, match="prior must be given for Line"):
        make_fingerprints(Line())


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prior": Prior({"T1": stats.norm()})}, ValueError, r"prior must have the model's parameters .*'B1'"),
        ({"prior": "paper"}, TypeError, "prior"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"n_samples": -5}, ValueError, "n_samples must be at least 1"),
        ({"n_samples": 10.0}, TypeError, "n_samples must be an integer"),
        ({"targets": "T2"}, ValueError, r"targets contains \['T2'\]"),
        ({"targets": ()}, ValueError, "targets is empty"),
        ({"known": "M0"}, ValueError, r"known contains \['M0'\]"),
        ({"known": "T1"}, ValueError, "targets and known must not share a parameter"),
        ({"basis": np.eye(59, 5)}, ValueError, "basis must have one row for each of the signal's 60 time points"),
        ({"basis": np.ones((60, 2))}, ValueError, "basis must have orthonormal columns"),
        ({"basis": "svd"}, TypeError, "basis must hold numbers"),
        ({"method": "grid"}, ValueError, "method must be 'random' or 'sobol'"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be at least 1"),
        ({"memory_limit": 1e8}, TypeError, "memory_limit must be an integer"),
        ({"theta": np.full((2, 7), np.nan)}, ValueError, "theta"),
        ({"theta": np.ones((2, 6))}, ValueError, "theta must have 7 columns"),
        ({"theta": np.array([[0.1, 1.0, 2.0, 40.0, 1e-5, 0.0, 1.0]])}, ValueError, "T2f must not exceed T1"),
    ],
)
def test_bad_arguments_are_refused(short_model, options, error, message):
    with pytest.raises(error, match=message):
        make_fingerprints(short_model, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "compressed=True needs a basis"),
        ({"basis": np.eye(59, 5)}, ValueError, "basis must have one row for each of the signal's 60 time points"),
        ({"basis": np.ones(60)}, ValueError, "basis must be 2-D"),
        ({"basis": "svd"}, TypeError, "basis must hold numbers"),
    ],
)
def test_compressed_needs_a_basis(short_model, options, error, message):
    with pytest.raises(error, match=message):
        make_fingerprints(short_model, n_samples=3, compressed=True, **options)


@pytest.mark.parametrize("model", ["mt", None, MTHybridStateModel, BlochHybridStateModel])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(TypeError, match="model must be a SignalModel"):
        make_fingerprints(model)

import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.utils import Bunch
from tissues import NAMES, TR

import crbestim
from crbestim import (
    BlochHybridStateModel,
    InversionRecoveryModel,
    MTHybridStateModel,
    NoiseCovariance,
    Parameter,
    Prior,
    SignalModel,
    paper_prior,
)
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
        ({"targets": "T1", "known": "T1"}, ValueError, "targets and known must not share a parameter"),
        ({"known": ("m0s", "T1", "T2f")}, ValueError, "targets is empty"),
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


# --- known parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_values_of_known_parameters_are_covariates(short_model, basis, compressed):
    known = ("B1", "B0")
    data = make_fingerprints(short_model, n_samples=8, random_state=0, basis=basis, compressed=compressed, known=known)
    assert isinstance(data.covariates, pd.DataFrame)
    pd.testing.assert_frame_equal(data.covariates, data.theta[["B1", "B0"]])
    assert data.target_names == ("m0s", "T1", "T2f")
    np.testing.assert_allclose(data.crb, short_model.crb(data.theta, basis=basis, known=known), rtol=1e-9)
    np.testing.assert_allclose(data.full_crb, short_model.crb(data.theta, known=known), rtol=1e-9)


def test_there_are_no_covariates_without_known_parameters(dataset):
    assert "covariates" not in dataset


def test_known_parameters_are_no_default_targets(short_model, dataset):
    data = make_fingerprints(short_model, n_samples=50, random_state=0, known="T1")
    assert data.target_names == ("m0s", "T2f")
    assert data.y.shape == data.crb.shape == (50, 2)
    np.testing.assert_array_equal(data.y, dataset.y[:, [0, 2]])
    assert list(data.covariates) == ["T1"]
    assert (data.crb < dataset.crb[:, [0, 2]]).all()


# --- coloured noise -------------------------------------------------------------------------------


def coloured_matrix(m, kind):
    """A covariance with strong correlations."""
    rng = np.random.default_rng(7)
    root = rng.standard_normal((m, 2 * m)) + (kind == "complex") * 1j * rng.standard_normal((m, 2 * m))
    matrix = root @ root.conj().T / m
    return matrix if kind == "complex" else matrix.real


kinds = pytest.mark.parametrize("kind", ["real", "complex"])


@kinds
def test_covariance_of_the_signals_changes_the_bound_alone(short_model, dataset, kind):
    matrix = coloured_matrix(60, kind)
    data = make_fingerprints(short_model, n_samples=50, random_state=0, covariance=matrix)
    np.testing.assert_array_equal(data.X, dataset.X)
    np.testing.assert_array_equal(data.y, dataset.y)
    np.testing.assert_allclose(data.crb, short_model.crb(data.theta, covariance=matrix), rtol=1e-9)
    np.testing.assert_array_equal(data.full_crb, data.crb)
    assert (np.abs(data.crb / dataset.crb - 1).max(axis=0) > 0.1).all()


@kinds
@pytest.mark.parametrize("basis_kind", ["real", "complex"])
@pytest.mark.parametrize("compressed", [False, True])
def test_covariance_of_the_signals_gives_both_bounds(short_model, draw_basis, kind, basis_kind, compressed):
    covariance, basis = NoiseCovariance(coloured_matrix(60, kind)), draw_basis(60, 15, basis_kind)
    options = {"n_samples": 8, "random_state": 0, "basis": basis, "compressed": compressed}
    data = make_fingerprints(short_model, covariance=covariance, **options)
    np.testing.assert_allclose(data.full_crb, short_model.crb(data.theta, covariance=covariance), rtol=1e-9)
    of_coefficients = covariance.compress(basis)
    expected = short_model.crb(data.theta, basis=basis, covariance=of_coefficients)
    np.testing.assert_allclose(data.crb, expected, rtol=1e-9)
    assert (data.crb > data.full_crb).all()
    other = make_fingerprints(short_model, covariance=of_coefficients.matrix, **options)
    np.testing.assert_allclose(other.crb, expected, rtol=1e-6)
    assert "full_crb" not in other
    np.testing.assert_array_equal(other.X, data.X)


@kinds
def test_bounds_of_signals_and_of_all_their_coefficients_do_not_contradict_each_other(short_model, draw_basis, kind):
    """A basis of the whole space loses nothing, whatever a (T, T) covariance is then taken for."""
    data = make_fingerprints(
        short_model, n_samples=8, random_state=0, basis=draw_basis(60, 60), covariance=coloured_matrix(60, kind)
    )
    if "full_crb" in data:
        np.testing.assert_allclose(data.crb, data.full_crb, rtol=1e-5)


def test_the_identity_is_white_noise_also_where_the_bound_is_a_limit(short_model, draw_theta, basis):
    theta = draw_theta(6)
    theta[:3, 0], theta[2:4, 5] = 0.0, np.pi / TR
    options = {"theta": theta, "basis": basis, "targets": NAMES}
    white, coloured = (make_fingerprints(short_model, covariance=c, **options) for c in (None, np.eye(60)))
    assert np.isposinf(white.crb).any()
    for key in ("crb", "full_crb"):
        np.testing.assert_allclose(coloured[key], white[key], rtol=1e-6)


def test_memory_limit_does_not_change_the_coloured_bound(short_model, basis):
    options = {"n_samples": 37, "random_state": 0, "basis": basis, "covariance": coloured_matrix(60, "complex")}
    small, large = (make_fingerprints(short_model, memory_limit=limit, **options) for limit in (2**17, 2**30))
    np.testing.assert_allclose(small.crb, large.crb, rtol=1e-12)
    np.testing.assert_allclose(small.full_crb, large.full_crb, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"covariance": np.eye(59)}, ValueError, "covariance is that of 59 points, but the data have 60"),
        (
            {"covariance": np.eye(14), "basis": np.eye(60, 15)},
            ValueError,
            "covariance must be that of the 60 time points or of the 15 coefficients; got 14 x 14",
        ),
        ({"covariance": -np.eye(60)}, ValueError, "covariance must be positive definite"),
        ({"covariance": np.ones(60)}, ValueError, "covariance must be 2-D"),
        ({"covariance": "white"}, TypeError, "covariance must hold numbers"),
    ],
)
def test_covariances_that_do_not_fit_are_refused(short_model, options, error, message):
    with pytest.raises(error, match=message):
        make_fingerprints(short_model, n_samples=3, **options)


# --- real data ------------------------------------------------------------------------------------

RECOVERY_PRIOR = Prior({"T1": stats.uniform(0.8, 0.6), "efficiency": stats.uniform(0.9, 0.09)})


def recoveries(data, **options):
    model = InversionRecoveryModel((0.05, 0.1, 0.2, 0.4, 1.2, 2.0, 4.0), data=data)
    return model, make_fingerprints(model, RECOVERY_PRIOR, 8, random_state=0, **options)


@pytest.mark.parametrize("kind", ["real", "magnitude"])
@pytest.mark.parametrize(("k", "compressed"), [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize("covariance", [None, coloured_matrix(7, "real")], ids=["white", "coloured"])
def test_data_of_a_model_of_real_data_are_real(draw_basis, kind, k, compressed, covariance):
    basis = None if k is None else draw_basis(7, k)
    options = {"basis": basis, "compressed": compressed, "covariance": covariance}
    model, data = recoveries(kind, **options)
    assert data.X.dtype == np.float64
    assert data.X.shape == (8, 3 if compressed else 7)
    np.testing.assert_allclose(data.X, model.signal(data.theta, basis if compressed else None), atol=1e-14)
    np.testing.assert_allclose(data.crb, model.crb(data.theta, basis=basis, covariance=covariance), rtol=1e-9)
    if kind == "real":
        of_complex = recoveries("complex", **options)[1]
        assert of_complex.X.dtype == np.complex128
        np.testing.assert_array_equal(of_complex.X, data.X)
        np.testing.assert_allclose(of_complex.crb, data.crb, rtol=1e-9)
        np.testing.assert_allclose(of_complex.full_crb, data.full_crb, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": coloured_matrix(7, "complex")}, "covariance must be real for a model of real data"),
        (
            {"covariance": coloured_matrix(3, "complex"), "basis": np.eye(7, 3)},
            "covariance must be real for a model of real data",
        ),
        ({"basis": 1j * np.eye(7, 3)}, "basis must be real for a model of real data"),
    ],
)
def test_real_data_have_no_complex_covariance_or_basis(options, message):
    with pytest.raises(ValueError, match=message):
        recoveries("real", **options)

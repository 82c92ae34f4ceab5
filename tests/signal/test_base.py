"""What `SignalModel` gives to a model that brings nothing but its signal and its derivatives."""

import tracemalloc
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crbestim import NoiseCovariance, Parameter, SignalModel
from crbestim.signal import _base

TIMES = np.linspace(0.01, 0.3, 12)


class Decay(SignalModel):
    """exp(-t / T2 + i w t): a complex exponential."""

    parameters = (
        Parameter("T2", "T_2", "s", (0.0, 10.0), closed="right"),
        Parameter("w", r"\omega", "rad/s", (-1000.0, 1000.0)),
    )

    @property
    def n_timepoints(self):
        return len(TIMES)

    def _signal(self, theta):
        return np.exp(TIMES * (-1 / theta[:, :1] + 1j * theta[:, 1:]))

    def _jacobian(self, theta):
        by_t2, by_w = TIMES / theta[:, :1] ** 2, 1j * TIMES * np.ones_like(theta[:, :1])
        return self._signal(theta)[..., None] * np.stack([by_t2, by_w], axis=2)


class RealDecay(Decay):
    """exp(-t / T2): real, of one parameter."""

    parameters = Decay.parameters[:1]
    default_targets = ("T2",)

    def _signal(self, theta):
        return np.exp(-TIMES / theta)

    def _jacobian(self, theta):
        return (self._signal(theta) * TIMES / theta**2)[..., None]


class Pair(SignalModel):
    """Two real parameters of which one must not exceed the other."""

    parameters = (Parameter("a", "a", "1", (0.0, 1.0)), Parameter("b", "b", "1", (0.0, 1.0)))
    default_targets = ("b",)
    not_above = MappingProxyType({"a": "b"})
    n_timepoints = 3

    def _signal(self, theta):
        return np.column_stack([theta[:, 0], theta[:, 1], np.ones(len(theta))])

    def _jacobian(self, theta):
        return np.repeat(np.eye(3, 2)[None], len(theta), axis=0)


THETA = np.array([[0.1, 20.0], [0.05, -300.0], [0.2, 0.0]])


def test_shapes_and_types():
    model = Decay()
    assert model.signal(THETA).shape == (3, 12)
    assert model.jacobian(THETA).shape == (3, 12, 2)
    assert model.crb(THETA).shape == (3, 2)
    assert model.crb(THETA, "w").shape == (3, 1)
    assert RealDecay().signal([[0.1]]).dtype == np.complex128
    assert RealDecay().jacobian([[0.1]]).dtype == np.complex128


def test_all_parameters_are_targets_without_default_targets():
    assert Decay().check_names(None) == ("T2", "w")
    assert RealDecay().check_names(None) == ("T2",)


def test_bound_in_closed_form():
    """Phase and amplitude part: T2 and |M0| show in one quadrature, w and the phase of M0 in the other."""
    t2 = THETA[:, 0]
    weight = np.exp(-2 * TIMES / t2[:, None])
    spread = (weight * TIMES**2).sum(1) - (weight * TIMES).sum(1) ** 2 / weight.sum(1)
    np.testing.assert_allclose(Decay().crb(THETA), np.column_stack([t2**4 / spread, 1 / spread]), rtol=1e-10)


def test_known_parameter_leaves_the_bound_of_an_orthogonal_one():
    model = Decay()
    np.testing.assert_allclose(model.crb(THETA, "T2", known="w"), model.crb(THETA, "T2"), rtol=1e-10)


def test_imaginary_part_of_m0_does_not_matter_to_a_real_signal():
    theta = THETA[:, :1]
    np.testing.assert_allclose(RealDecay().crb(theta), Decay().crb(THETA, "T2"), rtol=1e-10)


@pytest.mark.parametrize("model_class", [Decay, RealDecay])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_compressed_bound(model_class, kind, draw_basis):
    model = model_class()
    theta = THETA[:, : len(model.parameters)]
    basis = draw_basis(12, 5, kind)
    bound = model.crb(theta, basis=basis)
    assert (bound > model.crb(theta)).all()

    signal, jacobian = model.signal(theta) @ basis, np.einsum("ntp,tk->nkp", model.jacobian(theta), basis)
    augmented = np.concatenate([jacobian, signal[..., None], 1j * signal[..., None]], axis=2)
    fisher = np.real(np.einsum("nkp,nkq->npq", augmented.conj(), augmented))
    expected = np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2)[:, : len(model.parameters)]
    np.testing.assert_allclose(bound, expected, rtol=1e-6)


def random_theta(n, model):
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(0.01, 1, n), rng.uniform(-100, 100, n)])[:, : len(model.parameters)]


@pytest.mark.parametrize("model_class", [Decay, RealDecay])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("k", [1, 7, 12])
@pytest.mark.parametrize("n", [1, 5, 70])
def test_coefficients_are_those_of_the_signal(model_class, kind, k, n, draw_basis, monkeypatch):
    """Also in chunks of three voxels."""
    model, basis = model_class(), draw_basis(12, k, kind)
    theta = random_theta(n, model)
    for chunk_bytes in (_base._CHUNK_BYTES, 3 * 16 * 12 * (len(model.parameters) + 1)):
        monkeypatch.setattr(_base, "_CHUNK_BYTES", chunk_bytes)
        signal, jacobian = model.signal(theta, basis), model.jacobian(theta, basis=basis)
        assert signal.dtype == jacobian.dtype == np.complex128
        np.testing.assert_allclose(signal, model.signal(theta) @ basis, rtol=1e-12, atol=1e-14)
        expected = np.einsum("ntp,tk->nkp", model.jacobian(theta), basis)
        np.testing.assert_allclose(jacobian, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("model_class", [Decay, RealDecay])
def test_bound_for_a_basis_of_the_whole_space_is_that_of_the_data(model_class, draw_basis):
    model = model_class()
    theta = random_theta(5, model)
    np.testing.assert_allclose(model.crb(theta, basis=draw_basis(12, 12, "complex")), model.crb(theta), rtol=1e-9)


METHODS = {
    "signal": lambda model, theta, basis: model.signal(theta, basis),
    "jacobian": lambda model, theta, basis: model.jacobian(theta, basis),
    "crb": lambda model, theta, basis: model.crb(theta, basis=basis),
}


@pytest.mark.parametrize(
    ("method", "with_basis"), [("signal", True), ("jacobian", True), ("crb", True), ("crb", False)]
)
def test_memory_does_not_grow_with_the_number_of_voxels(method, with_basis, draw_basis, monkeypatch):
    """Beyond the result and the checked parameters, whatever a chunk needs."""
    monkeypatch.setattr(_base, "_CHUNK_BYTES", 2**18)
    model, basis = Decay(), draw_basis(12, 2) if with_basis else None
    theta = random_theta(30_000, model)
    METHODS[method](model, theta[:2], basis)  # what is made once is not counted
    tracemalloc.start()
    try:
        result = METHODS[method](model, theta, basis)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * result.nbytes + 2 * theta.nbytes + 2 * 2**18


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    ("basis", "error", "message"),
    [
        (np.eye(11, 3), ValueError, "basis must have one row for each of the signal's 12 time points; got 11"),
        (np.ones((12, 2)), ValueError, "basis must have orthonormal columns"),
        (2 * np.eye(12, 3), ValueError, "basis must have orthonormal columns"),
        (np.full((12, 2), np.nan), ValueError, "basis contains NaN"),
        (np.ones(12), ValueError, "basis must be 2-D"),
        (np.empty((12, 0)), ValueError, "basis is empty"),
        ("svd", TypeError, "basis must hold numbers"),
    ],
)
def test_bad_basis_is_refused(method, basis, error, message):
    with pytest.raises(error, match=message):
        method(Decay(), THETA, basis)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"targets": "T1"}, ValueError, r"targets contains \['T1'\]; expected names out of \['T2', 'w'\]"),
        ({"targets": ("T2", "T2")}, ValueError, "targets contains a name twice"),
        ({"targets": ()}, ValueError, "targets is empty"),
        ({"targets": 1}, TypeError, "targets"),
        ({"known": "M0"}, ValueError, "known contains"),
        ({"known": ("w", "w")}, ValueError, "known contains a name twice"),
        ({"known": 1}, TypeError, "known"),
        ({"targets": ("T2", "w"), "known": "w"}, ValueError, r"targets and known must not share .*\['w'\]"),
        ({"targets": "w", "known": "w"}, ValueError, "targets and known must not share"),
        ({"known": ("T2", "w")}, ValueError, "targets is empty"),
    ],
)
def test_bad_names_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Decay().crb(THETA, **arguments)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (THETA[:, :1], "theta must have 2 columns; got 1"),
        (np.array([[0.1, np.nan]]), "theta"),
        (np.array([[0.0, 1.0]]), r"theta: T2 must lie in \(0, 10\] s; got 0 in row 0"),
        (np.array([[0.1, 0.0], [0.1, 1001.0]]), r"theta: w must lie in \[-1000, 1000\] rad/s; got 1001 in row 1"),
        (pd.DataFrame({"T2": [0.1]}), r"theta must have the columns \['T2', 'w'\]"),
        (pd.DataFrame({"T2": [0.1], "W": [0.0]}), r"theta must have the columns \['T2', 'w'\]"),
    ],
)
def test_bad_theta_is_refused(theta, message):
    with pytest.raises(ValueError, match=message):
        Decay().signal(theta)


def test_columns_of_a_frame_come_in_any_order():
    frame = pd.DataFrame(THETA, columns=["T2", "w"])
    model = Decay()
    np.testing.assert_array_equal(model.signal(frame[["w", "T2"]]), model.signal(THETA))
    np.testing.assert_array_equal(model.target_values(frame[["w", "T2"]], ("w", "T2")), THETA[:, ::-1])


def test_integers_are_numbers():
    np.testing.assert_array_equal(Decay().signal([[1, 2]]), Decay().signal([[1.0, 2.0]]))


def test_order_of_parameters_is_kept():
    assert Pair().signal([[0.5, 0.5]])[0, 0] == 0.5
    with pytest.raises(ValueError, match=r"theta: a must not exceed b; got a = 0\.6, b = 0\.5 in row 1"):
        Pair().signal([[0.2, 0.5], [0.6, 0.5]])


def test_many_voxels_give_what_each_gives():
    theta = random_theta(500, Decay())
    alone = np.concatenate([Decay().crb(row[None]) for row in theta])
    np.testing.assert_allclose(Decay().crb(theta), alone, rtol=1e-10)


def test_clone_is_the_model_itself():
    model = Decay()
    assert clone(model) is model


def test_a_model_without_its_parts_cannot_be_made():
    class Incomplete(SignalModel):
        parameters = Decay.parameters

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()


@pytest.mark.parametrize(
    ("closed", "low", "high", "text"),
    [
        ("both", True, True, "[0, 1]"),
        ("left", True, False, "[0, 1)"),
        ("right", False, True, "(0, 1]"),
        ("neither", False, False, "(0, 1)"),
    ],
)
def test_parameter_tells_its_range(closed, low, high, text):
    parameter = Parameter("a", "a", "1", (0.0, 1.0), closed)
    assert (0.0 in parameter) is low
    assert (1.0 in parameter) is high
    assert 0.5 in parameter
    assert 1.1 not in parameter
    assert -0.1 not in parameter
    assert np.nan not in parameter
    assert parameter.interval == text


def test_parameter_has_a_label_with_its_unit():
    assert Parameter("T1", "T_1", "s", (0, 1)).label == "$T_1$ [s]"
    assert Parameter("m0s", "m_0^s", "1", (0, 1)).label == "$m_0^s$"


@pytest.mark.parametrize("method", ["signal", "jacobian", "crb"])
def test_a_model_that_returns_wrong_shapes_is_named(method):
    class Wrong(SignalModel):
        parameters = (Parameter("a", "a", "1", (0, 1)), Parameter("b", "b", "1", (0, 1)))
        n_timepoints = 3

        def _signal(self, theta):
            return np.ones(3)

        def _jacobian(self, theta):
            return np.ones((len(theta), 2, 3))

    with pytest.raises(ValueError, match=r"Wrong\._(signal|jacobian) must return shape"):
        getattr(Wrong(), method)([[0.5, 0.5]])


def test_known_parameters_are_no_default_targets():
    assert Decay().check_names(None, known="w") == ("T2",)
    np.testing.assert_array_equal(Decay().crb(THETA, known="w"), Decay().crb(THETA, "T2", known="w"))


# --- coloured noise -------------------------------------------------------------------------------


def coloured_matrix(m, kind, seed=7):
    """A covariance with strong correlations and different variances."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((m, m + 2)) + (kind == "complex") * 1j * rng.standard_normal((m, m + 2))
    matrix = root @ root.conj().T * np.outer(*2 * [np.linspace(0.5, 2, m)])
    return matrix if kind == "complex" else matrix.real


def bound_by_inversion(signal, jacobian, matrix):
    """Of all parameters, with the real and the imaginary part of M0 = 1 as further unknowns."""
    augmented = np.concatenate([jacobian, signal[..., None], 1j * signal[..., None]], axis=2)
    fisher = np.real(np.swapaxes(augmented.conj(), 1, 2) @ np.linalg.inv(matrix) @ augmented)
    return np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2)[:, : jacobian.shape[2]]


both_models = pytest.mark.parametrize("model_class", [Decay, RealDecay])
noise_kinds = pytest.mark.parametrize("noise_kind", ["real", "complex"])


@both_models
@noise_kinds
def test_coloured_bound(model_class, noise_kind):
    """Also of a signal that is real for M0 = 1, of which correlations with a phase see both parts of M0."""
    model, matrix = model_class(), coloured_matrix(12, noise_kind)
    theta = THETA[:, : len(model.parameters)]
    expected = bound_by_inversion(model.signal(theta), model.jacobian(theta), matrix)
    np.testing.assert_allclose(model.crb(theta, covariance=matrix), expected, rtol=1e-6)
    np.testing.assert_allclose(model.crb(theta, covariance=NoiseCovariance(matrix)), expected, rtol=1e-6)
    np.testing.assert_allclose(model.crb(theta, "T2", covariance=matrix), expected[:, :1], rtol=1e-6)


def test_the_phase_of_m0_costs_a_real_signal_information_in_noise_that_has_a_phase():
    """The column of Im M0 must not be left out here."""
    model, matrix = RealDecay(), coloured_matrix(12, "complex")
    signal, jacobian = model.signal([[0.1]]), model.jacobian([[0.1]])
    without = np.concatenate([jacobian, signal[..., None]], axis=2)
    fisher = np.real(np.swapaxes(without.conj(), 1, 2) @ np.linalg.inv(matrix) @ without)
    assert model.crb([[0.1]], covariance=matrix)[0, 0] > 1.05 * np.linalg.inv(fisher)[0, 0, 0]


@both_models
@noise_kinds
@pytest.mark.parametrize("basis_kind", ["real", "complex"])
def test_coloured_bound_of_compressed_data(model_class, noise_kind, basis_kind, draw_basis):
    """From the covariance of the signals, or from that of the coefficients, V^T C V*."""
    model, matrix, basis = model_class(), coloured_matrix(12, noise_kind), draw_basis(12, 5, basis_kind)
    theta = THETA[:, : len(model.parameters)]
    of_coefficients = basis.T @ matrix @ basis.conj()
    coefficients, derivatives = model.signal(theta) @ basis, basis.T @ model.jacobian(theta)
    expected = bound_by_inversion(coefficients, derivatives, of_coefficients)
    for covariance in (matrix, of_coefficients, NoiseCovariance(matrix).compress(basis)):
        np.testing.assert_allclose(model.crb(theta, basis=basis, covariance=covariance), expected, rtol=1e-6)
    assert (expected > model.crb(theta, covariance=matrix) * (1 - 1e-9)).all()


@both_models
@noise_kinds
def test_a_basis_that_holds_all_that_counts_loses_nothing_in_coloured_noise(model_class, noise_kind):
    """Of one voxel: the span of C^-T times the conjugate columns is a sufficient statistic."""
    model, matrix = model_class(), coloured_matrix(12, noise_kind)
    theta = THETA[:1, : len(model.parameters)]
    columns = np.concatenate([model.jacobian(theta)[0], model.signal(theta).T], axis=1)
    basis = np.linalg.qr((np.linalg.inv(matrix) @ columns).conj())[0]
    bound = model.crb(theta, basis=basis, covariance=matrix)
    np.testing.assert_allclose(bound, model.crb(theta, covariance=matrix), rtol=1e-6)


@both_models
@noise_kinds
def test_a_basis_of_the_whole_space_takes_the_covariance_of_the_coefficients(model_class, noise_kind, draw_basis):
    model, covariance, basis = model_class(), NoiseCovariance(coloured_matrix(12, noise_kind)), draw_basis(12, 12)
    theta = THETA[:, : len(model.parameters)]
    bound = model.crb(theta, basis=basis, covariance=covariance.compress(basis))
    np.testing.assert_allclose(bound, model.crb(theta, covariance=covariance), rtol=1e-6)


@both_models
@pytest.mark.parametrize("k", [None, 5])
def test_the_identity_is_white_noise(model_class, k, draw_basis):
    model, basis = model_class(), None if k is None else draw_basis(12, k, "complex")
    theta = THETA[:, : len(model.parameters)]
    white = model.crb(theta, basis=basis)
    for identity in (np.eye(12), np.eye(12, dtype=complex), np.eye(k or 12)):
        np.testing.assert_allclose(model.crb(theta, basis=basis, covariance=identity), white, rtol=1e-9)
    np.testing.assert_allclose(model.crb(theta, basis=basis, covariance=4 * np.eye(12)), 4 * white, rtol=1e-9)


def test_known_parameter_in_coloured_noise():
    model, matrix = Decay(), coloured_matrix(12, "complex")
    signal, jacobian = model.signal(THETA), model.jacobian(THETA)
    for known, free in (("w", [0]), ("T2", [1])):
        bound = model.crb(THETA, known=known, covariance=matrix)
        np.testing.assert_allclose(bound, bound_by_inversion(signal, jacobian[:, :, free], matrix), rtol=1e-6)


def test_many_voxels_in_coloured_noise_give_what_each_gives(monkeypatch):
    covariance, theta = NoiseCovariance(coloured_matrix(12, "complex")), random_theta(100, Decay())
    alone = np.concatenate([Decay().crb(row[None], covariance=covariance) for row in theta])
    monkeypatch.setattr(_base, "_CHUNK_BYTES", 2**14)
    np.testing.assert_allclose(Decay().crb(theta, covariance=covariance), alone, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"covariance": np.eye(11)}, ValueError, "covariance is that of 11 points, but the data have 12"),
        (
            {"covariance": np.eye(4), "basis": np.eye(12, 5)},
            ValueError,
            "covariance must be that of the 12 time points or of the 5 coefficients; got 4 x 4",
        ),
        ({"covariance": np.ones((12, 2))}, ValueError, "covariance must be square"),
        ({"covariance": -np.eye(12)}, ValueError, "covariance must be positive definite"),
        ({"covariance": "white"}, TypeError, "covariance must hold numbers"),
    ],
)
def test_covariances_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Decay().crb(THETA, **arguments)


# --- real data ------------------------------------------------------------------------------------


class Magnitude(RealDecay):
    """The same signal, of data that are real numbers."""

    real_valued = True


def test_a_model_of_real_data_has_real_signals(draw_basis):
    model, theta = Magnitude(), THETA[:, :1]
    for basis in (None, draw_basis(12, 5)):
        signal, jacobian = model.signal(theta, basis), model.jacobian(theta, basis)
        assert signal.dtype == jacobian.dtype == np.float64
        np.testing.assert_allclose(signal, RealDecay().signal(theta, basis), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(jacobian, RealDecay().jacobian(theta, basis), rtol=1e-12, atol=1e-12)
    single = draw_basis(12, 5).astype(np.float32)
    assert model.signal(theta, single).dtype == np.float64


def test_integers_and_single_precision_of_a_model_of_real_data_become_doubles():
    class Counts(Magnitude):
        def _signal(self, theta):
            return np.ones((len(theta), 12), dtype=int)

        def _jacobian(self, theta):
            return np.ones((len(theta), 12, 1), dtype=np.float32)

    assert Counts().signal([[0.1]]).dtype == Counts().jacobian([[0.1]]).dtype == np.float64


@pytest.mark.parametrize("k", [None, 5])
@pytest.mark.parametrize("coloured", [False, True])
def test_the_bound_of_real_data_is_that_of_complex_ones(k, coloured, draw_basis):
    """In real noise: what the imaginary channel would tell is Im M0 alone."""
    theta, arguments = THETA[:, :1], {"basis": None if k is None else draw_basis(12, k)}
    if coloured:
        arguments["covariance"] = coloured_matrix(12, "real")
    np.testing.assert_allclose(Magnitude().crb(theta, **arguments), RealDecay().crb(theta, **arguments), rtol=1e-9)


@pytest.mark.parametrize("basis", [None, np.eye(12, 5)], ids=["signals", "coefficients"])
def test_a_model_of_real_data_refuses_a_complex_covariance(basis):
    covariance = coloured_matrix(12, "complex")
    with pytest.raises(ValueError, match="covariance must be real for a model of real data"):
        Magnitude().crb([[0.1]], basis=basis, covariance=covariance)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_model_of_real_data_refuses_a_complex_basis(method, draw_basis):
    """The noise of such coefficients is not circular: x v with v = (a + i b) / sqrt(2) tells x a and x b."""
    with pytest.raises(ValueError, match="basis must be real for a model of real data"):
        method(Magnitude(), [[0.1]], draw_basis(12, 5, "complex"))


@pytest.mark.parametrize("k", [None, 5])
@pytest.mark.parametrize(
    ("method", "part"), [("signal", "_signal"), ("jacobian", "_jacobian"), ("crb", "_signal"), ("crb", "_jacobian")]
)
def test_a_model_of_real_data_that_returns_complex_numbers_is_named(method, part, k, draw_basis, monkeypatch):
    right = getattr(Magnitude, part)
    monkeypatch.setattr(Magnitude, part, lambda model, theta: right(model, theta) + 0j)
    if part == "_signal":
        monkeypatch.setattr(Magnitude, "_jacobian", lambda model, theta: np.ones((len(theta), 12, 1)))
    with pytest.raises(ValueError, match=rf"Magnitude\.{part} must return real numbers, as the model is real_valued"):
        METHODS[method](Magnitude(), [[0.1]], None if k is None else draw_basis(12, k))


def test_real_valued_may_differ_between_instances():
    model = RealDecay()
    model.real_valued = True
    assert model.signal([[0.1]]).dtype == np.float64
    assert RealDecay().signal([[0.1]]).dtype == np.complex128

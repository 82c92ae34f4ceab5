"""What `SignalModel` gives to a model that brings nothing but its signal and its derivatives."""

import tracemalloc
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crbestim import Parameter, SignalModel
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
        ({"known": "w"}, ValueError, "targets and known must not share"),
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

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from finite_differences import length_scale
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from sklearn.base import clone
from tissues import BAND, NAMES, TISSUE, TR, demanding_theta, tissue

from crbestim import BlochMcConnellModel, MTBlochModel, PulseSequence, cramer_rao_bound, paper_prior
from crbestim.signal._bloch_mcconnell import _generator
from crbestim.signal._lanes import WIDTH
from crbestim.signal._saturation import LINESHAPES

SATURATIONS = ("graham", "generalized-bloch")


@pytest.fixture(scope="module", params=SATURATIONS)
def variant(request):
    """The model with the built-in sequence, for one saturation after the other."""
    return MTBlochModel(saturation=request.param)


@pytest.fixture(scope="module", params=SATURATIONS)
def short_variant(request, short_sequence):
    """The model with a short train."""
    return MTBlochModel(short_sequence, saturation=request.param)


@pytest.fixture(scope="module")
def prior_theta():
    """Voxels of the paper's prior, 64 of them."""
    return paper_prior(TR).sample(64, random_state=5, method="sobol")


def disagreement(model, theta, name):
    """Error of the analytic derivative in each voxel, in units of what is allowed, at the best of several steps.

    As for the hybrid state, but with smaller steps too: what is perpendicular to the axis precesses for some T2f / TR
    pulses, so the signal's phases change fast with B0 and B1.
    """
    derivative, signal = model.jacobian(theta)[:, :, NAMES.index(name)], model.signal(theta)
    norm, size = (np.linalg.norm(values, axis=1) for values in (derivative, signal))
    assert (norm > 0).all()

    def shifted(steps):
        return model.signal(theta.assign(**{name: theta[name] + steps}))

    ratios = []
    for fraction in (1e-2, 2e-3, 4e-4, 8e-5, 1.6e-5):
        h = fraction * (np.full(len(theta), 0.1 * BAND) if name == "B0" else length_scale(theta, name).to_numpy())
        difference = 8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))
        error = np.linalg.norm(difference / (12 * h[:, None]) - derivative, axis=1)
        ratios.append(error / (1e-7 * norm + 1e-13 * size / h))
    return np.min(ratios, axis=0)


def relative_error(values, expected, axis=1):
    return np.linalg.norm(values - expected, axis=axis) / np.linalg.norm(expected, axis=axis)


# --- against the reference ------------------------------------------------------------------------


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_signal_is_close_to_the_reference_over_the_prior(saturation, prior_theta):
    reference = BlochMcConnellModel(saturation=saturation).signal(prior_theta)
    error = relative_error(MTBlochModel(saturation=saturation).signal(prior_theta), reference)
    assert error.max() < 1e-2
    assert np.median(error) < 2e-3


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_jacobian_is_close_to_that_of_the_reference(saturation, short_sequence, prior_theta):
    theta = prior_theta[:32]
    reference = BlochMcConnellModel(short_sequence, saturation=saturation).jacobian(theta)
    error = relative_error(MTBlochModel(short_sequence, saturation=saturation).jacobian(theta), reference)
    assert np.median(error, axis=0).max() < 2e-2
    assert error.max() < 0.1


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("n_pulses", [1, 2, 3, 60])
@pytest.mark.parametrize(("m0s", "limit"), [(0.0, 0.02), (0.15, 0.2)])
def test_error_falls_with_the_durations(short_sequence, draw_theta, saturation, n_pulses, m0s, limit):
    """With their square for the free pool alone; that of the exchange across the saturation is of first order."""
    theta = draw_theta(20)
    theta[:, 0] = m0s
    errors = []
    for factor in (1.0, 0.1):
        sequence = PulseSequence(
            short_sequence.flip_angle[:n_pulses], factor * short_sequence.pulse_duration[:n_pulses], TR, factor * 5e-4
        )
        model, reference = (kind(sequence, saturation=saturation) for kind in (MTBlochModel, BlochMcConnellModel))
        errors.append(np.median(relative_error(model.signal(theta), reference.signal(theta))))
    assert errors[1] < limit * errors[0]


def test_the_mean_rates_are_those_in_the_frame_of_the_middle_of_the_pulse():
    """One long pulse and its inversion, from matrices that are averaged numerically over the turn."""
    duration, flip, inversion = 1e-3, 1.9, 8e-4
    sequence = PulseSequence([flip], [duration], TR, inversion)
    model = MTBlochModel(sequence)
    theta = tissue(B0=700.0, T2f=0.02, m0s=0.3)[0]
    b0, b1 = theta[5:]

    def pulse(angle, tau):
        psi = b1 * angle
        rates = _generator(theta[None] * np.where(np.arange(7) == 5, 0, 1), np.zeros((1, 1)))[0, 0]
        rates[:2, :2] = -np.eye(2) / theta[2]
        nodes, weights = np.polynomial.legendre.leggauss(20)
        mean = 0
        for node, weight in zip(nodes, weights, strict=True):
            turn = np.eye(5)
            turn[:3, :3] = Rotation.from_rotvec([0, node * psi / 2, 0]).as_matrix()
            mean = mean + weight / 2 * turn.T @ rates @ turn
        half = expm(mean * tau / 2)
        rotation = np.eye(5)
        rotation[:3, :3] = Rotation.from_rotvec([0, psi / 2, b0 * tau / 2]).as_matrix()
        saturation = np.diag([1, 1, 1, model._table.factor(psi, tau / theta[4]), 1])
        return rotation @ half @ saturation @ half @ rotation

    free = expm(_generator(theta[None], np.zeros((1, 1)))[0, 0] * (TR - duration) / 2)
    interval = free @ pulse(flip, duration) @ free @ np.diag([-1, -1, 1, 1, 1])
    turns = [np.eye(5) for _ in range(8)]
    for k, turn in enumerate(turns):
        turn[:3, :3] = Rotation.from_euler("z", k * np.pi / 4).as_matrix()
    cycle = interval @ np.mean([turn @ pulse(np.pi, inversion) @ turn for turn in turns], axis=0)
    end = np.linalg.solve(np.eye(4) - cycle[:4, :4], cycle[:4, 4])
    np.testing.assert_allclose(model.signal(theta[None])[0], end[0] + 1j * end[1], rtol=1e-10)


def test_no_pulses_leave_no_signal(short_variant):
    np.testing.assert_array_equal(short_variant.signal(tissue(B1=0.0)), 0)


def test_negative_b0_conjugates_the_signal_and_keeps_the_bound(short_variant, draw_theta):
    theta = draw_theta(20)
    sign = np.where(np.array(NAMES) == "B0", -1, 1)
    signal = short_variant.signal(theta)
    np.testing.assert_allclose(short_variant.signal(sign * theta), signal.conj(), atol=1e-14)
    jacobian = short_variant.jacobian(theta)
    np.testing.assert_allclose(short_variant.jacobian(sign * theta), sign * jacobian.conj(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(short_variant.crb(sign * theta), short_variant.crb(theta), rtol=1e-6)
    assert np.abs(signal.imag).max() > 1e-2


# --- Jacobian -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lineshape", "stride"), [("super-lorentzian", 1), ("lorentzian", 5), ("gaussian", 5)])
@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_jacobian_agrees_with_central_differences_in_every_voxel(lineshape, stride, saturation, name):
    model = MTBlochModel(lineshape=lineshape, saturation=saturation)
    theta = demanding_theta(NAMES)[::stride]
    assert len(theta) >= 300 // stride
    failed = disagreement(model, theta, name) >= 1
    assert not failed.any(), theta[failed]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_pulses", [1, 2])
def test_jacobian_of_the_shortest_trains(short_sequence, draw_theta, n_pulses, name):
    flip_angle = [0.0, 1.3][-n_pulses:]
    model = MTBlochModel(PulseSequence(flip_angle, [2e-4, 7e-4][-n_pulses:], TR, 1e-3))
    theta = demanding_theta(NAMES)[::5]
    assert (disagreement(model, theta, name) < 1).all()


@pytest.mark.parametrize("b0", [0.0, BAND, -BAND, 2 * BAND])
@pytest.mark.parametrize("name", NAMES)
def test_jacobian_at_special_values_of_b0(variant, b0, name):
    theta = demanding_theta(NAMES)[100:110].assign(B0=b0)
    assert (disagreement(variant, theta, name) < 1).all()


ENDS = [
    ("m0s", 0.0, 1, 0.05),
    ("Rx", 0.0, 1, 10.0),
    ("T2f", TISSUE["T1"], -1, 0.1),
    ("B1", 0.0, 1, 0.05),
    ("B1", 3.0, -1, 0.05),
    ("T2s", 1e-6, 1, 1e-6),
    ("T2s", 1e-4, -1, 1e-5),
]


@pytest.mark.parametrize(("name", "value", "inwards", "scale"), ENDS)
def test_jacobian_at_the_ends_of_the_range(short_variant, name, value, inwards, scale):
    """One-sided differences of fourth order, from two steps."""
    theta, column = tissue(**{name: value}), NAMES.index(name)
    derivative = short_variant.jacobian(theta)[0, :, column]
    weights = np.array([-25, 48, -36, 16, -3]) / 12
    errors = []
    for fraction in (1e-2, 1e-3):
        h = inwards * fraction * scale
        moved = np.repeat(theta, 5, axis=0)
        moved[:, column] += h * np.arange(5)
        errors.append(np.linalg.norm(weights @ short_variant.signal(moved) / h - derivative))
    floor = 1e-12 * np.linalg.norm(short_variant.signal(theta)) / scale
    assert min(errors) < 1e-6 * np.linalg.norm(derivative) + 100 * floor


@pytest.mark.parametrize("t2f", [1e-9, 1e-6, 1e-5])
@pytest.mark.parametrize("changes", [{}, {"B0": 0.0, "m0s": 0.0}, {"Rx": 1000.0, "T1": 1e-3}, {"B0": 1e9}])
def test_everything_is_finite_for_vanishing_t2f(short_variant, t2f, changes):
    theta = tissue(T2f=t2f, **changes)
    assert np.isfinite(short_variant.signal(theta)).all()
    assert np.isfinite(short_variant.jacobian(theta)).all()


# --- bounds ---------------------------------------------------------------------------------------


def bound_at(model, targets, known=(), **changes):
    """Bounds of one voxel, (len(targets),)."""
    return model.crb(tissue(**changes), targets, known=known)[0]


# Parameters at special values, what is known, and what is not told there.
SINGULAR_POINTS = [
    ({"m0s": 0.0}, (), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("B0", "B1"), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("Rx", "T2s"), ()),
    ({"m0s": 0.0, "B0": 0.0}, (), ("Rx", "T2s")),
    # To first order in Rx the signal depends on the product Rx m0s: neither factor is told.
    ({"Rx": 0.0}, (), ("m0s", "Rx", "T2s")),
    ({"Rx": 0.0}, ("Rx",), ("m0s", "T2s")),
    ({"Rx": 0.0}, ("m0s",), ("T2s",)),
    ({"B0": 0.0}, (), ()),
    ({"B0": BAND}, (), ()),
    ({"B0": -2 * BAND}, (), ()),
    ({"B1": 2.0}, (), ()),
]
NEARBY = {"B0": 1e-2, "m0s": 1e-7, "Rx": 1e-5, "B1": 1e-6}


@pytest.mark.parametrize(("point", "known", "blind"), SINGULAR_POINTS)
def test_bound_is_continuous_where_a_parameter_vanishes(variant, point, known, blind):
    targets = [name for name in NAMES if name not in known]
    at, near, far = (
        bound_at(variant, targets, known, **{name: value + step * NEARBY[name] for name, value in point.items()})
        for step in (0, 1, 2)
    )
    told = ~np.isin(targets, blind)
    np.testing.assert_array_equal(np.isinf(at), ~told)
    np.testing.assert_allclose(near[told], at[told], rtol=1e-2)
    assert np.isfinite(near).all()
    assert (near[~told] > 3.9 * far[~told]).all()


@pytest.mark.parametrize(("name", "limit"), [("m0s", 1e-4), ("Rx", 1e-2)])
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",), ("B0", "B1"), ("T1",)])
def test_bound_is_continuous_where_the_limit_takes_over(variant, name, limit, known):
    targets = [other for other in NAMES if other not in known]
    bounds = [bound_at(variant, targets, known, **{name: value * limit}) for value in (0.999, 1.001)]
    np.testing.assert_allclose(*bounds, rtol=2e-2)


def test_nothing_is_told_without_rf(variant):
    assert np.isposinf(variant.crb(tissue(B1=0.0), NAMES)).all()
    assert np.isfinite(variant.crb(tissue(B1=1e-5), NAMES)).all()


@pytest.mark.parametrize("b0", np.array([-1.7, -1.0, -0.2, 0.0, 0.5, 1.0, 1.4]) * BAND)
def test_bound_is_that_of_the_jacobian_with_m0_at_any_b0(variant, b0):
    theta = tissue(B0=b0)
    signal = variant.signal(theta)[..., None]
    plain = cramer_rao_bound(np.concatenate([variant.jacobian(theta), signal, 1j * signal], axis=2))[:, :-2]
    np.testing.assert_allclose(variant.crb(theta, NAMES), plain, rtol=1e-10)


def test_bound_is_never_nan_and_always_positive(short_variant):
    """On a grid of all the points where something vanishes, and next to them."""
    grid = np.meshgrid(
        [0.0, 1e-300, 1e-9, 0.1, 1 - 1e-12],
        [1.6, 30.0],
        [1e-3, 1.6],
        [0.0, 1e-300, 1e-9, 40.0, 1000.0],
        [1e-6, 1e-4],
        [0.0, 1e-300, -1e-9, BAND, np.nextafter(BAND, 0), -1.001 * BAND, 2 * BAND, 1e9],
        [0.0, 1e-300, 1e-9, 1.0, 2.0, 3.0],
    )
    theta = np.stack([axis.ravel() for axis in grid], axis=1)
    bound = short_variant.crb(theta[np.random.default_rng(0).permutation(len(theta))[:400]], NAMES)
    assert not np.isnan(bound).any()
    assert (bound > 0).all()


def test_bound_is_close_to_that_of_the_reference(short_sequence, prior_theta):
    theta = prior_theta[:16]
    bounds = [np.sqrt(kind(short_sequence).crb(theta, NAMES)) for kind in (MTBlochModel, BlochMcConnellModel)]
    np.testing.assert_allclose(np.median(bounds[0] / bounds[1], axis=0), 1, atol=2e-2)


# --- projection, groups and threads ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("k", [1, 8, 13])
def test_coefficients_are_those_of_the_signal_and_the_jacobian(short_variant, draw_theta, draw_basis, kind, k):
    theta, basis = draw_theta(7), draw_basis(60, k, kind)
    signal, jacobian = short_variant.signal(theta), short_variant.jacobian(theta)
    np.testing.assert_allclose(short_variant.signal(theta, basis), signal @ basis, atol=1e-13)
    scale = np.linalg.norm(jacobian, axis=1, keepdims=True)
    coefficients = short_variant.jacobian(theta, basis)
    np.testing.assert_allclose(coefficients / scale, basis.T @ (jacobian / scale), atol=1e-13)


@pytest.mark.parametrize("n", [1, WIDTH - 1, WIDTH, WIDTH + 1, 16 * WIDTH + 1, 150])
def test_a_voxel_has_the_same_result_in_any_company(short_variant, draw_theta, draw_basis, n):
    theta, basis = draw_theta(150), draw_basis(60, 5)
    for function in (
        short_variant.signal,
        short_variant.jacobian,
        partial(short_variant.jacobian, basis=basis),
        partial(short_variant.crb, targets=NAMES),
    ):
        np.testing.assert_allclose(function(theta[:n]), function(theta)[:n], rtol=1e-9, atol=1e-14)
        alone = np.concatenate([function(row[None]) for row in theta[:n:10]])
        np.testing.assert_allclose(function(theta[:n])[::10], alone, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("n_threads", ["1", "2", "3"])
def test_number_of_threads_does_not_change_the_result(short_variant, draw_theta, monkeypatch, n_threads):
    theta = draw_theta(300)
    expected = short_variant.jacobian(theta)
    monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
    np.testing.assert_array_equal(short_variant.jacobian(theta), expected)


def test_signal_is_that_which_comes_with_the_jacobian(variant, draw_theta):
    theta = draw_theta(20)
    np.testing.assert_allclose(variant._signal_and_jacobian(theta)[0], variant.signal(theta), atol=1e-13)


# --- the object -----------------------------------------------------------------------------------


def test_is_immutable(short_variant, short_sequence):
    with pytest.raises(AttributeError, match="immutable"):
        short_variant.sequence = short_sequence
    with pytest.raises(AttributeError, match="immutable"):
        del copy.copy(short_variant).lineshape
    assert clone(short_variant) is short_variant


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_the_same_model(short_variant, draw_theta, copied):
    other = copied(short_variant)
    assert repr(other) == repr(short_variant)
    assert other.sequence == short_variant.sequence
    np.testing.assert_array_equal(other.jacobian(draw_theta(3)), short_variant.jacobian(draw_theta(3)))


def test_defaults():
    model, reference = MTBlochModel(), BlochMcConnellModel()
    assert model.sequence == PulseSequence.default()
    assert (model.lineshape, model.saturation) == ("super-lorentzian", "graham")
    assert (model.parameters, model.default_targets) == (reference.parameters, ("m0s", "T1", "T2f"))
    assert repr(model).startswith("MTBlochModel(sequence=PulseSequence(1141 pulses")
    assert "saturation='generalized-bloch'" in repr(MTBlochModel(saturation="generalized-bloch"))


def test_b0_is_not_folded(short_variant, draw_theta):
    theta = draw_theta(20)
    np.testing.assert_array_equal(short_variant.target_values(theta, NAMES), theta)


@pytest.mark.parametrize("lineshape", LINESHAPES)
def test_lineshape_is_used(short_sequence, lineshape):
    signal = MTBlochModel(short_sequence, lineshape).signal(tissue())
    for other in LINESHAPES:
        difference = relative_error(MTBlochModel(short_sequence, other).signal(tissue()), signal)
        assert (difference > 1e-3) == (other != lineshape)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sequence": [0.1, 0.2]}, TypeError, "sequence must be a PulseSequence; got list"),
        ({"lineshape": "voigt"}, ValueError, "lineshape must be one of .*'voigt'"),
        ({"saturation": "none"}, ValueError, "saturation must be .*'none'"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MTBlochModel(**arguments)


@pytest.mark.parametrize("method", ["signal", "jacobian", "crb", "target_values"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("m0s", 1.0), ("T1", 1600.0), ("T2f", 1.7), ("Rx", -1.0), ("T2s", 10.0), ("B0", np.inf), ("B1", 3.01)],
)
def test_unphysical_values_are_refused(short_variant, method, name, value):
    theta = np.concatenate([tissue(), tissue(**{name: value})])
    with pytest.raises(ValueError, match=rf"theta\b.*\b{name}\b"):
        getattr(short_variant, method)(theta)

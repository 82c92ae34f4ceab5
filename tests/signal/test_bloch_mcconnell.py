import copy
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from sklearn.base import clone

from crbestim import MTHybridStateModel, PulseSequence
from crbestim.signal import _bloch_mcconnell
from crbestim.signal._bloch_mcconnell import BlochMcConnellModel
from crbestim.signal._saturation import LINESHAPES

NAMES = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
TR = 3.5e-3
BAND = np.pi / TR
TISSUE = {"m0s": 0.15, "T1": 1.6, "T2f": 0.08, "Rx": 40.0, "T2s": 1e-5, "B0": 200.0, "B1": 0.9}
INSTANT = 1e-9  # s


def tissue(**changes):
    return np.array([[{**TISSUE, **changes}[name] for name in NAMES]])


def relative_error(values, expected):
    return np.linalg.norm(values - expected, axis=-1) / np.linalg.norm(expected, axis=-1)


@pytest.fixture(scope="module")
def train():
    """Nine pulses of different durations, some of them long."""
    flip_angle = np.array([0.7, 1.6, 0.3, 0.0, 0.9, 2.2, 1.1, 0.2, 0.6])
    return PulseSequence(flip_angle, np.array([5, 2, 1, 4, 5, 3, 7, 2, 5]) * 1e-4, TR, inversion_duration=8e-4)


# --- independent solutions of the same physics ----------------------------------------------------


def turned(angle, axis, magnetisation):
    return Rotation.from_euler(axis, angle).apply(magnetisation)


@pytest.mark.parametrize("n_pulses", [8, 9])
@pytest.mark.parametrize(
    ("b0", "b1", "t1", "t2f"), [(0.0, 1.0, 0.3, 0.1), (0.7 * BAND, 0.7, 0.05, 0.05), (-1.4 * BAND, 1.6, 0.2, 0.01)]
)
def test_short_pulses_are_rotations_of_alternating_phase(train, n_pulses, b0, b1, t1, t2f):
    """The laboratory frame, with pulses turning to and fro and crushers as a mean over angles."""
    flip = train.flip_angle[:n_pulses]

    def half_a_repetition_time(m):
        m = turned(b0 * TR / 2, "z", m) * np.exp(-TR / 2 / np.array([t2f, t2f, t1]))
        return m - np.array([0, 0, np.expm1(-TR / 2 / t1)])

    m, sign, signal = np.array([0.0, 0.0, 1.0]), 1, None
    for _ in range(400):
        signal, before = [], signal
        crushers = np.arange(8) * np.pi / 4
        m = np.mean([turned(c, "z", turned(np.pi * b1, "y", turned(c, "z", m))) for c in crushers], axis=0)
        for angle in flip:
            sign = -sign
            m = half_a_repetition_time(turned(sign * b1 * angle, "y", half_a_repetition_time(m)))
            signal.append(sign * (m[0] + 1j * m[1]))
    np.testing.assert_allclose(signal, before, atol=1e-13)

    sequence = PulseSequence(flip, np.full(n_pulses, INSTANT), TR, INSTANT)
    model = BlochMcConnellModel(sequence)
    theta = tissue(m0s=0.0, T1=t1, T2f=t2f, B0=b0, B1=b1)
    np.testing.assert_allclose(model.signal(theta)[0], signal, atol=1e-6)


@pytest.mark.parametrize("b0", np.array([-1.3, -0.4, 0.0, 0.3, 0.9, 1.0, 1.8]) * BAND)
def test_constant_train_reaches_the_balanced_steady_state_of_freeman_and_hill(b0):
    t1, t2, flip = 0.1, 0.06, 0.8
    sequence = PulseSequence(np.full(900, flip), np.full(900, INSTANT), TR, INSTANT)
    signal = BlochMcConnellModel(sequence).signal(tissue(m0s=0.0, T1=t1, T2f=t2, B0=b0, B1=1.0))[0]
    e1, e2, phase = np.exp(-TR / t1), np.exp(-TR / t2), b0 * TR + np.pi
    denominator = (1 - e1 * np.cos(flip)) * (1 - e2 * np.cos(phase)) - (e1 - np.cos(flip)) * (e2 - np.cos(phase)) * e2
    after_pulse = (1 - e1) * np.sin(flip) * (1 - e2 * np.exp(-1j * phase)) / denominator
    expected = after_pulse * np.exp((1j * b0 - 1 / t2) * TR / 2)
    np.testing.assert_allclose(signal[-100:], expected, rtol=1e-6)


def integrated_signal(sequence, theta, lineshape, graham_integrals):
    """Signal of one voxel from the differential equations, with the saturation as a rate; the cycle is repeated."""
    m0s, t1, t2f, rx, t2s, b0, b1 = theta
    z_eq = np.array([1 - m0s, m0s])
    starts = np.hstack([np.zeros((4, 1)), np.eye(4)])

    def propagator(duration, flip=0.0):
        """Offset (4, 1) and linear part (4, 4) of the map of x, y, z, z^s."""
        omega = b1 * flip / duration
        saturation = (
            omega**2 * t2s**2 * graham_integrals(lineshape, float(duration / t2s))[0] / duration if flip else 0
        )

        def right_hand_side(_, state):
            x, y, z, zs = state.reshape(4, -1)
            exchange = rx * (m0s * z - (1 - m0s) * zs)
            return np.concatenate(
                [
                    -x / t2f - b0 * y + omega * z,
                    b0 * x - y / t2f,
                    -omega * x + (z_eq[0] - z) / t1 - exchange,
                    (z_eq[1] - zs) / t1 + exchange - saturation * zs,
                ]
            )

        solution = solve_ivp(right_hand_side, (0, duration), starts.ravel(), method="DOP853", rtol=1e-12, atol=1e-14)
        ends = solution.y[:, -1].reshape(4, -1)
        return ends[:, :1], ends[:, 1:] - ends[:, :1]

    def crusher(angle):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("z", angle).as_matrix()
        return matrix

    offset, linear = propagator(sequence.inversion_duration, np.pi)
    turns = [crusher(angle) for angle in np.arange(8) * np.pi / 4]
    cycle = [(np.mean([c @ offset for c in turns], axis=0), np.mean([c @ linear @ c for c in turns], axis=0))]
    for flip, duration in zip(sequence.flip_angle, sequence.pulse_duration, strict=True):
        free = propagator((sequence.repetition_time - duration) / 2)
        cycle += [(0, np.diag([-1, -1, 1, 1])), free, propagator(duration, flip), free]

    state, signal = np.array([[0.0], [0.0], *z_eq[:, None]]), None
    for _ in range(2000):
        signal, before = [], signal
        for step, (offset, linear) in enumerate(cycle):
            state = offset + linear @ state
            if step and step % 4 == 0:
                signal.append(state[0, 0] + 1j * state[1, 0])
        if before is not None and np.allclose(signal, before, rtol=0, atol=1e-14):
            return np.array(signal)
    raise AssertionError("no periodic state")


@pytest.mark.parametrize(
    ("lineshape", "changes"),
    [
        ("super-lorentzian", {"T1": 0.6}),
        ("super-lorentzian", {"m0s": 0.0, "B0": 0.0, "B1": 1.0, "T1": 0.6}),
        ("super-lorentzian", {"m0s": 0.4, "Rx": 110.0, "B0": -0.97 * BAND, "B1": 0.35, "T2s": 7e-6}),
        ("lorentzian", {"T2f": 0.5, "T1": 0.5, "B0": 1.3 * BAND, "B1": 1.7, "T2s": 1.8e-5}),
        ("gaussian", {"T1": 0.4, "T2f": 0.006, "B1": 1.2, "Rx": 150.0}),
    ],
)
def test_signal_agrees_with_integration_of_the_equations(train, graham_integrals, lineshape, changes):
    """The split of the saturation about the middle of the pulse makes the difference that is allowed."""
    theta = tissue(**changes)
    expected = integrated_signal(train, theta[0], lineshape, graham_integrals)
    signal = BlochMcConnellModel(train, lineshape).signal(theta)[0]
    assert relative_error(signal, expected) < (1e-9 if theta[0, 0] == 0 else 5e-4)


def test_no_pulses_leave_no_signal(train):
    np.testing.assert_array_equal(BlochMcConnellModel(train).signal(tissue(B1=0.0)), 0)


# --- symmetries and limits ------------------------------------------------------------------------


def test_negative_b0_conjugates_the_signal(train, draw_theta):
    model, theta = BlochMcConnellModel(train), draw_theta(20)
    mirrored = theta * np.where(np.array(NAMES) == "B0", -1, 1)
    signal = model.signal(theta)
    np.testing.assert_allclose(model.signal(mirrored), signal.conj(), atol=1e-13)
    assert np.abs(signal.imag).max() > 1e-2


def test_short_pulses_repeat_in_b0_with_alternating_sign(train, draw_theta):
    theta = draw_theta(20)
    sequence = PulseSequence(train.flip_angle, np.full(9, INSTANT), TR, INSTANT)
    model = BlochMcConnellModel(sequence)
    shifted = theta + np.where(np.array(NAMES) == "B0", 2 * BAND, 0)
    np.testing.assert_allclose(model.signal(shifted), -model.signal(theta), atol=1e-5)


@pytest.fixture(scope="module")
def smooth_sequence():
    """Slow lobes; the first pulse leads from the inverted last axis to the first one."""
    flip_angle = 0.8 * np.sin(np.linspace(0, 3 * np.pi, 500)) ** 2
    return PulseSequence(flip_angle, np.full(500, 1e-4), TR, inversion_duration=5e-4)


def test_hybrid_state_is_close_for_slow_trains_and_fails_towards_the_stop_bands(smooth_sequence):
    theta = np.concatenate([tissue(B0=fraction * BAND, B1=1.0) for fraction in (0.0, 0.3, 0.6, 0.85, 0.97)])
    reference = BlochMcConnellModel(smooth_sequence).signal(theta)
    error = relative_error(MTHybridStateModel(smooth_sequence).signal(theta), reference)
    assert error[0] < 0.02
    assert error[1] < 0.04
    assert (np.diff(error) > 0).all()
    assert error[-1] > 0.1


def test_hybrid_state_misses_the_oscillation_of_a_train_that_starts_off_its_axis(smooth_sequence):
    cut = PulseSequence(smooth_sequence.flip_angle[80:], smooth_sequence.pulse_duration[80:], TR, 5e-4)
    theta = tissue(B0=0.0, B1=1.0)
    reference = BlochMcConnellModel(cut).signal(theta)[0]
    assert relative_error(MTHybridStateModel(cut).signal(theta)[0], reference) > 0.1
    steps = np.diff(reference.real[:20])
    assert (steps[1:] * steps[:-1] < 0).all()


@pytest.mark.parametrize("lineshape", LINESHAPES)
def test_lineshape_is_used(train, lineshape):
    others = [BlochMcConnellModel(train, other).signal(tissue()) for other in LINESHAPES if other != lineshape]
    signal = BlochMcConnellModel(train, lineshape).signal(tissue())
    assert all(relative_error(signal, other).min() > 1e-3 for other in others)


@pytest.mark.parametrize("changes", [{}, {"m0s": 0.3, "T2s": 1.5e-5, "B1": 1.2}])
def test_saturation_has_the_effect_that_it_has_in_the_hybrid_state(smooth_sequence, changes):
    theta = tissue(**{"B0": 0.0, "B1": 1.0, **changes})
    strong = PulseSequence(smooth_sequence.flip_angle * 2, smooth_sequence.pulse_duration, TR, 2e-4)
    effects = [
        model(strong, saturation="generalized-bloch").signal(theta) - model(strong).signal(theta)
        for model in (BlochMcConnellModel, MTHybridStateModel)
    ]
    assert relative_error(*effects) < 0.1
    assert np.linalg.norm(effects[1]) > 1e-3 * np.linalg.norm(MTHybridStateModel(strong).signal(theta))


# --- Jacobian -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_jacobian_agrees_with_differences_of_higher_order(short_sequence, draw_theta, name):
    """Five points and another step; a wrong step or column is off by far more than the tolerance."""
    model, theta, column = BlochMcConnellModel(short_sequence), draw_theta(6, seed=3), NAMES.index(name)
    derivative = model.jacobian(theta)[:, :, column]
    step = 1e-3 * {"B0": 0.1 * BAND, "Rx": 10.0}.get(name, theta[:, column])

    def shifted(factor):
        moved = theta.copy()
        moved[:, column] += factor * step
        return model.signal(moved)

    difference = 8 * (shifted(1) - shifted(-1)) - (shifted(2) - shifted(-2))
    expected = difference / (12 * np.broadcast_to(step, 6)[:, None])
    assert relative_error(derivative, expected).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "value", "inwards", "scale"),
    [
        ("m0s", 0.0, 1, 0.05),
        ("Rx", 0.0, 1, 1.0),
        ("Rx", 1000.0, -1, 10.0),
        ("T1", TISSUE["T2f"], 1, 0.1),
        ("T2f", TISSUE["T1"], -1, 0.1),
        ("B1", 0.0, 1, 0.05),
        ("B1", 3.0, -1, 0.05),
        ("T2s", 1e-6, 1, 1e-6),
        ("T2s", 1e-4, -1, 1e-5),
    ],
)
def test_jacobian_at_the_ends_of_the_range(train, name, value, inwards, scale):
    """One-sided differences of fourth order; the model's own are of first order there."""
    model, theta, column = BlochMcConnellModel(train), tissue(**{name: value}), NAMES.index(name)
    h = inwards * 1e-2 * scale
    moved = np.repeat(theta, 5, axis=0)
    moved[:, column] += h * np.arange(5)
    expected = np.array([-25, 48, -36, 16, -3]) / 12 @ model.signal(moved) / h
    assert relative_error(model.jacobian(theta)[0, :, column], expected) < 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "B0"])
@pytest.mark.parametrize("end", [0, 1])
def test_steps_stay_in_the_range(train, name, end):
    """At both ends of each parameter, where T1 = T2f is that of one of them; m0s < 1 and 0 < T1, T2f are open."""
    column = NAMES.index(name)
    value = {"m0s": (0.0, 0.9999), "T1": (TISSUE["T2f"], 30.0), "T2f": (1e-6, TISSUE["T1"])}.get(
        name, BlochMcConnellModel.parameters[column].bounds
    )[end]
    model, theta = BlochMcConnellModel(train), tissue(**{name: value})
    for low, high in model._differences(theta):
        assert (model.check_theta(low) <= model.check_theta(high)).all()
        assert (low != high).sum() == 1


# --- behaviour ------------------------------------------------------------------------------------


def test_chunks_do_not_change_the_signal(train, draw_theta, monkeypatch):
    model, theta = BlochMcConnellModel(train), draw_theta(7)
    expected = model.signal(theta)
    monkeypatch.setattr(_bloch_mcconnell, "_CHUNK_BYTES", 3 * _bloch_mcconnell._INTERVAL_BYTES * train.n_pulses)
    np.testing.assert_array_equal(model.signal(theta), expected)


def test_model_is_immutable_and_compares_by_value(train):
    model = BlochMcConnellModel(train, "gaussian")
    with pytest.raises(AttributeError):
        model.lineshape = "lorentzian"
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), BlochMcConnellModel(train, "gaussian")):
        assert other == model
        assert hash(other) == hash(model)
    assert model != BlochMcConnellModel(train)
    assert clone(model) is model
    assert "BlochMcConnellModel" in repr(model)


def test_defaults_are_those_of_the_hybrid_state():
    model, hybrid = BlochMcConnellModel(), MTHybridStateModel()
    assert model.sequence == hybrid.sequence
    assert (model.lineshape, model.saturation) == (hybrid.lineshape, hybrid.saturation)
    assert (model.parameters, model.n_timepoints) == (hybrid.parameters, hybrid.n_timepoints)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((np.zeros(3),), TypeError), ((None, "voigt"), ValueError), ((None, "gaussian", "none"), ValueError)],
)
def test_wrong_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        BlochMcConnellModel(*arguments)


def test_theta_is_checked(train):
    with pytest.raises(ValueError, match="T1 must lie"):
        BlochMcConnellModel(train).signal(tissue(T1=1600.0))

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crbestim import VariableFlipAngleModel

ANGLES = tuple(np.deg2rad([2.0, 5.0, 12.0, 25.0, 80.0]).tolist())
TR = 8e-3
THETA = np.array([[0.3, 1.0], [0.9, 0.8], [1.4, 1.25], [4.0, 0.5], [1.0, 3.0]])


def steady_state(angle, repetition_time, t1, n_repetitions):
    """Transversal magnetisation after each pulse of Bloch's equations, once they repeat."""
    z, recovery = 1.0, np.exp(-repetition_time / t1)
    for _ in range(n_repetitions):
        signal, z = np.sin(angle) * z, 1 + (np.cos(angle) * z - 1) * recovery
    return signal


@pytest.mark.parametrize("data", ["complex", "magnitude"])
def test_signal_is_the_steady_state_of_repeated_pulses(data):
    model = VariableFlipAngleModel(ANGLES, TR, data)
    expected = np.array([[steady_state(b1 * angle, TR, t1, 20_000) for angle in ANGLES] for t1, b1 in THETA])
    assert expected.min() < 0  # three times 80 degrees
    expected = np.abs(expected) if data == "magnitude" else expected
    np.testing.assert_allclose(model.signal(THETA), expected, rtol=1e-9)
    assert model.signal(THETA).dtype == (np.float64 if data == "magnitude" else np.complex128)


def test_a_flip_of_zero_or_half_a_turn_gives_nothing():
    model = VariableFlipAngleModel([0.0, np.pi], TR)
    np.testing.assert_allclose(model.signal([[1.0, 1.0]]), 0, atol=1e-15)
    assert np.isposinf(model.crb([[1.0, 1.0]], ("T1", "B1"))).all()


def test_the_signal_is_largest_at_the_angle_of_ernst():
    """cos alpha = E1: its derivative with respect to B1 vanishes there, for one T1 a voxel."""
    t1 = np.array([0.2, 1.0, 4.0])
    model = VariableFlipAngleModel(np.arccos(np.exp(-TR / t1)), TR)
    theta = np.column_stack([t1, np.ones(3)])
    slope = model.jacobian(theta)[:, :, 1].real
    np.testing.assert_allclose(np.diag(slope), 0, atol=1e-14)
    assert np.abs(slope[~np.eye(3, dtype=bool)]).min() > 1e-3
    np.testing.assert_allclose(np.diag(model.signal(theta)).real, np.sqrt(np.tanh(TR / t1 / 2)), rtol=1e-9)


@pytest.mark.parametrize("data", ["complex", "magnitude"])
def test_derivatives_beyond_half_a_turn(data):
    model = VariableFlipAngleModel(ANGLES, TR, data)
    jacobian = model.jacobian(THETA * [1, 0.99])
    for column, step in enumerate(THETA.T * 1e-3):
        shift = step[:, None] * np.eye(2)[column]
        ends = [model.signal(THETA * [1, 0.99] + i * shift) for i in (-2, -1, 1, 2)]
        difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step[:, None])
        np.testing.assert_allclose(jacobian[:, :, column], difference, rtol=1e-7, atol=1e-9)


def test_magnitudes_have_the_derivatives_of_the_signal_up_to_its_sign():
    plain, magnitude = VariableFlipAngleModel(ANGLES, TR), VariableFlipAngleModel(ANGLES, TR, "magnitude")
    sign = np.sign(plain.signal(THETA).real)
    assert sign.min() == -1
    np.testing.assert_array_equal(magnitude.jacobian(THETA), sign[:, :, None] * plain.jacobian(THETA).real)
    for known in ((), ("B1",)):
        np.testing.assert_allclose(magnitude.crb(THETA, known=known), plain.crb(THETA, known=known), rtol=1e-9)


def t1_of_two_angles(signals, angles):
    """The line of s / sin over s / tan has the slope E1."""
    over_sin, over_tan = signals / np.sin(angles), signals / np.tan(angles)
    return -TR / np.log((over_sin[1] - over_sin[0]) / (over_tan[1] - over_tan[0]))


@pytest.mark.parametrize(("t1", "b1"), [(0.6, 1.0), (1.5, 0.8), (1.0, 1.2)])
def test_bound_of_two_angles_is_the_error_of_the_line_through_them(t1, b1):
    angles = np.deg2rad([3.0, 16.0])
    signals = np.array([steady_state(b1 * angle, TR, t1, 20_000) for angle in angles])
    assert t1_of_two_angles(signals, b1 * angles) == pytest.approx(t1, rel=1e-6)
    steps = 1e-5 * np.diag(signals)
    slope = [
        (t1_of_two_angles(signals + step, b1 * angles) - t1_of_two_angles(signals - step, b1 * angles)) / (2 * size)
        for step, size in zip(steps, np.diag(steps), strict=True)
    ]
    model = VariableFlipAngleModel(angles, TR)
    assert model.crb([[t1, b1]], known="B1")[0, 0] == pytest.approx(np.sum(np.square(slope)), rel=1e-5)
    assert np.isposinf(model.crb([[t1, b1]])).all()


def test_small_angles_tell_the_product_of_t1_and_the_square_of_b1():
    """Their ratio is told worse the smaller the angles are: sqrt(CRB) grows as 1 / alpha^2 at TR / alpha^2 fixed."""

    def ambiguity(scale):
        model = VariableFlipAngleModel(scale * np.deg2rad([4.0, 10.0, 20.0, 30.0]), 0.02 * scale**2)
        free, known = (model.crb([[1.0, 1.0]], "T1", known=name)[0, 0] for name in ((), ("B1",)))
        return np.sqrt(free / known)

    assert ambiguity(0.25) / ambiguity(0.5) == pytest.approx(4, rel=0.05)


def test_targets_are_t1_unless_asked_for_more():
    model = VariableFlipAngleModel(ANGLES, TR)
    both = model.crb(THETA, ("T1", "B1"))
    assert model.crb(THETA).shape == (5, 1)
    np.testing.assert_allclose(model.crb(THETA), both[:, :1], rtol=1e-12)
    assert (model.crb(THETA, known="B1") < both[:, :1]).all()
    assert (model.crb(THETA, "B1", known="T1") < both[:, 1:]).all()
    np.testing.assert_array_equal(model.target_values(THETA), THETA[:, :1])


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_any_sequence_makes_the_same_model(kind):
    model = VariableFlipAngleModel(kind(ANGLES), repetition_time=np.float64(TR))
    same = VariableFlipAngleModel(ANGLES, TR)
    assert model == same
    assert hash(model) == hash(same)
    assert model.flip_angles == ANGLES
    assert type(model.repetition_time) is float
    assert len({same, VariableFlipAngleModel(ANGLES, 2 * TR), VariableFlipAngleModel(ANGLES, TR, "magnitude")}) == 3


def test_is_a_constant():
    model = VariableFlipAngleModel(ANGLES, TR, "magnitude")
    assert clone(model) is model
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert other.real_valued
        np.testing.assert_array_equal(other.signal(THETA), model.signal(THETA))
    for name in ("flip_angles", "repetition_time", "data", "real_valued"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"flip_angles": 0.1}, ValueError, "flip_angles must be one-dimensional"),
        ({"flip_angles": []}, ValueError, "flip_angles must be one-dimensional"),
        ({"flip_angles": [[0.1]]}, ValueError, "flip_angles must be one-dimensional"),
        ({"flip_angles": [0.1, np.nan]}, ValueError, "flip_angles must be finite"),
        ({"flip_angles": [0.1, -0.1]}, ValueError, "flip_angles must be finite and from 0 to 6.28319 rad"),
        ({"flip_angles": [0.1j]}, TypeError, "flip_angles must be real"),
        ({"flip_angles": "0.1"}, TypeError, "flip_angles must hold numbers"),
        ({"repetition_time": 0}, ValueError, "repetition_time must be positive"),
        ({"repetition_time": -TR}, ValueError, "repetition_time must be positive"),
        ({"repetition_time": np.nan}, ValueError, "repetition_time must be positive and finite"),
        ({"repetition_time": None}, TypeError, "repetition_time must be a number"),
        ({"repetition_time": (TR,)}, TypeError, "repetition_time must be a number"),
        ({"repetition_time": "5 ms"}, TypeError, "repetition_time must be a number"),
        ({"data": "real"}, ValueError, "data must be one of"),
        ({"data": None}, ValueError, "data must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        VariableFlipAngleModel(**({"flip_angles": ANGLES, "repetition_time": TR} | arguments))


@pytest.mark.parametrize(("theta", "name"), [([0.0, 1.0], "T1"), ([1.0, 0.0], "B1"), ([1.0, 3.1], "B1")])
def test_unphysical_parameters_are_named(theta, name):
    with pytest.raises(ValueError, match=f"theta: {name} must lie in"):
        VariableFlipAngleModel(ANGLES, TR).signal([theta])


def test_degrees_and_milliseconds_are_noticed():
    with pytest.raises(ValueError, match="flip_angles must be finite and from 0 to 6.28319 rad; got 3 to 20"):
        VariableFlipAngleModel([3, 6, 12, 20], 5e-3)
    with pytest.raises(ValueError, match="repetition_time must be from 1e-06 to 1 s; got 5 s. Is it in ms"):
        VariableFlipAngleModel([0.1, 0.3], 5.0)

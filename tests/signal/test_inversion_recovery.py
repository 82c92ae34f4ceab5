import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crbestim import InversionRecoveryModel

TIMES = (0.05, 0.2, 0.5, 1.1, 1.9, 2.5)
THETA = np.array([[0.3, 1.0], [0.9, 0.95], [1.4, 0.7], [3.0, 0.2], [1.0, 0.0]])


def steady_state(inversion_time, repetition_time, t1, efficiency, n_repetitions=200):
    """Bloch's equation of the longitudinal magnetisation, inverted and read out over and over."""

    def recover(z, time):
        return 1 + (z - 1) * np.exp(-time / t1)

    z = 0.4
    for _ in range(n_repetitions):
        signal = recover(-efficiency * z, inversion_time)
        z = recover(0.0, repetition_time - inversion_time)  # the readout takes all of it
    return signal


@pytest.mark.parametrize("repetition_time", [2.5, 3.0, 8.0])
def test_signal_is_the_steady_state_of_repeated_inversions(repetition_time):
    model = InversionRecoveryModel(TIMES, data="real", repetition_time=repetition_time)
    expected = [[steady_state(time, repetition_time, *row) for time in TIMES] for row in THETA]
    np.testing.assert_allclose(model.signal(THETA), expected, rtol=0, atol=1e-14)


def test_without_a_repetition_time_all_recovers():
    full = InversionRecoveryModel(TIMES, data="real")
    expected = [[steady_state(time, 1e3, *row) for time in TIMES] for row in THETA]
    np.testing.assert_allclose(full.signal(THETA), expected, rtol=0, atol=1e-14)
    slow = InversionRecoveryModel(TIMES, data="real", repetition_time=1e3)
    np.testing.assert_array_equal(slow.signal(THETA), full.signal(THETA))
    np.testing.assert_allclose(slow.crb(THETA), full.crb(THETA), rtol=1e-12)


def test_kinds_of_data_differ_in_phase_and_sign_only():
    by_kind = {kind: InversionRecoveryModel(TIMES, 4.0, kind) for kind in ("complex", "real", "magnitude")}
    signal = {kind: model.signal(THETA) for kind, model in by_kind.items()}
    assert [values.dtype.kind for values in signal.values()] == ["c", "f", "f"]
    assert [model.real_valued for model in by_kind.values()] == [False, True, True]
    assert (signal["real"] < 0).any()
    np.testing.assert_array_equal(signal["complex"], signal["real"])
    np.testing.assert_array_equal(signal["magnitude"], np.abs(signal["real"]))
    sign = np.sign(signal["real"])[:, :, None]
    jacobian = {kind: model.jacobian(THETA) for kind, model in by_kind.items()}
    np.testing.assert_array_equal(jacobian["magnitude"], sign * jacobian["real"])


def test_a_signal_of_exactly_zero_is_no_problem():
    """|s| has no derivative there; either sign is right."""
    model = InversionRecoveryModel([0.2, np.log(2.0), 3.0], data="magnitude")
    theta = np.array([[1.0, 1.0]])
    assert abs(model.signal(theta)[0, 1]) < 1e-15
    assert abs(model.jacobian(theta)[0, 1, 0]) == pytest.approx(np.log(2.0))
    assert np.isfinite(model.crb(theta)).all()


@pytest.mark.parametrize("data", ["complex", "real", "magnitude"])
@pytest.mark.parametrize("repetition_time", [None, 2.5, 4.0])
def test_bound_of_t1_is_that_of_offset_amplitude_and_decay(data, repetition_time):
    """M0 and the efficiency are as good as the A and B of A + B exp(-t/T1), whatever TR is."""
    model = InversionRecoveryModel(TIMES, repetition_time, data)
    bound = model.crb(THETA, "T1")[:, 0]
    for (t1, efficiency), value in zip(THETA, bound, strict=True):
        decay = np.exp(-np.array(TIMES) / t1)
        columns = np.column_stack([-(1 + efficiency) * decay * np.array(TIMES) / t1**2, np.ones(6), decay])
        assert value == pytest.approx(np.linalg.inv(columns.T @ columns)[0, 0], rel=1e-8)


@pytest.mark.parametrize("repetition_time", [None, 4.0])
def test_bound_of_t1_with_a_known_inversion_in_closed_form(repetition_time):
    """CRB = |s|^2 / (|s|^2 |s'|^2 - (s s')^2), with s' from differences of the steady state."""
    model = InversionRecoveryModel(TIMES, repetition_time=repetition_time)

    def signal(t1, efficiency):
        return np.array([steady_state(time, repetition_time or 1e3, t1, efficiency) for time in TIMES])

    for t1, efficiency in THETA[:4]:
        h = 1e-3 * t1
        ends = [signal(t1 + i * h, efficiency) for i in (-2, -1, 1, 2)]
        slope, s = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * h), signal(t1, efficiency)
        expected = s @ s / ((s @ s) * (slope @ slope) - (s @ slope) ** 2)
        bound = model.crb([[t1, efficiency]], known="efficiency")
        assert bound.shape == (1, 1)
        assert bound[0, 0] == pytest.approx(expected, rel=1e-7)


def test_derivatives_where_the_whole_repetition_is_an_inversion_time():
    """TI = TR: nothing has recovered before the next inversion, and the inversion has nothing to invert."""
    model = InversionRecoveryModel([0.3, 1.0], data="real", repetition_time=1.0)
    np.testing.assert_allclose(model.signal(THETA)[:, 1], 1 - np.exp(-1 / THETA[:, 0]), rtol=1e-14)
    np.testing.assert_allclose(model.jacobian(THETA)[:, 1, 1], 0, atol=1e-16)


@pytest.mark.parametrize(("times", "known"), [([0.5], ()), ([0.5], ("efficiency",)), ([0.5, 0.5], ("efficiency",))])
def test_too_few_times_tell_nothing_of_t1(times, known):
    assert np.isposinf(InversionRecoveryModel(times).crb([[1.0, 0.9]], "T1", known=known)).all()


def test_two_times_tell_t1_if_the_inversion_is_known():
    model = InversionRecoveryModel([0.3, 1.5])
    assert np.isposinf(model.crb([[1.0, 0.9]])).all()
    assert np.isfinite(model.crb([[1.0, 0.9]], known="efficiency")).all()


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_any_sequence_makes_the_same_model(kind):
    model = InversionRecoveryModel(kind(TIMES), repetition_time=np.float32(4))
    same = InversionRecoveryModel(TIMES, 4, "complex")
    assert model == same
    assert hash(model) == hash(same)
    assert model.inversion_times == TIMES
    assert type(model.repetition_time) is float


def test_models_differ_by_each_setting():
    different = [
        InversionRecoveryModel(TIMES),
        InversionRecoveryModel(TIMES, data="real"),
        InversionRecoveryModel(TIMES, data="magnitude"),
        InversionRecoveryModel(TIMES, repetition_time=3.0),
        InversionRecoveryModel(TIMES[::-1]),
    ]
    assert len(set(different)) == 5


def test_is_a_constant():
    model = InversionRecoveryModel(TIMES, 5.0, "magnitude")
    assert clone(model) is model
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert other.real_valued
        np.testing.assert_array_equal(other.crb(THETA), model.crb(THETA))
    for name in ("inversion_times", "data", "repetition_time", "real_valued"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inversion_times": 0.1}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": []}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": [[0.1, 0.2]]}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": [0.1, np.nan]}, ValueError, "inversion_times must be finite"),
        ({"inversion_times": [0.1, -1e-9]}, ValueError, "inversion_times must be finite and from 0 to 100 s"),
        ({"inversion_times": [0.1j]}, TypeError, "inversion_times must be real"),
        ({"inversion_times": ["0.1"]}, TypeError, "inversion_times must hold numbers"),
        ({"data": "phase"}, ValueError, "data must be one of"),
        ({"data": 5.0}, ValueError, "data must be one of"),
        ({"repetition_time": 2.4}, ValueError, "repetition_time must not be below the longest inversion time, 2.5 s"),
        ({"repetition_time": np.nan}, ValueError, "repetition_time must be positive and finite"),
        ({"repetition_time": np.inf}, ValueError, "repetition_time must be positive and finite"),
        ({"repetition_time": 0.0}, ValueError, "repetition_time must be positive"),
        ({"repetition_time": -5.0}, ValueError, "repetition_time must be positive"),
        ({"repetition_time": "5"}, TypeError, "repetition_time must be a number"),
        ({"repetition_time": [5.0]}, TypeError, "repetition_time must be a number"),
        ({"repetition_time": 5j}, TypeError, "repetition_time must be a number"),
        ({"repetition_time": True}, TypeError, "repetition_time must be a number"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        InversionRecoveryModel(**({"inversion_times": TIMES} | arguments))


@pytest.mark.parametrize(
    ("theta", "name"),
    [([0.0, 0.9], "T1"), ([31.0, 0.9], "T1"), ([1.0, 1.01], "efficiency"), ([1.0, -0.1], "efficiency")],
)
def test_unphysical_parameters_are_named(theta, name):
    with pytest.raises(ValueError, match=f"theta: {name} must lie in"):
        InversionRecoveryModel(TIMES).signal([theta])

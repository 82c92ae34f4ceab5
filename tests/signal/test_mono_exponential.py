import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crbestim import MonoExponentialModel, MultiEchoGradientEchoModel

ECHOES = (0.01, 0.02, 0.05, 0.09, 0.2)
T2 = np.array([[0.02], [0.08], [0.5]])


def spin_echo_train(spacing, n_echoes, t2, n_spins=201):
    """Mean of spins that precess at different rates and are refocused midway between the echoes."""
    rate = np.linspace(-2e3, 2e3, n_spins)
    half = np.exp((1j * rate - 1 / t2) * spacing / 2)
    magnetisation, echoes = np.ones(n_spins, complex), []
    for _ in range(n_echoes):
        magnetisation = (magnetisation * half).conj() * half
        echoes.append(magnetisation.mean())
    return echoes


@pytest.mark.parametrize("data", ["complex", "magnitude"])
def test_signal_is_that_of_refocused_spins(data):
    signal = MonoExponentialModel(np.arange(1, 9) * 0.015, data=data).signal(T2)
    np.testing.assert_allclose(signal, [spin_echo_train(0.015, 8, t2) for t2 in T2.ravel()], rtol=1e-12)
    assert signal.dtype == (np.complex128 if data == "complex" else np.float64)


def test_an_echo_at_time_zero_is_one():
    model = MonoExponentialModel([0.0, 0.1])
    assert model.signal([[0.1]])[0, 0] == 1
    assert model.jacobian([[0.1]])[0, 0, 0] == 0


@pytest.mark.parametrize("data", ["complex", "magnitude"])
def test_bound_in_closed_form(data):
    """CRB = T2^4 / sum |s|^2 (t - mean t)^2, with the mean weighted by |s|^2, as M0 is unknown."""
    weight, times = np.exp(-2 * np.array(ECHOES) / T2), np.array(ECHOES)
    centre = (weight * times).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    expected = T2[:, 0] ** 4 / (weight * (times - centre) ** 2).sum(1)
    np.testing.assert_allclose(MonoExponentialModel(ECHOES, data).crb(T2)[:, 0], expected, rtol=1e-9)


def test_bound_of_two_echoes_is_the_error_of_the_log_ratio():
    """T2 = (t2 - t1) / log(s1/s2): dT2 = T2^2 / (t2 - t1) (ds1/s1 - ds2/s2)."""
    first, second = 0.02, 0.1
    inverse_square = np.exp(2 * first / T2) + np.exp(2 * second / T2)
    expected = T2**4 / (second - first) ** 2 * inverse_square
    np.testing.assert_allclose(MonoExponentialModel([first, second]).crb(T2), expected, rtol=1e-9)


@pytest.mark.parametrize("echoes", [[0.03], [0.03, 0.03], [0.0, 0.0]])
def test_equal_times_do_not_tell_t2(echoes):
    assert np.isposinf(MonoExponentialModel(echoes).crb([[0.08]])).all()


def test_the_order_of_echoes_does_not_matter():
    forwards, backwards = MonoExponentialModel(ECHOES), MonoExponentialModel(ECHOES[::-1])
    np.testing.assert_array_equal(backwards.signal(T2), forwards.signal(T2)[:, ::-1])
    np.testing.assert_allclose(backwards.crb(T2), forwards.crb(T2), rtol=1e-10)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, lambda times: np.array(times, dtype=object)])
def test_any_sequence_makes_the_same_model(kind):
    model = MonoExponentialModel(kind(ECHOES))
    assert model == MonoExponentialModel(ECHOES)
    assert hash(model) == hash(MonoExponentialModel(ECHOES))
    assert model.echo_times == ECHOES
    assert model.n_timepoints == 5


def test_whole_numbers_are_times():
    assert MonoExponentialModel([1, 2]) == MonoExponentialModel([1.0, 2.0])


def test_models_differ_by_times_data_and_kind():
    different = [
        MonoExponentialModel(ECHOES),
        MonoExponentialModel(ECHOES, data="magnitude"),
        MonoExponentialModel(ECHOES[:4]),
        MultiEchoGradientEchoModel(ECHOES),
    ]
    assert len(set(different)) == 4


def test_is_a_constant():
    model = MonoExponentialModel(ECHOES, "magnitude")
    assert clone(model) is model
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert other.real_valued
        np.testing.assert_array_equal(other.signal(T2), model.signal(T2))
    for name in ("echo_times", "data", "real_valued"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
    with pytest.raises(AttributeError):
        del model.echo_times


def test_a_change_of_the_array_does_not_change_the_model():
    times = np.array(ECHOES)
    model = MonoExponentialModel(times)
    times[:] = 1.0
    assert model.echo_times == ECHOES


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.1,), ValueError, "echo_times must be one-dimensional"),
        ((None,), TypeError, "echo_times must hold numbers"),
        (([],), ValueError, "echo_times must be one-dimensional with at least one value"),
        (([[0.1, 0.2]],), ValueError, "echo_times must be one-dimensional"),
        (([[0.1], [0.1, 0.2]],), ValueError, "echo_times must be a regular array"),
        (([0.1, np.nan],), ValueError, "echo_times must be finite"),
        (([0.1, None],), TypeError, "echo_times must hold numbers; got None"),
        (([0.1, np.inf],), ValueError, "echo_times must be finite"),
        (([0.1, -0.1],), ValueError, "echo_times must be finite and from 0 to 10 s"),
        (([0.1, 0.2j],), TypeError, "echo_times must be real"),
        ((["0.1", "0.2"],), TypeError, "echo_times must hold numbers"),
        (("0.1",), TypeError, "echo_times must hold numbers"),
        (({0.1},), TypeError, "echo_times must hold numbers"),
        ((iter(ECHOES),), TypeError, "echo_times must hold numbers"),
        ((ECHOES, "real"), ValueError, "data must be one of .*; got 'real'"),
        ((ECHOES, None), ValueError, "data must be one of"),
        ((ECHOES, 3), ValueError, "data must be one of"),
        ((ECHOES, ["complex"]), ValueError, "data must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        MonoExponentialModel(*arguments)


@pytest.mark.parametrize("t2", [0.0, -0.1, 30.1, np.nan])
def test_unphysical_t2_is_named(t2):
    with pytest.raises(ValueError, match="T2"):
        MonoExponentialModel(ECHOES).signal([[t2]])


def test_the_largest_t2_is_physical():
    model = MonoExponentialModel(ECHOES)
    assert np.isfinite(model.crb([[30.0]])).all()
    with pytest.raises(ValueError, match="targets is empty"):
        model.crb([[0.1]], known="T2")

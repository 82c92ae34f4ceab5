import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.linalg import expm
from sklearn.base import clone

from crbestim import MultiEchoGradientEchoModel, NLLSEstimator, Prior

ECHOES = (1.7e-3, 4.0e-3, 5.1e-3, 9.8e-3, 17.0e-3)
THETA = np.array([[0.01, 0.0], [0.03, 250.0], [0.06, -900.0], [0.2, 4e3]])


def test_signal_solves_the_equation_of_bloch():
    """Of the transversal magnetisation (x, y) in the rotating frame, from (1, 0)."""
    signal = MultiEchoGradientEchoModel(ECHOES).signal(THETA)
    for (t2star, b0), row in zip(THETA, signal, strict=True):
        generator = np.array([[-1 / t2star, -b0], [b0, -1 / t2star]])
        x, y = np.transpose([expm(generator * time)[:, 0] for time in ECHOES])
        np.testing.assert_allclose(row, x + 1j * y, rtol=1e-12)


def test_bounds_in_closed_form():
    """With C = sum |s|^2 (t - mean t)^2: T2*^4 / C and, as the two are orthogonal, 1 / C."""
    times, weight = np.array(ECHOES), np.exp(-2 * np.array(ECHOES) / THETA[:, :1])
    centre = (weight * times).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    spread = (weight * (times - centre) ** 2).sum(1)
    model = MultiEchoGradientEchoModel(ECHOES)
    expected = np.column_stack([THETA[:, 0] ** 4 / spread, 1 / spread])
    np.testing.assert_allclose(model.crb(THETA), expected, rtol=1e-9)
    np.testing.assert_allclose(model.crb(THETA, known="B0"), expected[:, :1], rtol=1e-9)
    np.testing.assert_allclose(model.crb(THETA, known="T2star"), expected[:, 1:], rtol=1e-9)


def test_bound_of_b0_is_that_of_the_phase_difference_of_two_echoes():
    first, second = 2e-3, 7e-3
    bound = MultiEchoGradientEchoModel([first, second]).crb([[0.03, 100.0]], "B0")[0, 0]
    expected = (np.exp(2 * first / 0.03) + np.exp(2 * second / 0.03)) / (second - first) ** 2
    assert bound == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("echoes", [[3e-3], [3e-3, 3e-3], [0.0, 0.0, 0.0]])
def test_equal_times_tell_nothing_and_are_not_folded(echoes):
    model = MultiEchoGradientEchoModel(echoes)
    assert np.isposinf(model.crb(THETA)).all()
    np.testing.assert_array_equal(model.target_values(THETA), THETA)


SPACING = 2e-3
LIMIT = np.pi / SPACING


@pytest.mark.parametrize("first", [0.0, 1e-3, 2e-3, 3.3e-3])
@pytest.mark.parametrize("n_echoes", [2, 3, 8])
@pytest.mark.parametrize("order", [1, -1])
def test_aliases_of_equally_spaced_echoes_are_folded(first, n_echoes, order):
    model = MultiEchoGradientEchoModel((first + SPACING * np.arange(n_echoes))[::order])
    b0 = np.linspace(-0.99, 0.98, 7) * LIMIT
    theta = np.column_stack([np.full(7, 0.03), b0])
    signal = model.signal(theta)
    for turns in (-3, -1, 0, 1, 12):
        alias = theta + np.array([0.0, 2 * LIMIT * turns])
        ratio = model.signal(alias) / signal
        np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(n_echoes), atol=1e-10)  # M0 absorbs it
        np.testing.assert_allclose(model.target_values(alias), theta, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(model.target_values(alias, "B0"), theta[:, 1:], rtol=1e-9, atol=1e-9)


def test_the_lower_end_of_the_interval_is_the_one_that_belongs_to_it():
    model = MultiEchoGradientEchoModel(SPACING * np.arange(1, 9))
    ends = np.array([LIMIT, -LIMIT, 3 * LIMIT, np.nextafter(-LIMIT, -np.inf), np.nextafter(LIMIT, 0)])
    folded = model.target_values(np.column_stack([np.full(5, 0.03), ends]), "B0")
    assert (folded >= -LIMIT).all()
    assert (folded < LIMIT).all()
    assert folded[0, 0] == folded[1, 0] == -LIMIT


def test_folding_leaves_other_columns_and_the_input_alone():
    theta = np.array([[0.03, 5 * LIMIT], [0.04, -0.5]])
    before = theta.copy()
    model = MultiEchoGradientEchoModel(SPACING * np.arange(1, 9))
    np.testing.assert_array_equal(model.target_values(theta, ("T2star",)), theta[:, :1])
    np.testing.assert_array_equal(theta, before)
    frame = pd.DataFrame({"B0": theta[:, 1], "T2star": theta[:, 0]})
    np.testing.assert_array_equal(model.target_values(frame), model.target_values(theta))


def test_unequally_spaced_echoes_are_not_folded():
    far = THETA + np.array([0.0, 1e4])
    np.testing.assert_array_equal(MultiEchoGradientEchoModel(ECHOES).target_values(far), far)


def test_times_in_single_precision_are_equally_spaced():
    """As in a file: 32 echoes, 1 ms apart, each rounded to 24 bits."""
    times = np.arange(1, 33, dtype=np.float32) * np.float32(1e-3)
    folded = MultiEchoGradientEchoModel(times).target_values([[0.03, 200.0 + 2e3 * np.pi]], "B0")
    assert folded[0, 0] == pytest.approx(200.0, abs=0.1)


def test_a_fit_returns_the_alias_in_the_interval():
    """Of a prior as wide as three turns; both a fit and data sets fold."""
    model = MultiEchoGradientEchoModel(SPACING * np.arange(1, 9))
    prior = Prior({"T2star": stats.uniform(0.02, 0.04), "B0": stats.uniform(-3 * LIMIT, 6 * LIMIT)})
    theta = np.array([[0.03, 300.0], [0.05, -1200.0], [0.04, 300.0 + 2 * LIMIT]])
    fit = NLLSEstimator(model, prior=prior, verbose=0, random_state=0).fit()
    np.testing.assert_allclose(fit.predict(model.signal(theta)), model.target_values(theta), rtol=1e-6)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_any_sequence_makes_the_same_model(kind):
    model = MultiEchoGradientEchoModel(kind(ECHOES))
    assert model == MultiEchoGradientEchoModel(ECHOES)
    assert hash(model) == hash(MultiEchoGradientEchoModel(ECHOES))
    assert model != MultiEchoGradientEchoModel(ECHOES[::-1])
    assert model.echo_times == ECHOES


def test_is_a_constant():
    model = MultiEchoGradientEchoModel(ECHOES)
    assert clone(model) is model
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert not other.real_valued
        np.testing.assert_array_equal(other.signal(THETA), model.signal(THETA))
    with pytest.raises(AttributeError):
        model.echo_times = (1.0,)


@pytest.mark.parametrize(
    ("echo_times", "error", "message"),
    [
        (1e-3, ValueError, "echo_times must be one-dimensional"),
        ([], ValueError, "echo_times must be one-dimensional"),
        (np.ones((2, 2)), ValueError, "echo_times must be one-dimensional"),
        ([1e-3, np.nan], ValueError, "echo_times must be finite"),
        ([1e-3, np.inf], ValueError, "echo_times must be finite"),
        ([1e-3, -1e-3], ValueError, "echo_times must be finite and from 0 to 2 s"),
        ([1e-3j], TypeError, "echo_times must be real"),
        (["1e-3"], TypeError, "echo_times must hold numbers"),
        (["a", 1.0], TypeError, "echo_times must hold numbers"),
    ],
)
def test_bad_arguments_are_named(echo_times, error, message):
    with pytest.raises(error, match=message):
        MultiEchoGradientEchoModel(echo_times)


@pytest.mark.parametrize("theta", [[0.0, 10.0], [0.03, np.inf], [0.03, np.nan]])
def test_unphysical_parameters_are_named(theta):
    with pytest.raises(ValueError, match="T2star must lie|B0 in row 0"):
        MultiEchoGradientEchoModel(ECHOES).signal([theta])

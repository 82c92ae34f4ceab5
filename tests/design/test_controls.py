import numpy as np
import pytest
from designs import LIMITS, template
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crbestim.design._controls import PulseControls

KNOTS = 12


@pytest.mark.parametrize("name", LIMITS)
@given(knots=arrays(float, 2 * KNOTS, elements=st.floats(0, 1)))
def test_any_knots_give_a_train_within_the_limits(name, knots):
    limits = LIMITS[name]
    controls = PulseControls(template(), limits, KNOTS)
    within = controls.within_power(knots)
    table = limits.table(controls.sequence(within))
    assert table["met"].all(), table
    assert within.min() >= 0
    assert within.max() <= 1


@pytest.mark.parametrize("name", LIMITS)
def test_scaled_trains_use_all_of_the_power(name):
    limits = LIMITS[name]
    controls = PulseControls(template(), limits, KNOTS)
    knots = np.full(2 * KNOTS, 0.9)
    before, after = controls.sequence(knots), controls.sequence(controls.within_power(knots))
    if limits.rf_power is None or before.rf_power <= limits.rf_power:
        assert after == before
    else:
        assert after.rf_power == pytest.approx(limits.rf_power)


@pytest.mark.parametrize("name", LIMITS)
def test_gradient_agrees_with_differences(name):
    controls = PulseControls(template(), LIMITS[name], KNOTS)
    rng = np.random.default_rng(1)
    knots = rng.uniform(0.1, 0.9, 2 * KNOTS)
    weights = rng.normal(size=(2, 80))

    def total(knots):
        sequence = controls.sequence(knots)
        return weights[0] @ sequence.flip_angle + weights[1] @ sequence.pulse_duration

    step = 1e-6
    expected = [(total(knots + step * unit) - total(knots - step * unit)) / (2 * step) for unit in np.eye(2 * KNOTS)]
    gradient = controls.pull_back(knots, *weights)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("name", LIMITS)
def test_nearest_knots_give_the_train_back(name):
    controls = PulseControls(template(), LIMITS[name], KNOTS)
    sequence = controls.sequence(controls.random(np.random.default_rng(2)))
    again = controls.sequence(controls.nearest(sequence))
    np.testing.assert_allclose(again.flip_angle, sequence.flip_angle, atol=1e-5)
    np.testing.assert_allclose(again.pulse_duration, sequence.pulse_duration, atol=1e-8)


def test_trains_are_smooth():
    controls = PulseControls(template(400), LIMITS["any power"], 8)
    sequence = controls.sequence(controls.random(np.random.default_rng(0)))
    for values in (sequence.flip_angle / sequence.pulse_duration, sequence.pulse_duration):
        assert np.abs(np.diff(values)).max() < 0.05 * np.ptp(values)

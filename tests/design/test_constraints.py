from dataclasses import replace

import numpy as np
import pytest
from designs import template

from crbestim import PulseSequence
from crbestim.design import SequenceConstraints


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"flip_angle": (1.0, 0.5)}, ValueError, "flip_angle must not be decreasing"),
        ({"flip_angle": (0.0, 180.0)}, ValueError, "flip_angle must not exceed 2 pi rad; got 180. Is it in degrees"),
        ({"flip_angle": 3.0}, ValueError, "flip_angle must be a pair"),
        ({"flip_angle": (-0.1, 1.0)}, ValueError, r"flip_angle\[0\]"),
        ({"pulse_duration": (0.0, 1e-3)}, ValueError, r"pulse_duration\[0\]"),
        ({"pulse_duration": (1e-4, np.nan)}, ValueError, r"pulse_duration\[1\]"),
        ({"rf_amplitude": 0.0}, ValueError, "rf_amplitude"),
        ({"rf_amplitude": "large"}, TypeError, "rf_amplitude"),
        ({"rf_power": -1.0}, ValueError, "rf_power"),
        ({"hybrid_state_error": 0.0}, ValueError, "hybrid_state_error"),
        ({"hybrid_state_error": 10.0}, ValueError, "hybrid_state_error must be below 1.* Is it in percent"),
        ({"pulse_duration": (0.1, 0.5)}, ValueError, "pulse_duration must not exceed 0.1 s; got 0.5 s. Is it in ms"),
        ({"flip_angle": (1.0, 2.0)}, ValueError, "flip_angle of at least 1 rad needs an rf_amplitude of 10000 rad/s"),
    ],
)
def test_impossible_limits_are_refused(limits, error, message):
    with pytest.raises(error, match=message):
        SequenceConstraints(**limits)


def test_times_must_fit_the_train():
    with pytest.raises(ValueError, match="pulse_duration must not exceed the repetition time of 0.0035 s; got 0.004"):
        SequenceConstraints(pulse_duration=(1e-3, 4e-3)).check_times(template())


@pytest.mark.parametrize("method", ["check_times", "table"])
def test_what_is_no_train_is_refused(method):
    with pytest.raises(TypeError, match="sequence must be a PulseSequence; got list"):
        getattr(SequenceConstraints(), method)([0.1, 0.2])


def test_least_flip_angle_must_not_take_too_much_power():
    limits = SequenceConstraints(flip_angle=(0.5, 1.0), rf_power=1e5)
    with pytest.raises(ValueError, match="takes a power of 714286 rad.2/s.2, above rf_power = 100000"):
        limits.check_times(template())


@pytest.mark.parametrize(
    ("sequence", "name"),
    [
        (replace(template(), flip_angle=np.full(80, 3.2), pulse_duration=np.full(80, 3e-3)), "flip_angle [rad]"),
        (replace(template(), flip_angle=np.full(80, 0.6), pulse_duration=np.full(80, 9e-5)), "pulse_duration [s]"),
        (PulseSequence([3.0] + [0.1] * 79, [4.5e-4] * 80, 3.5e-3, 5e-4), "rf_amplitude [rad/s]"),
        (replace(template(), flip_angle=np.full(80, 1.2), pulse_duration=np.full(80, 5e-4)), "rf_power [rad^2/s^2]"),
    ],
)
def test_table_tells_the_limit_that_is_not_met(sequence, name):
    table = SequenceConstraints().table(sequence)
    assert not table["met"][name]
    assert SequenceConstraints().table(template())["met"].all()


def test_table_without_limits():
    table = SequenceConstraints(rf_power=None).table(template())
    assert table["met"].all()
    assert np.isnan(table["high"]["rf_power [rad^2/s^2]"])


def test_power_is_the_mean_square_amplitude_over_all_time():
    sequence = PulseSequence([0.5, 1.0], [2e-4, 4e-4], 4e-3, 5e-4)
    on = np.repeat(sequence.rf_amplitude**2, [20, 40])  # at every 10 us
    assert sequence.rf_power == pytest.approx(on.sum() * 1e-5 / (2 * 4e-3))

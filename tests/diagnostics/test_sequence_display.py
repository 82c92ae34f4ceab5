from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from crbestim import SequenceDisplay

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_lines_are_the_train(short_sequence):
    display = SequenceDisplay.from_sequence(short_sequence, name="train", color="C3")
    expected = short_sequence.flip_angle, short_sequence.rf_amplitude / 1e3, 1e3 * short_sequence.pulse_duration
    times = 3.5e-3 * (np.arange(60) + 0.5)
    for axis, values in zip(display.axes_, expected, strict=True):
        (line,) = axis.lines
        np.testing.assert_allclose(line.get_xydata(), np.column_stack([times, values]))
        assert line.get_color() == "C3"
    assert display.figure_ is display.axes_[0].figure
    assert [text.get_text() for text in display.axes_[0].get_legend().get_texts()] == ["train"]
    assert display.axes_[2].get_xlabel() == "time after the inversion [s]"


def test_two_trains_share_their_axes(short_sequence):
    first = SequenceDisplay(short_sequence).plot(name="one")
    second = SequenceDisplay(short_sequence).plot(first.axes_, name="two")
    assert second.figure_ is first.figure_
    assert [len(axis.lines) for axis in first.axes_] == [2, 2, 2]


def test_axes_hold_all_trains(short_sequence):
    larger = replace(short_sequence, flip_angle=3 * short_sequence.flip_angle)
    for trains in ((short_sequence, larger), (larger, short_sequence)):
        axes = None
        for train in trains:
            axes = SequenceDisplay(train).plot(axes).axes_
        low, high = axes[0].get_ylim()
        assert low == 0
        assert larger.flip_angle.max() < high < 1.2 * larger.flip_angle.max()


def test_bad_input_is_refused(short_sequence):
    with pytest.raises(TypeError, match="sequence must be a PulseSequence; got ndarray"):
        SequenceDisplay(short_sequence.flip_angle)
    with pytest.raises(ValueError, match="axes must be three matplotlib Axes; got 2"):
        SequenceDisplay(short_sequence).plot(plt.subplots(2)[1])

import matplotlib as mpl
import numpy as np
import pytest

from crbestim import EstimateDisplay, Parameter

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def estimates():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (200, 2))
    crb = np.full((200, 2), 0.01)
    return truth, truth + 0.1 * rng.standard_normal(truth.shape), crb


def test_points_and_bars_are_the_data(estimates):
    truth, estimate, crb = (values[:, 1] for values in estimates)
    display = EstimateDisplay(truth, estimate, crb, "T [s]").plot(limits=(-1, 2), max_bars=20, name="title")
    points = display.ax_.collections
    offsets = next(p.get_offsets() for p in points if len(p.get_offsets()) == 200)
    np.testing.assert_allclose(offsets, np.c_[truth, estimate])
    bars = next(p.get_segments() for p in points if hasattr(p, "get_segments"))
    assert len(bars) == 20
    np.testing.assert_allclose([bar[1, 1] - bar[0, 1] for bar in bars], 0.2)
    centres = [(bar[0, 0], (bar[0, 1] + bar[1, 1]) / 2) for bar in bars]
    assert np.abs(np.array(centres)[:, None] - offsets).sum(axis=2).min(axis=1).max() < 1e-12
    assert display.ax_.get_xlabel() == "true T [s]"
    assert display.ax_.get_ylabel() == "estimated T [s]"
    assert display.ax_.get_title() == "title"
    assert not display.ax_.texts


def test_points_outside_are_counted_and_infinite_bounds_have_no_bar(estimates):
    truth, estimate, crb = (values[:, 0].copy() for values in estimates)
    crb[:150] = np.inf
    display = EstimateDisplay(truth, estimate, crb).plot(limits=(0.0, 0.5))
    outside = ((truth > 0.5) | (estimate > 0.5) | (estimate < 0)).sum()
    assert display.ax_.texts[0].get_text() == f"{outside} of 200 outside"
    bars = next(p.get_segments() for p in display.ax_.collections if hasattr(p, "get_segments"))
    assert 0 < len(bars) == ((truth <= 0.5) & (estimate <= 0.5) & (estimate >= 0))[150:].sum()


def test_one_of_several_targets(estimates):
    parameter = Parameter("T1", "T_1", "s", (0, 30))
    _, ax = plt.subplots()
    display = EstimateDisplay.from_predictions(*estimates, parameter, ("m0s", "T1"), ax=ax)
    np.testing.assert_array_equal(display.truth, estimates[0][:, 1])
    assert display.ax_ is ax
    assert ax.get_xlabel() == "true $T_1$ [s]"
    with pytest.raises(ValueError, match="parameter must be one of the targets"):
        EstimateDisplay.from_predictions(*estimates, parameter, ("m0s", "T2f"))


def test_impossible_limits_and_numbers_of_bars_are_refused(estimates):
    display = EstimateDisplay(*(values[:, 0] for values in estimates))
    with pytest.raises(ValueError, match=r"limits must be a lower and a higher end; got \(1, 0\)"):
        display.plot(limits=(1, 0))
    with pytest.raises(ValueError, match="max_bars must be at least 0; got -1"):
        display.plot(max_bars=-1)
    assert not display.plot(max_bars=0).ax_.containers[0].lines[0].get_xdata().size


def test_arrays_that_do_not_match_are_named(estimates):
    truth, estimate, crb = (values[:, 0] for values in estimates)
    with pytest.raises(ValueError, match="estimate has 3 rows"):
        EstimateDisplay(truth, estimate[:3], crb)
    with pytest.raises(ValueError, match="crb must have the shape"):
        EstimateDisplay(truth, estimate, crb[:3])

from functools import cache

import numpy as np
import pytest
from numba import njit

from crbestim.signal._generalized_bloch import generalized_bloch_table
from crbestim.signal._lanes import WIDTH, load, store_row
from crbestim.signal._saturation import _INTEGRALS, LINESHAPES
from crbestim.signal._saturation_kernel import generalized_bloch, table_layout

SHORTEST, LONGEST, LARGEST_FLIP = 1.0, 1e3, 3 * np.pi
FLIPS = np.array([0.05, 0.4, 1.3, np.pi / 2, 2.2, np.pi, 4.4, 6.1, 8.0, LARGEST_FLIP])


@pytest.fixture(scope="module", params=LINESHAPES)
def lineshape(request):
    return request.param


@pytest.fixture(scope="module")
def table(lineshape):
    return generalized_bloch_table(lineshape, SHORTEST, LONGEST, LARGEST_FLIP)


def lorentzian_solution(flip_angle, x):
    """z(1) of z'' + x z' + alpha^2 z = 0, z(0) = 1, z'(0) = 0: the equation with G(u) = exp(-u), differentiated."""
    root = np.sqrt(complex(x**2 / 4 - flip_angle**2))
    slow, fast = -(flip_angle**2) / (x / 2 + root), -x / 2 - root
    return ((fast * np.exp(slow) - slow * np.exp(fast)) / (fast - slow)).real


@cache
def kernel(lineshape, x, n_steps):
    """Integral of G(x d) from 0 to each point of a grid; test_saturation tests it against quad."""
    return _INTEGRALS[lineshape](x * np.linspace(0, 1, n_steps + 1))[1] / x


def stepped_solution(lineshape, flip_angle, x, n_steps=None):
    r"""z(1) of the equation integrated once, :math:`z(s) = 1 - \alpha^2 \int_0^s K(s - s') z(s') ds'`, flips (n,).

    Trapezoidal steps in time, extrapolated twice; the error is about 1e-8 if the steps are shorter than T2s / 4.
    """
    n_steps = n_steps or 4 * int(max(128, x))

    def march(stride):
        k = kernel(lineshape, x, n_steps)[::stride]
        backwards = k[::-1].copy()
        z = np.ones((len(k), len(flip_angle)))
        for i in range(1, len(k)):
            memory = k[i] / 2 + backwards[len(k) - i : -1] @ z[1:i]
            z[i] -= flip_angle**2 * memory * stride / n_steps
        return z[-1]

    coarse, medium, fine = march(4), march(2), march(1)
    first, second = medium + (medium - coarse) / 3, fine + (fine - medium) / 3
    return second + (second - first) / 15


def scattered(n, shortest, longest, largest_flip, seed=0):
    """Flip angles and x, (n,) each, that fill the range."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, largest_flip, n), np.exp(rng.uniform(np.log(shortest), np.log(longest), n))


@pytest.mark.parametrize("ranges", [(SHORTEST, LONGEST, LARGEST_FLIP), (0.05, 2e4, 20.0)], ids=["usual", "wide"])
def test_lorentzian_line_has_a_closed_solution(ranges):
    flip_angle, x = scattered(3000, *ranges)
    assert 500 < np.sum(flip_angle > x / 2) < 2500  # underdamped and overdamped
    expected = [lorentzian_solution(*point) for point in zip(flip_angle, x, strict=True)]
    table = generalized_bloch_table("lorentzian", *ranges)
    np.testing.assert_allclose(table.factor(flip_angle, x), expected, rtol=0, atol=5e-8)


@pytest.mark.parametrize("x", [1.0, 2.6, 2 * np.pi, 18.0])
def test_lorentzian_line_is_critically_damped(x):
    table = generalized_bloch_table("lorentzian", SHORTEST, LONGEST, LARGEST_FLIP)
    expected = np.exp(-x / 2) * (1 + x / 2)
    assert table.factor(x / 2, x) == pytest.approx(expected, rel=0, abs=5e-8)


@pytest.mark.parametrize("x", [SHORTEST, 3.0, 7.7, 10.0, 50.0, 133.0, LONGEST])
def test_agrees_with_steps_in_time(table, lineshape, x):
    """x = 50 at pi is the inversion pulse of 0.5 ms at T2s = 10 us."""
    expected = stepped_solution(lineshape, FLIPS, x)
    np.testing.assert_allclose(table.factor(FLIPS, x), expected, rtol=0, atol=1e-7)


def test_scattered_points_agree_with_steps_in_time(table, lineshape):
    flip_angle, x = scattered(200, SHORTEST, 300.0, LARGEST_FLIP)
    for value in x[::20]:
        expected = stepped_solution(lineshape, flip_angle, value)
        np.testing.assert_allclose(table.factor(flip_angle, value), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("lineshape", ["super-lorentzian", "gaussian"])
@pytest.mark.parametrize("x", [0.05, 0.31, 2e4])
def test_wide_range(lineshape, x):
    table = generalized_bloch_table(lineshape, 0.05, 2e4, 20.0)
    flip_angle = np.append(FLIPS, [14.3, 20.0])
    expected = stepped_solution(lineshape, flip_angle, x, n_steps=8192 if x > 1e3 else None)
    np.testing.assert_allclose(table.factor(flip_angle, x), expected, rtol=0, atol=1e-7)


def test_strong_short_pulse_turns_the_pool_over(table, lineshape):
    """Shorter than T2s, it rotates: a -> cos alpha; long ones only saturate."""
    assert table.factor(np.pi, 1.0) < -0.4
    assert table.factor(np.pi, 100.0) > 0.5
    shortest = generalized_bloch_table(lineshape, 1e-4, 1e-3, LARGEST_FLIP)
    np.testing.assert_allclose(shortest.factor(FLIPS, 1e-4), np.cos(FLIPS), rtol=0, atol=5e-4)


def test_weak_pulse_saturates_at_the_rate_of_graham(table, lineshape):
    """-log(a) / alpha^2 -> f(x) / x^2, extrapolated from two small flip angles."""
    x = np.exp(table.start + np.arange(0, table.knots.shape[1], 20) / table.inverse_step)
    small = 1 / table.inverse_flip_step
    rate, next_rate = (-np.log(table.factor(flip, x)) / flip**2 for flip in (small, 2 * small))
    np.testing.assert_allclose((4 * rate - next_rate) / 3, _INTEGRALS[lineshape](x)[0] / x**2, rtol=5e-6)


@pytest.mark.parametrize("x", [1.7, 9.3, 50.0, 210.0])
def test_derivatives_are_those_of_the_solution(table, lineshape, x):
    h, flip_angle = 3e-4, FLIPS[:-1]

    def slopes(solution):
        by_flip = solution(flip_angle + h, x) - solution(flip_angle - h, x)
        by_log_x = solution(flip_angle, x * np.exp(h)) - solution(flip_angle, x * np.exp(-h))
        return np.array([by_flip, by_log_x]) / (2 * h)

    expected = slopes(lambda flips, value: stepped_solution(lineshape, flips, value))
    np.testing.assert_allclose(slopes(table.factor), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("value", "slope", "axis"), [(0, 1, 0), (0, 2, 1), (1, 3, 1), (2, 3, 0)])
def test_slopes_at_the_knots_are_those_of_the_values(table, value, slope, axis):
    """Five-point differences of knots; the slopes are per knot."""
    f = np.moveaxis(table.knots[..., value], axis, 0)
    expected = (8 * (f[3:-1] - f[1:-3]) - (f[4:] - f[:-4])) / 12
    actual = np.moveaxis(table.knots[..., slope], axis, 0)[2:-2]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(actual).max())


def test_pieces_join_smoothly(table):
    """Across every knot, value and slope are the same from either side."""
    h = 1e-5
    flip_angle, log_x = 1.234, 2.345
    flip_knots = np.arange(1, table.knots.shape[0] - 1) / table.inverse_flip_step
    x_knots = table.start + np.arange(1, table.knots.shape[1] - 1) / table.inverse_step
    for function, knots in [
        (lambda flip: table.factor(flip, np.exp(log_x)), flip_knots),
        (lambda position: table.factor(flip_angle, np.exp(position)), x_knots),
    ]:
        before, at, after = function(knots - h), function(knots), function(knots + h)
        np.testing.assert_allclose(at - before, after - at, rtol=0, atol=30 * h**2)
        assert np.abs(after - before).max() > 0.1 * h


def test_factor_at_knots_is_tabulated(table):
    n_flip, n_x, _ = table.knots.shape
    flip_angle = np.arange(n_flip)[:, None] / table.inverse_flip_step
    x = np.exp(table.start + np.arange(n_x) / table.inverse_step)
    np.testing.assert_allclose(table.factor(flip_angle, x), table.knots[..., 0], rtol=0, atol=1e-13)


def test_no_pulse_does_nothing(table):
    x = np.geomspace(SHORTEST, LONGEST, 97)
    np.testing.assert_allclose(table.factor(np.zeros(1), x), 1, rtol=0, atol=1e-15)


def test_factor_is_even_in_the_flip_angle_and_bounded(table):
    flip_angle, x = scattered(2000, SHORTEST, LONGEST, LARGEST_FLIP)
    factor = table.factor(flip_angle, x)
    np.testing.assert_array_equal(table.factor(-flip_angle, x), factor)
    assert np.abs(factor).max() <= 1


def test_factor_broadcasts(table):
    flip_angle, x = np.array([[0.5], [2.0]]), np.array([3.0, 30.0, 300.0])
    factor = table.factor(flip_angle, x)
    assert factor.shape == (2, 3)
    assert factor[1, 2] == table.factor(2.0, 300.0)


def test_knots_suit_a_compiled_loop(table):
    assert table.knots.dtype == np.float64
    assert table.knots.flags.c_contiguous
    assert {type(value) for value in table[:3]} == {float}
    n_flip, n_x, _ = table.knots.shape
    assert (n_flip - 1) / table.inverse_flip_step >= LARGEST_FLIP
    assert table.start < np.log(SHORTEST)
    assert table.start + (n_x - 1) / table.inverse_step > np.log(LONGEST)


def test_single_duration(lineshape):
    """The derivative with respect to x needs cells of the usual size there, too."""
    single = generalized_bloch_table(lineshape, 50.0, 50.0, np.pi)
    wide = generalized_bloch_table(lineshape, SHORTEST, LONGEST, LARGEST_FLIP)
    x = 50 * np.exp([-1e-9, 0, 1e-9])
    np.testing.assert_allclose(single.factor(np.pi, x), wide.factor(np.pi, x), rtol=0, atol=1e-7)
    near = 50 * np.exp([-1e-4, 1e-4])
    np.testing.assert_allclose(
        np.diff(single.factor(np.pi, near)), np.diff(wide.factor(np.pi, near)), rtol=0, atol=1e-5 * 2e-4
    )


def test_flip_angle_zero_is_a_range(lineshape):
    table = generalized_bloch_table(lineshape, 5.0, 10.0, 0.0)
    assert table.factor(0.0, 7.0) == 1


def test_table_is_made_once():
    table = generalized_bloch_table("gaussian", 1.0, 2.0, 1.0)
    assert table is generalized_bloch_table("gaussian", 1.0, 2.0, 1.0)


# --- factor and slope -----------------------------------------------------------------------------


def test_slope_is_that_of_the_factor(table):
    """Five-point differences; the pieces join with their slopes, so a step may cross a knot."""
    flip_angle, x = scattered(3000, 1.001 * SHORTEST, 0.999 * LONGEST, LARGEST_FLIP)
    h = 1e-5
    ends = [table.factor(flip_angle, x * np.exp(i * h)) for i in (-2, -1, 1, 2)]
    difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * h)
    a, slope = table.factor_and_slope(flip_angle, x)
    np.testing.assert_array_equal(a, table.factor(flip_angle, x))
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-7)
    assert np.abs(slope).max() > 0.1


def test_slope_of_a_lorentzian_line_has_a_closed_solution():
    flip_angle, x = scattered(1000, SHORTEST, LONGEST, LARGEST_FLIP, seed=1)
    h = 1e-4
    ends = [
        np.array([lorentzian_solution(*point) for point in zip(flip_angle, x * np.exp(i * h), strict=True)])
        for i in (-2, -1, 1, 2)
    ]
    difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * h)
    table = generalized_bloch_table("lorentzian", SHORTEST, LONGEST, LARGEST_FLIP)
    np.testing.assert_allclose(table.factor_and_slope(flip_angle, x)[1], difference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("x", [1.7, 9.3, 50.0, 210.0])
def test_slope_is_that_of_steps_in_time(table, lineshape, x):
    h = 3e-4
    ends = [stepped_solution(lineshape, FLIPS, x * np.exp(step)) for step in (-h, h)]
    slope = table.factor_and_slope(FLIPS, np.full(len(FLIPS), x))[1]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / (2 * h), rtol=0, atol=1e-5)


@njit(error_model="numpy")
def compiled(b1, t2s, pulses, grid, rows, out):
    log_t2s = np.log(t2s)
    for group in range(len(b1)):
        voxel = load(b1, (group,)), load(t2s, (group,)), load(log_t2s, (group,))
        store_row(out, (group, 0), generalized_bloch(voxel[0], voxel[1], voxel[2], pulses[0], grid, rows))


def test_slope_is_that_of_the_compiled_look_up(table):
    """da/dT2s = -slope / T2s."""
    flip_angle, x = scattered(100 * WIDTH, SHORTEST, LONGEST, LARGEST_FLIP, seed=2)
    duration = 1e-3
    t2s, out = duration / x, np.empty((100, 1, 3, WIDTH))
    pulses = np.array([[0.0, 1.0, duration, np.log(duration)]])
    compiled(flip_angle.reshape(-1, WIDTH), t2s.reshape(-1, WIDTH), pulses, *table_layout(table), out)
    a, slope = table.factor_and_slope(flip_angle, x)
    np.testing.assert_allclose(a, out[:, 0, 0].ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(slope, -t2s * out[:, 0, 1].ravel(), rtol=1e-9, atol=1e-11)


def test_slopes_at_knots_are_tabulated(table):
    n_flip, n_x, _ = table.knots.shape
    flip_angle = np.arange(n_flip)[:, None] / table.inverse_flip_step
    x = np.exp(table.start + np.arange(n_x) / table.inverse_step)
    slope = table.factor_and_slope(flip_angle, x)[1]
    np.testing.assert_allclose(slope, table.knots[..., 2] * table.inverse_step, rtol=0, atol=1e-10)


def test_slope_is_even_in_the_flip_angle_and_none_without_a_pulse(table):
    flip_angle, x = scattered(500, SHORTEST, LONGEST, LARGEST_FLIP)
    for plus, minus in zip(table.factor_and_slope(flip_angle, x), table.factor_and_slope(-flip_angle, x), strict=True):
        np.testing.assert_array_equal(plus, minus)
    np.testing.assert_allclose(table.factor_and_slope(np.zeros(1), x)[1], 0, rtol=0, atol=1e-13)


def test_factor_and_slope_broadcast(table):
    flip_angle, x = np.array([[0.5], [2.0]]), np.array([3.0, 30.0, 300.0])
    a, slope = table.factor_and_slope(flip_angle, x)
    assert a.shape == slope.shape == (2, 3)
    assert (a[1, 2], slope[1, 2]) == table.factor_and_slope(np.array(2.0), np.array(300.0))


def test_slope_of_a_single_duration(lineshape):
    single = generalized_bloch_table(lineshape, 50.0, 50.0, np.pi)
    wide = generalized_bloch_table(lineshape, SHORTEST, LONGEST, LARGEST_FLIP)
    slopes = [table.factor_and_slope(np.array(np.pi), np.array(50.0))[1] for table in (single, wide)]
    np.testing.assert_allclose(*slopes, rtol=0, atol=2e-5)

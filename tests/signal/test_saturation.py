import numpy as np
import pytest
from numba import njit

from crbestim.signal._lanes import WIDTH, load, store_row
from crbestim.signal._saturation import LINESHAPES, saturation_table
from crbestim.signal._saturation_kernel import graham, table_layout

SHORTEST, LONGEST = 1e-3, 5e3
POINTS = [SHORTEST, 2.7e-3, 9.9e-3, 1.01e-2, 0.037, 0.31, 1.0, 2.3, 7.7, 24.0, 51.7, 133.0, 497.0, 1711.0, LONGEST]


def evaluate(table, x):
    """f and f' from the cubic pieces of f/x in log x."""
    position = (np.log(x) - table.start) * table.inverse_step
    piece = min(max(int(position), 0), len(table.coefficients) - 1)
    polynomial = np.polynomial.Polynomial(table.coefficients[piece])
    ratio = polynomial(position - piece)
    return x * ratio, ratio + polynomial.deriv()(position - piece) * table.inverse_step


@pytest.fixture(scope="module", params=LINESHAPES)
def lineshape(request):
    return request.param


@pytest.fixture(scope="module")
def table(lineshape):
    return saturation_table(lineshape, SHORTEST, LONGEST)


@pytest.mark.parametrize("x", POINTS)
def test_table_agrees_with_numerical_integration(table, lineshape, x, graham_integrals):
    f, slope = evaluate(table, x)
    expected_f, expected_slope = graham_integrals(lineshape, x)
    assert f == pytest.approx(expected_f, rel=1e-9)
    assert slope == pytest.approx(expected_slope, rel=1e-7)


def test_short_pulses_see_no_decay(table):
    """G(0) = 1, so that f(x) -> x^2 / 2 and f'(x) -> x."""
    f, slope = evaluate(table, 1e-3)
    assert f == pytest.approx(0.5e-6, rel=1e-3)
    assert slope == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(("name", "area", "moment"), [("lorentzian", 1, 1), ("gaussian", np.sqrt(np.pi / 2), 1)])
def test_long_pulses_see_the_whole_line(name, area, moment):
    """f(x) -> area x - moment, with the integrals of G and u G, where the line has a finite area."""
    f, slope = evaluate(saturation_table(name, SHORTEST, LONGEST), 1e3)
    assert f == pytest.approx(area * 1e3 - moment, rel=1e-9)
    assert slope == pytest.approx(area, rel=1e-7)


def test_pieces_join_smoothly(table):
    """Value and slope at the end of each piece are those at the start of the next."""
    c = table.coefficients
    end = c.sum(axis=1)[:-1]
    end_slope = (c * np.arange(4)).sum(axis=1)[:-1]
    np.testing.assert_allclose(end, c[1:, 0], rtol=1e-12)
    np.testing.assert_allclose(end_slope, c[1:, 1], rtol=1e-9, atol=1e-12 * np.abs(c[:, 1]).max())


def test_range_covers_both_ends():
    table = saturation_table("gaussian", 0.5, 0.5)
    f, _ = evaluate(table, 0.5)
    assert f == pytest.approx(evaluate(saturation_table("gaussian", 0.1, 10.0), 0.5)[0], rel=1e-10)


def test_table_is_made_once():
    assert saturation_table("gaussian", 1.0, 2.0) is saturation_table("gaussian", 1.0, 2.0)


# --- factor and slope -----------------------------------------------------------------------------

FLIPS = np.array([0.0, 0.1, 0.7, np.pi / 2, np.pi, 8.0])


def scattered(n, seed=0):
    """Flip angles and x, (n,) each; moderate factors, as strong short pulses leave nothing."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 6.0, n), np.exp(rng.uniform(np.log(0.1), np.log(LONGEST), n))


@pytest.mark.parametrize("x", POINTS)
def test_factor_and_slope_agree_with_numerical_integration(table, lineshape, x, graham_integrals):
    """a = exp(-alpha^2 f / x^2), da/dlogx = a alpha^2 (2 f / x^2 - f' / x)."""
    f, f_slope = graham_integrals(lineshape, x)
    a, slope = table.factor_and_slope(FLIPS, np.full(6, x))
    expected = np.exp(-(FLIPS**2) * f / x**2)
    np.testing.assert_allclose(a, expected, rtol=1e-7)
    # In units of what remains where the two terms cancel, as for short pulses.
    scale = (expected * FLIPS**2) * (2 * f / x**2 + f_slope / x)
    assert (np.abs(slope - expected * FLIPS**2 * (2 * f / x**2 - f_slope / x)) <= 1e-7 * scale).all()


def test_slope_is_that_of_the_factor(table):
    """Five-point differences; the pieces join with their slopes, so a step may cross a knot."""
    flip_angle, x = scattered(3000)
    h = 1e-5
    ends = [table.factor(flip_angle, x * np.exp(i * h)) for i in (-2, -1, 1, 2)]
    difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * h)
    a, slope = table.factor_and_slope(flip_angle, x)
    np.testing.assert_array_equal(a, table.factor(flip_angle, x))
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-9)
    assert np.abs(slope).max() > 0.1


@njit(error_model="numpy")
def compiled(b1, t2s, pulses, grid, rows, out):
    log_t2s = np.log(t2s)
    for group in range(len(b1)):
        voxel = load(b1, (group,)), load(t2s, (group,)), load(log_t2s, (group,))
        store_row(out, (group, 0), graham(voxel[0], voxel[1], voxel[2], pulses[0], grid, rows))


def test_slope_is_that_of_the_compiled_look_up(table):
    """da/dT2s = -slope / T2s."""
    flip_angle, x = scattered(100 * WIDTH, seed=1)
    duration = 1e-3
    t2s, out = duration / x, np.empty((100, 1, 3, WIDTH))
    pulses = np.array([[0.0, 1.0, duration, np.log(duration)]])
    compiled(flip_angle.reshape(-1, WIDTH), t2s.reshape(-1, WIDTH), pulses, *table_layout(table), out)
    a, slope = table.factor_and_slope(flip_angle, x)
    np.testing.assert_allclose(a, out[:, 0, 0].ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(slope, -t2s * out[:, 0, 1].ravel(), rtol=1e-9, atol=1e-12)


def test_no_pulse_has_no_slope(table):
    a, slope = table.factor_and_slope(np.zeros(15), np.array(POINTS))
    np.testing.assert_array_equal(a, 1)
    np.testing.assert_array_equal(slope, 0)


def test_short_pulses_do_not_tell_t2s(table):
    """f -> x^2 / 2: a = exp(-alpha^2 / 2), whatever T2s is."""
    a, slope = table.factor_and_slope(np.array(2.0), np.array(SHORTEST))
    assert a == pytest.approx(np.exp(-2), rel=1e-3)
    assert abs(slope) < 1e-3


def test_factor_and_slope_broadcast(table):
    flip_angle, x = np.array([[0.5], [2.0]]), np.array([3.0, 30.0, 300.0])
    a, slope = table.factor_and_slope(flip_angle, x)
    assert a.shape == slope.shape == (2, 3)
    single = table.factor_and_slope(np.array(2.0), np.array(30.0))
    assert (a[1, 1], slope[1, 1]) == single


def test_ends_of_the_range_have_the_slope_of_the_inside(table):
    """Rounding may put them just outside of the first or last piece."""
    for end, inside in ((SHORTEST, SHORTEST * (1 + 1e-9)), (LONGEST, LONGEST * (1 - 1e-9))):
        flip_angle = np.array(2.0)
        pair = table.factor_and_slope(flip_angle, np.array(end)), table.factor_and_slope(flip_angle, np.array(inside))
        np.testing.assert_allclose(*pair, rtol=1e-7, atol=1e-12)

"""SIMD lanes in small compiled functions; numbers that are compared exactly have exact results."""

import numpy as np
import pytest
from numba import njit

from crbestim.signal._lanes import (
    WIDTH,
    absolute,
    exp,
    floor,
    gather,
    load,
    load_row,
    scatter,
    sin_cos,
    splat,
    sqrt,
    store,
    store_row,
    where_less,
)

lane_function = njit(error_model="numpy")


def groups(values):
    """Values in groups of WIDTH, the last one filled up with ones."""
    values = np.asarray(values, dtype=np.float64)
    padding = np.ones(-len(values) % WIDTH)
    return np.concatenate([values, padding]).reshape(-1, WIDTH)


def evaluate(function, n_results, *arguments):
    """Results, (n_results, n), of a compiled function of groups that fills (n_groups, n_results, WIDTH)."""
    grouped = [groups(argument) for argument in arguments]
    out = np.full((len(grouped[0]), n_results, WIDTH), np.nan)
    function(*grouped, out)
    return out.swapaxes(0, 1).reshape(n_results, -1)[:, : len(arguments[0])]


# --- arithmetic -----------------------------------------------------------------------------------


@lane_function
def arithmetic(a, b, n, out):
    for group in range(len(a)):
        x, y = load(a, (group,)), load(b, (group,))
        store_row(
            out,
            (group,),
            (
                *(x + y, x + 2.5, 2.5 + x, x + 3, n + x),
                *(x - y, x - 2.5, 2.5 - x, x - 3, n - x),
                *(x * y, x * 2.5, 2.5 * x, x * 3, n * x),
                *(x / y, x / 2.5, 2.5 / x, x / 3, n / x),
                *(-x, absolute(x), floor(x), sqrt(absolute(x))),
                splat(0.25),
            ),
        )


@pytest.mark.parametrize("n", [3, -7])
def test_arithmetic_with_lanes_floats_and_integers_on_either_side(n):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-9, 9, (2, 11))
    results = evaluate(lambda a, b, out: arithmetic(a, b, n, out), 25, a, b)
    expected = [
        *(a + b, a + 2.5, 2.5 + a, a + 3, n + a),
        *(a - b, a - 2.5, 2.5 - a, a - 3, n - a),
        *(a * b, a * 2.5, 2.5 * a, a * 3, n * a),
        *(a / b, a / 2.5, 2.5 / a, a / 3, n / a),
        *(-a, np.abs(a), np.floor(a), np.sqrt(np.abs(a))),
        np.full(11, 0.25),
    ]
    np.testing.assert_array_equal(results, expected)


def test_division_by_zero_and_nan_follow_ieee():
    a = [1.0, -1.0, 0.0, np.nan]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.array(a) / np.zeros(4)
    results = evaluate(lambda a, b, out: arithmetic(a, b, 3, out), 25, a, np.zeros(4))
    np.testing.assert_array_equal(results[15], expected)
    assert np.isnan(results[:-1, 3]).all()  # all but the constant


@lane_function
def comparisons(a, b, out):
    for group in range(len(a)):
        x, y = load(a, (group,)), load(b, (group,))
        store_row(
            out,
            (group,),
            (
                where_less(x, y, x + 10, y),
                where_less(x, 0.5, 1.0, x),
                where_less(0.5, x, x, -1.0),
                where_less(x, y, 1.0, 2.0),
            ),
        )


def test_where_less_selects_lane_by_lane():
    """No is taken for equal values, and wherever a side is not a number."""
    a = np.array([0.0, 1.0, 0.5, -2.0, np.nan, 1.0, -0.0, np.inf, -np.inf])
    b = np.array([1.0, 0.0, 0.5, -1.0, 1.0, np.nan, 0.0, np.inf, np.inf])
    expected = [
        np.where(a < b, a + 10, b),
        np.where(a < 0.5, 1.0, a),
        np.where(a > 0.5, a, -1.0),
        np.where(a < b, 1.0, 2.0),
    ]
    np.testing.assert_array_equal(evaluate(comparisons, 4, a, b), expected)


# --- memory ---------------------------------------------------------------------------------------


@lane_function
def transpose(source, out):
    """Rows of three lanes are read at once and written one by one; columns the other way round."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            x, y, z = load_row(source, (i, j), 3)
            store(out, (j, i, 0), x)
            store(out, (j, i, 1), y)
            store(out, (j, i, 2), z)
            store_row(out, (j, i), (load(source, (i, j, 2)), load(source, (i, j, 1))))
            store_row(out, (j, i, 3), load_row(source, (i, j, 1), 2))


def test_load_and_store_address_lanes_and_rows():
    source = np.random.default_rng(0).standard_normal((2, 5, 3, WIDTH))
    out = np.full((5, 2, 6, WIDTH), np.nan)
    transpose(source, out)
    expected = source.swapaxes(0, 1)
    np.testing.assert_array_equal(out[:, :, 0], expected[:, :, 2])
    np.testing.assert_array_equal(out[:, :, 1], expected[:, :, 1])
    np.testing.assert_array_equal(out[:, :, 2:5], expected[:, :, [2, 1, 2]])
    assert np.isnan(out[:, :, 5]).all()


@lane_function
def scatter_groups(values, out):
    for group in range(len(values)):
        for i in range(values.shape[1]):
            scatter(out, group * WIDTH + 1, (i, 1), load(values, (group, i)))


def test_scatter_gives_every_lane_its_row():
    values = np.random.default_rng(0).standard_normal((3, 5, WIDTH))
    out = np.full((3 * WIDTH + 2, 5, 2), np.nan)
    scatter_groups(values, out)
    np.testing.assert_array_equal(out[1:-1, :, 1], values.swapaxes(1, 2).reshape(-1, 5))
    assert np.isnan(out[[0, -1]]).all()
    assert np.isnan(out[:, :, 0]).all()


@lane_function
def gather_rows(rows, table, out):
    for group in range(len(rows)):
        store_row(out, (group,), gather(table, load(rows, (group,))))


@pytest.mark.parametrize("n_columns", [4, 6])
def test_gather_takes_a_row_for_each_lane(n_columns):
    table = np.random.default_rng(0).standard_normal((30, n_columns))
    rows = np.array([29, 0, 7, 7, 13, 1, 28, 2, 0])
    results = evaluate(lambda rows, out: gather_rows(rows, table, out), 4, rows)
    np.testing.assert_array_equal(results, table[rows, :4].T)


# --- functions ------------------------------------------------------------------------------------


@lane_function
def functions(x, out):
    for group in range(len(x)):
        value = load(x, (group,))
        store_row(out, (group,), (exp(value), *sin_cos(value)))


def precise(function, x):
    return function(np.asarray(x, dtype=np.longdouble))


@pytest.mark.parametrize("span", [700.0, 30.0, 1.0, 1e-3, 1e-300])
def test_exp_is_accurate_to_rounding(span):
    x = np.append(np.random.default_rng(0).uniform(-span, span, 100_000), [-span, span, 0.0, -0.0])
    result = evaluate(functions, 3, x)[0]
    assert np.abs(result / precise(np.exp, x) - 1).max() < 8e-16
    np.testing.assert_array_equal(result[-2:], 1.0)


def test_exp_where_it_reduces_its_argument():
    """Next to the odd multiples of ln(2) / 2 and on the multiples."""
    half_steps = np.arange(-2018, 2019) * np.log(2) / 2
    x = np.concatenate([half_steps, np.nextafter(half_steps, -np.inf), np.nextafter(half_steps, np.inf)])
    assert np.abs(evaluate(functions, 3, x)[0] / precise(np.exp, x) - 1).max() < 8e-16


def test_exp_is_limited_and_keeps_nan():
    x = [-np.inf, -1e300, -750.0, -700.1, 700.1, 750.0, 1e300, np.inf, np.nan]
    expected = [*np.full(4, np.exp(-700)), *np.full(4, np.exp(700)), np.nan]
    np.testing.assert_allclose(evaluate(functions, 3, x)[0], expected, rtol=8e-16)


@pytest.mark.parametrize("span", [1e-3, 1.0, 10.0, 500.0])
def test_sine_and_cosine_are_accurate_to_rounding(span):
    """The angle loses its own rounding where multiplications and additions do not fuse."""
    x = np.random.default_rng(0).uniform(-span, span, 100_000)
    _, sine, cosine = evaluate(functions, 3, x)
    atol = 3e-16 * max(1.0, span / 4)
    assert np.abs(sine - precise(np.sin, x)).max() < atol
    assert np.abs(cosine - precise(np.cos, x)).max() < atol
    if span <= 1:
        np.testing.assert_allclose(sine, np.sin(x), rtol=5e-16)


def test_sine_and_cosine_at_the_edges_of_quadrants_and_octants():
    edges = np.arange(-80, 81) * np.pi / 4
    x = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), edges + 1e-9])
    _, sine, cosine = evaluate(functions, 3, x)
    np.testing.assert_allclose(sine, np.sin(x), rtol=0, atol=5e-15)
    np.testing.assert_allclose(cosine, np.cos(x), rtol=0, atol=5e-15)


def test_small_sines_and_cosines_keep_their_digits():
    """Next to multiples of pi / 2, which no float hits; these have exact products, so that fusing does not matter."""
    x = np.pi / 2 * 2.0 ** np.arange(9)
    _, sine, cosine = evaluate(functions, 3, x)
    np.testing.assert_allclose(sine, np.sin(x), rtol=1e-12)
    np.testing.assert_allclose(cosine, np.cos(x), rtol=1e-12)


def test_sine_and_cosine_of_what_is_no_angle():
    x = [np.nan, np.inf, -np.inf, 0.0]
    _, sine, cosine = evaluate(functions, 3, x)
    np.testing.assert_array_equal(sine, [np.nan, np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(cosine, [np.nan, np.nan, np.nan, 1.0])


@pytest.mark.parametrize("n", range(1, 2 * WIDTH + 2))
def test_a_value_has_the_same_result_in_any_lane(n):
    x = np.random.default_rng(0).uniform(-20, 20, n)
    together = evaluate(functions, 3, x)
    for shift in range(n):
        np.testing.assert_array_equal(evaluate(functions, 3, np.roll(x, shift)), np.roll(together, shift, axis=1))

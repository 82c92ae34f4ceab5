import numpy as np
import pytest

from crbestim.signal._saturation import LINESHAPES, saturation_table

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

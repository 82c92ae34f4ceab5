"""Compiled look-up of the saturation of the semi-solid pool by a pulse, with derivatives, in either table."""

from __future__ import annotations

import numpy as np

from .._validation import FloatArray
from ._generalized_bloch import GeneralizedBlochTable
from ._lanes import exp, floor, gather, inlined, store_row, where_less
from ._saturation import SaturationTable
from ._sequence import PulseSequence


def pulse_rows(sequence: PulseSequence) -> FloatArray:
    """Polar angle at the echo, flip angle, duration and its logarithm of every pulse, (T + 1, 4); the last inverts."""
    train = np.column_stack([sequence.polar_angle, sequence.flip_angle, sequence.pulse_duration])
    pulses = np.vstack([train, [0.0, np.pi, sequence.inversion_duration]])
    return np.column_stack([pulses, np.log(pulses[:, 2])])


def table_layout(table: SaturationTable | GeneralizedBlochTable) -> tuple[FloatArray, FloatArray]:
    """The table's grid (start, inverse step, rows of a flip angle, its inverse step) and its rows of four numbers."""
    if isinstance(table, GeneralizedBlochTable):
        n_x = table.knots.shape[1]
        grid = np.array([table.start, table.inverse_step, n_x, table.inverse_flip_step])
        return grid, table.knots.reshape(-1, 4)
    return np.array([table.start, table.inverse_step, 0.0, 0.0]), table.coefficients


@inlined
def fill_saturation(generalized, b1, t2s, log_t2s, pulses, grid, knots, out, column):
    """Factor a of every pulse, da/dT2s and da/dB1, into out[t, column:]."""
    for t in range(len(pulses)):
        if generalized:
            store_row(out, (t, column), generalized_bloch(b1, t2s, log_t2s, pulses[t], grid, knots))
        else:
            store_row(out, (t, column), graham(b1, t2s, log_t2s, pulses[t], grid, knots))


@inlined
def graham(b1, t2s, log_t2s, pulse, grid, coefficients):
    """Factor a = exp(-(B1 alpha)^2 (T2s / tau) f(x)/x) of a pulse, da/dT2s and da/dB1."""
    position = (pulse[3] - grid[0] - log_t2s) * grid[1]
    piece = _cell(position, len(coefficients))
    x = position - piece
    c0, c1, c2, c3 = gather(coefficients, piece)
    value = c0 + x * (c1 + x * (c2 + x * c3))
    slope = (c1 + x * (2 * c2 + x * (3 * c3))) * grid[1]
    strength = b1 * (pulse[1] * pulse[1] / pulse[2])
    exponent = strength * t2s * value
    a = exp(-(b1 * exponent))
    return a, a * (b1 * strength * (slope - value)), a * (-2 * exponent)


@inlined
def generalized_bloch(b1, t2s, log_t2s, pulse, grid, knots):
    """Factor a = z(tau)/z(0) of a pulse from bicubic Hermite pieces, da/dT2s and da/dB1."""
    n_x = int(grid[2])
    position = (pulse[3] - grid[0] - log_t2s) * grid[1]
    flip = b1 * (pulse[1] * grid[3])
    column, row = _cell(position, n_x - 1), _cell(flip, len(knots) // n_x - 1)
    x, y = position - column, flip - row
    (p0, p1, q0, q1), (dp0, dp1, dq0, dq1) = _hermite(x)
    (s0, s1, t0, t1), (ds0, ds1, dt0, dt1) = _hermite(y)
    corner = row * n_x + column
    a00, f00, x00, c00 = gather(knots, corner)
    a01, f01, x01, c01 = gather(knots, corner + 1)
    a10, f10, x10, c10 = gather(knots, corner + n_x)
    a11, f11, x11, c11 = gather(knots, corner + (n_x + 1))
    value_0, slope_0 = p0 * a00 + p1 * a01 + q0 * x00 + q1 * x01, dp0 * a00 + dp1 * a01 + dq0 * x00 + dq1 * x01
    value_1, slope_1 = p0 * a10 + p1 * a11 + q0 * x10 + q1 * x11, dp0 * a10 + dp1 * a11 + dq0 * x10 + dq1 * x11
    by_f_0, cross_0 = p0 * f00 + p1 * f01 + q0 * c00 + q1 * c01, dp0 * f00 + dp1 * f01 + dq0 * c00 + dq1 * c01
    by_f_1, cross_1 = p0 * f10 + p1 * f11 + q0 * c10 + q1 * c11, dp0 * f10 + dp1 * f11 + dq0 * c10 + dq1 * c11
    a = s0 * value_0 + s1 * value_1 + t0 * by_f_0 + t1 * by_f_1
    by_log_x = (s0 * slope_0 + s1 * slope_1 + t0 * cross_0 + t1 * cross_1) * grid[1]
    by_flip = ds0 * value_0 + ds1 * value_1 + dt0 * by_f_0 + dt1 * by_f_1
    return a, -by_log_x / t2s, by_flip * (pulse[1] * grid[3])


@inlined
def _cell(position, n_cells):
    """Number of the cell of a table that holds a position in units of cells."""
    cell = floor(position)
    cell = where_less(cell, 0.0, 0.0, cell)
    return where_less(n_cells - 1.0, cell, n_cells - 1.0, cell)


@inlined
def _hermite(x):
    """Cubic Hermite weights of two values and two slopes at x in [0, 1], and their derivatives."""
    square = x * x
    cube = square * x
    values = 2 * cube - 3 * square + 1, 3 * square - 2 * cube, cube - 2 * square + x, cube - square
    return values, (6 * (square - x), 6 * (x - square), 3 * square - 4 * x + 1, 3 * square - 2 * x)

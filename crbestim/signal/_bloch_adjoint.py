r"""Compiled gradient by every pulse of a weighted sum of signals and Jacobians with rotating magnetisation.

As in `_two_pool_adjoint`, adjoint states run backward through the transposed maps of the intervals, here found by
sending unit vectors through them. An interval depends on its own pulse alone, so what a pulse changes is what its
interval does to the known state before it, seen through the known adjoint state behind it; this is differenced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from . import _adjoint_engine, _bloch_kernel, _exchange_kernel, _saturation_kernel
from ._adjoint_engine import STEP, run_adjoint_kernel, shifted_pulses
from ._bloch_kernel import (
    _C_SCALES,
    _F_PRECESSION,
    _N_FACTORS,
    _N_PARAMETERS,
    _constants,
    _interval,
    _invert,
    _invert_derivatives,
    _load_precession,
    _load_pulse,
    _multiply,
    _next_frame,
    _periodic_start,
    _precess_derivatives,
    _prepare,
    _product,
    _pulse_derivatives,
    _pulse_rows,
    _spin_echo,
    _trace_derivatives,
)
from ._engine import source_stamp
from ._generalized_bloch import GeneralizedBlochTable
from ._lanes import WIDTH, compiled, inlined, load, load_row, scatter, splat, store, store_row
from ._saturation import SaturationTable
from ._saturation_kernel import table_layout
from ._sequence import PulseSequence


def pulse_gradient(
    theta: FloatArray,
    sequence: PulseSequence,
    table: SaturationTable | GeneralizedBlochTable,
    weights: NDArray,
) -> tuple[FloatArray, FloatArray]:
    """Gradient of a weighted sum of signals and derivatives by the flip angles and durations of the pulses.

    Parameters
    ----------
    theta : ndarray of shape (n, 7)
        As for `simulate`.
    sequence : PulseSequence
        The pulse train.
    table : SaturationTable or GeneralizedBlochTable
        Saturation of the semi-solid pool.
    weights : ndarray of shape (n, T, 1 + P) or (n, T, 1), complex
        Of the signal, and of its derivatives, if these count: the sum is that of Re(conj(weight) value).

    Returns
    -------
    by_flip_angle, by_pulse_duration : ndarray of shape (T,)
        Of the sum over voxels, echoes and columns.
    """
    kernel = _make_kernel(isinstance(table, GeneralizedBlochTable), weights.shape[2] > 1)
    pulses = _pulse_rows(sequence)
    shifted = shifted_pulses(pulses)
    shifted[..., 0] = (sequence.repetition_time - shifted[..., 2]) / 2
    shared = (pulses, shifted, *table_layout(table))
    by_flip, by_log_duration = run_adjoint_kernel(kernel, _constants(theta), shared, weights, 2).T
    return by_flip, by_log_duration / sequence.pulse_duration


@cache
def _make_kernel(generalized: bool, derivatives: bool) -> Callable[..., None]:
    stamp = source_stamp(
        __file__,
        _adjoint_engine.__file__,
        _bloch_kernel.__file__,
        _exchange_kernel.__file__,
        _saturation_kernel.__file__,
    )
    n_parameters = _N_PARAMETERS if derivatives else 0

    @compiled
    def kernel(constants, first, pulses, shifted, grid, knots, weights, by_pulse):
        stamp  # noqa: B018, the cache of a closure follows its cells
        n_pulses = len(pulses) - 1
        samples = np.empty((2 + 2 * n_parameters, n_pulses, WIDTH))
        factors = np.empty((n_pulses + 1, _N_FACTORS, WIDTH))
        response = np.empty((n_pulses, 10, WIDTH))
        columns = np.empty((5, 4, WIDTH))
        loop = np.empty((4, 4, WIDTH))
        by_rate = np.empty((5, 6, WIDTH))
        dy, ends = np.empty((_N_PARAMETERS, 4, WIDTH)), np.empty((_N_PARAMETERS, 4, WIDTH))
        scratch = np.empty((_N_PARAMETERS, 4, WIDTH))
        path = np.empty((n_pulses + 1, 1 + n_parameters, 4, WIDTH))
        transposed = np.empty((1 + n_parameters, 4, 4, WIDTH))
        # Adjoint states behind each interval, and the last four: what one of y at the end adds to that of y.
        adjoint = np.empty((n_pulses + 1, 5 + n_parameters, 4, WIDTH))
        closing = np.empty((1 + n_parameters, 4, WIDTH))
        sums = np.empty((n_pulses, WIDTH))
        for group in range(len(constants)):
            voxel, weight = constants[group], weights[group]
            _prepare(voxel, pulses, grid, knots, generalized, factors)
            start = _periodic_start(voxel, pulses, factors, columns, response, loop)
            if derivatives:
                _trace_derivatives(voxel, pulses, factors, response, loop, start, by_rate, ends, dy, samples)
                for p in range(n_parameters):
                    scale = load(voxel, (_C_SCALES + p,))
                    for part in range(2):
                        for t in range(n_pulses):
                            store(weight, (2 + 2 * p + part, t), scale * load(weight, (2 + 2 * p + part, t)))
            _follow(voxel, pulses, factors, start, by_rate, dy, path)
            for p in range(n_parameters):
                store_row(closing, (1 + p,), _multiply_transposed(loop, _at_start(weight, response, 1 + p)))
            _transpose_inversion(voxel, pulses, factors, by_rate, ends, scratch, transposed)
            _adjoint_at_end(transposed, closing, adjoint[n_pulses])
            for t in range(n_pulses - 1, -1, -1):
                _transpose_interval(voxel, pulses, factors, t, by_rate, scratch, transposed)
                _back(weight, t, transposed, adjoint)
            shift = _multiply_transposed(loop, load_row(adjoint, (0, 0), 4))
            _transpose_inversion(voxel, pulses, factors, by_rate, ends, scratch, transposed)
            shift = _multiply(transposed[0], shift)
            for t in range(1, n_pulses + 1):
                _complete(adjoint[t], shift)
            for control in range(2):
                for side in range(2):
                    trial = shifted[2 * control + side]
                    _prepare(voxel, trial, grid, knots, generalized, factors)
                    for t in range(n_pulses):
                        total = _seen(voxel, trial, factors, t, path[t], adjoint[t + 1], by_rate, scratch)
                        if side == 0:
                            store(sums, (t,), total)
                        else:
                            row = first + group * WIDTH
                            scatter(by_pulse, row, (t, control), (total - load(sums, (t,))) * (0.5 / STEP))

    return kernel


@inlined
def _advance(voxel, pulses, factors, t, state, by_rate, dy):
    """State behind interval t and, in place, its derivatives."""
    free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
    _, _, kept, exchanged = load_row(factors, (t, _F_PRECESSION), 4)
    time = pulses[t, 0]
    state = _precess_derivatives(voxel, _next_frame(free), kept, exchanged, time, state, dy)
    state = _pulse_derivatives(voxel, pulses, factors, t, pulse, state, by_rate, dy)
    return _precess_derivatives(voxel, free, kept, exchanged, time, state, dy)


@inlined
def _follow(voxel, pulses, factors, start, by_rate, dy, path):
    """State and its derivatives before each interval, and at the end, into path."""
    state = start
    for t in range(len(path)):
        store_row(path, (t, 0), state)
        for p in range(path.shape[1] - 1):
            store_row(path, (t, 1 + p), load_row(dy, (p,), 4))
        if t < len(path) - 1:
            if path.shape[1] > 1:
                state = _advance(voxel, pulses, factors, t, state, by_rate, dy)
            else:
                free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
                state = _interval(free, pulse, state, True)


@inlined
def _at_start(weight, response, p):
    """Sensitivity of the weighted sum of one column to its start."""
    a = b = c = d = splat(0.0)
    for t in range(len(response)):
        x1, x2, x3, x4, _, y1, y2, y3, y4, _ = load_row(response, (t,), 10)
        x, y = load(weight, (2 * p, t)), load(weight, (2 * p + 1, t))
        a, b, c, d = a + x * x1 + y * y1, b + x * x2 + y * y2, c + x * x3 + y * y3, d + x * x4 + y * y4
    return a, b, c, d


@inlined
def _multiply_transposed(matrix, state):
    a = b = c = d = splat(0.0)
    for i in range(4):
        m1, m2, m3, m4 = load_row(matrix, (i,), 4)
        factor = state[0] if i == 0 else state[1] if i == 1 else state[2] if i == 2 else state[3]
        a, b, c, d = a + m1 * factor, b + m2 * factor, c + m3 * factor, d + m4 * factor
    return a, b, c, d


@inlined
def _unit(i):
    zero, one = splat(0.0), splat(1.0)
    return one if i == 0 else zero, one if i == 1 else zero, one if i == 2 else zero, one if i == 3 else zero


@inlined
def _transpose_inversion(voxel, pulses, factors, by_rate, ends, scratch, transposed):
    """Rows of the transposed matrix of the inversion, and of its derivatives, (1 + P, 4, 4)."""
    t = len(pulses) - 1
    pulse = _load_pulse(voxel, pulses, factors, t)
    echo = _spin_echo(pulse)
    for i in range(4):
        store_row(transposed, (0, i), _invert(pulse, echo, _unit(i), False))
    for i in range(5 if len(transposed) > 1 else 0):
        scratch[:] = 0.0
        _invert_derivatives(voxel, pulses, factors, t, _unit(i), by_rate, ends, scratch)
        _keep_columns(i, scratch, transposed)


@inlined
def _transpose_interval(voxel, pulses, factors, t, by_rate, scratch, transposed):
    """Rows of the transposed matrix of interval t, and of its derivatives, (1 + P, 4, 4)."""
    free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
    for i in range(4):
        store_row(transposed, (0, i), _interval(free, pulse, _unit(i), False))
    for i in range(5 if len(transposed) > 1 else 0):
        scratch[:] = 0.0
        _advance(voxel, pulses, factors, t, _unit(i), by_rate, scratch)
        _keep_columns(i, scratch, transposed)


@inlined
def _keep_columns(i, columns, transposed):
    """Keep what unit vector i gives; the last call has none, and gives the offset that all others contain."""
    for p in range(len(transposed) - 1):
        if i < 4:
            store_row(transposed, (1 + p, i), load_row(columns, (p,), 4))
        else:
            offset = load_row(columns, (p,), 4)
            for j in range(4):
                row = load_row(transposed, (1 + p, j), 4)
                store_row(
                    transposed, (1 + p, j),
                    (row[0] - offset[0], row[1] - offset[1], row[2] - offset[2], row[3] - offset[3]),
                )  # fmt: skip


@inlined
def _adjoint_at_end(transposed, closing, adjoint):
    """Adjoint states at the end of the cycle, that of y without what the start adds."""
    total = (splat(0.0), splat(0.0), splat(0.0), splat(0.0))
    for p in range(len(closing) - 1):
        at_start = load_row(closing, (1 + p,), 4)
        store_row(adjoint, (1 + p,), _multiply(transposed[0], at_start))
        total = _sum(total, _multiply(transposed[1 + p], at_start))
    store_row(adjoint, (0,), total)
    for i in range(4):
        store_row(adjoint, (len(adjoint) - 4 + i,), _unit(i))


@inlined
def _sum(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


@inlined
def _back(weight, t, transposed, adjoint):
    """Add the echo at the end of interval t to the adjoint states, and carry them before the interval."""
    behind, before = adjoint[t + 1], adjoint[t]
    n_columns = len(transposed)
    for p in range(n_columns):
        store(behind, (p, 0), load(behind, (p, 0)) + load(weight, (2 * p, t)))
        store(behind, (p, 1), load(behind, (p, 1)) + load(weight, (2 * p + 1, t)))
    total = (splat(0.0), splat(0.0), splat(0.0), splat(0.0))
    for p in range(len(behind)):
        state = load_row(behind, (p,), 4)
        store_row(before, (p,), _multiply(transposed[0], state))
        if 0 < p < n_columns:
            total = _sum(total, _multiply(transposed[p], state))
    store_row(before, (0,), _sum(load_row(before, (0,), 4), total))


@inlined
def _complete(adjoint, shift):
    """Add what the adjoint of y at the end, `shift`, contributes."""
    total = load_row(adjoint, (0,), 4)
    for i in range(4):
        a, b, c, d = load_row(adjoint, (len(adjoint) - 4 + i,), 4)
        factor = shift[0] if i == 0 else shift[1] if i == 1 else shift[2] if i == 2 else shift[3]
        total = _sum(total, (a * factor, b * factor, c * factor, d * factor))
    store_row(adjoint, (0,), total)


@inlined
def _seen(voxel, pulses, factors, t, before, adjoint, by_rate, dy):
    """State behind interval t and its derivatives, from those before it, weighted by the adjoint."""
    state = load_row(before, (0,), 4)
    if len(before) > 1:
        for p in range(len(before) - 1):
            store_row(dy, (p,), load_row(before, (1 + p,), 4))
        state = _advance(voxel, pulses, factors, t, state, by_rate, dy)
        total = _product(load_row(adjoint, (0,), 4), state)
        for p in range(len(before) - 1):
            total = total + _product(load_row(adjoint, (1 + p,), 4), load_row(dy, (p,), 4))
        return total
    free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
    return _product(load_row(adjoint, (0,), 4), _interval(free, pulse, state, True))

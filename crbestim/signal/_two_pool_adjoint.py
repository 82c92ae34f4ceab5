r"""Compiled gradient by every pulse of a weighted sum of signals and Jacobians of the two-pool hybrid-state model.

For weights w on the echoes of the signal s and of its derivatives :math:`\partial_p s`, the gradient of
:math:`\sum_t w_{0t} s_t + \sum_p w_{pt} \partial_p s_t` by all flip angles and durations takes a few times as long
as the Jacobian itself, however many pulses there are: states and their derivatives run forward once, and the
adjoint states, of which there is one of the magnetisation and one of each of its derivatives, run backward through
the same maps. The adjoint of the periodic steady state is periodic too, and solved for in the same way.

What is left is local: how the map of one interval, and its derivatives by the tissue's parameters, change with the
polar angle v, and the saturation with the pulse. There the analytic derivatives are differenced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._validation import FloatArray
from . import _adjoint_engine, _exchange_kernel, _saturation_kernel, _two_pool_kernel
from ._adjoint_engine import STEP, run_adjoint_kernel, shifted_pulses
from ._engine import closing_angle, source_stamp
from ._exchange_kernel import exchange_hyperbolic, exchange_step
from ._generalized_bloch import GeneralizedBlochTable
from ._lanes import WIDTH, compiled, inlined, load, load_row, scatter, sin_cos, splat, store, store_row
from ._saturation import SaturationTable
from ._saturation_kernel import fill_saturation, pulse_rows, table_layout
from ._sequence import PulseSequence
from ._two_pool_kernel import (
    _B0,
    _B1,
    _C_B1,
    _C_COS_PHI,
    _C_CRUSH,
    _C_FLIP,
    _C_FLIP_SLOPE,
    _C_LOG_T2S,
    _C_SLOPE_PHI,
    _C_T2S,
    _DIRECTION_R1S,
    _DIRECTION_V,
    _N_CONSTANTS,
    _T1S,
    _T2S,
    _advance,
    _apply,
    _constants,
    _cycle,
    _half_step_derivatives,
    _inversion,
    _loop,
    _periodic,
    _prepare,
    _rates,
    _trace_derivatives,
)


def pulse_gradient(
    theta: FloatArray,
    sequence: PulseSequence,
    table: SaturationTable | GeneralizedBlochTable,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Gradient of a weighted sum of signals and derivatives by the flip angles and durations of the pulses.

    Parameters
    ----------
    theta : ndarray of shape (n, 7) or (n, 8)
        As for `simulate`.
    sequence : PulseSequence
        The pulse train.
    table : SaturationTable or GeneralizedBlochTable
        Saturation of the semi-solid pool.
    weights : ndarray of shape (n, T, 1 + P)
        Of the signal, and of its derivatives.

    Returns
    -------
    by_flip_angle, by_pulse_duration : ndarray of shape (T,)
        Of the sum over voxels, echoes and columns.
    """
    kernel = _make_kernel(isinstance(table, GeneralizedBlochTable), theta.shape[1] == 8)
    pulses = pulse_rows(sequence)
    shared = (pulses, shifted_pulses(pulses), *table_layout(table))
    constants = _constants(theta, sequence.repetition_time / 2)
    by_angle, by_flip, by_log_duration = run_adjoint_kernel(kernel, constants, shared, weights, 3).T
    by_flip = by_flip + by_angle / 4
    by_flip[1:] += by_angle[:-1] / 4
    by_flip[-1] += by_angle[-1] / 4
    return by_flip, by_log_duration / sequence.pulse_duration


@cache
def _make_kernel(generalized: bool, separate_t1: bool) -> Callable[..., None]:
    stamp = source_stamp(
        __file__,
        _adjoint_engine.__file__,
        _two_pool_kernel.__file__,
        _exchange_kernel.__file__,
        _saturation_kernel.__file__,
    )
    n_parameters = 8 if separate_t1 else 7

    @compiled
    def kernel(constants, first, pulses, shifted, grid, knots, weights, by_pulse):
        stamp  # noqa: B018, the cache of a closure follows its cells
        n_pulses = len(pulses) - 1
        samples = np.empty((1 + n_parameters, n_pulses, WIDTH))
        axes = np.empty((n_pulses, 4, WIDTH))
        steps = np.empty((n_pulses, 3, WIDTH))
        saturation = np.empty((n_pulses + 1, 3, WIDTH))
        response = np.empty((n_pulses, 2, WIDTH))
        starts = np.empty((n_parameters, 2, WIDTH))
        path = np.empty((2 * n_pulses + 1, 1 + n_parameters, 2, WIDTH))
        adjoint = np.empty((1 + n_parameters, 2, WIDTH))
        closing = np.empty((1 + n_parameters, 2, WIDTH))
        by_axis = np.empty((n_pulses, 3, WIDTH))  # by v, dv/dB0 and dv/dB1
        by_saturation = np.empty((n_pulses, 3, WIDTH))
        shifted_saturation = np.empty((4, n_pulses + 1, 3, WIDTH))
        for group in range(len(constants)):
            voxel, weight = constants[group], weights[group]
            _prepare(voxel, pulses, grid, knots, generalized, saturation, axes, steps)
            cycle = _cycle(voxel, axes, steps, saturation, response)
            inversion = _inversion(voxel, axes, saturation)
            start = _periodic(cycle, inversion, inversion[0] * cycle[4], inversion[1] * cycle[5])
            _trace_derivatives(
                voxel, axes, steps, saturation, response, cycle, inversion, start, separate_t1, samples, starts
            )
            _follow(voxel, axes, steps, saturation, start, starts, separate_t1, path)
            for p in range(n_parameters):
                scale = load(voxel, (_N_CONSTANTS + p,))
                for t in range(n_pulses):
                    store(weight, (1 + p, t), scale * load(weight, (1 + p, t)))
            _adjoint_of_derivatives(weight, response, cycle, inversion, closing)
            shift = splat(0.0), splat(0.0)
            for last in range(2):
                _adjoint_at_end(inversion, closing, shift, adjoint)
                _run_back(
                    voxel, axes, steps, saturation, path, weight, separate_t1, last == 1, adjoint, by_axis,
                    by_saturation,
                )  # fmt: skip
                if last == 0:
                    r, z = load_row(adjoint, (0,), 2)
                    shift = _periodic_adjoint(cycle, inversion, r, z)
            store_row(closing, (0,), shift)
            _add_closing(voxel, axes, path, closing, by_axis)
            for k in range(4):
                b1, t2s, log_t2s = load(voxel, (_C_B1,)), load(voxel, (_C_T2S,)), load(voxel, (_C_LOG_T2S,))
                fill_saturation(generalized, b1, t2s, log_t2s, shifted[k], grid, knots, shifted_saturation[k], 0)
            row = first + group * WIDTH
            for t in range(n_pulses):
                scatter(by_pulse, row, (t, 0), _by_polar_angle(voxel, pulses[t, 0], load_row(by_axis, (t,), 3)))
                for control in range(2):
                    total = splat(0.0)
                    for k in range(3):
                        low = load(shifted_saturation, (2 * control, t, k))
                        high = load(shifted_saturation, (2 * control + 1, t, k))
                        total = total + load(by_saturation, (t, k)) * (high - low)
                    scatter(by_pulse, row, (t, 1 + control), total * (0.5 / STEP))

    return kernel


@inlined
def _follow(voxel, axes, steps, saturation, start, starts, separate_t1, path):
    """Magnetisation and its derivatives, (1 + P, 2), into path: at the start, before each pulse and at each echo."""
    n_pulses, n_parameters = len(axes), len(starts)
    derivatives = np.empty((6, 6, WIDTH))
    source = np.empty((6, 2, WIDTH))
    dy = starts.copy()
    r, z = start
    _keep(r, z, dy, path, 0)
    for t in range(n_pulses):
        v = load_row(axes, (t,), 4)
        rates = _rates(voxel, v[0], v[1])
        hyperbolic = load_row(steps, (t,), 3)
        step, fixed_point = exchange_step(rates, hyperbolic)
        _half_step_derivatives(voxel, v[0], v[1], rates, hyperbolic, step, fixed_point, separate_t1, derivatives)
        if t == 0:
            _advance(step, derivatives, source, v, r, z, separate_t1, dy)
            r, z = _apply(step, r, z)
        _keep(r, z, dy, path, 2 * t + 1)
        a, a_t2s, a_b1 = load_row(saturation, (t,), 3)
        for p in range(n_parameters):
            store(dy, (p, 1), a * load(dy, (p, 1)))
        store(dy, (_T2S, 1), load(dy, (_T2S, 1)) + z * a_t2s)
        store(dy, (_B1, 1), load(dy, (_B1, 1)) + z * a_b1)
        z = z * a
        _advance(step, derivatives, source, v, r, z, separate_t1, dy)
        r, z = _apply(step, r, z)
        _keep(r, z, dy, path, 2 * t + 2)
        if t < n_pulses - 1:
            _advance(step, derivatives, source, v, r, z, separate_t1, dy)
            r, z = _apply(step, r, z)


@inlined
def _keep(r, z, dy, path, place):
    store_row(path, (place, 0), (r, z))
    for p in range(len(dy)):
        store_row(path, (place, 1 + p), load_row(dy, (p,), 2))


@inlined
def _adjoint_of_derivatives(weight, response, cycle, inversion, closing):
    """Adjoints of the derivatives at the start of the cycle into closing[1:]."""
    for p in range(len(closing) - 1):
        r = z = splat(0.0)
        for t in range(len(response)):
            w = load(weight, (1 + p, t))
            r, z = r + w * load(response, (t, 0)), z + w * load(response, (t, 1))
        store_row(closing, (1 + p,), _periodic_adjoint(cycle, inversion, r, z))


@inlined
def _periodic_adjoint(cycle, inversion, r, z):
    """Solve (I - D A)^T x = (r, z)."""
    m11, m12, m21, m22, inverse = _loop(cycle, inversion)
    return (m22 * r - m21 * z) * inverse, (m11 * z - m12 * r) * inverse


@inlined
def _adjoint_at_end(inversion, closing, shift, adjoint):
    """Adjoints at the end of the cycle from those at its start: of D y, with `shift` for y, and of D dy + D' y."""
    beta, gamma, beta_b0, beta_b1, gamma_t2s, gamma_b1 = inversion
    for p in range(len(closing) - 1):
        r, z = load_row(closing, (1 + p,), 2)
        store_row(adjoint, (1 + p,), (beta * r, gamma * z))
    r = beta * shift[0] + beta_b0 * load(closing, (1 + _B0, 0)) + beta_b1 * load(closing, (1 + _B1, 0))
    z = gamma * shift[1] + gamma_t2s * load(closing, (1 + _T2S, 1)) + gamma_b1 * load(closing, (1 + _B1, 1))
    store_row(adjoint, (0,), (r, z))


@inlined
def _run_back(voxel, axes, steps, saturation, path, weight, separate_t1, keep, adjoint, by_axis, by_saturation):
    """Adjoint from the end of the cycle to its start; if wanted, with the sensitivities to axes and saturation."""
    n_pulses, n_parameters = len(axes), len(adjoint) - 1
    derivatives = np.empty((6, 6, WIDTH))
    trial = np.empty((6, 6, WIDTH))
    by_map = np.empty((8, 6, WIDTH))
    after_pulse = np.empty((1 + n_parameters, 2, WIDTH))
    for t in range(n_pulses - 1, -1, -1):
        v = load_row(axes, (t,), 4)
        rates = _rates(voxel, v[0], v[1])
        hyperbolic = load_row(steps, (t,), 3)
        step, fixed_point = exchange_step(rates, hyperbolic)
        _half_step_derivatives(voxel, v[0], v[1], rates, hyperbolic, step, fixed_point, separate_t1, derivatives)
        by_map[:] = 0.0
        echo = path[2 * t + 2]
        if t < n_pulses - 1:
            _half_step_back(step, derivatives, v, echo, separate_t1, keep, adjoint, by_map)

        r = load(echo, (0, 0))
        w, w_b0, w_b1 = load(weight, (0, t)), load(weight, (1 + _B0, t)), load(weight, (1 + _B1, t))
        turn = w_b0 * v[2] + w_b1 * v[3]
        store(adjoint, (0, 0), load(adjoint, (0, 0)) + w * v[0] + turn * v[1])
        transversal = w * r
        for p in range(n_parameters):
            w_p = load(weight, (1 + p, t))
            store(adjoint, (1 + p, 0), load(adjoint, (1 + p, 0)) + w_p * v[0])
            transversal = transversal + w_p * load(echo, (1 + p, 0))

        before = path[2 * t + 1]
        a, a_t2s, a_b1 = load_row(saturation, (t,), 3)
        z = load(before, (0, 1))
        for p in range(1 + n_parameters):
            r_p, z_p = load_row(before, (p,), 2)
            store_row(after_pulse, (p,), (r_p, a * z_p))
        store(after_pulse, (1 + _T2S, 1), load(after_pulse, (1 + _T2S, 1)) + a_t2s * z)
        store(after_pulse, (1 + _B1, 1), load(after_pulse, (1 + _B1, 1)) + a_b1 * z)
        _half_step_back(step, derivatives, v, after_pulse, separate_t1, keep, adjoint, by_map)

        mu_t2s, mu_b1, by_a = load(adjoint, (1 + _T2S, 1)), load(adjoint, (1 + _B1, 1)), splat(0.0)
        for p in range(1 + n_parameters):
            mu = load(adjoint, (p, 1))
            by_a = by_a + mu * load(before, (p, 1))
            store(adjoint, (p, 1), a * mu)
        store(adjoint, (0, 1), load(adjoint, (0, 1)) + a_t2s * mu_t2s + a_b1 * mu_b1)
        store_row(by_saturation, (t,), (by_a, mu_t2s * z, mu_b1 * z))
        if t == 0:
            _half_step_back(step, derivatives, v, path[0], separate_t1, keep, adjoint, by_map)

        if keep:
            low = _local_sum(voxel, v, -STEP, separate_t1, by_map, trial)
            high = _local_sum(voxel, v, STEP, separate_t1, by_map, trial)
            by_v = (high - low) * (0.5 / STEP) + transversal * v[1] - turn * r * v[0]
            by_b0, by_b1 = w_b0 * r * v[1], w_b1 * r * v[1]
            for i in range(6):
                slope = load(derivatives, (_DIRECTION_V, i))
                by_b0 = by_b0 + load(by_map, (_B0, i)) * slope
                by_b1 = by_b1 + load(by_map, (_B1, i)) * slope
            store_row(by_axis, (t,), (by_v, by_b0, by_b1))


@inlined
def _half_step_back(step, derivatives, v, state, separate_t1, keep, adjoint, by_map):
    """Adjoint before half a repetition time, from that after it; adds the sensitivity to the map and its derivatives.

    Rows of by_map, (8, 6), belong to the derivatives by the parameters, and that of T2s, on which the map does not
    depend, to the map itself.
    """
    e11, e12, e21, e22, _, _ = step
    y = load_row(state, (0,), 2)
    r, z = load_row(adjoint, (0,), 2)
    if keep:
        _add_outer(by_map, _T2S, r, z, y)
    back_r, back_z = e11 * r + e21 * z, e12 * r + e22 * z
    for p in range(8 if separate_t1 else 7):
        r, z = load_row(adjoint, (1 + p,), 2)
        if keep:
            _add_outer(by_map, _T2S, r, z, load_row(state, (1 + p,), 2), affine=0.0)
        if p != _T2S:
            if keep:
                _add_outer(by_map, p, r, z, y)
            direction = _DIRECTION_R1S if p == _T1S else p
            turn = splat(1.0)
            if p == _B0:
                direction, turn = _DIRECTION_V, v[2]
            elif p == _B1:
                direction, turn = _DIRECTION_V, v[3]
            d11, d12, d21, d22, _, _ = load_row(derivatives, (direction,), 6)
            back_r = back_r + turn * (d11 * r + d21 * z)
            back_z = back_z + turn * (d12 * r + d22 * z)
        store_row(adjoint, (1 + p,), (e11 * r + e21 * z, e12 * r + e22 * z))
    store_row(adjoint, (0,), (back_r, back_z))


@inlined
def _add_outer(by_map, row, r, z, y, affine=1.0):
    """Add the sensitivity of (r, z) . (E y + affine u) to E11, E12, E21, E22, u1, u2."""
    m11, m12, m21, m22, m1, m2 = load_row(by_map, (row,), 6)
    store_row(
        by_map, (row,),
        (m11 + r * y[0], m12 + r * y[1], m21 + z * y[0], m22 + z * y[1], m1 + affine * r, m2 + affine * z),
    )  # fmt: skip


@inlined
def _local_sum(voxel, v, shift, separate_t1, by_map, derivatives):
    """Map of half a repetition time and its derivatives, weighted by `by_map`, with v shifted, but not its slopes."""
    sine, cosine = np.sin(shift), np.cos(shift)
    sin_v, cos_v = v[0] * cosine + v[1] * sine, v[1] * cosine - v[0] * sine
    rates = _rates(voxel, sin_v, cos_v)
    hyperbolic = exchange_hyperbolic(rates)
    step, fixed_point = exchange_step(rates, hyperbolic)
    _half_step_derivatives(voxel, sin_v, cos_v, rates, hyperbolic, step, fixed_point, separate_t1, derivatives)
    total = _dot(load_row(by_map, (_T2S,), 6), step)
    for p in range(4):
        total = total + _dot(load_row(by_map, (p,), 6), load_row(derivatives, (p,), 6))
    by_v = load_row(derivatives, (_DIRECTION_V,), 6)
    total = total + v[2] * _dot(load_row(by_map, (_B0,), 6), by_v) + v[3] * _dot(load_row(by_map, (_B1,), 6), by_v)
    if separate_t1:
        total = total + _dot(load_row(by_map, (_T1S,), 6), load_row(derivatives, (_DIRECTION_R1S,), 6))
    return total


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] + a[4] * b[4] + a[5] * b[5]


@inlined
def _add_closing(voxel, axes, path, closing, by_axis):
    """Add the sensitivity of the inversion to the first and the last axis."""
    n_pulses = len(axes)
    first, last = load_row(axes, (0,), 4), load_row(axes, (n_pulses - 1,), 4)
    at_end = path[2 * n_pulses]
    by_beta = splat(0.0)
    for p in range(len(closing)):
        by_beta = by_beta + load(closing, (p, 0)) * load(at_end, (p, 0))
    r = load(at_end, (0, 0))
    by_b0, by_b1 = load(closing, (1 + _B0, 0)) * r, load(closing, (1 + _B1, 0)) * r
    weights = by_beta, by_b0, by_b1
    of_first = _closing_sum(voxel, _turned(first, STEP), last, weights) - _closing_sum(
        voxel, _turned(first, -STEP), last, weights
    )
    of_last = _closing_sum(voxel, first, _turned(last, STEP), weights) - _closing_sum(
        voxel, first, _turned(last, -STEP), weights
    )
    flip, crush = load(voxel, (_C_FLIP,)), load(voxel, (_C_CRUSH,))
    slope_first = -(first[0] * last[1]) * flip - first[1] * last[0] * crush
    slope_last = -(first[1] * last[0]) * flip - first[0] * last[1] * crush
    v, b0, b1 = load_row(by_axis, (0,), 3)
    store_row(by_axis, (0,), (v + of_first * (0.5 / STEP), b0 + by_b0 * slope_first, b1 + by_b1 * slope_first))
    v, b0, b1 = load_row(by_axis, (n_pulses - 1,), 3)
    store_row(
        by_axis, (n_pulses - 1,),
        (v + of_last * (0.5 / STEP), b0 + by_b0 * slope_last, b1 + by_b1 * slope_last),
    )  # fmt: skip


@inlined
def _turned(v, shift):
    """Axis with v shifted, but not its slopes."""
    sine, cosine = np.sin(shift), np.cos(shift)
    return v[0] * cosine + v[1] * sine, v[1] * cosine - v[0] * sine, v[2], v[3]


@inlined
def _closing_sum(voxel, first, last, weights):
    flip, crush, flip_slope = load(voxel, (_C_FLIP,)), load(voxel, (_C_CRUSH,)), load(voxel, (_C_FLIP_SLOPE,))
    beta, by_b0, by_b1 = closing_angle(first, last, flip, crush, flip_slope)
    return weights[0] * beta + weights[1] * by_b0 + weights[2] * by_b1


@inlined
def _by_polar_angle(voxel, polar_angle, by_axis):
    """Derivative by the nominal polar angle from those by v, dv/dB0 and dv/dB1."""
    by_v, by_b0, by_b1 = by_axis
    b1, cos_phi, slope_phi = load(voxel, (_C_B1,)), load(voxel, (_C_COS_PHI,)), load(voxel, (_C_SLOPE_PHI,))
    sine, cosine = sin_cos(b1 * polar_angle)
    projected = cosine * cos_phi
    inverse_square = 1 / (sine * sine + projected * projected)
    slope = -2 * b1 * sine * cosine * (1 - cos_phi * cos_phi) * inverse_square  # of log(inverse_square)
    v_b0 = slope_phi * (b1 * (cosine * cosine - sine * sine) + sine * cosine * slope)
    v_b1 = cos_phi * (1 + polar_angle * slope)
    return (by_v * b1 * cos_phi + by_b0 * v_b0 + by_b1 * v_b1) * inverse_square

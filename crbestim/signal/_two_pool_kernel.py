"""Compiled core of the two-pool hybrid-state model: signal and derivatives of a group of voxels.

The magnetisation y = (r, z) holds the length of the free pool's vector and the semi-solid pool's longitudinal
component. Half a repetition time is an affine map y -> E y + u, with rates in units of its inverse; a pulse
multiplies z. The maps depend on m0s, R1, R2f, Rx and the polar angle v alone (and R1s, if the pools differ in it), so
their derivatives are taken along these directions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._validation import FloatArray
from . import _exchange_kernel, _saturation_kernel
from ._engine import axis, closing_angle, emit, run_kernel, source_stamp
from ._exchange_kernel import exchange_hyperbolic, exchange_step, exchange_step_derivative
from ._generalized_bloch import GeneralizedBlochTable
from ._lanes import WIDTH, compiled, inlined, load, load_row, splat, store, store_row
from ._saturation import SaturationTable
from ._saturation_kernel import fill_saturation, pulse_rows, table_layout
from ._sequence import PulseSequence

_M0S, _T1, _T2F, _RX, _T2S, _B0, _B1, _T1S = range(8)
_DIRECTION_V, _DIRECTION_R1S = 4, 5
# Constants of a voxel, in this order; the scales of the derivatives follow them.
(_C_M0S, _C_R1, _C_R1S, _C_R2F, _C_RX, _C_B1, _C_T2S, _C_LOG_T2S, _C_COS_PHI, _C_SLOPE_PHI, _C_FLIP, _C_CRUSH,
 _C_FLIP_SLOPE, _N_CONSTANTS) = range(14)  # fmt: skip


def simulate(
    theta: FloatArray,
    sequence: PulseSequence,
    table: SaturationTable | GeneralizedBlochTable,
    derivatives: bool,
    basis: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the signal and, if wanted, its derivatives.

    Parameters
    ----------
    theta : ndarray of shape (n, 7) or (n, 8)
        m0s, T1, T2f, Rx, T2s, B0, B1 and, if the semi-solid pool has its own, T1s; in SI units.
    sequence : PulseSequence
        The pulse train.
    table : SaturationTable or GeneralizedBlochTable
        Saturation of the semi-solid pool.
    derivatives : bool
        Whether the derivatives are wanted; else they have no columns.
    basis : ndarray of shape (T, k), real, optional
        Project on these columns.

    Returns
    -------
    signal : ndarray of shape (n, T) or (n, k)
    jacobian : ndarray of shape (n, T, P) or (n, k, P)
    """
    n_parameters = theta.shape[1]
    kernel = _make_kernel(isinstance(table, GeneralizedBlochTable), n_parameters == 8)
    constants = _constants(theta, sequence.repetition_time / 2)
    shared = (pulse_rows(sequence), *table_layout(table))
    return run_kernel(kernel, constants, shared, sequence.n_pulses, n_parameters if derivatives else 0, basis)


def _constants(theta: FloatArray, half: float) -> FloatArray:
    """Constants of each voxel as the kernel reads them, (n, _N_CONSTANTS + P); `half` a repetition time."""
    m0s, t1, t2f, rx, t2s, b0, b1 = theta[:, :7].T
    t1s = theta[:, _T1S] if theta.shape[1] == 8 else t1
    by_rate = {_T1: -half / t1**2, _T2F: -half / t2f**2, _RX: np.full_like(rx, half), _T1S: -half / t1s**2}
    scales = [by_rate.get(p, np.ones_like(m0s)) for p in range(theta.shape[1])]
    phi = b0 * half
    flip = np.pi * b1
    return np.column_stack(
        [m0s, half / t1, half / t1s, half / t2f, half * rx, b1, t2s, np.log(t2s), np.cos(phi), half * np.sin(phi),
         np.cos(flip), np.sin(flip / 2) ** 2, -np.pi * np.sin(flip), *scales]
    )  # fmt: skip


@cache
def _make_kernel(generalized: bool, separate_t1: bool) -> Callable[..., None]:
    stamp = source_stamp(__file__, _exchange_kernel.__file__, _saturation_kernel.__file__)

    @compiled
    def kernel(constants, first, pulses, grid, knots, basis, signal, jacobian):
        stamp  # noqa: B018, the cache of a closure follows its cells
        n_pulses, n_parameters = len(pulses) - 1, jacobian.shape[2]
        samples = np.empty((1 + n_parameters, n_pulses, WIDTH))
        axes = np.empty((n_pulses, 4, WIDTH))  # sin v, cos v, dv/dB0, dv/dB1
        steps = np.empty((n_pulses, 3, WIDTH))  # exchange_hyperbolic
        saturation = np.empty((n_pulses + 1, 3, WIDTH))  # a, da/dT2s, da/dB1; the last one inverts
        response = np.empty((n_pulses, 2, WIDTH))  # ds(echo)/dy(0)
        starts = np.empty((n_parameters, 2, WIDTH))  # of the derivatives
        for group in range(len(constants)):
            voxel = constants[group]
            _prepare(voxel, pulses, grid, knots, generalized, saturation, axes, steps)
            cycle = _cycle(voxel, axes, steps, saturation, response)
            inversion = _inversion(voxel, axes, saturation)
            start = _periodic(cycle, inversion, inversion[0] * cycle[4], inversion[1] * cycle[5])
            if n_parameters == 0:
                _trace(voxel, axes, steps, saturation, start, samples)
            else:
                _trace_derivatives(
                    voxel, axes, steps, saturation, response, cycle, inversion, start, separate_t1, samples, starts
                )
            emit(samples, 1 + n_parameters, basis, first + group * WIDTH, signal, jacobian)

    return kernel


@inlined
def _rates(voxel, sin_v, cos_v):
    """dr/dt = -a r + b z + p and dz/dt = c r - d z + q on an axis, in units of half a repetition time."""
    m0s, rx = load(voxel, (_C_M0S,)), load(voxel, (_C_RX,))
    r1, r1s = load(voxel, (_C_R1,)), load(voxel, (_C_R1S,))
    m0f = 1 - m0s
    a = cos_v * cos_v * (r1 + rx * m0s) + sin_v * sin_v * load(voxel, (_C_R2F,))
    return a, rx * m0f * cos_v, rx * m0s * cos_v, r1s + rx * m0f, m0f * r1 * cos_v, m0s * r1s


@inlined
def _half_step_derivatives(voxel, sin_v, cos_v, rates, hyperbolic, step, fixed_point, separate_t1, out):
    """Derivatives of `exchange_step` along m0s, R1, R2f, Rx, v and R1s into out, (6, 6)."""
    m0s, rx = load(voxel, (_C_M0S,)), load(voxel, (_C_RX,))
    r1, r1s, r2f = load(voxel, (_C_R1,)), load(voxel, (_C_R1S,)), load(voxel, (_C_R2F,))
    m0f = 1 - m0s
    cos2, zero = cos_v * cos_v, splat(0.0)
    at = rates, hyperbolic, step, fixed_point
    exchange = rx * cos_v
    exchange_step_derivative(*at, rx * cos2, -exchange, exchange, -rx, -(r1 * cos_v), r1s, out, _M0S)
    if separate_t1:
        exchange_step_derivative(*at, cos2, zero, zero, zero, m0f * cos_v, zero, out, _T1)
        exchange_step_derivative(*at, zero, zero, zero, splat(1.0), zero, m0s, out, _DIRECTION_R1S)
    else:
        exchange_step_derivative(*at, cos2, zero, zero, splat(1.0), m0f * cos_v, m0s, out, _T1)
    exchange_step_derivative(*at, sin_v * sin_v, zero, zero, zero, zero, zero, out, _T2F)
    exchange_step_derivative(*at, m0s * cos2, m0f * cos_v, m0s * cos_v, m0f, zero, zero, out, _RX)
    da = 2 * sin_v * cos_v * (r2f - r1 - rx * m0s)
    turn = rx * sin_v
    exchange_step_derivative(*at, da, -(turn * m0f), -(turn * m0s), zero, -(m0f * r1 * sin_v), zero, out, _DIRECTION_V)


@inlined
def _prepare(voxel, pulses, grid, knots, generalized, saturation, axes, steps):
    """Fill saturation, axes and steps. One loop each: short chains of dependent operations overlap."""
    n_pulses = len(axes)
    b1, t2s, log_t2s = load(voxel, (_C_B1,)), load(voxel, (_C_T2S,)), load(voxel, (_C_LOG_T2S,))
    fill_saturation(generalized, b1, t2s, log_t2s, pulses, grid, knots, saturation, 0)
    cos_phi, slope_phi = load(voxel, (_C_COS_PHI,)), load(voxel, (_C_SLOPE_PHI,))
    for t in range(n_pulses):
        store_row(axes, (t,), axis(pulses[t, 0], b1, cos_phi, slope_phi))
    for t in range(n_pulses):
        sin_v, cos_v = load_row(axes, (t,), 2)
        store_row(steps, (t,), exchange_hyperbolic(_rates(voxel, sin_v, cos_v)))


@inlined
def _cycle(voxel, axes, steps, saturation, response):
    """Map of the whole cycle, y(T) = A y(0) + c, as A11, A12, A21, A22, c1, c2; fills response."""
    a11 = a22 = splat(1.0)
    a12 = a21 = c1 = c2 = splat(0.0)
    n_pulses = len(axes)
    for t in range(n_pulses):
        sin_v, cos_v = load_row(axes, (t,), 2)
        step, _ = exchange_step(_rates(voxel, sin_v, cos_v), load_row(steps, (t,), 3))
        if t == 0:
            a11, a12, c1, a21, a22, c2 = _compose(step, a11, a12, c1, a21, a22, c2)
        factor = load(saturation, (t, 0))
        a21, a22, c2 = factor * a21, factor * a22, factor * c2
        a11, a12, c1, a21, a22, c2 = _compose(step, a11, a12, c1, a21, a22, c2)
        store_row(response, (t,), (a11 * sin_v, a12 * sin_v))
        if t < n_pulses - 1:
            a11, a12, c1, a21, a22, c2 = _compose(step, a11, a12, c1, a21, a22, c2)
    return a11, a12, a21, a22, c1, c2


@inlined
def _compose(step, a11, a12, c1, a21, a22, c2):
    e11, e12, e21, e22, u1, u2 = step
    return (
        e11 * a11 + e12 * a21, e11 * a12 + e12 * a22, e11 * c1 + e12 * c2 + u1,
        e21 * a11 + e22 * a21, e21 * a12 + e22 * a22, e21 * c1 + e22 * c2 + u2,
    )  # fmt: skip


@inlined
def _inversion(voxel, axes, saturation):
    """Inversion and return to the first axis, D = diag(beta, gamma), with derivatives.

    Returns beta, gamma, dbeta/dB0, dbeta/dB1, dgamma/dT2s, dgamma/dB1.
    """
    n_pulses = len(axes)
    first, last = load_row(axes, (0,), 4), load_row(axes, (n_pulses - 1,), 4)
    beta, by_b0, by_b1 = closing_angle(
        first, last, load(voxel, (_C_FLIP,)), load(voxel, (_C_CRUSH,)), load(voxel, (_C_FLIP_SLOPE,))
    )
    gamma, by_t2s, gamma_b1 = load_row(saturation, (n_pulses,), 3)
    return beta, gamma, by_b0, by_b1, by_t2s, gamma_b1


@inlined
def _periodic(cycle, inversion, r, z):
    """Solve (I - D A) y = (r, z)."""
    m11, m12, m21, m22, inverse = _loop(cycle, inversion)
    return (m22 * r - m12 * z) * inverse, (m11 * z - m21 * r) * inverse


@inlined
def _loop(cycle, inversion):
    """Matrix I - D A and its inverse determinant."""
    beta, gamma = inversion[0], inversion[1]
    m11, m12 = 1 - beta * cycle[0], -(beta * cycle[1])
    m21, m22 = -(gamma * cycle[2]), 1 - gamma * cycle[3]
    return m11, m12, m21, m22, 1 / (m11 * m22 - m12 * m21)


@inlined
def _trace(voxel, axes, steps, saturation, start, samples):
    """Signal r sin v at each echo, from the periodic start."""
    r, z = start
    n_pulses = len(axes)
    for t in range(n_pulses):
        sin_v, cos_v = load(axes, (t, 0)), load(axes, (t, 1))
        hyperbolic = load_row(steps, (t,), 3)
        step, _ = exchange_step(_rates(voxel, sin_v, cos_v), hyperbolic)
        if t == 0:
            r, z = _apply(step, r, z)
        z = z * load(saturation, (t, 0))
        r, z = _apply(step, r, z)
        store(samples, (0, t), r * sin_v)
        r, z = _apply(step, r, z)


@inlined
def _apply(step, r, z):
    e11, e12, e21, e22, u1, u2 = step
    return e11 * r + e12 * z + u1, e21 * r + e22 * z + u2


@inlined
def _advance(step, derivatives, source, v, r, z, separate_t1, dy):
    """Derivatives dy, (P, 2), of the magnetisation (r, z) after half a repetition time; `source` is scratch."""
    e11, e12, e21, e22, _, _ = step
    for direction in range(6 if separate_t1 else 5):
        d11, d12, d21, d22, du1, du2 = load_row(derivatives, (direction,), 6)
        store_row(source, (direction,), (d11 * r + d12 * z + du1, d21 * r + d22 * z + du2))
    for p in range(8 if separate_t1 else 7):
        s, q = load_row(dy, (p,), 2)
        dr, dz = e11 * s + e12 * q, e21 * s + e22 * q
        if p in (_B0, _B1):
            turn = v[2] if p == _B0 else v[3]
            by_r, by_z = load_row(source, (_DIRECTION_V,), 2)
            dr, dz = dr + turn * by_r, dz + turn * by_z
        elif p != _T2S:
            direction = _DIRECTION_R1S if p == _T1S else p
            by_r, by_z = load_row(source, (direction,), 2)
            dr, dz = dr + by_r, dz + by_z
        store_row(dy, (p,), (dr, dz))


@inlined
def _trace_derivatives(
    voxel, axes, steps, saturation, response, cycle, inversion, start, separate_t1, samples, starts
):
    """Signal and its derivatives into samples, (1 + P, T), and the derivatives at the start into starts, (P, 2).

    The derivatives run from zero through the cycle, which gives their part g at its end; the periodic start
    dy(0) = D (A dy(0) + g) + D' y(T) is then solved for, and its response added at every echo.
    """
    n_pulses, n_parameters = len(axes), len(samples) - 1
    derivatives = np.empty((6, 6, WIDTH))
    source = np.empty((6, 2, WIDTH))
    dy = np.zeros((n_parameters, 2, WIDTH))
    r, z = start
    for t in range(n_pulses):
        v = load_row(axes, (t,), 4)
        sin_v, cos_v = v[0], v[1]
        rates = _rates(voxel, sin_v, cos_v)
        hyperbolic = load_row(steps, (t,), 3)
        step, fixed_point = exchange_step(rates, hyperbolic)
        _half_step_derivatives(voxel, sin_v, cos_v, rates, hyperbolic, step, fixed_point, separate_t1, derivatives)
        if t == 0:
            _advance(step, derivatives, source, v, r, z, separate_t1, dy)
            r, z = _apply(step, r, z)
        a = load(saturation, (t, 0))
        for p in range(8 if separate_t1 else 7):
            store(dy, (p, 1), a * load(dy, (p, 1)))
        store(dy, (_T2S, 1), load(dy, (_T2S, 1)) + z * load(saturation, (t, 1)))
        store(dy, (_B1, 1), load(dy, (_B1, 1)) + z * load(saturation, (t, 2)))
        z = z * a
        _advance(step, derivatives, source, v, r, z, separate_t1, dy)
        r, z = _apply(step, r, z)
        store(samples, (0, t), r * sin_v)
        for p in range(8 if separate_t1 else 7):
            value = load(dy, (p, 0)) * sin_v
            if p == _B0:
                value = value + r * cos_v * v[2]
            elif p == _B1:
                value = value + r * cos_v * v[3]
            store(samples, (1 + p, t), value)
        if t < n_pulses - 1:
            _advance(step, derivatives, source, v, r, z, separate_t1, dy)
            r, z = _apply(step, r, z)
    beta, gamma, beta_b0, beta_b1, gamma_t2s, gamma_b1 = inversion
    for p in range(n_parameters):
        dr, dz = beta * load(dy, (p, 0)), gamma * load(dy, (p, 1))
        if p == _T2S:
            dz = dz + gamma_t2s * z
        elif p == _B0:
            dr = dr + beta_b0 * r
        elif p == _B1:
            dr = dr + beta_b1 * r
            dz = dz + gamma_b1 * z
        dr, dz = _periodic(cycle, inversion, dr, dz)
        store_row(starts, (p,), (dr, dz))
        scale = load(voxel, (_N_CONSTANTS + p,))
        for t in range(n_pulses):
            free = load(response, (t, 0)) * dr + load(response, (t, 1)) * dz
            store(samples, (1 + p, t), scale * (load(samples, (1 + p, t)) + free))

"""Compiled core of the single-pool hybrid-state model: signal and derivatives of a group of voxels.

The length r of the magnetisation follows dr/dt = -a r + p on an axis of polar angle v, so half a repetition time is
the map r -> e r + u, with rates in units of its inverse. Its derivatives are taken along R1, R2 and v.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._validation import FloatArray
from ._engine import axis, closing_angle, emit, run_kernel, source_stamp
from ._lanes import WIDTH, compiled, exp, inlined, load, load_row, splat, store, store_row
from ._sequence import PulseSequence

_T1, _T2, _B0, _B1 = range(4)
# Constants of a voxel, in this order.
_C_R1, _C_R2, _C_B1, _C_COS_PHI, _C_SLOPE_PHI, _C_FLIP, _C_CRUSH, _C_FLIP_SLOPE, _C_SCALES = range(9)


def simulate(
    theta: FloatArray, sequence: PulseSequence, derivatives: bool, basis: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the signal and, if wanted, its derivatives.

    Parameters
    ----------
    theta : ndarray of shape (n, 4)
        T1, T2, B0, B1; in SI units.
    sequence : PulseSequence
        The pulse train.
    derivatives : bool
        Whether the derivatives are wanted; else they have no columns.
    basis : ndarray of shape (T, k), real, optional
        Project on these columns.

    Returns
    -------
    signal : ndarray of shape (n, T) or (n, k)
    jacobian : ndarray of shape (n, T, 4) or (n, k, 4)
    """
    t1, t2, b0, b1 = theta.T
    half = sequence.repetition_time / 2
    phi, flip, one = b0 * half, np.pi * b1, np.ones_like(b1)
    constants = np.column_stack(
        [half / t1, half / t2, b1, np.cos(phi), half * np.sin(phi), np.cos(flip), np.sin(flip / 2) ** 2,
         -np.pi * np.sin(flip), -half / t1**2, -half / t2**2, one, one]
    )  # fmt: skip
    return run_kernel(
        _make_kernel(), constants, (sequence.polar_angle,), sequence.n_pulses, 4 if derivatives else 0, basis
    )


@cache
def _make_kernel() -> Callable[..., None]:
    stamp = source_stamp(__file__)

    @compiled
    def kernel(constants, first, polar_angle, basis, signal, jacobian):
        stamp  # noqa: B018, the cache of a closure follows its cells
        n_pulses, n_parameters = len(polar_angle), jacobian.shape[2]
        samples = np.empty((1 + n_parameters, n_pulses, WIDTH))
        axes = np.empty((n_pulses, 4, WIDTH))  # sin v, cos v, dv/dB0, dv/dB1
        steps = np.empty((n_pulses, 3, WIDTH))  # e, r_inf, 1/a
        response = np.empty((n_pulses, WIDTH))  # ds(echo)/dr(0)
        for group in range(len(constants)):
            voxel = constants[group]
            _prepare(voxel, polar_angle, axes, steps)
            gain, offset = _cycle(axes, steps, response)
            beta, by_b0, by_b1 = closing_angle(
                load_row(axes, (0,), 4), load_row(axes, (n_pulses - 1,), 4),
                load(voxel, (_C_FLIP,)), load(voxel, (_C_CRUSH,)), load(voxel, (_C_FLIP_SLOPE,)),
            )  # fmt: skip
            loop = 1 / (1 - beta * gain)
            r = beta * offset * loop
            if n_parameters == 0:
                _trace(axes, steps, r, samples)
            else:
                _trace_derivatives(voxel, axes, steps, response, (beta, by_b0, by_b1), loop, r, samples)
            emit(samples, 1 + n_parameters, basis, first + group * WIDTH, signal, jacobian)

    return kernel


@inlined
def _prepare(voxel, polar_angle, axes, steps):
    """Fill axes and steps. One loop each: short chains of dependent operations overlap."""
    b1, cos_phi, slope_phi = load(voxel, (_C_B1,)), load(voxel, (_C_COS_PHI,)), load(voxel, (_C_SLOPE_PHI,))
    r1, r2 = load(voxel, (_C_R1,)), load(voxel, (_C_R2,))
    for t in range(len(axes)):
        store_row(axes, (t,), axis(polar_angle[t], b1, cos_phi, slope_phi))
    for t in range(len(axes)):
        sin_v, cos_v = load_row(axes, (t,), 2)
        a = cos_v * cos_v * r1 + sin_v * sin_v * r2
        inverse = 1 / a
        store_row(steps, (t,), (exp(-a), r1 * cos_v * inverse, inverse))


@inlined
def _relax(step, r):
    """Half a repetition time: r relaxes towards r_inf."""
    return step[1] + step[0] * (r - step[1])


@inlined
def _cycle(axes, steps, response):
    """Map of the whole cycle, r(T) = gain r(0) + offset; fills response."""
    n_pulses = len(axes)
    gain, offset = splat(1.0), splat(0.0)
    for t in range(n_pulses):
        step = load_row(steps, (t,), 3)
        for _ in range(2 if t == 0 else 1):
            gain, offset = gain * step[0], _relax(step, offset)
        store(response, (t,), gain * load(axes, (t, 0)))
        if t < n_pulses - 1:
            gain, offset = gain * step[0], _relax(step, offset)
    return gain, offset


@inlined
def _trace(axes, steps, r, samples):
    """Signal r sin v at each echo, from the periodic start."""
    for t in range(len(axes)):
        step = load_row(steps, (t,), 3)
        for _ in range(2 if t == 0 else 1):
            r = _relax(step, r)
        store(samples, (0, t), r * load(axes, (t, 0)))
        r = _relax(step, r)


@inlined
def _trace_derivatives(voxel, axes, steps, response, inversion, loop, r, samples):
    """Signal and its derivatives into samples, (5, T).

    The derivatives run from zero through the cycle; their periodic start is then solved for, and its response added
    at every echo.
    """
    n_pulses = len(axes)
    r1, r2 = load(voxel, (_C_R1,)), load(voxel, (_C_R2,))
    by_r1 = by_r2 = by_b0 = by_b1 = splat(0.0)
    for t in range(n_pulses):
        sin_v, cos_v, v_b0, v_b1 = load_row(axes, (t,), 4)
        step = load_row(steps, (t,), 3)
        e, r_inf, inverse = step
        da_r1, da_r2, da_v = cos_v * cos_v, sin_v * sin_v, 2 * sin_v * cos_v * (r2 - r1)
        rest = (1 - e) * inverse
        fixed_r1, fixed_r2 = (cos_v - da_r1 * r_inf) * rest, -(da_r2 * r_inf * rest)
        fixed_v = -((r1 * sin_v + da_v * r_inf) * rest)
        before = 2 if t == 0 else 1
        for half in range(before + 1):  # the echo follows the `before` halves
            deviation = -(e * (r - r_inf))
            source_v = fixed_v + da_v * deviation
            by_r1 = e * by_r1 + (fixed_r1 + da_r1 * deviation)
            by_r2 = e * by_r2 + (fixed_r2 + da_r2 * deviation)
            by_b0 = e * by_b0 + v_b0 * source_v
            by_b1 = e * by_b1 + v_b1 * source_v
            r = _relax(step, r)
            if half == before - 1:
                turn = r * cos_v
                store(samples, (0, t), r * sin_v)
                store(samples, (1 + _T1, t), by_r1 * sin_v)
                store(samples, (1 + _T2, t), by_r2 * sin_v)
                store(samples, (1 + _B0, t), by_b0 * sin_v + turn * v_b0)
                store(samples, (1 + _B1, t), by_b1 * sin_v + turn * v_b1)
                if t == n_pulses - 1:
                    break
    beta, beta_b0, beta_b1 = inversion
    starts = (beta * by_r1, beta * by_r2, beta * by_b0 + beta_b0 * r, beta * by_b1 + beta_b1 * r)
    for p in range(4):
        start = starts[p] * loop
        scale = load(voxel, (_C_SCALES + p,))
        for t in range(n_pulses):
            store(samples, (1 + p, t), scale * (load(samples, (1 + p, t)) + load(response, (t,)) * start))

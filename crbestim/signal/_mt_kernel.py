"""Compiled core of the two-pool hybrid-state model: signal and derivatives, voxel by voxel.

The magnetisation y = (r, z) holds the length of the free pool's vector and the semi-solid pool's longitudinal
component. Half a repetition time is an affine map y -> E y + u; a pulse multiplies z. Rows of theta are m0s,
T1, T2f, Rx, T2s, B0, B1; the maps depend on m0s, T1, T2f, Rx and the polar angle v alone, so their derivatives are
taken along these five directions.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import config, njit

from .._validation import FloatArray
from ._saturation import SaturationTable

_M0S, _T1, _T2F, _RX, _T2S, _B0, _B1 = range(7)
_DIRECTION_V = 4

_compiled = njit(cache=True, error_model="numpy", fastmath={"contract"}, nogil=True)


def simulate(
    theta: FloatArray,
    flip_angle: FloatArray,
    pulse_duration: FloatArray,
    polar_angle: FloatArray,
    repetition_time: float,
    inversion_duration: float,
    table: SaturationTable,
    derivatives: bool,
) -> tuple[FloatArray, FloatArray]:
    """Return the signal (n, T) and, if wanted, its derivatives (n, T, 7), else an empty array."""
    n, n_pulses = len(theta), len(flip_angle)
    signal = np.empty((n, n_pulses))
    jacobian = np.empty((n if derivatives else 0, n_pulses, 7))

    def run(block: slice) -> None:
        _simulate_block(
            theta[block], flip_angle, pulse_duration, polar_angle, repetition_time, inversion_duration,
            table.start, table.inverse_step, table.coefficients, derivatives, signal[block], jacobian[block],
        )  # fmt: skip

    n_blocks = min(_n_threads(), n)
    if n_blocks == 1:
        run(slice(None))
    else:
        # Threads of our own, not OpenMP's: those would change torch's number of threads and forbid a fork.
        edges = np.linspace(0, n, n_blocks + 1).astype(int)
        with ThreadPoolExecutor(n_blocks) as pool:
            list(pool.map(run, map(slice, edges[:-1], edges[1:])))
    return signal, jacobian


def _n_threads() -> int:
    """Return the number of threads that NUMBA_NUM_THREADS and OMP_NUM_THREADS allow, all cores by default."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(config.NUMBA_NUM_THREADS, int(limit) if limit.isdigit() and int(limit) > 0 else sys.maxsize)


@_compiled
def _simulate_block(
    theta, flip_angle, pulse_duration, polar_angle, repetition_time, inversion_duration,
    start, inverse_step, coefficients, derivatives, signal, jacobian,
):  # fmt: skip
    n, n_pulses = signal.shape
    angles = np.empty((n_pulses, 4))  # sin v, cos v, dv/dB0, dv/dB1
    maps = np.empty((n_pulses, 6))  # E11, E12, E21, E22, u1, u2
    pulses = np.empty((n_pulses + 1, 3))  # a, d log a / dT2s, d log a / dB1; the last one inverts
    response = np.empty((n_pulses, 2))  # dr(echo)/dy(0)
    for voxel in range(n):
        parameters = theta[voxel]
        _polar_angles(parameters, polar_angle, repetition_time, angles)
        for t in range(n_pulses):
            pulses[t] = _saturation(parameters, flip_angle[t], pulse_duration[t], start, inverse_step, coefficients)
            maps[t] = _half_step(parameters, angles[t, 0], angles[t, 1], repetition_time / 2)
        pulses[n_pulses] = _saturation(parameters, np.pi, inversion_duration, start, inverse_step, coefficients)
        cycle = _cycle(maps, pulses, response)
        closing = _closing(parameters, angles, pulses[n_pulses])
        y = _periodic(cycle, closing, closing[0] * cycle[4], closing[1] * cycle[5])
        if derivatives:
            _trace_derivatives(
                parameters, repetition_time / 2, angles, maps, pulses, response,
                cycle, closing, y, signal[voxel], jacobian[voxel],
            )  # fmt: skip
        else:
            _trace(angles, maps, pulses, y, signal[voxel])


@_compiled
def _polar_angles(parameters, polar_angle, repetition_time, angles):
    """Actual polar angle at each echo: sin v, cos v, dv/dB0, dv/dB1."""
    b0, b1 = parameters[_B0], parameters[_B1]
    cos_phi = np.cos(b0 * repetition_time / 2)
    sin_phi = np.sin(b0 * repetition_time / 2)
    for t in range(len(polar_angle)):
        sine = np.sin(b1 * polar_angle[t])
        cosine = np.cos(b1 * polar_angle[t])
        square = sine**2 + (cosine * cos_phi) ** 2
        length = np.sqrt(square)
        angles[t, 0] = sine / length
        angles[t, 1] = cosine * cos_phi / length
        angles[t, 2] = sine * cosine * sin_phi * repetition_time / 2 / square
        angles[t, 3] = polar_angle[t] * cos_phi / square


@_compiled
def _saturation(parameters, flip_angle, duration, start, inverse_step, coefficients):
    """Factor a = exp(-(B1 alpha)^2 (T2s / tau) f(x)/x) of a pulse, and d log a by T2s and B1."""
    t2s, b1 = parameters[_T2S], parameters[_B1]
    position = (np.log(duration / t2s) - start) * inverse_step
    piece = min(max(int(position), 0), len(coefficients) - 1)
    x = position - piece
    c = coefficients[piece]
    value = c[0] + x * (c[1] + x * (c[2] + x * c[3]))
    slope = (c[1] + x * (2 * c[2] + x * 3 * c[3])) * inverse_step
    strength = flip_angle**2 / duration
    exponent = b1**2 * strength * t2s * value
    return np.exp(-exponent), -(b1**2) * strength * (value - slope), -2 * b1 * strength * t2s * value


@_compiled
def _damped_hyperbolic(square, mu):
    """Cosh q, sinh(q)/q and its derivative by q^2, times exp(mu), of 0 <= q <= -mu; with their series near q = 0."""
    if square < 0.01:
        c = 1 + square / 2 * (1 + square / 12 * (1 + square / 30 * (1 + square / 56)))
        s = 1 + square / 6 * (1 + square / 20 * (1 + square / 42 * (1 + square / 72)))
        slope = (1 + square / 10 * (1 + square / 28 * (1 + square / 54 * (1 + square / 88)))) / 6
        decay = np.exp(mu)
        return decay * c, decay * s, decay * slope
    q = np.sqrt(square)
    slow, fast = np.exp(mu + q), np.exp(mu - q)  # the product of cosh and exp would overflow where T2f is tiny
    c = (slow + fast) / 2
    s = (slow - fast) / (2 * q)
    return c, s, (c - s) / (2 * square)


@_compiled
def _propagator(parameters, sin_v, cos_v, duration):
    """Closed-form exponential of half a repetition time and the fixed point that it leads to.

    With dr/dt = -a r + b z + ... and dz/dt = c r - d z + ..., E = C I + S K, K = [[k, .], [., -k]]; C and S are
    `_damped_hyperbolic`.
    """
    m0s, rx = parameters[_M0S], parameters[_RX]
    r1, r2f = 1 / parameters[_T1], 1 / parameters[_T2F]
    m0f = 1 - m0s
    a = cos_v**2 * (r1 + rx * m0s) + sin_v**2 * r2f
    b = rx * m0f * cos_v
    c = rx * m0s * cos_v
    d = r1 + rx * m0f
    k = duration * (d - a) / 2
    cosh, sinhc, slope = _damped_hyperbolic(k**2 + duration**2 * b * c, -duration * (a + d) / 2)
    exponential = (cosh + sinhc * k, sinhc * duration * b, sinhc * duration * c, cosh - sinhc * k)
    determinant = a * d - b * c
    r_inf = cos_v * m0f * r1 * (r1 + rx) / determinant
    z_inf = m0s * r1 * (a + rx * m0f * cos_v**2) / determinant
    return (a, b, c, d), (k, sinhc, slope), exponential, (determinant, r_inf, z_inf)


@_compiled
def _half_step(parameters, sin_v, cos_v, duration):
    """Map of half a repetition time: E11, E12, E21, E22, u1, u2."""
    _, _, (e11, e12, e21, e22), (_, r_inf, z_inf) = _propagator(parameters, sin_v, cos_v, duration)
    return e11, e12, e21, e22, (1 - e11) * r_inf - e12 * z_inf, (1 - e22) * z_inf - e21 * r_inf


@_compiled
def _half_step_derivatives(parameters, sin_v, cos_v, duration, out):
    """Derivatives of `_half_step` along m0s, T1, T2f, Rx, v into out, (5, 6)."""
    m0s, rx = parameters[_M0S], parameters[_RX]
    r1, r2f = 1 / parameters[_T1], 1 / parameters[_T2F]
    m0f = 1 - m0s
    cos2, sin2 = cos_v**2, sin_v**2
    rates, hyperbolic, exponential, fixed_point = _propagator(parameters, sin_v, cos_v, duration)
    a, b, c, d = rates
    k, sinhc, slope = hyperbolic
    e11, e12, e21, e22 = exponential
    determinant, r_inf, z_inf = fixed_point
    for direction in range(5):
        da = db = dc = dd = dr = dz = 0.0  # dr, dz: derivatives of the numerators of r_inf, z_inf
        if direction == _M0S:
            da, db, dc, dd = cos2 * rx, -rx * cos_v, rx * cos_v, -rx
            dr = -cos_v * r1 * (r1 + rx)
            dz = r1 * (a + rx * m0f * cos2) + m0s * r1 * (da - rx * cos2)
        elif direction == _T1:
            dr1 = -(r1**2)
            da, dd = cos2 * dr1, dr1
            dr = cos_v * m0f * (2 * r1 + rx) * dr1
            dz = m0s * (a + rx * m0f * cos2) * dr1 + m0s * r1 * da
        elif direction == _T2F:
            da = -sin2 * r2f**2
            dz = m0s * r1 * da
        elif direction == _RX:
            da, db, dc, dd = cos2 * m0s, m0f * cos_v, m0s * cos_v, m0f
            dr = cos_v * m0f * r1
            dz = m0s * r1 * (da + m0f * cos2)
        else:
            da = 2 * sin_v * cos_v * (r2f - r1 - rx * m0s)
            db, dc = -rx * m0f * sin_v, -rx * m0s * sin_v
            dr = -sin_v * m0f * r1 * (r1 + rx)
            dz = m0s * r1 * (da - 2 * rx * m0f * cos_v * sin_v)
        dmu = -duration * (da + dd) / 2
        dk = duration * (dd - da) / 2
        dsquare = 2 * k * dk + duration**2 * (db * c + b * dc)
        even = sinhc / 2 * dsquare
        odd = slope * dsquare
        d11 = dmu * e11 + even + odd * k + sinhc * dk
        d22 = dmu * e22 + even - odd * k - sinhc * dk
        d12 = dmu * e12 + duration * (odd * b + sinhc * db)
        d21 = dmu * e21 + duration * (odd * c + sinhc * dc)
        ddet = da * d + a * dd - db * c - b * dc
        dr = (dr - r_inf * ddet) / determinant
        dz = (dz - z_inf * ddet) / determinant
        out[direction, 0], out[direction, 1], out[direction, 2], out[direction, 3] = d11, d12, d21, d22
        out[direction, 4] = (1 - e11) * dr - d11 * r_inf - e12 * dz - d12 * z_inf
        out[direction, 5] = (1 - e22) * dz - d22 * z_inf - e21 * dr - d21 * r_inf


@_compiled
def _cycle(maps, pulses, response):
    """Map of the whole cycle, y(T) = A y(0) + c, as A11, A12, A21, A22, c1, c2; fills dr(echo)/dy(0)."""
    a11, a12, a21, a22, c1, c2 = 1.0, 0.0, 0.0, 1.0, 0.0, 0.0
    before = 0
    for t in range(len(maps)):
        for half in range(2):
            m = maps[before] if half == 0 else maps[t]
            if half == 1:
                a21, a22, c2 = pulses[t, 0] * a21, pulses[t, 0] * a22, pulses[t, 0] * c2
            a11, a21 = m[0] * a11 + m[1] * a21, m[2] * a11 + m[3] * a21
            a12, a22 = m[0] * a12 + m[1] * a22, m[2] * a12 + m[3] * a22
            c1, c2 = m[0] * c1 + m[1] * c2 + m[4], m[2] * c1 + m[3] * c2 + m[5]
        response[t, 0], response[t, 1] = a11, a12
        before = t
    return a11, a12, a21, a22, c1, c2


@_compiled
def _closing(parameters, angles, inversion):
    """Inversion pulse and return to the first axis, D = diag(beta, gamma), with derivatives.

    Returns beta, gamma, dbeta/dB0, dbeta/dB1, dgamma/dT2s, dgamma/dB1.
    """
    b1 = parameters[_B1]
    sin_1, cos_1, v_1_b0, v_1_b1 = angles[0]
    sin_t, cos_t, v_t_b0, v_t_b1 = angles[-1]
    flip = np.cos(np.pi * b1)
    crush = np.sin(np.pi * b1 / 2) ** 2
    beta = cos_1 * cos_t * flip - sin_1 * sin_t * crush
    by_v_1 = -sin_1 * cos_t * flip - cos_1 * sin_t * crush
    by_v_t = -cos_1 * sin_t * flip - sin_1 * cos_t * crush
    by_flip = -np.pi * np.sin(np.pi * b1) * (cos_1 * cos_t + sin_1 * sin_t / 2)
    return (
        beta,
        inversion[0],
        by_v_1 * v_1_b0 + by_v_t * v_t_b0,
        by_v_1 * v_1_b1 + by_v_t * v_t_b1 + by_flip,
        inversion[0] * inversion[1],
        inversion[0] * inversion[2],
    )


@_compiled
def _periodic(cycle, closing, r, z):
    """Solve (I - D A) y = (r, z)."""
    beta, gamma = closing[0], closing[1]
    m11, m12 = 1 - beta * cycle[0], -beta * cycle[1]
    m21, m22 = -gamma * cycle[2], 1 - gamma * cycle[3]
    determinant = m11 * m22 - m12 * m21
    return (m22 * r - m12 * z) / determinant, (m11 * z - m21 * r) / determinant


@_compiled
def _trace(angles, maps, pulses, y, signal):
    """Signal r sin v at each echo, from the periodic start y."""
    r, z = y
    before = 0
    for t in range(len(signal)):
        m = maps[before]
        r, z = m[0] * r + m[1] * z + m[4], m[2] * r + m[3] * z + m[5]
        z *= pulses[t, 0]
        m = maps[t]
        r, z = m[0] * r + m[1] * z + m[4], m[2] * r + m[3] * z + m[5]
        signal[t] = r * angles[t, 0]
        before = t


@_compiled
def _advance(m, dm, dv_b0, dv_b1, y, dy):
    """Half a repetition time for the magnetisation y, (2,), and its derivatives dy, (7, 2)."""
    r, z = y[0], y[1]
    for p in range(7):
        s, q = dy[p, 0], dy[p, 1]
        dr = m[0] * s + m[1] * q
        dz = m[2] * s + m[3] * q
        if p != _T2S:
            direction, factor = p, 1.0
            if p == _B0:
                direction, factor = _DIRECTION_V, dv_b0
            elif p == _B1:
                direction, factor = _DIRECTION_V, dv_b1
            d = dm[direction]
            dr += factor * (d[0] * r + d[1] * z + d[4])
            dz += factor * (d[2] * r + d[3] * z + d[5])
        dy[p, 0], dy[p, 1] = dr, dz
    y[0] = m[0] * r + m[1] * z + m[4]
    y[1] = m[2] * r + m[3] * z + m[5]


@_compiled
def _trace_derivatives(parameters, duration, angles, maps, pulses, response, cycle, closing, start, signal, jacobian):
    """Signal and its derivatives.

    The derivatives run from zero through the cycle, which gives their part g at its end; the periodic start
    dy(0) = D (A dy(0) + g) + D' y(T) is then solved for, and its homogeneous response added at every echo.
    """
    n_pulses = len(signal)
    y = np.array(start)
    dy = np.zeros((7, 2))
    earlier = np.empty((5, 6))
    later = np.empty((5, 6))
    _half_step_derivatives(parameters, angles[0, 0], angles[0, 1], duration, earlier)
    before = 0
    for t in range(n_pulses):
        _advance(maps[before], earlier, angles[before, 2], angles[before, 3], y, dy)
        a = pulses[t, 0]
        for p in range(7):
            dy[p, 1] *= a
        dy[_T2S, 1] += a * pulses[t, 1] * y[1]
        dy[_B1, 1] += a * pulses[t, 2] * y[1]
        y[1] *= a
        _half_step_derivatives(parameters, angles[t, 0], angles[t, 1], duration, later)
        _advance(maps[t], later, angles[t, 2], angles[t, 3], y, dy)
        sin_v, cos_v = angles[t, 0], angles[t, 1]
        signal[t] = y[0] * sin_v
        for p in range(7):
            jacobian[t, p] = dy[p, 0] * sin_v
        jacobian[t, _B0] += y[0] * cos_v * angles[t, 2]
        jacobian[t, _B1] += y[0] * cos_v * angles[t, 3]
        earlier, later = later, earlier
        before = t
    beta, gamma, beta_b0, beta_b1, gamma_t2s, gamma_b1 = closing
    homogeneous = np.empty((7, 2))
    for p in range(7):
        r, z = beta * dy[p, 0], gamma * dy[p, 1]
        if p == _T2S:
            z += gamma_t2s * y[1]
        elif p == _B0:
            r += beta_b0 * y[0]
        elif p == _B1:
            r += beta_b1 * y[0]
            z += gamma_b1 * y[1]
        homogeneous[p, 0], homogeneous[p, 1] = _periodic(cycle, closing, r, z)
    for t in range(n_pulses):
        sin_v = angles[t, 0]
        for p in range(7):
            free = response[t, 0] * homogeneous[p, 0] + response[t, 1] * homogeneous[p, 1]
            jacobian[t, p] += free * sin_v

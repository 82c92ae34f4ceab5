r"""Compiled core of the two-pool model with rotating magnetisation: signal and derivatives of a group of voxels.

The state y = (x, y, z, z^s) holds the free pool's vector and the semi-solid pool's longitudinal component. Interval t
is y -> F R C R F S y + offset, where S turns into the frame of the next pulse, F is free precession to the middle of
the pulse and from there, R half the pulse's rotation, and C its relaxation, exchange and saturation. As P is the
pulse R C R without its offset, its transversal part between crushers is (P_xx - P_yy)/2 diag(1, -1).

Derivatives are taken factor by factor, along m0s, R1, R2f, Rx, T2s, B0 and B1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from . import _exchange_kernel, _saturation_kernel
from ._engine import emit, run_kernel, source_stamp
from ._exchange_kernel import exchange_hyperbolic, exchange_step, exchange_step_derivative
from ._generalized_bloch import GeneralizedBlochTable
from ._lanes import WIDTH, compiled, exp, inlined, load, load_row, sin_cos, splat, sqrt, store, store_row, where_less
from ._saturation import SaturationTable
from ._saturation_kernel import fill_saturation, pulse_rows, table_layout
from ._sequence import PulseSequence

_M0S, _R1, _R2F, _RX, _T2S, _B0, _B1 = range(7)
_N_PARAMETERS = 7
_DIRECTION_P = 4  # half the flip angle; the others are those of the parameters
# Constants of a voxel, in this order; the scales of the derivatives follow them.
_C_M0S, _C_R1, _C_R2F, _C_RX, _C_B0, _C_B1, _C_T2S, _C_LOG_T2S, _C_SCALES = range(9)
# Where begins what is stored of each interval: as from `_precession`, `_sinc`, `_mean_cosines`, `_decay`,
# `exchange_hyperbolic` and `exchange_step`; and a, da/dT2s, da/dB1. The last pulse inverts.
_F_PRECESSION, _F_ROTATION, _F_MEAN, _F_DECAY, _F_HYPERBOLIC, _F_STEP, _F_SATURATION, _N_FACTORS = (
    0, 4, 9, 13, 15, 18, 24, 27
)  # fmt: skip


def simulate(
    theta: FloatArray,
    sequence: PulseSequence,
    table: SaturationTable | GeneralizedBlochTable,
    derivatives: bool,
    basis: FloatArray | None = None,
) -> tuple[NDArray, NDArray]:
    """Return the signal and, if wanted, its derivatives.

    Parameters
    ----------
    theta : ndarray of shape (n, 7)
        m0s, T1, T2f, Rx, T2s, B0, B1; in SI units.
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
    signal : ndarray of shape (n, T) or (n, k), complex
    jacobian : ndarray of shape (n, T, 7) or (n, k, 7), complex
    """
    kernel = _make_kernel(isinstance(table, GeneralizedBlochTable))
    shared = (_pulse_rows(sequence), *table_layout(table))
    n_parameters = _N_PARAMETERS if derivatives else 0
    return run_kernel(kernel, _constants(theta), shared, sequence.n_pulses, n_parameters, basis, np.complex128)


def _constants(theta: FloatArray) -> FloatArray:
    """Constants of each voxel as the kernel reads them."""
    m0s, t1, t2f, rx, t2s, b0, b1 = theta.T
    one = np.ones_like(m0s)
    scales = [one, -1 / t1**2, -1 / t2f**2, one, one, one, one]
    return np.column_stack([m0s, 1 / t1, 1 / t2f, rx, b0, b1, t2s, np.log(t2s), *scales])


def _pulse_rows(sequence: PulseSequence) -> FloatArray:
    """Time from each pulse to the echo, flip angle, duration and its logarithm, (T + 1, 4); the last inverts."""
    pulses = pulse_rows(sequence)
    pulses[:, 0] = (sequence.repetition_time - pulses[:, 2]) / 2
    return pulses


@cache
def _make_kernel(generalized: bool) -> Callable[..., None]:
    stamp = source_stamp(__file__, _saturation_kernel.__file__, _exchange_kernel.__file__)

    @compiled
    def kernel(constants, first, pulses, grid, knots, basis, signal, jacobian):
        stamp  # noqa: B018, the cache of a closure follows its cells
        n_pulses, n_samples = len(pulses) - 1, 2 + jacobian.shape[2]
        samples = np.empty((n_samples, n_pulses, WIDTH))
        factors = np.empty((n_pulses + 1, _N_FACTORS, WIDTH))
        response = np.empty((n_pulses, 10, WIDTH))  # x and y at the echo of starts at one of each component, and at 0
        columns = np.empty((5, 4, WIDTH))
        loop = np.empty((4, 4, WIDTH))  # (1 - D A)^-1
        by_rate = np.empty((5, 6, WIDTH))
        dy, ends = np.empty((_N_PARAMETERS, 4, WIDTH)), np.empty((_N_PARAMETERS, 4, WIDTH))
        for group in range(len(constants)):
            voxel = constants[group]
            _prepare(voxel, pulses, grid, knots, generalized, factors)
            start = _periodic_start(voxel, pulses, factors, columns, response, loop)
            if n_samples == 2:
                _trace(response, start, samples)
            else:
                _trace_derivatives(voxel, pulses, factors, response, loop, start, by_rate, ends, dy, samples)
            emit(samples, n_samples, basis, first + group * WIDTH, signal, jacobian)

    return kernel


# --- factors of the intervals -----------------------------------------------------------------------


@inlined
def _prepare(voxel, pulses, grid, knots, generalized, factors):
    """Fill the factors. One loop each: short chains of dependent operations overlap."""
    b0, b1, t2s, log_t2s = load_row(voxel, (_C_B0,), 4)
    fill_saturation(generalized, b1, t2s, log_t2s, pulses, grid, knots, factors, _F_SATURATION)
    for t in range(len(pulses)):
        store_row(factors, (t, _F_PRECESSION), _precession(voxel, pulses[t, 0]))
    for t in range(len(pulses)):
        p, q = b1 * (0.5 * pulses[t, 1]), b0 * (0.5 * pulses[t, 2])
        store_row(factors, (t, _F_ROTATION), _sinc(sqrt(p * p + q * q)))
    for t in range(len(pulses)):
        store_row(factors, (t, _F_MEAN), _mean_cosines(b1 * (0.5 * pulses[t, 1])))
    for t in range(len(pulses)):
        mean = load_row(factors, (t, _F_MEAN), 4)
        store_row(factors, (t, _F_DECAY), _decay(voxel, mean, pulses[t, 2]))
        rates = _rates(voxel, mean, 0.5 * pulses[t, 2])
        hyperbolic = exchange_hyperbolic(rates)
        store_row(factors, (t, _F_HYPERBOLIC), hyperbolic)
        store_row(factors, (t, _F_STEP), exchange_step(rates, hyperbolic)[0])


@inlined
def _precession(voxel, time):
    """exp((i B0 - R2f) time), k = exp(-R1 time), and the part k (1 - exp(-Rx time)) of it that is exchanged."""
    sine, cosine = sin_cos(load(voxel, (_C_B0,)) * time)
    transversal = exp(load(voxel, (_C_R2F,)) * -time)
    kept = exp(load(voxel, (_C_R1,)) * -time)
    return transversal * cosine, transversal * sine, kept, kept - kept * exp(load(voxel, (_C_RX,)) * -time)


@inlined
def _sinc(x):
    """S1 = sin(x)/x, S2 = (1 - cos x)/x^2, their derivatives by x^2, and cos x; of x >= 0."""
    h = where_less(x, 1e-15, 5e-16, 0.5 * x)
    sine, cosine = sin_cos(h)
    inverse, square = 1 / h, x * x
    ratio = sine * inverse
    s1, s2 = ratio * cosine, 0.5 * ratio * ratio
    cos_x = 1 - square * s2
    inverse = 0.125 * inverse * inverse
    d1 = -1 / 6 + square * (1 / 60 + square * (-1 / 1680 + square * (1 / 90720 + square * (-1 / 7983360))))
    d2 = -1 / 24 + square * (1 / 360 + square * (-1 / 13440 + square * (1 / 907200 + square * (-1 / 95800320))))
    d1 = where_less(square, 0.03, d1, (cos_x - s1) * inverse)
    d2 = where_less(square, 0.03, d2, (s1 - 2 * s2) * inverse)
    return s1, s2, d1, d2, cos_x


@inlined
def _mean_cosines(p):
    """Means of the cosine and of its square over angles from -p to p, and their derivatives by p."""
    s1, _, d1, _, cos_p = _sinc(p)
    slope = 2 * p * d1
    return s1, 0.5 + 0.5 * s1 * cos_p, slope, 0.5 * (slope * cos_p - p * s1 * s1)


@inlined
def _decay(voxel, mean, duration):
    """Decay of x and y in a pulse."""
    m0s, r1, r2f, rx = load_row(voxel, (_C_M0S,), 4)
    rate = r2f * mean[1] + (r1 + rx * m0s) * (1 - mean[1])
    return exp(rate * -duration), exp(r2f * -duration)


@inlined
def _rates(voxel, mean, half):
    """dz/dt = -a z + b z^s + p and dz^s/dt = c z - d z^s + q, mean over a pulse, in units of 1 / half of it."""
    m0s, r1, r2f, rx = load_row(voxel, (_C_M0S,), 4)
    m0f = 1 - m0s
    cos, cos2 = half * mean[0], mean[1]
    a = half * (cos2 * (r1 + rx * m0s) + (1 - cos2) * r2f)
    return a, rx * m0f * cos, rx * m0s * cos, half * (r1 + rx * m0f), m0f * r1 * cos, half * (m0s * r1)


@inlined
def _load_precession(voxel, factors, t):
    """Free precession: Re, Im; E11, E12, E21, E22, u1, u2."""
    m0s = load(voxel, (_C_M0S,))
    m0f = 1 - m0s
    real, imaginary, kept, exchanged = load_row(factors, (t, _F_PRECESSION), 4)
    to_solid, to_free = exchanged * m0s, exchanged * m0f
    lost = 1 - kept
    return (real, imaginary), (kept - to_solid, to_free, to_solid, kept - to_free, lost * m0f, lost * m0s)


@inlined
def _load_pulse(voxel, pulses, factors, t):
    """Half the rotation, decay of x and y, map of z and z^s over half the pulse, saturation."""
    s1, s2, _, _, cos = load_row(factors, (t, _F_ROTATION), 5)
    p, q = load(voxel, (_C_B1,)) * (0.5 * pulses[t, 1]), load(voxel, (_C_B0,)) * (0.5 * pulses[t, 2])
    decay, step = load_row(factors, (t, _F_DECAY), 2), load_row(factors, (t, _F_STEP), 6)
    return (p, q, s1, s2, cos), decay, step, load(factors, (t, _F_SATURATION))


# --- propagation ------------------------------------------------------------------------------------


@inlined
def _next_frame(free):
    """Free precession after the turn by pi about z into the frame of the next pulse."""
    (real, imaginary), step = free
    return (-real, -imaginary), step


@inlined
def _apply(step, z, zs, affine):
    e11, e12, e21, e22, u1, u2 = step
    if affine:
        return e11 * z + (e12 * zs + u1), e22 * zs + (e21 * z + u2)
    return e11 * z + e12 * zs, e22 * zs + e21 * z


@inlined
def _precess(free, state, affine):
    (real, imaginary), step = free
    x, y, z, zs = state
    z, zs = _apply(step, z, zs, affine)
    return real * x - imaginary * y, imaginary * x + real * y, z, zs


@inlined
def _turn(rotation, state):
    """1 + S1 K + S2 K^2 for the turn K about (0, p, q)."""
    p, q, s1, s2, cos = rotation
    x, y, z, zs = state
    u = p * z - q * y
    g = s1 * x + s2 * u
    return cos * x + s1 * u, y + q * g, z - p * g, zs


@inlined
def _pulse(pulse, state, affine):
    rotation, decay, step, factor = pulse
    x, y, z, zs = _turn(rotation, state)
    z, zs = _apply(step, z, zs, affine)
    z, zs = _apply(step, z, factor * zs, affine)
    return _turn(rotation, (decay[0] * x, decay[1] * y, z, zs))


@inlined
def _interval(free, pulse, state, affine):
    return _precess(free, _pulse(pulse, _precess(_next_frame(free), state, affine), affine), affine)


@inlined
def _periodic_start(voxel, pulses, factors, columns, response, loop):
    """Solve y(0) = D (A y(0) + c) + d for the cycle A, c and the inversion D, d; fills response and the loop."""
    n_pulses = len(response)
    columns[:] = 0
    for i in range(4):
        store(columns, (i, i), splat(1.0))
    for t in range(n_pulses):
        free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
        for i in range(4):
            state = _interval(free, pulse, load_row(columns, (i,), 4), False)
            store_row(columns, (i,), state)
            store(response, (t, i), state[0])
            store(response, (t, 5 + i), state[1])
        state = _interval(free, pulse, load_row(columns, (4,), 4), True)
        store_row(columns, (4,), state)
        store(response, (t, 4), state[0])
        store(response, (t, 9), state[1])
    pulse = _load_pulse(voxel, pulses, factors, n_pulses)
    echo = _spin_echo(pulse)
    for i in range(4):
        x, y, z, zs = _invert(pulse, echo, load_row(columns, (i,), 4), False)
        store(loop, (0, i), (1.0 if i == 0 else 0.0) - x)
        store(loop, (1, i), (1.0 if i == 1 else 0.0) - y)
        store(loop, (2, i), (1.0 if i == 2 else 0.0) - z)
        store(loop, (3, i), (1.0 if i == 3 else 0.0) - zs)
    _reciprocal(loop)
    return _multiply(loop, _invert(pulse, echo, load_row(columns, (4,), 4), True))


@inlined
def _spin_echo(pulse):
    """Part (P_xx - P_yy)/2 of x that the inversion leaves between crushers; that of y is its negative."""
    zero, one = splat(0.0), splat(1.0)
    return 0.5 * (_pulse(pulse, (one, zero, zero, zero), False)[0] - _pulse(pulse, (zero, one, zero, zero), False)[1])


@inlined
def _invert(pulse, echo, state, affine):
    zero = splat(0.0)
    _, _, z, zs = _pulse(pulse, (zero, zero, state[2], state[3]), affine)
    return echo * state[0], -(echo * state[1]), z, zs


@inlined
def _reciprocal(matrix):
    """Invert a matrix, (4, 4), in place; that of a contraction off the identity needs no pivots."""
    for k in range(4):
        pivot = 1 / load(matrix, (k, k))
        store(matrix, (k, k), splat(1.0))
        for j in range(4):
            store(matrix, (k, j), load(matrix, (k, j)) * pivot)
        for i in range(4):
            if i != k:
                factor = load(matrix, (i, k))
                store(matrix, (i, k), splat(0.0))
                for j in range(4):
                    store(matrix, (i, j), load(matrix, (i, j)) - factor * load(matrix, (k, j)))


@inlined
def _multiply(matrix, state):
    return (
        _product(load_row(matrix, (0,), 4), state),
        _product(load_row(matrix, (1,), 4), state),
        _product(load_row(matrix, (2,), 4), state),
        _product(load_row(matrix, (3,), 4), state),
    )


@inlined
def _product(row, state):
    return (row[0] * state[0] + row[1] * state[1]) + (row[2] * state[2] + row[3] * state[3])


@inlined
def _trace(response, start, samples):
    """Signal at each echo, from the periodic start."""
    for t in range(len(response)):
        x1, x2, x3, x4, x0, y1, y2, y3, y4, y0 = load_row(response, (t,), 10)
        store(samples, (0, t), x0 + _product((x1, x2, x3, x4), start))
        store(samples, (1, t), y0 + _product((y1, y2, y3, y4), start))


# --- derivatives ------------------------------------------------------------------------------------


@inlined
def _add(dy, p, component, value):
    store(dy, (p, component), load(dy, (p, component)) + value)


@inlined
def _add_transversal(dy, p, x, y):
    _add(dy, p, 0, x)
    _add(dy, p, 1, y)


@inlined
def _add_longitudinal(dy, p, z, zs):
    _add(dy, p, 2, z)
    _add(dy, p, 3, zs)


@inlined
def _precess_derivatives(voxel, free, kept, exchanged, time, state, dy):
    """Derivatives dy, (7, 4), of the state after free precession."""
    for p in range(_N_PARAMETERS):
        store_row(dy, (p,), _precess(free, load_row(dy, (p,), 4), False))
    m0s = load(voxel, (_C_M0S,))
    m0f = 1 - m0s
    _, _, z, zs = state
    by_m0s = (1 - kept) + exchanged * (z + zs)
    _add_longitudinal(dy, _M0S, -by_m0s, by_m0s)
    x, y, z, zs = _precess(free, state, True)
    _add_longitudinal(dy, _R1, time * (m0f - z), time * (m0s - zs))
    flow = time * (m0s * z - m0f * zs)
    _add_longitudinal(dy, _RX, -flow, flow)
    _add_transversal(dy, _R2F, -time * x, -time * y)
    _add_transversal(dy, _B0, -time * y, time * x)
    return x, y, z, zs


@inlined
def _turn_derivatives(rotation, slopes, half_flip, half_duration, state, dy):
    """Derivatives dy of the state after half a rotation, p = B1 half_flip and q = B0 half_duration."""
    for parameter in range(_N_PARAMETERS):
        store_row(dy, (parameter,), _turn(rotation, load_row(dy, (parameter,), 4)))
    p, q, s1, s2, _ = rotation
    d1, d2 = slopes
    x, y, z, _ = state
    u = p * z - q * y
    g = s1 * x + s2 * u
    x_square, g_square = 2 * (d1 * u) - s1 * x, 2 * (d1 * x + d2 * u)
    dg = p * g_square + s2 * z
    _add_transversal(dy, _B1, half_flip * (p * x_square + s1 * z), half_flip * (q * dg))
    _add(dy, _B1, 2, -half_flip * (g + p * dg))
    dg = q * g_square - s2 * y
    _add_transversal(dy, _B0, half_duration * (q * x_square - s1 * y), half_duration * (g + q * dg))
    _add(dy, _B0, 2, -half_duration * (p * dg))
    return _turn(rotation, state)


@inlined
def _store_longitudinal(dy, p, longitudinal):
    store(dy, (p, 2), longitudinal[0])
    store(dy, (p, 3), longitudinal[1])


@inlined
def _relax_derivatives(step, by_rate, half_flip, z, zs, dy):
    """Derivatives dy of the longitudinal components after half a pulse's relaxation."""
    for p in range(_N_PARAMETERS):
        _store_longitudinal(dy, p, _apply(step, load(dy, (p, 2)), load(dy, (p, 3)), False))
    for direction in range(5):
        d11, d12, d21, d22, du1, du2 = load_row(by_rate, (direction,), 6)
        by_z, by_zs = d11 * z + (d12 * zs + du1), d22 * zs + (d21 * z + du2)
        if direction == _DIRECTION_P:
            _add_longitudinal(dy, _B1, half_flip * by_z, half_flip * by_zs)
        else:
            _add_longitudinal(dy, direction, by_z, by_zs)
    return _apply(step, z, zs, True)


@inlined
def _step_derivatives(voxel, mean, half, hyperbolic, out):
    """Derivatives of the map of z and z^s over half a pulse along m0s, R1, R2f, Rx and p into out, (5, 6)."""
    m0s, r1, r2f, rx = load_row(voxel, (_C_M0S,), 4)
    m0f, zero = 1 - m0s, splat(0.0)
    cos, cos2, slope, slope2 = half * mean[0], half * mean[1], half * mean[2], half * mean[3]
    rates = _rates(voxel, mean, half)
    at = (rates, hyperbolic, *exchange_step(rates, hyperbolic))
    flow = rx * cos
    exchange_step_derivative(*at, rx * cos2, -flow, flow, -half * rx, -(r1 * cos), half * r1, out, _M0S)
    exchange_step_derivative(*at, cos2, zero, zero, splat(half), m0f * cos, half * m0s, out, _R1)
    exchange_step_derivative(*at, half - cos2, zero, zero, zero, zero, zero, out, _R2F)
    exchange_step_derivative(*at, m0s * cos2, m0f * cos, m0s * cos, half * m0f, zero, zero, out, _RX)
    da, flow = (r1 + rx * m0s - r2f) * slope2, rx * slope
    exchange_step_derivative(*at, da, flow * m0f, flow * m0s, zero, m0f * r1 * slope, zero, out, _DIRECTION_P)


@inlined
def _pulse_derivatives(voxel, pulses, factors, t, pulse, state, by_rate, dy):
    """Derivatives dy of the state after pulse t; `by_rate`, (5, 6), is scratch."""
    turn, decay, step, factor = pulse
    half_flip, half_duration = 0.5 * pulses[t, 1], 0.5 * pulses[t, 2]
    slopes = load_row(factors, (t, _F_ROTATION + 2), 2)
    means = load_row(factors, (t, _F_MEAN), 4)
    _step_derivatives(voxel, means, half_duration, load_row(factors, (t, _F_HYPERBOLIC), 3), by_rate)

    x, y, z, zs = _turn_derivatives(turn, slopes, half_flip, half_duration, state, dy)
    for p in range(_N_PARAMETERS):
        store(dy, (p, 0), decay[0] * load(dy, (p, 0)))
        store(dy, (p, 1), decay[1] * load(dy, (p, 1)))
    x, y = decay[0] * x, decay[1] * y
    m0s, r1, r2f, rx = load_row(voxel, (_C_M0S,), 4)
    elapsed = pulses[t, 2] * x
    tilted = (1 - means[1]) * elapsed
    _add(dy, _M0S, 0, -(rx * tilted))
    _add(dy, _R1, 0, -tilted)
    _add(dy, _R2F, 0, tilted - elapsed)
    _add(dy, _R2F, 1, -pulses[t, 2] * y)
    _add(dy, _RX, 0, -(m0s * tilted))
    _add(dy, _B1, 0, half_flip * (r1 + rx * m0s - r2f) * means[3] * elapsed)

    z, zs = _relax_derivatives(step, by_rate, half_flip, z, zs, dy)
    for p in range(_N_PARAMETERS):
        store(dy, (p, 3), factor * load(dy, (p, 3)))
    by_t2s, by_b1 = load_row(factors, (t, _F_SATURATION + 1), 2)
    _add(dy, _T2S, 3, by_t2s * zs)
    _add(dy, _B1, 3, by_b1 * zs)
    z, zs = _relax_derivatives(step, by_rate, half_flip, z, factor * zs, dy)
    return _turn_derivatives(turn, slopes, half_flip, half_duration, (x, y, z, zs), dy)


@inlined
def _trace_derivatives(voxel, pulses, factors, response, loop, start, by_rate, ends, dy, samples):
    """Signal and its derivatives into samples, (2 + 2 P, T).

    The derivatives run from zero through the cycle, which gives their part g at its end; the periodic start
    dy(0) = D (A dy(0) + g) + D' y(T) + d' is then solved for, and its response added at every echo.
    """
    n_pulses = len(response)
    dy[:] = 0
    state = start
    for t in range(n_pulses):
        free, pulse = _load_precession(voxel, factors, t), _load_pulse(voxel, pulses, factors, t)
        _, _, kept, exchanged = load_row(factors, (t, _F_PRECESSION), 4)
        time = pulses[t, 0]
        state = _precess_derivatives(voxel, _next_frame(free), kept, exchanged, time, state, dy)
        state = _pulse_derivatives(voxel, pulses, factors, t, pulse, state, by_rate, dy)
        state = _precess_derivatives(voxel, free, kept, exchanged, time, state, dy)
        store(samples, (0, t), state[0])
        store(samples, (1, t), state[1])
        for p in range(_N_PARAMETERS):
            store(samples, (2 + 2 * p, t), load(dy, (p, 0)))
            store(samples, (3 + 2 * p, t), load(dy, (p, 1)))
    _invert_derivatives(voxel, pulses, factors, n_pulses, state, by_rate, ends, dy)
    for p in range(_N_PARAMETERS):
        store_row(dy, (p,), _multiply(loop, load_row(dy, (p,), 4)))
    for t in range(n_pulses):
        x1, x2, x3, x4, _, y1, y2, y3, y4, _ = load_row(response, (t,), 10)
        for p in range(_N_PARAMETERS):
            begin, scale = load_row(dy, (p,), 4), load(voxel, (_C_SCALES + p,))
            real, imaginary = load(samples, (2 + 2 * p, t)), load(samples, (3 + 2 * p, t))
            store(samples, (2 + 2 * p, t), scale * (real + _product((x1, x2, x3, x4), begin)))
            store(samples, (3 + 2 * p, t), scale * (imaginary + _product((y1, y2, y3, y4), begin)))


@inlined
def _invert_derivatives(voxel, pulses, factors, t, state, by_rate, ends, dy):
    """Derivatives dy of the state after the inversion by pulse t.

    Those of P_xx and P_yy are what a start at one in x or y adds to the x or y of a start without.
    """
    one, zero = splat(1.0), splat(0.0)
    pulse = _load_pulse(voxel, pulses, factors, t)
    echo = _spin_echo(pulse)
    x, y, z, zs = state
    for p in range(_N_PARAMETERS):
        end = load_row(dy, (p,), 4)
        store_row(ends, (p,), (echo * end[0], -(echo * end[1]), end[2], end[3]))
    for probe in range(3):
        for p in range(_N_PARAMETERS):
            store_row(dy, (p,), (zero, zero, load(ends, (p, 2)), load(ends, (p, 3))))
        begin = (one if probe == 0 else zero, one if probe == 1 else zero, z, zs)
        _pulse_derivatives(voxel, pulses, factors, t, pulse, begin, by_rate, dy)
        weights = ((0.5, 0.0), (0.0, -0.5), (-0.5, 0.5))[probe]
        for p in range(_N_PARAMETERS):
            change = weights[0] * load(dy, (p, 0)) + weights[1] * load(dy, (p, 1))
            _add_transversal(ends, p, change * x, -(change * y))
    for p in range(_N_PARAMETERS):
        store(dy, (p, 0), load(ends, (p, 0)))
        store(dy, (p, 1), load(ends, (p, 1)))

"""The two-pool hybrid-state model in plain vectorised NumPy: what the compiled engine is compared with.

The same equations and analytic derivatives, written as one would without a compiler: what does not depend on the past
is computed for all voxels and intervals at once, and a loop over the intervals carries arrays of all voxels.
"""

import numpy as np

M0S, T1, T2F, RX, T2S, B0, B1 = range(7)


def simulate(model, theta):
    """Signal, (n, T), and derivatives, (n, T, 7), of an MTHybridStateModel with Graham's saturation."""
    sequence = model.sequence
    half = sequence.repetition_time / 2
    m0s, t1, t2f, rx, t2s, b0, b1 = theta.T
    n, n_pulses = len(theta), sequence.n_pulses
    sin_v, cos_v, v_b0, v_b1 = axis(sequence.polar_angle[:, None], b0 * half, half, b1)
    flip = np.append(sequence.flip_angle, np.pi)[:, None]
    duration = np.append(sequence.pulse_duration, sequence.inversion_duration)[:, None]
    a, a_t2s, a_b1 = graham(model._table, flip, duration, t2s, b1)
    e, u, de, du = half_steps(m0s, half / t1, half / t2f, half * rx, sin_v, cos_v)
    before = [0, *range(n_pulses - 1)]

    # y(T) = cycle y(0) + offset, both in the columns of one array, and the response of every echo to y(0).
    cycle = np.zeros((2, 3, n))
    cycle[0, 0] = cycle[1, 1] = 1
    response = np.empty((n_pulses, 2, n))
    for t in range(n_pulses):
        cycle = product(e[before[t]], cycle)
        cycle[:, 2] += u[before[t]]
        cycle[1] *= a[t]
        cycle = product(e[t], cycle)
        cycle[:, 2] += u[t]
        response[t] = cycle[0, :2]
    beta, beta_b0, beta_b1 = closing(sin_v, cos_v, v_b0, v_b1, b1)
    end = np.stack([beta, a[-1]])[:, None]

    def periodic(right):
        """Solve (1 - D cycle) y = right, (2, m, n)."""
        (m11, m12), (m21, m22) = np.eye(2)[:, :, None] - end * cycle[:, :2]
        return np.stack([m22 * right[0] - m12 * right[1], m11 * right[1] - m21 * right[0]]) / (m11 * m22 - m12 * m21)

    y = periodic(end * cycle[:, 2:])[:, 0]

    # Derivatives from zero, then their periodic start and the response to it.
    signal, jacobian = np.empty((n_pulses, n)), np.empty((n_pulses, 7, n))
    dy = np.zeros((2, 7, n))
    for t in range(n_pulses):
        s = before[t]
        y, dy = advance(e[s], u[s], de[s], du[s], v_b0[s], v_b1[s], y, dy)
        dy[1] *= a[t]
        dy[1, T2S] += a_t2s[t] * y[1]
        dy[1, B1] += a_b1[t] * y[1]
        y[1] *= a[t]
        y, dy = advance(e[t], u[t], de[t], du[t], v_b0[t], v_b1[t], y, dy)
        signal[t] = y[0] * sin_v[t]
        jacobian[t] = dy[0] * sin_v[t]
        jacobian[t, B0] += y[0] * cos_v[t] * v_b0[t]
        jacobian[t, B1] += y[0] * cos_v[t] * v_b1[t]
    dy *= end
    dy[1, T2S] += a_t2s[-1] * y[1]
    dy[0, B0] += beta_b0 * y[0]
    dy[0, B1] += beta_b1 * y[0]
    dy[1, B1] += a_b1[-1] * y[1]
    start = periodic(dy)
    for t in range(n_pulses):
        jacobian[t] += (response[t, 0] * start[0] + response[t, 1] * start[1]) * sin_v[t]
    jacobian[:, T1] *= -half / t1**2
    jacobian[:, T2F] *= -half / t2f**2
    jacobian[:, RX] *= half
    return signal.T, jacobian.transpose(2, 0, 1)


def axis(polar_angle, phi, half, b1):
    """sin v, cos v, dv/dB0 and dv/dB1, each (T, n)."""
    sine, cosine = np.sin(b1 * polar_angle), np.cos(b1 * polar_angle)
    square = sine**2 + (cosine * np.cos(phi)) ** 2
    length = np.sqrt(square)
    return (
        sine / length,
        cosine * np.cos(phi) / length,
        sine * cosine * np.sin(phi) * half / square,
        polar_angle * np.cos(phi) / square,
    )


def graham(table, flip, duration, t2s, b1):
    """Saturation factor a, da/dT2s and da/dB1, each (T + 1, n)."""
    position = (np.log(duration / t2s) - table.start) * table.inverse_step
    piece = position.astype(int)
    x = position - piece
    c0, c1, c2, c3 = np.moveaxis(table.coefficients[piece], -1, 0)
    value = c0 + x * (c1 + x * (c2 + x * c3))
    slope = (c1 + x * (2 * c2 + x * 3 * c3)) * table.inverse_step
    strength = flip**2 / duration
    a = np.exp(-(b1**2) * strength * t2s * value)
    return a, -a * b1**2 * strength * (value - slope), -2 * a * b1 * strength * t2s * value


def half_steps(m0s, r1, r2f, rx, sin_v, cos_v):
    """Maps of half a repetition time, E (T, 2, 2, n) and u (T, 2, n), and their derivatives along m0s, R1, R2f, Rx, v.

    The derivatives have the shapes (T, 5, 2, 2, n) and (T, 5, 2, n); rates are in units of half a repetition time.
    """
    m0f = 1 - m0s
    cos2, sin2 = cos_v**2, sin_v**2
    a, d = cos2 * (r1 + rx * m0s) + sin2 * r2f, r1 + rx * m0f
    b, c = rx * m0f * cos_v, rx * m0s * cos_v
    p, q = m0f * r1 * cos_v, m0s * r1
    k, mu = (d - a) / 2, -(a + d) / 2
    square = k**2 + b * c
    root = np.sqrt(square)
    slow, fast = np.exp(mu + root), np.exp(mu - root)
    cosh = (slow + fast) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        deficit = (1 - (slow - fast) / (slow + fast) / root) / square
    series = 1 / 3 - square * (2 / 15 - square * (17 / 315 - square * (62 / 2835 - square * (1382 / 155925))))
    deficit = np.where(square < 1e-3, series, deficit)
    sinhc, slope = cosh * (1 - square * deficit), cosh * deficit / 2
    determinant = a * d - b * c
    r_inf, z_inf = (d * p + b * q) / determinant, (c * p + a * q) / determinant
    e = np.stack([cosh + sinhc * k, sinhc * b, sinhc * c, cosh - sinhc * k], axis=1).reshape(-1, 2, 2, m0s.size)
    (e11, e12), (e21, e22) = np.moveaxis(e, 0, 2)
    u = np.stack([(1 - e11) * r_inf - e12 * z_inf, (1 - e22) * z_inf - e21 * r_inf], axis=1)
    directions = (
        (cos2 * rx, -rx * cos_v, rx * cos_v, -rx, -cos_v * r1, r1),
        (cos2, 0, 0, 1, m0f * cos_v, m0s),
        (sin2, 0, 0, 0, 0, 0),
        (cos2 * m0s, m0f * cos_v, m0s * cos_v, m0f, 0, 0),
        (2 * sin_v * cos_v * (r2f - r1 - rx * m0s), -rx * m0f * sin_v, -rx * m0s * sin_v, 0, -m0f * r1 * sin_v, 0),
    )
    de, du = np.empty((len(a), 5, 2, 2, m0s.size)), np.empty((len(a), 5, 2, m0s.size))
    for i, (da, db, dc, dd, dp, dq) in enumerate(directions):
        dmu, dk = -(da + dd) / 2, (dd - da) / 2
        dsquare = 2 * k * dk + db * c + b * dc
        dcosh, dsinhc = dmu * cosh + sinhc / 2 * dsquare, dmu * sinhc + slope * dsquare
        odd = dsinhc * k + sinhc * dk
        d11, d12, d21, d22 = dcosh + odd, dsinhc * b + sinhc * db, dsinhc * c + sinhc * dc, dcosh - odd
        first, second = dp - da * r_inf + db * z_inf, dq + dc * r_inf - dd * z_inf
        dr, dz = (d * first + b * second) / determinant, (c * first + a * second) / determinant
        de[:, i, 0, 0], de[:, i, 0, 1], de[:, i, 1, 0], de[:, i, 1, 1] = d11, d12, d21, d22
        du[:, i, 0] = (1 - e11) * dr - d11 * r_inf - e12 * dz - d12 * z_inf
        du[:, i, 1] = (1 - e22) * dz - d22 * z_inf - e21 * dr - d21 * r_inf
    return e, u, de, du


def product(e, y):
    """Map columns y, (2, m, n), by E, (2, 2, n)."""
    return e[:, 0, None] * y[0] + e[:, 1, None] * y[1]


def advance(e, u, de, du, v_b0, v_b1, y, dy):
    """Magnetisation y, (2, n), and its derivatives, (2, 7, n), after half a repetition time."""
    source = (de[:, :, 0] * y[0] + de[:, :, 1] * y[1] + du).swapaxes(0, 1)
    dy = product(e, dy)
    dy[:, :T2S] += source[:, :4]
    dy[:, B0] += v_b0 * source[:, 4]
    dy[:, B1] += v_b1 * source[:, 4]
    return e[:, 0] * y[0] + e[:, 1] * y[1] + u, dy


def closing(sin_v, cos_v, v_b0, v_b1, b1):
    """Inversion and return to the first axis: beta and its derivatives by B0 and B1, each (n,)."""
    flip, crush = np.cos(np.pi * b1), np.sin(np.pi * b1 / 2) ** 2
    beta = cos_v[0] * cos_v[-1] * flip - sin_v[0] * sin_v[-1] * crush
    by_first = -sin_v[0] * cos_v[-1] * flip - cos_v[0] * sin_v[-1] * crush
    by_last = -cos_v[0] * sin_v[-1] * flip - sin_v[0] * cos_v[-1] * crush
    by_flip = -np.pi * np.sin(np.pi * b1) * (cos_v[0] * cos_v[-1] + sin_v[0] * sin_v[-1] / 2)
    return beta, by_first * v_b0[0] + by_last * v_b0[-1], by_first * v_b1[0] + by_last * v_b1[-1] + by_flip

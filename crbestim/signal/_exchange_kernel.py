"""Compiled relaxation and exchange of two pools over a time: an affine map with closed-form exponential.

With dy1/dt = -a y1 + b y2 + p and dy2/dt = c y1 - d y2 + q, rates in units of the time's inverse, it is y -> E y + u.
"""

from __future__ import annotations

from ._lanes import exp, inlined, sqrt, store_row, where_less


@inlined
def damped_hyperbolic(square, mu):
    """Cosh q, sinh(q)/q and its derivative by q^2, times exp(mu), of 0 <= q <= -mu.

    All from cosh q and (1 - tanh(q)/q) / q^2, which has its series near q = 0; without the damping they would
    overflow where T2f is tiny.
    """
    q = sqrt(square)
    slow, fast = exp(mu + q), exp(mu - q)
    total, difference = slow + fast, slow - fast
    series = 1 / 3 + square * (-2 / 15 + square * (17 / 315 + square * (-62 / 2835 + square * (
        1382 / 155925 + square * (-21844 / 6081075 + square * (929569 / 638512875))))))  # fmt: skip
    deficit = where_less(square, 0.01, series, (q * total - difference) / (q * square * total))
    cosh = 0.5 * total
    return cosh, cosh * (1 - square * deficit), 0.5 * cosh * deficit


@inlined
def exchange_hyperbolic(rates):
    """`damped_hyperbolic` of the rates' matrix."""
    a, b, c, d, _, _ = rates
    k = 0.5 * (d - a)
    return damped_hyperbolic(k * k + b * c, -0.5 * (a + d))


@inlined
def exchange_step(rates, hyperbolic):
    """Map of relaxation and exchange, E11, E12, E21, E22, u1, u2, and its fixed point with 1/(ad - bc).

    E = cosh + sinhc [[k, b], [c, -k]] with k = (d - a)/2, and u = (1 - E) y_inf.
    """
    a, b, c, d, p, q = rates
    cosh, sinhc, _ = hyperbolic
    odd = sinhc * (0.5 * (d - a))
    e11, e12, e21, e22 = cosh + odd, sinhc * b, sinhc * c, cosh - odd
    inverse = 1 / (a * d - b * c)
    r_inf = (d * p + b * q) * inverse
    z_inf = (c * p + a * q) * inverse
    u1, u2 = (1 - e11) * r_inf - e12 * z_inf, (1 - e22) * z_inf - e21 * r_inf
    return (e11, e12, e21, e22, u1, u2), (r_inf, z_inf, inverse)


@inlined
def exchange_step_derivative(rates, hyperbolic, step, fixed_point, da, db, dc, dd, dp, dq, out, direction):
    """Derivative of `exchange_step` along a direction, in which the rates change by da ... dq, into out[direction]."""
    a, b, c, d, _, _ = rates
    cosh, sinhc, slope = hyperbolic
    e11, e12, e21, e22, _, _ = step
    r_inf, z_inf, inverse = fixed_point
    k = 0.5 * (d - a)
    dk = 0.5 * (dd - da)
    dmu = -0.5 * (da + dd)
    dsquare = 2 * k * dk + db * c + b * dc
    dcosh = dmu * cosh + 0.5 * sinhc * dsquare
    dsinhc = dmu * sinhc + slope * dsquare
    odd = dsinhc * k + sinhc * dk
    d11, d12, d21, d22 = dcosh + odd, dsinhc * b + sinhc * db, dsinhc * c + sinhc * dc, dcosh - odd
    dp = dp - da * r_inf + db * z_inf
    dq = dq + dc * r_inf - dd * z_inf
    dr = (d * dp + b * dq) * inverse
    dz = (c * dp + a * dq) * inverse
    du1 = (1 - e11) * dr - d11 * r_inf - e12 * dz - d12 * z_inf
    du2 = (1 - e22) * dz - d22 * z_inf - e21 * dr - d21 * r_inf
    store_row(out, (direction,), (d11, d12, d21, d22, du1, du2))

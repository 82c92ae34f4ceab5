r"""The two-pool hybrid-state model in torch: batched, differentiable in the tissue parameters and in the pulses.

Arrays run over time first: (T, n). The state y = (r, z) is followed from one pulse to the next, over two half steps
with the same axis. An affine map is kept as its deviation from the identity, :math:`y \to y + F y + u` with [F | u] of
shape (2, 3, T, n): in single precision E = 1 + F would not resolve the slow relaxation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import debug_unwrap

from ._generalized_bloch import GeneralizedBlochTable
from ._saturation import SaturationTable

_ROUNDING = 1e-5  # of positions in a table


def hybrid_state_signal(
    theta: Tensor,
    flip_angle: Tensor,
    pulse_duration: Tensor,
    repetition_time: float,
    inversion_duration: float,
    table: SaturationTable | GeneralizedBlochTable,
) -> Tensor:
    r"""Signal r sin v at each echo for M0 = 1, in the periodic steady state.

    It is differentiable in theta, flip_angle and pulse_duration, in reverse and forward mode and by `torch.func`.

    Parameters
    ----------
    theta : Tensor of shape (n, 7) or (n, 8)
        m0s, T1 (s), T2f (s), Rx (1/s), T2s (s), B0 (rad/s), B1, and, if the semi-solid pool has its own, T1s (s).
    flip_angle : Tensor of shape (T,) or (n, T)
        Of the pulses as played, in rad; for all voxels or for each.
    pulse_duration : Tensor of shape (T,) or (n, T)
        In s.
    repetition_time, inversion_duration : float
        In s.
    table : SaturationTable or GeneralizedBlochTable
        How a pulse saturates the semi-solid pool.

    Returns
    -------
    Tensor of shape (n, T)
        Real, with theta's dtype and device.

    Raises
    ------
    ValueError
        If a pulse lies outside the table. Values are not checked otherwise.

    Notes
    -----
    A voxel's signal depends on its own row alone, so a shift of all rows gives the Jacobian of each, (n, T, P):
    ``jacfwd(lambda shift: hybrid_state_signal(theta + shift, ...))(theta.new_zeros(P))``.

    Memory grows with n T. For T = 1000, in double precision, a voxel takes about 0.5 MB, with its gradient in reverse
    mode 2 MB, its Jacobian 6 MB, and a gradient through the Jacobian 20 MB. Batches of 16 to 64 voxels are the
    fastest on a processor.
    """
    m0s, t1, t2f, rx, t2s, b0, b1 = theta[:, :7].unbind(1)
    t1s = theta[:, 7] if theta.shape[1] == 8 else t1
    alpha, tau = (
        control.mT if control.ndim == 2 else control[:, None]
        for control in (flip_angle.to(theta), pulse_duration.to(theta))
    )
    polar_angle = torch.cat([alpha[:-1] + alpha[1:], 2 * alpha[-1:]]) / 4
    sin_v, cos_v = _axis(b1 * polar_angle, b0, repetition_time)
    saturation = _saturation(table, b1 * alpha, torch.log(tau) - torch.log(t2s))
    inversion = _saturation(table, math.pi * b1, math.log(inversion_duration) - torch.log(t2s))
    beta = cos_v[0] * cos_v[-1] * torch.cos(math.pi * b1) - sin_v[0] * sin_v[-1] * torch.sin(math.pi / 2 * b1) ** 2

    mean, generator, rest = _relaxation(sin_v, cos_v, m0s, 1 / t1, 1 / t1s, 1 / t2f, rx, repetition_time / 2)
    k, to_r, to_z = generator
    square = k**2 + to_r * to_z
    even, odd = _exponential(mean, square)
    # The last interval ends half-way, where the inversion is.
    until_next_pulse = (
        torch.cat([(even * (2 + even) + odd**2 * square)[:-1], even[-1:]]),
        torch.cat([(2 * (1 + even) * odd)[:-1], odd[-1:]]),
    )
    maps = _step((0.0, saturation), until_next_pulse, generator, rest)
    first_half = ([x[:1] for x in part] for part in ((even, odd), generator, rest))
    r, z = _periodic_states(maps, _step((beta - 1, inversion), *first_half))
    r_inf, z_inf = rest
    r = r + (even + odd * k) * (r - r_inf) + odd * to_r * (z + saturation * z - z_inf)
    return (r * sin_v).mT


def _axis(angle: Tensor, b0: Tensor, repetition_time: float) -> tuple[Tensor, Tensor]:
    """Actual polar angle v, as sin v and cos v, of the nominal angle times B1."""
    # Next to a stop band the cosine is small, and single precision would leave it no digits.
    cos_phase = torch.cos(b0.double() * (repetition_time / 2)).to(b0.dtype)
    sine, cosine = torch.sin(angle), torch.cos(angle) * cos_phase
    inverse = torch.rsqrt(sine**2 + cosine**2)
    return sine * inverse, cosine * inverse


def _relaxation(
    sin_v: Tensor, cos_v: Tensor, m0s: Tensor, r1: Tensor, r1s: Tensor, r2f: Tensor, rx: Tensor, duration: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    r"""Exponent of relaxation and exchange over a time, and the state at which they rest.

    .. math:: \frac{d}{dt} \binom{r}{z} = \begin{pmatrix} -a & b \\ c & -d \end{pmatrix} \binom{r}{z}
        + \binom{m_0^f \cos v R_1}{m_0^s R_1^s}

    The exponent is mean + [[k, to_r], [to_z, -k]].

    Returns
    -------
    mean : Tensor
    k, to_r, to_z : tuple of Tensor
    r_inf, z_inf : tuple of Tensor
    """
    m0f = 1 - m0s
    cos2, sin2 = cos_v**2, sin_v**2
    a, d = cos2 * (r1 + rx * m0s) + sin2 * r2f, r1s + rx * m0f
    recovery = r1 * r1s + rx * (r1 * m0f + r1s * m0s)
    determinant = cos2 * recovery + sin2 * (r2f * d)  # a d - b c, free of cancellation
    return (
        (a + d) * (-duration / 2),
        ((d - a) * (duration / 2), cos_v * (duration * rx * m0f), cos_v * (duration * rx * m0s)),
        (cos_v * (m0f * recovery) / determinant, (a * (m0s * r1s) + cos2 * (m0s * rx * m0f * r1)) / determinant),
    )


def _exponential(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    r"""Even and odd part of :math:`\exp(mean + K) - 1 = even + odd\,K` for a matrix with :math:`K^2 = square \ge 0`.

    .. math:: even = e^{mean} \cosh q - 1, \quad odd = e^{mean} \sinh(q) / q, \quad q^2 = square \le mean^2
    """
    # Each branch of `where` gets harmless arguments where the other one counts, or gradients would be NaN.
    small = square < 0.25
    s = torch.where(small, square, 0) / 4
    q = torch.sqrt(torch.where(small, 1, square))

    sinhc = 1 + s / 110  # of q/2
    for factor in (72, 42, 20, 6):
        sinhc = 1 + s / factor * sinhc
    damping = torch.expm1(mean)
    half_square = s * sinhc**2
    near = damping + 2 * (1 + damping) * half_square, (1 + damping) * sinhc * torch.sqrt(1 + half_square)

    slow, fast = torch.expm1(mean + q), torch.expm1(mean - q)  # cosh and sinh would overflow where T2f is tiny
    far = (slow + fast) / 2, (slow - fast) / (2 * q)
    return torch.where(small, near[0], far[0]), torch.where(small, near[1], far[1])


def _saturation(table: SaturationTable | GeneralizedBlochTable, flip_angle: Tensor, log_x: Tensor) -> Tensor:
    """Change a - 1 of z by pulses with an actual flip angle [rad] and log(tau / T2s), (T, n)."""
    if isinstance(table, SaturationTable):
        coefficients = torch.as_tensor(table.coefficients.T.copy(), dtype=log_x.dtype, device=log_x.device)
        piece, x = _locate("log(pulse_duration / T2s)", log_x, table.start, table.inverse_step, coefficients.shape[1])
        c0, c1, c2, c3 = coefficients[:, piece]
        return torch.expm1(-(flip_angle**2) * torch.exp(-log_x) * (c0 + x * (c1 + x * (c2 + x * c3))))

    knots = torch.as_tensor(table.knots - [1.0, 0.0, 0.0, 0.0], dtype=log_x.dtype, device=log_x.device)
    size = torch.where(flip_angle < 0, -flip_angle, flip_angle)  # abs would lack the second derivative at 0
    n_flip, n_x, _ = knots.shape
    row, along_flip = _locate("B1 flip_angle", size, 0.0, table.inverse_flip_step, n_flip - 1)
    column, along_x = _locate("log(pulse_duration / T2s)", log_x, table.start, table.inverse_step, n_x - 1)
    lower, upper = (torch.stack([knots[row + i, column + j] for j in (0, 1)]) for i in (0, 1))
    left, right = _hermite(lower[..., ::2], lower[..., 1::2], upper[..., ::2], upper[..., 1::2], along_flip[..., None])
    return _hermite(left[..., 0], left[..., 1], right[..., 0], right[..., 1], along_x)


def _locate(name: str, values: Tensor, start: float, inverse_step: float, n_cells: int) -> tuple[Tensor, Tensor]:
    """Cell of a regular grid in which values lie, and where in it, from 0 to 1."""
    low, high = start - _ROUNDING, start + n_cells / inverse_step + _ROUNDING
    numbers = debug_unwrap(values)  # under vmap, too
    if not ((numbers >= low) & (numbers <= high)).all():
        raise ValueError(
            f"{name} must lie in [{low:g}, {high:g}], the range of the model's saturation table; got values from "
            f"{numbers.min():g} to {numbers.max():g}."
        )
    position = (values - start) * inverse_step
    cell = position.long().clamp(0, n_cells - 1)
    return cell, position - cell


def _hermite(start: Tensor, start_slope: Tensor, end: Tensor, end_slope: Tensor, x: Tensor) -> Tensor:
    """Cubic on [0, 1] with given values and slopes at its ends."""
    rise = end - start
    bend = start_slope + end_slope - 2 * rise
    return start + x * (start_slope + x * (rise - start_slope - bend + x * bend))


def _step(
    pulse: tuple[Tensor | float, Tensor],
    exponential: Sequence[Tensor],
    generator: Sequence[Tensor],
    rest: Sequence[Tensor],
) -> Tensor:
    """Map [F | u] of a pulse, which multiplies r and z by one plus the given numbers, and the relaxation after it."""
    (by_r, by_z), (even, odd), (k, to_r, to_z), (r_inf, z_inf) = pulse, exponential, generator, rest
    rr, rz, zr, zz = even + odd * k, odd * to_r, odd * to_z, even - odd * k
    entries = [
        rr + by_r * (1 + rr), rz + by_z * rz, -rr * r_inf - rz * z_inf,
        zr + by_r * zr, zz + by_z * (1 + zz), -zr * r_inf - zz * z_inf,
    ]  # fmt: skip
    return torch.stack(entries).reshape(2, 3, *even.shape)


def _then(first: Tensor, second: Tensor) -> Tensor:
    """Composition of maps [F | u]."""
    return torch.addcmul(torch.addcmul(first + second, second[:, :1], first[:1]), second[:, 1:2], first[1:])


def _periodic_states(maps: Tensor, closing: Tensor) -> Tensor:
    """States before each map, (2, T, n), when all maps and the closing one return to the first state.

    Pairs of maps are composed until one is left; on the way back each pair's first map gives the state between.
    """
    n_maps = maps.shape[2]
    if n_maps == 1:
        (f11, f12, u1), (f21, f22, u2) = _then(maps, closing)
        return torch.stack([f12 * u2 - f22 * u1, f21 * u1 - f11 * u2]) / (f11 * f22 - f12 * f21)
    first, second = maps[:, :, ::2], maps[:, :, 1::2]
    if n_maps % 2:
        second = torch.nn.functional.pad(second, (0, 0, 0, 1))
    y = _periodic_states(_then(first, second), closing)
    between = y + torch.addcmul(torch.addcmul(first[:, 2], first[:, 0], y[0]), first[:, 1], y[1])
    return torch.stack([y, between], dim=2).flatten(1, 2)[:, :n_maps]

"""Saturation of the semi-solid pool by a rectangular pulse (generalized Bloch model)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import erfcx
from scipy.stats import binom

from .._validation import ComplexArray, FloatArray
from ._saturation import Lineshape, orientations

_KNOTS_PER_RAD = 16


class GeneralizedBlochTable(NamedTuple):
    r"""Bicubic Hermite pieces of :math:`a(\alpha, x)` in flip angle and :math:`\log x` on a regular grid.

    Attributes
    ----------
    inverse_flip_step : float
        One over the distance h_f of the flip angles, which start at 0, in 1/rad.
    start, inverse_step : float
        First knot of log x, and one over the distance h_x of its knots.
    knots : ndarray of shape (n_flip, n_x, 4)
        :math:`a,\ h_f\,\partial_\alpha a,\ h_x\,\partial_{\log x} a,\ h_f h_x\,\partial_\alpha\partial_{\log x} a`.
    """

    inverse_flip_step: float
    start: float
    inverse_step: float
    knots: FloatArray

    def factor(self, flip_angle: FloatArray, x: FloatArray) -> FloatArray:
        r"""Factor a on z of a pulse; negative if it inverts the pool.

        Parameters
        ----------
        flip_angle : ndarray
            Actual flip angle B1 alpha, in rad.
        x : ndarray
            tau / T2s, within the table's range as is `flip_angle`; the two broadcast.

        Returns
        -------
        ndarray
        """
        return self.factor_and_slope(flip_angle, x)[0]

    def factor_and_slope(self, flip_angle: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        r"""Factor a and its derivative with respect to :math:`\log x`.

        Parameters
        ----------
        flip_angle, x : ndarray
            As for `factor`.

        Returns
        -------
        a, da_dlogx : ndarray
        """
        n_flip, n_x, _ = self.knots.shape
        row, along_flip, _ = _cell(np.abs(flip_angle) * self.inverse_flip_step, n_flip)
        column, along_x, slope_along_x = _cell((np.log(x) - self.start) * self.inverse_step, n_x)

        def interpolate(weights: FloatArray) -> FloatArray:
            total: FloatArray = sum(
                along_flip[i, m] * weights[j, n] * self.knots[row + i, column + j, m + 2 * n]
                for i in range(2)
                for j in range(2)
                for m in range(2)
                for n in range(2)
            )
            return total

        return interpolate(along_x), interpolate(slope_along_x) * self.inverse_step


@lru_cache(maxsize=32)
def generalized_bloch_table(
    lineshape: Lineshape, shortest: float, longest: float, largest_flip: float
) -> GeneralizedBlochTable:
    r"""Tabulate :math:`a(\alpha, x) = z(\tau)/z(0)` for flip angles and x = tau / T2s within a range.

    With time in units of the pulse duration, s = t / tau, and G the lineshape's Green's function,

    .. math:: \frac{dz}{ds} = -\alpha^2 \int_0^s G(x (s - s'))\, z(s')\, ds', \quad z(0) = 1, \quad a = z(1)

    (Assländer et al., Magn. Reson. Med. 2022, doi:10.1002/mrm.29071). The convolution is a product under the Laplace
    transform, :math:`\hat z = 1 / (p + \alpha^2 D)` with :math:`D(p) = \hat G(p/x)/x`, which is inverted at s = 1.
    Since :math:`z(s) = a(\alpha s, x s)`, we have :math:`\partial_{\log x} a = dz/ds - \alpha\,\partial_\alpha a`, so
    the derivatives follow from D too: with :math:`k = \alpha D \hat z`, the transforms are

    .. math::
        a - 1 &: \quad -\alpha k / p \\
        \partial_\alpha a &: \quad -2 k \hat z \\
        \partial_{\log x} a &: \quad \alpha k (2 \hat z - 1) \\
        \partial_\alpha \partial_{\log x} a &: \quad 2 k \hat z (2 - p - 4 \alpha k)

    Parameters
    ----------
    lineshape : {"super-lorentzian", "lorentzian", "gaussian"}
        Whose Green's function G is taken.
    shortest, longest : float
        Range of x; both positive.
    largest_flip : float
        The flip angles range from 0 to this, in rad; a is even in the flip angle.

    Returns
    -------
    GeneralizedBlochTable
        Its absolute error is below 1e-7, and 1e-5 in the derivatives with respect to flip angle and log x.
    """
    knots_per_unit = 12 + 3.5 * largest_flip  # strong pulses oscillate faster in log x, too
    start = np.log(shortest) - 1e-9
    x = np.exp(start + np.arange(_n_knots((np.log(longest) + 1e-9 - start) * knots_per_unit)) / knots_per_unit)
    flip_angle = np.arange(_n_knots(largest_flip * _KNOTS_PER_RAD)) / _KNOTS_PER_RAD

    p, weights = _laplace_inversion(largest_flip)
    memory = _LAPLACE_TRANSFORMS[lineshape](p / x[:, None]) / x[:, None]
    knots = np.empty((len(flip_angle), len(x), 4))
    for row, alpha in zip(knots, flip_angle, strict=True):
        z = 1 / (p + alpha**2 * memory)
        k = alpha * memory * z
        transforms = -alpha * k / p, -2 * k * z, alpha * k * (2 * z - 1), 2 * k * z * (2 - p - 4 * alpha * k)
        row[:] = np.stack([transform.real @ weights for transform in transforms], axis=-1)
    knots[..., 0] += 1
    knots[..., 1::2] /= _KNOTS_PER_RAD
    knots[..., 2:] /= knots_per_unit
    return GeneralizedBlochTable(float(_KNOTS_PER_RAD), float(start), float(knots_per_unit), knots)


def _n_knots(length: float) -> int:
    """Return how many knots at distance one cover a length; at least two."""
    return max(1, int(np.ceil(length))) + 1


def _cell(position: FloatArray, n_knots: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the cell of each position, and there the cubic Hermite basis and its derivative.

    The latter two have the shape (2 ends, value or slope, ...).
    """
    cell = np.clip(position.astype(int), 0, n_knots - 2)
    t = position - cell
    s = 1 - t
    basis = np.array([[(1 + 2 * t) * s**2, t * s**2], [(1 + 2 * s) * t**2, -s * t**2]])
    derivative = np.array([[-6 * s * t, s * (s - 2 * t)], [6 * s * t, t * (t - 2 * s)]])
    return cell, basis, derivative


def _laplace_inversion(largest_flip: float) -> tuple[ComplexArray, FloatArray]:
    r"""Return nodes p and weights w of :math:`z(1) = \sum_k w_k\,\mathrm{Re}\,\hat z(p_k)`.

    The trapezoidal rule on the line :math:`p_k = \sigma + i \pi k` is an alternating series, which Euler's binomial
    averages sum (Abate and Whitt, ORSA J. Comput. 1995). As G is positive definite, :math:`|z| \le 1` and nothing
    is singular right of the imaginary axis: the rule's error is :math:`e^{-2 \sigma}`, round-off :math:`e^\sigma` eps.
    """
    shift, n_averaged = 12.0, 15
    n_plain = 20 + int(largest_flip / 3)  # the transform has poles up to about |p| = largest_flip
    k = np.arange(n_plain + n_averaged + 1)
    weights = np.exp(shift) * (-1.0) ** k * binom.sf(k - n_plain - 1, n_averaged, 0.5)
    weights[0] /= 2
    return shift + 1j * np.pi * k, weights


def _lorentzian(q: ComplexArray) -> ComplexArray:
    """Return the Laplace transform of G(u) = exp(-u)."""
    return 1 / (1 + q)


def _gaussian(q: ComplexArray) -> ComplexArray:
    """Return the Laplace transform of G(u) = exp(-u^2 / 2)."""
    return np.sqrt(np.pi / 2) * erfcx(q / np.sqrt(2))


def _super_lorentzian(q: ComplexArray) -> ComplexArray:
    r"""Return the Laplace transform of :math:`G(u) = \int_0^1 \exp(-u^2 (3 c^2 - 1)^2 / 8) dc`.

    For each orientation c this is a Gaussian of width :math:`w = |3 c^2 - 1| / 2`:
    :math:`\int_0^1 \hat G_{gauss}(q / w) / w\, dc`, on panels that shrink until w is small compared with q.
    """
    depth = max(1, int(np.ceil(np.log2(4 / np.abs(q).min()))))
    total = np.zeros_like(q)
    for width, weight in zip(*orientations(depth, order=8), strict=True):
        total += weight / width * _gaussian(q / width)
    return total


_LAPLACE_TRANSFORMS: dict[str, Callable[[ComplexArray], ComplexArray]] = {
    "super-lorentzian": _super_lorentzian,
    "lorentzian": _lorentzian,
    "gaussian": _gaussian,
}

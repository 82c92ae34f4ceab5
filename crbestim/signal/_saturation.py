"""Saturation of the semi-solid pool by a rectangular pulse (Graham's first-order rate)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import erf

from .._validation import FloatArray

Lineshape = Literal["super-lorentzian", "lorentzian", "gaussian"]
LINESHAPES: tuple[str, ...] = get_args(Lineshape)

_KNOTS_PER_UNIT = 100  # of log x


class SaturationTable(NamedTuple):
    r"""Cubic pieces of :math:`f(x)/x` in :math:`\log x` on a regular grid.

    Attributes
    ----------
    start, inverse_step : float
        First knot, and one over the distance of knots.
    coefficients : ndarray of shape (n_pieces, 4)
        Powers 0 to 3 of the fraction of a piece, in [0, 1].
    """

    start: float
    inverse_step: float
    coefficients: FloatArray

    def factor(self, flip_angle: FloatArray, x: FloatArray) -> FloatArray:
        r"""Factor :math:`a = \exp(-\alpha^2 f(x) / x^2)` on z of a pulse.

        Parameters
        ----------
        flip_angle : ndarray
            Actual flip angle B1 alpha, in rad.
        x : ndarray
            tau / T2s, within the table's range; broadcast with `flip_angle`.

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
        position = (np.log(x) - self.start) * self.inverse_step
        piece = np.clip(position.astype(int), 0, len(self.coefficients) - 1)
        c = np.moveaxis(self.coefficients[piece], -1, 0)
        part = position - piece
        value = c[0] + part * (c[1] + part * (c[2] + part * c[3]))
        slope = (c[1] + part * (2 * c[2] + part * 3 * c[3])) * self.inverse_step
        strength = flip_angle**2 / x
        a = np.exp(-strength * value)
        return a, a * strength * (value - slope)


@lru_cache(maxsize=32)
def saturation_table(lineshape: Lineshape, shortest: float, longest: float) -> SaturationTable:
    r"""Tabulate :math:`f(x)/x` for x = tau / T2s within a range.

    .. math:: f(x) = \int_0^x (x - u) G(u) du, \quad f'(x) = \int_0^x G(u) du

    Graham's rate saturates the longitudinal magnetisation of the semi-solid pool by the factor
    :math:`\exp(-\omega_1^2 T_2^{s\,2} f(\tau/T_2^s))` (Graham and Henkelman, J. Magn. Reson. Imaging 1997).

    Parameters
    ----------
    lineshape : {"super-lorentzian", "lorentzian", "gaussian"}
        Whose Green's function G is taken.
    shortest, longest : float
        Range of x; both positive.

    Returns
    -------
    SaturationTable
        Its relative error is below 1e-9, and 1e-7 in the derivative.
    """
    low, high = np.log(shortest) - 1e-9, np.log(longest) + 1e-9
    n_pieces = max(1, int(np.ceil((high - low) * _KNOTS_PER_UNIT)))
    knots = np.linspace(low, high, n_pieces + 1)
    x = np.exp(knots)
    f, slope = _INTEGRALS[lineshape](x)
    spline = CubicHermiteSpline(knots, f / x, slope - f / x)
    step = (high - low) / n_pieces
    coefficients = np.ascontiguousarray(spline.c[::-1].T * step ** np.arange(4))
    return SaturationTable(low, 1 / step, coefficients)


def orientations(depth: int, order: int) -> tuple[FloatArray, FloatArray]:
    r"""Quadrature over the orientations c in [0, 1] of a super-Lorentzian's Gaussians, widths and weights.

    Gauss-Legendre panels halve towards the magic angle, where the width :math:`|3 c^2 - 1| / 2` vanishes.

    Parameters
    ----------
    depth : int
        How often the panels halve.
    order : int
        Nodes of a panel.

    Returns
    -------
    width, weight : ndarray
    """
    magic = 1 / np.sqrt(3)
    panels = np.concatenate([[0.0], 2.0 ** np.arange(-depth, 1)])
    edges = np.unique(np.concatenate([magic * (1 - panels), magic + (1 - magic) * panels]))
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    c = (edges[:-1, None] + half * (nodes + 1)).ravel()
    return np.abs(3 * c**2 - 1) / 2, (half * weights).ravel()


def _lorentzian(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return f and f' for G(u) = exp(-u)."""
    series = x**2 / 2 - x**3 / 6 + x**4 / 24 - x**5 / 120
    return np.where(x < 1e-2, series, x + np.expm1(-x)), -np.expm1(-x)


def _gaussian(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return f and f' for G(u) = exp(-u^2 / 2)."""
    slope = np.sqrt(np.pi / 2) * erf(x / np.sqrt(2))
    series = x**2 / 2 - x**4 / 24 + x**6 / 240
    return np.where(x < 1e-2, series, x * slope + np.expm1(-(x**2) / 2)), slope


def _super_lorentzian(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Return f and f' for :math:`G(u) = \int_0^1 \exp(-u^2 (3 c^2 - 1)^2 / 8) dc`.

    For each orientation c this is a Gaussian of width :math:`w = |3 c^2 - 1| / 2`:
    :math:`f = \int_0^1 f_{gauss}(w x) / w^2 dc`.
    """
    width, weight = orientations(depth=30, order=16)
    f, slope = np.empty_like(x), np.empty_like(x)
    for i, value in enumerate(x):
        gauss_f, gauss_slope = _gaussian(width * value)
        f[i] = weight @ (gauss_f / width**2)
        slope[i] = weight @ (gauss_slope / width)
    return f, slope


_INTEGRALS: dict[str, Callable[[FloatArray], tuple[FloatArray, FloatArray]]] = {
    "super-lorentzian": _super_lorentzian,
    "lorentzian": _lorentzian,
    "gaussian": _gaussian,
}

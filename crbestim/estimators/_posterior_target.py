"""What a posterior is made of: the likelihood without M0, and a prior in coordinates of a standard normal one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e, ndtr

from .._validation import FloatArray
from ..datasets import Prior
from ..signal import SignalModel

_WIDTH = 6.5  # the integral over |M0| covers densities down to exp(-width^2 / 2) of the greatest one
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_MOST_VALUES = 2**17  # of an integrand at a time
_QUANTILES = 2**14  # of a folded parameter
_PROBES = 64  # points at which the prior's structure is looked at
_EDGE = np.finfo(float).eps


def marginal_likelihood(
    energy: FloatArray, overlap: FloatArray, noise_std: float, m0_range: tuple[float, float], *, signed: bool
) -> tuple[FloatArray, FloatArray]:
    r"""Integrate the likelihood of data over a uniform :math:`|M_0|` and M0's phase.

    With :math:`m = |M_0|`, the signal's energy :math:`E = \|s\|^2` and the overlap :math:`b = |s^H x|`,

    .. math:: L = \frac{1}{m_1 - m_0} \int_{m_0}^{m_1} \exp\left(\frac{2 m b - m^2 E}{2 \sigma^2}\right)
        I_0^e\!\left(\frac{m b}{\sigma^2}\right) dm, \qquad I_0^e(z) = e^{-z} I_0(z)

    where the modified Bessel function is the mean over the phase. Gauss-Legendre quadrature covers the part of the
    range that is not negligible, so that its sharp edges are exact.

    Parameters
    ----------
    energy : ndarray of shape (n,)
        :math:`E`.
    overlap : ndarray of shape (n,)
        :math:`b`; for real data, whose M0 is positive, :math:`s^T x` with its sign.
    noise_std : float
        :math:`\sigma` of each real channel.
    m0_range : tuple of float
        :math:`m_0` and :math:`m_1`.
    signed : bool
        Real data: M0 has no phase, and there is no Bessel function.

    Returns
    -------
    log_likelihood : ndarray of shape (n,)
        :math:`\log L`, without :math:`-\|x\|^2 / 2 \sigma^2` and the normalisation.
    mean_square : ndarray of shape (n,)
        Posterior mean of :math:`|M_0|^2` for these parameters.
    """
    log_likelihood, mean_square = np.empty(len(energy)), np.empty(len(energy))
    step = _MOST_VALUES // len(_NODES)
    for first in range(0, len(energy), step):
        rows = slice(first, first + step)
        log_likelihood[rows], mean_square[rows] = _integrate(energy[rows], overlap[rows], noise_std, m0_range, signed)
    return log_likelihood, mean_square


def _integrate(
    energy: FloatArray, overlap: FloatArray, noise_std: float, m0_range: tuple[float, float], signed: bool
) -> tuple[FloatArray, FloatArray]:
    least, most = m0_range
    precision = np.maximum(energy, 1e-290) / noise_std**2
    slope = overlap / noise_std**2
    centre = slope / precision
    top = np.clip(centre, least, most)
    offset = top - centre
    # Where m lies within, precision ((m - centre)^2 - offset^2) is below _WIDTH^2.
    reach = _WIDTH**2 / precision / (np.sqrt(offset**2 + _WIDTH**2 / precision) + np.abs(offset))
    low, high = np.maximum(top - reach, least), np.minimum(top + reach, most)
    half = (high - low) / 2
    m = (low + half)[:, None] + half[:, None] * _NODES
    values = np.exp(-precision[:, None] * (m - top[:, None]) * (m - top[:, None] + 2 * offset[:, None]) / 2)
    if not signed:
        values *= i0e(m * slope[:, None])
    total = values @ _WEIGHTS
    share = half / (most - least) if most > least else 0.5
    with np.errstate(divide="ignore"):
        log_likelihood = slope * top - precision * top**2 / 2 + np.log(total * share)
    return log_likelihood, (values * m**2) @ _WEIGHTS / np.where(total > 0, total, 1.0)


class NormalCoordinates(NamedTuple):
    """Map from coordinates in which the prior is a standard normal distribution to a model's parameters.

    A parameter that the model's `target_values` fold, such as B0, is drawn from the distribution of its folded value
    if it depends on no other parameter and no other one on it: the signal and thus the posterior of the targets are
    the same, with one mode in place of several.

    Attributes
    ----------
    model : SignalModel
        Whose parameters they are.
    prior : Prior
        In whose order the coordinates stand.
    folded : dict of str to ndarray
        Quantiles of folded parameters, at equal distances.
    """

    model: SignalModel
    prior: Prior
    folded: dict[str, FloatArray]

    @classmethod
    def of(cls, model: SignalModel, prior: Prior) -> NormalCoordinates:
        """Find the parameters that can be folded."""
        names, n_parameters = prior.names, len(prior.names)
        rng = np.random.default_rng(0)
        uniform, other = rng.random((2, _PROBES, n_parameters))
        theta = prior.transform(uniform)
        values = theta[list(model.parameter_names)].to_numpy()
        changed = model._target_values(values) != values
        folded = {}
        for column, name in enumerate(names):
            if not changed[:, model.parameter_names.index(name)].any():
                continue
            moved, alone = uniform.copy(), other.copy()
            moved[:, column], alone[:, column] = other[:, column], uniform[:, column]
            rest = [rest for rest in names if rest != name]
            if theta[rest].equals(prior.transform(moved)[rest]) and theta[name].equals(prior.transform(alone)[name]):
                folded[name] = _folded_quantiles(model, prior, name)
        return cls(model, prior, folded)

    def theta(self, normal: FloatArray) -> FloatArray:
        """Return parameters, (n, P), in the model's order, of coordinates, (n, P), in the prior's."""
        uniform = np.clip(ndtr(normal), _EDGE, 1 - _EDGE)
        sample = self.prior.transform(uniform)
        for name, quantiles in self.folded.items():
            column = self.prior.names.index(name)
            sample[name] = np.interp(uniform[:, column], np.linspace(0, 1, len(quantiles)), quantiles)
        try:
            return self.model.check_theta(sample)
        except ValueError as error:
            raise ValueError(f"prior must give parameters that are physical: {error}") from error


def _folded_quantiles(model: SignalModel, prior: Prior, name: str) -> FloatArray:
    """Return the quantiles of a parameter's folded value, of equal distances, with its range as the ends."""
    uniform = np.full((_QUANTILES, len(prior.names)), 0.5)
    uniform[:, prior.names.index(name)] = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    sample = prior.transform(uniform)[list(model.parameter_names)].to_numpy()
    values = np.sort(model._target_values(sample)[:, model.parameter_names.index(name)])
    return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])


def energy_and_overlap(signals: NDArray, data: NDArray, signed: bool) -> tuple[FloatArray, FloatArray]:
    """Return what `marginal_likelihood` needs of signals, (n, m), and one row of data, (m,)."""
    if signals.dtype.kind == "c":
        energy, product = (signals.real**2 + signals.imag**2).sum(axis=1), signals.conj() @ data
    else:
        parts = signals @ np.stack([data.real, data.imag], axis=1)
        energy, product = (signals**2).sum(axis=1), parts[:, 0] + 1j * parts[:, 1]
    return energy, product.real if signed else np.abs(product)

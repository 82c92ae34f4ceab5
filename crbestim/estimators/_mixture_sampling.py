"""Adaptive importance sampling of a distribution with a standard normal prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from .._validation import FloatArray

_FREEDOM = 8.0  # degrees of freedom of the Student distributions
_SHRINKAGE = 3.0  # effective samples a dimension by which a component's covariance is drawn to the mean one
_LEAST_MEMBERS = 3.0  # effective samples that keep a component
_LEAST_VARIANCE = 1e-12  # added to the variances
_KEPT, _NEGLIGIBLE = 1e-6, 1e-9  # of the greatest weight: first points that are kept, and points that are fitted to
_LEAST_EFFECTIVE = 0.3  # effective samples that the power of the likelihood leaves, of a round's number
_FULL_ROUNDS = 3  # rounds at power 1 before the last one, which is repeated, up to so many times, ...
_LAST_ROUNDS, _ENOUGH = 3, 0.25  # ... until it has this fraction of its number as effective samples
_FIRST_FITS, _FITS = 8, 3  # steps of expectation and maximisation
_BISECTIONS = 30


class Settings(NamedTuple):
    """Numbers of draws and rounds (see `PosteriorMean`)."""

    n_samples: int
    n_adaptation_samples: int
    n_components: int
    max_iterations: int


class Drawn(NamedTuple):
    """Points that were drawn, and what is known there.

    Attributes
    ----------
    normal : ndarray of shape (n, d)
        The points.
    log_likelihood : ndarray of shape (n,)
        Logarithm of the likelihood.
    mean_square : ndarray of shape (n,)
        Mean of :math:`|M_0|^2`, which goes along.
    """

    normal: FloatArray
    log_likelihood: FloatArray
    mean_square: FloatArray

    def rows(self, index: NDArray) -> Drawn:
        """Return some of the points."""
        return Drawn(*(array[index] for array in self))

    def joined(self, other: Drawn) -> Drawn:
        """Return the points of both."""
        return Drawn(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


class Weighted(NamedTuple):
    """Weighted sample of a posterior.

    Attributes
    ----------
    normal : ndarray of shape (N, d)
        Points.
    mean_square : ndarray of shape (N,)
        Mean of :math:`|M_0|^2` at each of them.
    weight : ndarray of shape (N,)
        Of sum 1.
    log_evidence : float
        Logarithm of the mean of the likelihood under the prior.
    """

    normal: FloatArray
    mean_square: FloatArray
    weight: FloatArray
    log_evidence: float


class Mixture(NamedTuple):
    """Mixture of k Student distributions of d dimensions.

    Attributes
    ----------
    share : ndarray of shape (k,)
        Their shares.
    mean : ndarray of shape (k, d)
        Their centres.
    root, inverse_root : ndarray of shape (k, d, d)
        Cholesky factors of their scale matrices, and the inverses of these.
    constant : ndarray of shape (k,)
        Logarithm of share and normalisation.
    """

    share: FloatArray
    mean: FloatArray
    root: FloatArray
    inverse_root: FloatArray
    constant: FloatArray

    @classmethod
    def of(cls, share: FloatArray, mean: FloatArray, scale: FloatArray) -> Mixture:
        """Return the mixture of these shares, centres and scale matrices."""
        d = mean.shape[1]
        root = np.linalg.cholesky(scale + _LEAST_VARIANCE * np.eye(d))
        volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        norm = gammaln((_FREEDOM + d) / 2) - gammaln(_FREEDOM / 2) - d / 2 * np.log(_FREEDOM * np.pi)
        return cls(share, mean, root, np.linalg.inv(root), np.log(share) - volume + norm)

    @classmethod
    def start(cls, normal: FloatArray, weight: FloatArray, n_components: int, rng: np.random.Generator) -> Mixture:
        """Return equal components around points of a weighted sample that lie apart (k-means++)."""
        d = normal.shape[1]
        centred = normal - weight @ normal
        spread = centred.T @ (centred * weight[:, None]) + _LEAST_VARIANCE * np.eye(d)
        white = np.linalg.solve(np.linalg.cholesky(spread), centred.T).T
        chosen = [int(rng.choice(len(normal), p=weight))]
        distance = np.full(len(normal), np.inf)
        while len(chosen) < n_components:
            distance = np.minimum(distance, ((white - white[chosen[-1]]) ** 2).sum(axis=1))
            chance = weight * distance
            if chance.sum() <= 0:
                break
            chosen.append(int(rng.choice(len(normal), p=chance / chance.sum())))
        k = len(chosen)
        return cls.of(np.full(k, 1 / k), normal[chosen], np.repeat(spread[None] * k ** (-2 / d), k, axis=0))

    def draw(self, n_samples: int, rng: np.random.Generator) -> FloatArray:
        """Draw points, (n_samples, d), a systematic number of each component."""
        k, d = self.mean.shape
        levels = (np.arange(n_samples) + rng.random()) / n_samples * self.share.sum()
        component = np.minimum(np.searchsorted(np.cumsum(self.share), levels), k - 1)
        step = np.einsum("nij,nj->ni", self.root[component], rng.standard_normal((n_samples, d)))
        step *= np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n_samples))[:, None]
        return np.asarray(self.mean[component] + step)

    def log_density(self, normal: FloatArray) -> FloatArray:
        """Return the logarithm of the density at points, (n, d)."""
        result = np.empty(len(normal))
        _log_density(normal, self.mean, self.inverse_root, self.constant, _FREEDOM, result)
        return result

    def fitted(self, normal: FloatArray, weight: FloatArray, n_steps: int) -> Mixture:
        """Fit to a weighted sample by some steps of expectation and maximisation."""
        origin = weight @ normal  # the sums of squares then keep their digits
        used = np.flatnonzero(weight > _NEGLIGIBLE * weight.max())
        mixture = self._replace(mean=self.mean - origin)
        for _ in range(n_steps):
            mixture = mixture._step(normal[used] - origin, weight[used])
        return mixture._replace(mean=mixture.mean + origin)

    def _step(self, normal: FloatArray, weight: FloatArray) -> Mixture:
        k, d = self.mean.shape
        share, squares, total = np.zeros(k), np.zeros(k), np.zeros(k)
        first, second = np.zeros((k, d)), np.zeros((k, d, d))
        shape = self.mean, self.inverse_root, self.constant, _FREEDOM
        _moments(normal, weight, *shape, share, squares, total, first, second)
        members = np.divide(share**2, squares, out=np.zeros(k), where=squares > 0)
        kept = members >= min(_LEAST_MEMBERS, members.max())
        share, members, total, first, second = (a[kept] for a in (share, members, total, first, second))
        mean = first / total[:, None]
        scatter = second - total[:, None, None] * mean[:, :, None] * mean[:, None, :]
        within = scatter.sum(axis=0) / share.sum()
        trust = (members / (members + _SHRINKAGE * d))[:, None, None]
        scale = trust * scatter / share[:, None, None] + (1 - trust) * within
        return Mixture.of(share / share.sum(), mean, scale)


def sample_posterior(
    draw: Callable[[FloatArray], Drawn], first: Drawn, settings: Settings, rng: np.random.Generator
) -> Weighted:
    r"""Sample a likelihood times a standard normal prior by adaptive multiple importance sampling.

    In each round points are drawn from a mixture, and then the mixture is fitted to all points so far. They are
    weighted by prior :math:`\times` likelihood\ :sup:`power` over :math:`\sum_t n_t q_t`, where :math:`n_t` points
    came from the density :math:`q_t`, the first ones from the prior. The power is the greatest, up to 1, that leaves
    enough effective samples to fit to.

    Parameters
    ----------
    draw : callable
        Takes points, (n, d), and returns them with the likelihood.
    first : Drawn
        Points of the prior.
    settings : Settings
        Numbers of draws and rounds.
    rng : Generator
        Source of randomness.

    Returns
    -------
    Weighted

    References
    ----------
    O. Cappé, R. Douc, A. Guillin, J.-M. Marin and C. P. Robert, Adaptive importance sampling in general mixture
    classes, Stat. Comput. 18, 2008.
    J.-M. Cornuet, J.-M. Marin, A. Mira and C. P. Robert, Adaptive multiple importance sampling, Scand. J. Stat. 39,
    2012.
    """
    n_prior, least = len(first.normal), settings.n_adaptation_samples * _LEAST_EFFECTIVE
    power = tempering(np.zeros(n_prior), first.log_likelihood, least)
    weight = normalised(power * first.log_likelihood)
    drawn = first.rows(np.flatnonzero(weight > _KEPT * weight.max()))
    proposal = np.log(n_prior) + log_prior(drawn.normal)
    weight = normalised(power * drawn.log_likelihood)
    mixture = Mixture.start(drawn.normal, weight, settings.n_components, rng).fitted(drawn.normal, weight, _FIRST_FITS)
    earlier: list[tuple[Mixture, int]] = []
    n_full = n_last = 0
    for round_ in range(1, settings.max_iterations + 1):
        is_last = n_full >= _FULL_ROUNDS or round_ == settings.max_iterations
        n = settings.n_samples if is_last else settings.n_adaptation_samples
        new = draw(mixture.draw(n, rng))
        density = np.log(n_prior) + log_prior(new.normal)
        for other, size in [*earlier, (mixture, n)]:
            density = np.logaddexp(density, np.log(size) + other.log_density(new.normal))
        proposal = np.logaddexp(proposal, np.log(n) + mixture.log_density(drawn.normal))
        drawn, proposal = drawn.joined(new), np.concatenate([proposal, density])
        earlier.append((mixture, n))
        base = log_prior(drawn.normal) - proposal
        power = tempering(base, drawn.log_likelihood, least)
        weight = normalised(base + power * drawn.log_likelihood)
        n_full = n_full + 1 if power == 1 else 0
        n_last += is_last
        if is_last and (effective_size(weight) >= _ENOUGH * settings.n_samples or n_last == _LAST_ROUNDS):
            break
        mixture = mixture.fitted(drawn.normal, weight, _FITS)
    log_weight = base + drawn.log_likelihood
    return Weighted(drawn.normal, drawn.mean_square, normalised(log_weight), float(logsumexp(log_weight)))


def tempering(log_base: FloatArray, log_likelihood: FloatArray, n_effective: float) -> float:
    """Return the greatest power of the likelihood, up to 1, that leaves so many effective samples."""

    def enough(power: float) -> bool:
        return effective_size(normalised(log_base + power * log_likelihood)) >= n_effective

    if enough(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def normalised(log_weight: FloatArray) -> FloatArray:
    """Return weights of sum 1."""
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def effective_size(weight: FloatArray) -> float:
    """Return Kish's effective sample size of weights of sum 1."""
    return float(1 / (weight**2).sum())


def log_prior(normal: FloatArray) -> FloatArray:
    """Return the logarithm of the standard normal density at points, (n, d)."""
    return np.asarray(-((normal**2).sum(axis=1) + normal.shape[1] * np.log(2 * np.pi)) / 2)


@njit(cache=True, error_model="numpy", nogil=True)
def _terms(point, mean, inverse_root, constant, freedom, term, gain):  # type: ignore[no-untyped-def]
    """Write the components' densities, up to a common factor, and EM's weights at a point; return log of the sum."""
    k, d = mean.shape
    top = -np.inf
    for c in range(k):
        square = 0.0
        for a in range(d):
            along = 0.0
            for b in range(a + 1):
                along += inverse_root[c, a, b] * (point[b] - mean[c, b])
            square += along * along
        term[c] = constant[c] - 0.5 * (freedom + d) * np.log1p(square / freedom)
        gain[c] = (freedom + d) / (freedom + square)
        top = max(top, term[c])
    total = 0.0
    for c in range(k):
        term[c] = np.exp(term[c] - top)
        total += term[c]
    for c in range(k):
        term[c] /= total
    return top + np.log(total)


@njit(cache=True, error_model="numpy", nogil=True)
def _log_density(normal, mean, inverse_root, constant, freedom, result):  # type: ignore[no-untyped-def]
    term, gain = np.empty(len(mean)), np.empty(len(mean))
    for i in range(len(normal)):
        result[i] = _terms(normal[i], mean, inverse_root, constant, freedom, term, gain)


@njit(cache=True, error_model="numpy", nogil=True)
def _moments(  # type: ignore[no-untyped-def]
    normal, weight, mean, inverse_root, constant, freedom, share, squares, total, first, second
):
    """Add up what the maximisation needs of a weighted sample."""
    k, d = mean.shape
    term, gain = np.empty(k), np.empty(k)
    for i in range(len(normal)):
        _terms(normal[i], mean, inverse_root, constant, freedom, term, gain)
        for c in range(k):
            part = weight[i] * term[c]
            share[c] += part
            squares[c] += part * part
            part *= gain[c]
            total[c] += part
            for a in range(d):
                first[c, a] += part * normal[i, a]
                for b in range(d):
                    second[c, a, b] += part * normal[i, a] * normal[i, b]

"""Distributions of tissue parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from .._validation import (
    FloatArray,
    check_count,
    check_finite,
    check_matrix,
    check_positive,
    check_repetition_time,
    numeric_array,
    random_generator,
)
from ._plain_distributions import described, distribution_of

Distribution = Any  # a frozen scipy.stats distribution
Conditional = Callable[[pd.DataFrame], Distribution]

# The moments of a prior with conditional parameters come from this many quasi-random samples.
_N_MOMENTS = 2**15


class Prior:
    """A joint distribution of named parameters on scipy.stats.

    Parameters
    ----------
    distributions : mapping of str to distribution or callable
        For each parameter, in the order in which they are drawn, a frozen `scipy.stats` distribution, or a
        callable that takes the DataFrame of parameters drawn before and returns a frozen distribution with
        one value a row (for a parameter that depends on another, such as T2f <= T1).

    Raises
    ------
    TypeError
        If `distributions` is no mapping, or an entry is neither.
    ValueError
        If there are none.

    Examples
    --------
    >>> from scipy import stats
    >>> prior = Prior({"T1": stats.uniform(0.5, 2.5), "T2": lambda theta: stats.uniform(0.01, theta["T1"] / 2)})
    >>> prior.sample(3, random_state=0).columns.tolist()
    ['T1', 'T2']
    """

    def __init__(self, distributions: Mapping[str, Distribution | Conditional]) -> None:
        if not isinstance(distributions, Mapping):
            raise TypeError(f"distributions must be a mapping of names; got {type(distributions).__name__}.")
        if not distributions:
            raise ValueError("distributions must name at least one parameter; got none.")
        for name, distribution in distributions.items():
            if not (hasattr(distribution, "ppf") or callable(distribution)):
                raise TypeError(
                    f"distributions[{name!r}] must be a frozen scipy.stats distribution or a callable; "
                    f"got {type(distribution).__name__}."
                )
        self.distributions = dict(distributions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.distributions)

    def sample(
        self,
        n_samples: int,
        *,
        random_state: int | np.random.Generator | None = None,
        method: Literal["random", "sobol"] = "random",
    ) -> pd.DataFrame:
        """Draw parameters.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, Generator or None, default=None
            Seed.
        method : {"random", "sobol"}, default="random"
            Independent draws, or a scrambled Sobol sequence that fills the space more evenly.

        Returns
        -------
        DataFrame of shape (n_samples, P)

        Raises
        ------
        TypeError, ValueError
            If `n_samples` is no positive integer or `method` unknown.
        """
        n_samples = check_count(n_samples, "n_samples")
        return self.transform(unit_cube(n_samples, len(self.distributions), random_state, method))

    def transform(self, uniform: NDArray) -> pd.DataFrame:
        """Map points of the unit cube, (n, P), to parameters through the inverse distribution functions.

        Parameters
        ----------
        uniform : ndarray of shape (n, P)
            Values in [0, 1].

        Returns
        -------
        DataFrame of shape (n, P)

        Raises
        ------
        ValueError
            If the number of columns is not that of the parameters, or a value lies outside [0, 1].
        """
        uniform = check_matrix(uniform, "uniform", n_columns=len(self.distributions))
        if uniform.min() < 0 or uniform.max() > 1:
            raise ValueError(f"uniform must lie in [0, 1]; got values from {uniform.min():g} to {uniform.max():g}.")
        theta = pd.DataFrame(index=range(len(uniform)))
        for column, (name, distribution) in zip(uniform.T, self.distributions.items(), strict=True):
            theta[name] = np.asarray(_given(distribution, theta).ppf(column), dtype=np.float64)
        return theta

    def std(self) -> pd.Series:
        """Return the standard deviation of each parameter's marginal distribution.

        Returns
        -------
        Series of length P
        """
        return self._moments(lambda distribution: distribution.std(), lambda sample: sample.std(ddof=0))

    def mean(self) -> pd.Series:
        """Return the mean of each parameter's marginal distribution.

        Returns
        -------
        Series of length P
        """
        return self._moments(lambda distribution: distribution.mean(), lambda sample: sample.mean())

    def support(self) -> dict[str, tuple[float, float]]:
        """Return the range of each parameter's marginal distribution.

        Returns
        -------
        dict of str to (float, float)
            For a conditional parameter, the union over the range of the others, from a sample.
        """
        sample = self._reference_sample()
        limits = {}
        for name, distribution in self.distributions.items():
            low, high = _given(distribution, sample).support()
            limits[name] = (float(np.min(low)), float(np.max(high)))
        return limits

    def __getstate__(self) -> dict[str, Any]:
        # Plain values instead of the distributions: the state of one of scipy's holds code, which it runs.
        return {"distributions": {name: described(entry) or entry for name, entry in self.distributions.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        entries = state["distributions"].items()
        self.distributions = {
            name: distribution_of(entry) if isinstance(entry, dict) else entry for name, entry in entries
        }

    def _moments(self, exact: Callable[[Distribution], float], estimate: Callable[[pd.Series], float]) -> pd.Series:
        sample = self._reference_sample()
        return pd.Series(
            {
                name: exact(distribution) if hasattr(distribution, "ppf") else estimate(sample[name])
                for name, distribution in self.distributions.items()
            }
        )

    def _reference_sample(self) -> pd.DataFrame:
        return self.sample(_N_MOMENTS, random_state=0, method="sobol")


def paper_prior(repetition_time: float = 3.5e-3) -> Prior:
    r"""Distribution of Zhang et al., Section 2.4, for the seven parameters of `MTHybridStateModel`.

    Truncated normal distributions, mean and standard deviation before truncation: m0s 0.12(8) in [0, 1), T1
    1.6(8) s in [0.1, 6], T2f 0.1(2) s in [0.005, T1], Rx 44(20) 1/s in [0, 150], B1 1.0(3) in [0.3, 1.7]; B0
    uniform in :math:`[-2\pi/T_R, 2\pi/T_R]`. The paper does not give T2s and most truncations; T2s 10(2) us in
    [5, 20] us and the truncations are ours.

    Parameters
    ----------
    repetition_time : float, default=3.5e-3
        TR in s, which sets the range of B0.

    Returns
    -------
    Prior

    Raises
    ------
    TypeError, ValueError
        If `repetition_time` is no number from 1e-6 to 1 s.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022.

    Examples
    --------
    >>> from crbestim import paper_prior
    >>> prior = paper_prior(repetition_time=3.5e-3)
    >>> prior.names
    ('m0s', 'T1', 'T2f', 'Rx', 'T2s', 'B0', 'B1')
    >>> tissues = prior.sample(1000, random_state=0)
    >>> bool((tissues["T2f"] <= tissues["T1"]).all())
    True
    >>> bool(tissues["T1"].between(0.1, 6.0).all())
    True
    """
    limit = 2 * np.pi / check_repetition_time(repetition_time)
    return Prior(
        {
            "m0s": truncated_normal(0.12, 0.08, 0.0, np.nextafter(1.0, 0.0)),
            "T1": truncated_normal(1.6, 0.8, 0.1, 6.0),
            "T2f": TruncatedNormalBelow(0.1, 0.2, 0.005, "T1"),
            "Rx": truncated_normal(44.0, 20.0, 0.0, 150.0),
            "T2s": truncated_normal(10e-6, 2e-6, 5e-6, 20e-6),
            "B0": stats.uniform(-limit, 2 * limit),
            "B1": truncated_normal(1.0, 0.3, 0.3, 1.7),
        }
    )


def truncated_normal(mean: float, std: float, low: float | FloatArray, high: float | FloatArray) -> Distribution:
    """Return a normal distribution cut to [low, high]; mean and std are those before the cut.

    Parameters
    ----------
    mean, std : float
        Of the normal distribution.
    low, high : float or ndarray
        Ends of the range.

    Returns
    -------
    frozen scipy.stats distribution

    Raises
    ------
    TypeError, ValueError
        If they are no finite numbers, `std` is not positive, or a range is empty or so far from the mean that its
        probability vanishes.

    Examples
    --------
    >>> from crbestim import Prior
    >>> from crbestim.datasets import truncated_normal
    >>> T1 = truncated_normal(mean=1.6, std=0.8, low=0.1, high=6.0)  # s
    >>> prior = Prior({"T1": T1, "T2": lambda theta: truncated_normal(0.1, 0.2, 0.005, theta["T1"].to_numpy())})
    >>> tissues = prior.sample(1000, random_state=0)
    >>> bool((tissues["T2"] <= tissues["T1"]).all())
    True
    """
    std = check_positive(std, "std")
    centre, least, most = _limit(mean, "mean"), _limit(low, "low"), _limit(high, "high")
    if centre.ndim:
        raise TypeError(f"mean must be a number; got an array of shape {centre.shape}.")
    if np.any(least >= most):
        raise ValueError(f"low must be below high; got low = {np.max(least):g}, high = {np.min(most):g}.")
    with np.errstate(over="ignore"):
        distribution = stats.truncnorm((least - centre) / std, (most - centre) / std, loc=float(centre), scale=std)
    if not least.ndim and not most.ndim and not np.isfinite(distribution.ppf(0.5)):
        raise ValueError(
            f"mean = {mean:g} and std = {std:g} leave no probability to the range from low = {low:g} to high = "
            f"{high:g}."
        )
    return distribution


def _limit(value: float | FloatArray, name: str) -> FloatArray:
    """Return finite real numbers."""
    values = numeric_array(value, name)
    if isinstance(value, bool | np.bool_) or values.dtype.kind == "c":
        raise TypeError(f"{name} must be real numbers; got {value!r}.")
    if not values.size:
        raise ValueError(f"{name} is empty.")
    check_finite(values, name)
    return values


@dataclass(frozen=True)
class TruncatedNormalBelow:
    """A normal distribution, cut to what lies above `low` and below another parameter, which is drawn before it."""

    mean: float
    std: float
    low: float
    other: str

    def __call__(self, theta: pd.DataFrame) -> Distribution:
        """Return it, given the parameters that were drawn before."""
        return truncated_normal(self.mean, self.std, self.low, theta[self.other].to_numpy() * (1 - 1e-15))


def _given(distribution: Distribution | Conditional, theta: pd.DataFrame) -> Distribution:
    given = distribution if hasattr(distribution, "ppf") else distribution(theta)
    if not hasattr(given, "ppf"):
        found = type(given).__name__
        raise TypeError(f"distributions: a callable must return a scipy.stats distribution; got {found}.")
    return given


def unit_cube(
    n_samples: int, dimension: int, random_state: int | np.random.Generator | None, method: str
) -> FloatArray:
    """Return points of the unit cube, (n, dimension), off its faces; raise ValueError for an unknown method."""
    rng = random_generator(random_state)
    if method == "random":
        points = rng.random((n_samples, dimension))
    elif method == "sobol":
        sampler = stats.qmc.Sobol(dimension, rng=rng)
        points = sampler.random_base2(int(np.ceil(np.log2(n_samples))))[:n_samples]
    else:
        raise ValueError(f"method must be 'random' or 'sobol'; got {method!r}.")
    tiny = np.finfo(float).eps
    return np.clip(points, tiny, 1 - tiny)


def check_prior(prior: object) -> Prior:
    """Return a prior; raise TypeError if it is none."""
    if not isinstance(prior, Prior):
        raise TypeError(f"prior must be a Prior; got {type(prior).__name__}.")
    return prior

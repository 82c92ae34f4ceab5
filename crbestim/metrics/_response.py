"""Mean and variance of estimates over noise realizations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from .._validation import FloatArray, check_matrix, check_targets
from ..noise import NoiseModel

# A bound tells something new where its root is below this fraction of the parameter's spread.
INFORMATIVE_FRACTION = 1 / 3


def informative_entries(crb: FloatArray, spread: FloatArray) -> NDArray[np.bool_]:
    """Tell where sqrt(CRB), (n, p), is below a third of the parameters' standard deviation, (p,)."""
    return np.sqrt(crb) < INFORMATIVE_FRACTION * spread


def checked_signals(estimator: Any, X: ArrayLike, real: bool | None) -> tuple[NDArray, bool]:
    """Return clean data as an estimator takes them, and whether they are real data.

    A real array holds real data or stacked coefficients [Re | Im]; unless told, the estimator's first step decides.

    Raises
    ------
    TypeError
        If complex data are said to be real.
    ValueError
        If nobody tells.
    """
    values = check_matrix(X, "X", kind="either")
    if values.dtype.kind == "c":
        if real:
            raise TypeError(f"X must be real for real=True, but is complex ({values.dtype}).")
        return values, False
    if real is None:
        estimator = _best_of(estimator)
        steps = getattr(estimator, "steps", None)
        takes_real_data = getattr(steps[0][1] if steps else estimator, "_takes_real_data", None)
        if takes_real_data is None:
            raise ValueError(
                f"X is real, and {type(estimator).__name__} does not tell whether it takes real signals or stacked "
                "coefficients [Re | Im]; pass real=True or real=False."
            )
        real = takes_real_data(values.shape[1])
    return values, bool(real)


def predictor(estimator: Any, covariates: ArrayLike | pd.DataFrame | None) -> Callable[[NDArray], ArrayLike]:
    """Return the estimator's `predict`, with the covariates of the samples if there are any."""
    if covariates is None:
        return estimator.predict
    # The predict of a finished search takes no metadata.
    return partial(_best_of(estimator).predict, covariates=covariates)


def checked_estimate(estimate: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return what an estimator predicted as float64 of a shape (n, p); raise if it has another or is not finite."""
    values = check_targets(estimate, name="the estimator's prediction")
    if values.shape != shape:
        raise ValueError(f"y has shape {shape}, but the estimator's prediction {values.shape}.")
    return values


def _best_of(estimator: Any) -> Any:
    """Return the best estimator of a finished search, or the estimator itself."""
    return getattr(estimator, "best_estimator_", estimator)


def final_step(estimator: Any) -> Any:
    """Return what predicts: the last step of a pipeline, the best of a search."""
    estimator = _best_of(estimator)
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


class RunningMoments:
    """Mean and variance of arrays that come one after the other (Welford's algorithm).

    Attributes
    ----------
    mean : ndarray
        Of the arrays so far.
    count : int
        Their number.
    """

    def __init__(self) -> None:
        self.count, self.mean, self._scatter = 0, np.zeros(1), np.zeros(1)

    def add(self, values: FloatArray) -> None:
        """Take one more array into account."""
        self.count += 1
        deviation = values - self.mean
        self.mean = self.mean + deviation / self.count
        self._scatter = self._scatter + deviation * (values - self.mean)

    @property
    def variance(self) -> FloatArray:
        """Unbiased sample variance."""
        return self._scatter / (self.count - 1)


class NoiseResponse(NamedTuple):
    """How an estimator answers to noise.

    Attributes
    ----------
    mean : ndarray of shape (n, p)
        Mean estimate over the realizations.
    variance : ndarray of shape (n, p)
        Unbiased sample variance over the realizations.
    n_realizations : int
        N.
    """

    mean: FloatArray
    variance: FloatArray
    n_realizations: int

    def squared_bias(self, y: FloatArray) -> FloatArray:
        """Unbiased estimate of the squared bias, (n, p): variance / N is subtracted; may be negative."""
        return (self.mean - y) ** 2 - self.variance / self.n_realizations


def noise_response(
    predict: Callable[[NDArray], ArrayLike],
    X: NDArray,
    shape: tuple[int, ...],
    noise: NoiseModel,
    magnitude: FloatArray,
    n_realizations: int,
    rng: np.random.Generator,
    real: bool = False,
    progress: bool = False,
) -> NoiseResponse:
    """Predict from N noise realizations of each fingerprint.

    Parameters
    ----------
    predict : callable
        Maps noisy data to estimates, (n, p).
    X : ndarray of shape (n, m)
        Clean data.
    shape : tuple of int
        Shape (n, p) that the estimates must have.
    noise : NoiseModel
        Noise level; the phase of M0 is drawn anew in every realization.
    magnitude : ndarray of shape (n,)
        |M0| of each fingerprint, the same in all realizations.
    n_realizations : int
        N, at least 2.
    rng : numpy.random.Generator
        The source of randomness.
    real : bool, default=False
        X are real data.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    NoiseResponse

    Raises
    ------
    ValueError
        If estimates have another shape or are not finite.
    """
    moments = RunningMoments()
    for _ in tqdm(range(n_realizations), desc="noise realizations", disable=not progress):
        moments.add(checked_estimate(predict(noise.add_to(X, rng, magnitude, real=real)), shape))
    return NoiseResponse(moments.mean, moments.variance, n_realizations)

"""Bias and variance of an estimator, in units of the Cramér-Rao bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._validation import (
    FloatArray,
    check_count,
    check_crb,
    check_finite,
    check_same_columns,
    check_targets,
    random_generator,
)
from ..covariance import NoiseCovariance
from ..metrics._response import NoiseResponse, checked_signals, informative_entries, noise_response, predictor
from ..noise import NoiseModel


def bias_variance(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | pd.DataFrame,
    crb: ArrayLike | Mapping[str, ArrayLike],
    snr: float = 50,
    n_realizations: int = 300,
    *,
    covariates: ArrayLike | pd.DataFrame | None = None,
    covariance: ArrayLike | NoiseCovariance | None = None,
    real: bool | None = None,
    target_names: Sequence[str] | None = None,
    prior_std: ArrayLike | None = None,
    random_state: int | np.random.Generator | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Split the CRB-loss of an estimator into bias and variance, for each target.

    Each clean fingerprint is given N noise realizations at one SNR_max. With the mean :math:`\bar\theta` and the
    unbiased sample variance :math:`\hat\sigma^2` of its estimates,

    .. math::
        \frac{b^2}{\mathrm{CRB}} = \frac{(\bar\theta - \theta)^2 - \hat\sigma^2 / N}{\mathrm{CRB}}, \quad
        \frac{\mathrm{var}}{\mathrm{CRB}} = \frac{\hat\sigma^2}{\mathrm{CRB}},

    which are averaged over the fingerprints (Zhang et al., Eqs. 2-5; var/N is subtracted since the squared mean
    error overstates the squared bias by as much).

    Parameters
    ----------
    estimator : object with `predict`
        Fitted.
    X : array_like of shape (n, m)
        Clean signals, complex, or real if the model's data are; stacked real coefficients for an estimator that takes
        those.
    y : array_like or DataFrame of shape (n, p)
        True parameters.
    crb : array_like of shape (n, p), or mapping of str to array_like
        Bound at :math:`|M_0| = 1`, :math:`\sigma = 1`. Several bounds, such as ``{"compressed": ..., "full": ...}``,
        are compared with the same estimates; the first decides which samples are informative.
    snr : float, default=50
        :math:`\mathrm{SNR_{max}} = |M_0| / \sigma`.
    n_realizations : int, default=300
        N, at least 2.
    covariates : array_like or DataFrame of shape (n, c), optional
        Values of known parameters, for an estimator whose `predict` takes them.
    covariance : array_like of shape (m, m) or NoiseCovariance, optional
        Of coloured noise in X (see `NoiseModel`); `crb` is then the bound in that noise.
    real : bool, optional
        Whether real X are real data, or stacked coefficients; by default the estimator's first step tells.
    target_names : sequence of str, optional
        Names of the targets; by default the columns of y, or those the estimator knows.
    prior_std : array_like of shape (p,), optional
        Standard deviation of the prior, with which sqrt(CRB) is compared; by default that of y.
    random_state : int, Generator or None, default=None
        Seed.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    DataFrame
        One row for each bound, target and region: "all" samples, and those for which the bound is "informative"
        (sqrt(CRB) below a third of the prior's standard deviation). Columns: `bound` (if several are given),
        `target`, `region`; `bias` and `std`, means over the samples, in units of the target; `bias2_over_crb`,
        `variance_over_crb` and their sum `crb_loss`; the standard error over the samples of each of these five,
        with the suffix ``_se``; `informative_share`; `n_samples` and `n_realizations`. Samples with an infinite
        bound are left out. Rows without samples hold NaN.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other.
    """
    X, is_real = checked_signals(estimator, X, real)
    names = _target_names(estimator, y, target_names)
    given = dict(crb) if isinstance(crb, Mapping) else {"": crb}
    if not given:
        raise ValueError("crb is an empty mapping; expected at least one bound.")
    for bound in given.values():
        check_same_columns(y, bound)
    y = check_targets(y, len(X))
    bounds = {name: check_crb(bound, y.shape) for name, bound in given.items()}
    if names is None:
        names = [f"target{i}" for i in range(y.shape[1])]
    if len(names) != y.shape[1]:
        raise ValueError(f"target_names must have one name for each of y's {y.shape[1]} columns; got {list(names)}.")
    check_count(n_realizations, "n_realizations", minimum=2)
    spread = y.std(axis=0) if prior_std is None else np.asarray(prior_std, dtype=np.float64)
    if spread.shape != (y.shape[1],):
        raise ValueError(f"prior_std must have shape ({y.shape[1]},); got {spread.shape}.")
    check_finite(spread, "prior_std")
    if (spread < 0).any():
        raise ValueError(f"prior_std must not be negative; got {spread.tolist()}.")
    noise = NoiseModel.at_snr(snr, covariance)
    rng = random_generator(random_state)
    magnitude = noise.draw_magnitude(len(X), rng)
    predict = predictor(estimator, covariates)
    response = noise_response(predict, X, y.shape, noise, magnitude, n_realizations, rng, is_real, progress)
    bounds = {name: noise.scale_crb(bound, magnitude) for name, bound in bounds.items()}
    informative = informative_entries(next(iter(bounds.values())), spread)
    tables = []
    for bound_name, bound in bounds.items():
        table = _table(response, y, bound, informative, names)
        if isinstance(crb, Mapping):
            table.insert(0, "bound", bound_name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _table(
    response: NoiseResponse, y: FloatArray, crb: FloatArray, informative: NDArray[np.bool_], names: Sequence[str]
) -> pd.DataFrame:
    quantities = {
        "bias": response.mean - y,
        "std": np.sqrt(response.variance),
        "bias2_over_crb": response.squared_bias(y) / crb,
        "variance_over_crb": response.variance / crb,
    }
    quantities["crb_loss"] = quantities["bias2_over_crb"] + quantities["variance_over_crb"]
    finite = np.isfinite(crb)
    rows = []
    for i, name in enumerate(names):
        for region, chosen in (("all", finite[:, i]), ("informative", (finite & informative)[:, i])):
            row: dict[str, Any] = {"target": name, "region": region}
            for quantity, values in quantities.items():
                row[quantity], row[f"{quantity}_se"] = _mean_and_error(values[chosen, i])
            row |= {
                "informative_share": float(informative[:, i].mean()),
                "n_samples": int(chosen.sum()),
                "n_realizations": response.n_realizations,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _target_names(
    estimator: Any, y: ArrayLike | pd.DataFrame, target_names: Sequence[str] | None
) -> Sequence[str] | None:
    if target_names is not None:
        return list(target_names)
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    known = getattr(final, "target_names_", None)
    if isinstance(y, pd.DataFrame):
        names = [str(name) for name in y.columns]
        if known is not None and names != list(known):
            raise ValueError(f"y must have the columns that the estimator predicts, {list(known)}; got {names}.")
        return names
    return None if known is None else list(known)


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Mean over samples and its standard error; NaN where there are too few samples."""
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    return mean, float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

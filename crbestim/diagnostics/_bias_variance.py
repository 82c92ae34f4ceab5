"""Bias and variance of an estimator, in units of the Cramér-Rao bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from .._validation import (
    FloatArray,
    check_count,
    check_crb,
    check_finite,
    check_same_columns,
    check_targets,
    numeric_array,
    random_generator,
    spread_of,
)
from ..covariance import NoiseCovariance
from ..metrics._response import checked_signals, informative_entries, noise_response, predictor
from ..noise import NoiseModel
from ._target_names import checked_target_names


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

    See Also
    --------
    bias_and_std : The same for each sample.
    interval_coverage : Whether error bars cover what they claim.
    CRBEfficiencyScorer : One number for model selection.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022, Eqs. (2)-(5).

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import DictionaryMatcher, MonoExponentialModel, Prior, bias_variance, make_fingerprints
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> test = make_fingerprints(model, prior, n_samples=50, random_state=1, progress=False)
    >>> matcher = DictionaryMatcher(model, prior=prior, entries=1000, verbose=0, random_state=0).fit()
    >>> table = bias_variance(
    ...     matcher, test.X, test.y, test.crb, snr=100, n_realizations=50, random_state=0, progress=False
    ... )
    >>> table[["target", "region"]].values.tolist()
    [['T2', 'all'], ['T2', 'informative']]
    >>> bool(table["variance_over_crb"].between(0.5, 1.5).all())  # close to efficient
    True
    """
    given = dict(crb) if isinstance(crb, Mapping) else {"": crb}
    if not given:
        raise ValueError("crb is an empty mapping; expected at least one bound.")
    tables = []
    for name, samples in _analyse(
        estimator, X, y, given, snr, n_realizations, covariates, covariance, real, target_names, prior_std,
        random_state, progress,
    ).items():  # fmt: skip
        table = _table(samples)
        if isinstance(crb, Mapping):
            table.insert(0, "bound", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def bias_and_std(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | pd.DataFrame,
    crb: ArrayLike,
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
) -> Bunch:
    """Return what `bias_variance` averages: bias and standard deviation of the estimates of each fingerprint.

    Parameters
    ----------
    estimator, X, y, crb, snr, n_realizations, covariates, covariance, real, target_names, prior_std, random_state, \
progress
        As for `bias_variance`, with a single bound.

    Returns
    -------
    Bunch
        ``bias``, ``std`` : ndarray of shape (n, p), in units of the targets;
        ``squared_bias`` : ndarray of shape (n, p), unbiased estimate of the squared bias (may be negative);
        ``sqrt_crb`` : ndarray of shape (n, p), root of the bound at this SNR;
        ``informative`` : ndarray of bool, (n, p), where it is below a third of the prior's standard deviation;
        ``n_realizations`` : int;
        ``target_names`` : list of str.

    Raises
    ------
    TypeError, ValueError
        As `bias_variance`.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import DictionaryMatcher, MonoExponentialModel, Prior, bias_and_std, make_fingerprints
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> test = make_fingerprints(model, prior, n_samples=50, random_state=1, progress=False)
    >>> matcher = DictionaryMatcher(model, prior=prior, entries=1000, verbose=0, random_state=0).fit()
    >>> found = bias_and_std(
    ...     matcher, test.X, test.y, test.crb, snr=100, n_realizations=50, random_state=0, progress=False
    ... )
    >>> found.bias.shape, found.std.shape, found.target_names
    ((50, 1), (50, 1), ['T2'])
    >>> ratio = found.std / found.sqrt_crb  # close to 1 for an efficient estimator
    >>> bool(0.7 < ratio.mean() < 1.3)
    True
    """
    return _analyse(
        estimator, X, y, {"": crb}, snr, n_realizations, covariates, covariance, real, target_names, prior_std,
        random_state, progress,
    )[""]  # fmt: skip


def _analyse(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | pd.DataFrame,
    given: Mapping[str, ArrayLike],
    snr: float,
    n_realizations: int,
    covariates: ArrayLike | pd.DataFrame | None,
    covariance: ArrayLike | NoiseCovariance | None,
    real: bool | None,
    target_names: Sequence[str] | None,
    prior_std: ArrayLike | None,
    random_state: int | np.random.Generator | None,
    progress: bool,
) -> dict[str, Bunch]:
    """Bias and standard deviation of each sample, beside each of the bounds."""
    X, is_real = checked_signals(estimator, X, real)
    for bound in given.values():
        check_same_columns(y, bound)
    truth = check_targets(y, len(X))
    names = checked_target_names(estimator, y, target_names, truth.shape[1])
    bounds = {name: check_crb(bound, truth.shape) for name, bound in given.items()}
    check_count(n_realizations, "n_realizations", minimum=2)
    spread = spread_of(truth)
    if prior_std is not None:
        spread = numeric_array(prior_std, "prior_std")
    if spread.shape != (truth.shape[1],) or spread.dtype.kind == "c":
        raise ValueError(
            f"prior_std must be real numbers of shape ({truth.shape[1]},); got {spread.dtype} {spread.shape}."
        )
    check_finite(spread, "prior_std")
    if (spread < 0).any():
        raise ValueError(f"prior_std must not be negative; got {spread.tolist()}.")
    noise = NoiseModel.at_snr(snr, covariance)
    rng = random_generator(random_state)
    magnitude = noise.draw_magnitude(len(X), rng)
    predict = predictor(estimator, covariates)
    response = noise_response(predict, X, truth.shape, noise, magnitude, n_realizations, rng, is_real, progress)
    bounds = {name: noise.scale_crb(bound, magnitude) for name, bound in bounds.items()}
    common = {
        "bias": response.mean - truth,
        "std": np.sqrt(response.variance),
        "squared_bias": response.squared_bias(truth),
        "informative": informative_entries(next(iter(bounds.values())), spread),
        "n_realizations": response.n_realizations,
        "target_names": names,
    }
    return {name: Bunch(sqrt_crb=np.sqrt(bound), **common) for name, bound in bounds.items()}


def _table(samples: Bunch) -> pd.DataFrame:
    crb, informative = samples.sqrt_crb**2, samples.informative
    finite = np.isfinite(crb)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        quantities = {
            "bias": samples.bias,
            "std": samples.std,
            "bias2_over_crb": samples.squared_bias / crb,
            "variance_over_crb": samples.std**2 / crb,
        }
        quantities["crb_loss"] = quantities["bias2_over_crb"] + quantities["variance_over_crb"]
        if not np.isfinite(np.square(quantities["crb_loss"][finite])).all():
            raise ValueError(f"crb is so small, from {crb.min():g}, that ratios to it leave the range of numbers.")
    rows = []
    for i, name in enumerate(samples.target_names):
        for region, chosen in (("all", finite[:, i]), ("informative", (finite & informative)[:, i])):
            row: dict[str, Any] = {"target": name, "region": region}
            for quantity, values in quantities.items():
                row[quantity], row[f"{quantity}_se"] = _mean_and_error(values[chosen, i])
            row |= {
                "informative_share": float(informative[:, i].mean()),
                "n_samples": int(chosen.sum()),
                "n_realizations": samples.n_realizations,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Mean over samples and its standard error; NaN where there are too few samples."""
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    return mean, float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

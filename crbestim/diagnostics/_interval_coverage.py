"""Whether error bars cover the truth as often as they claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from tqdm.auto import tqdm

from .._validation import FloatArray, check_count, check_targets, numeric_array, random_generator, spread_of
from ..metrics._response import RunningMoments, checked_estimate, checked_signals
from ..noise import NoiseModel
from ._target_names import checked_target_names


def interval_coverage(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | pd.DataFrame,
    snr: float = 50,
    n_realizations: int = 100,
    *,
    levels: Sequence[float] = (0.5, 0.6827, 0.9, 0.95),
    groups: ArrayLike | None = None,
    covariates: ArrayLike | pd.DataFrame | None = None,
    real: bool | None = None,
    target_names: Sequence[str] | None = None,
    random_state: int | np.random.Generator | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Measure how often intervals of an estimator's own standard deviations contain the truth.

    An interval of nominal level p is :math:`\hat\theta \pm z\, \mathrm{std}` with
    :math:`z = \Phi^{-1}((1 + p)/2)`. Of calibrated error bars the coverage is the level, in every region of parameter
    space; an estimator that shrinks covers more where it is precise and less where it is biased.

    Parameters
    ----------
    estimator : object with `predict`
        Fitted; its `predict` takes ``return_std=True`` and ``noise_std=``.
    X : array_like of shape (n, m)
        Clean signals, as for `bias_variance`.
    y : array_like or DataFrame of shape (n, p)
        True parameters.
    snr : float, default=50
        :math:`\mathrm{SNR_{max}} = |M_0| / \sigma`.
    n_realizations : int, default=100
        Noise realizations of each fingerprint.
    levels : sequence of float, default=(0.5, 0.6827, 0.9, 0.95)
        Nominal levels, between 0 and 1.
    groups : array_like of shape (n,) or (n, p), optional
        Label of each sample (for each target, if 2-D), such as bins of a parameter or of the bound; coverage is then
        given for each group. By default one group, "all". Missing labels (NaN, None) leave a sample out.
    covariates, real, target_names, random_state, progress
        As for `bias_variance`.

    Returns
    -------
    DataFrame
        One row for each target, group and level: `target`, `group`, `level`, `coverage`, its standard error
        `coverage_se` over the samples, `std_ratio` (median over samples of the mean predicted standard deviation
        over the empirical one; inf where estimates do not scatter), `n_samples`, `n_realizations`.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import CRBWeightedRegressor, MonoExponentialModel, Pipeline, Prior, SVDCompressor
    >>> from crbestim import interval_coverage, make_fingerprints
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> train = make_fingerprints(model, prior, n_samples=100, random_state=0, progress=False)
    >>> regressor = CRBWeightedRegressor(max_epochs=2, verbose=0, random_state=0)  # too few, for a try
    >>> pipe = Pipeline([SVDCompressor(n_components=3), regressor]).fit(train.X, train.y, crb=train.crb)
    >>> table = interval_coverage(
    ...     pipe, train.X, train.y, snr=50, n_realizations=10, target_names=["T2"], random_state=0, progress=False
    ... )
    >>> table["level"].tolist()
    [0.5, 0.6827, 0.9, 0.95]
    >>> bool(table["coverage"].is_monotonic_increasing)
    True
    """
    X, is_real = checked_signals(estimator, X, real)
    truth = check_targets(y, len(X))
    spread_of(truth)
    names = checked_target_names(estimator, y, target_names, truth.shape[1])
    check_count(n_realizations, "n_realizations", minimum=2)
    widths = stats.norm.ppf((1 + _checked_levels(levels)) / 2)
    labels = _checked_groups(groups, truth.shape)
    noise, rng = NoiseModel.at_snr(snr), random_generator(random_state)
    known = {} if covariates is None else {"covariates": covariates}
    covered = np.zeros((len(widths), *truth.shape))
    moments, predicted = RunningMoments(), np.zeros(truth.shape)
    for _ in tqdm(range(n_realizations), desc="noise realizations", disable=not progress):
        noisy = noise.add_to(X, rng, np.ones(len(X)), real=is_real)
        answer = estimator.predict(noisy, return_std=True, noise_std=noise.noise_std, **known)
        estimate, std = (checked_estimate(values, truth.shape) for values in answer)
        covered += np.abs(estimate - truth) <= widths[:, None, None] * std
        moments.add(estimate)
        predicted += std
    with np.errstate(divide="ignore"):
        ratio = predicted / n_realizations / np.sqrt(moments.variance)
    rows = []
    for i, name in enumerate(names):
        for group in pd.unique(pd.Series(labels[:, i]).dropna()):
            chosen = labels[:, i] == group
            for level, share in zip(levels, covered / n_realizations, strict=True):
                values = share[chosen, i]
                rows.append(
                    {
                        "target": name,
                        "group": group,
                        "level": level,
                        "coverage": values.mean(),
                        "coverage_se": values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan,
                        "std_ratio": np.median(ratio[chosen, i]),
                        "n_samples": int(chosen.sum()),
                        "n_realizations": n_realizations,
                    }
                )
    return pd.DataFrame(rows)


def _checked_levels(levels: Sequence[float]) -> FloatArray:
    values = numeric_array(levels, "levels")
    if values.dtype.kind == "c" or values.ndim != 1 or not len(values) or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"levels must be numbers between 0 and 1; got {levels!r}.")
    return values


def _checked_groups(groups: ArrayLike | None, shape: tuple[int, ...]) -> NDArray:
    """Return a label for each entry, (n, p)."""
    if groups is None:
        return np.full(shape, "all", dtype=object)
    labels = np.asarray(groups, dtype=object)
    if labels.shape not in (shape, shape[:1]):
        raise ValueError(f"groups must have shape {shape[:1]} or {shape}; got {labels.shape}.")
    return np.broadcast_to(labels.reshape(len(labels), -1), shape)

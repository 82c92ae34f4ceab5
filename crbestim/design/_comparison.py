"""Bounds of two models, such as two sequences, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._validation import FloatArray, check_count, random_generator
from ..signal import SignalModel


def compare_bounds(
    model: SignalModel,
    reference: SignalModel,
    theta: ArrayLike | pd.DataFrame,
    targets: str | Sequence[str] | None = None,
    known: str | Sequence[str] = (),
    *,
    n_resamples: int = 200,
    random_state: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Compare the least standard deviations that two models allow, voxel by voxel.

    Parameters
    ----------
    model, reference : SignalModel
        Models with the same parameters, such as those of two sequences.
    theta : array_like or DataFrame of shape (n, P)
        Tissues, other ones than those of the design.
    targets, known : sequence of str, optional
        As for `SignalModel.crb`.
    n_resamples : int, default=200
        Bootstrap samples of the tissues, for the standard errors.
    random_state : int, Generator or None, default=0
        Of these samples.

    Returns
    -------
    DataFrame
        One row a target and one of their geometric mean. Columns: median over tissues of the ratio of sqrt(CRB), the
        model's over the reference's, its standard_error, the 5th and 95th percentile, and the share of tissues that
        are worse off, with a ratio above one. Tissues of which neither tells the target are left out; n is the number
        of the others.

    Raises
    ------
    TypeError
        If one of them is no SignalModel.
    ValueError
        If the models' parameters differ, or as `SignalModel.crb`.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochHybridStateModel, PulseSequence
    >>> from crbestim.datasets import default_prior
    >>> from crbestim.design import compare_bounds
    >>> flat = PulseSequence(np.full(1141, 0.4), np.full(1141, 0.3e-3), 3.5e-3, 0.5e-3)
    >>> model, reference = BlochHybridStateModel(), BlochHybridStateModel(flat)
    >>> tissues = default_prior(model).sample(50, random_state=1)
    >>> table = compare_bounds(model, reference, tissues, known=("B0", "B1"))
    >>> bool((table["median"] < 1).all())  # the built-in train tells more than a flat one
    True
    """
    for name, each in (("model", model), ("reference", reference)):
        if not isinstance(each, SignalModel):
            raise TypeError(f"{name} must be a SignalModel, such as the model of a design; got {type(each).__name__}.")
    if model.parameter_names != reference.parameter_names:
        raise ValueError(
            f"model and reference must have the same parameters; got {list(model.parameter_names)} and "
            f"{list(reference.parameter_names)}."
        )
    check_count(n_resamples, "n_resamples", 2)
    names = model.check_names(targets, known)
    ours, theirs = (each.crb(theta, names, known=known) for each in (model, reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.sqrt(ours / theirs)
    ratio[np.isinf(ours) & np.isinf(theirs)] = np.nan
    rng = random_generator(random_state)
    medians = _medians(ratio)
    resampled = np.array([_medians(ratio[rng.integers(len(ratio), size=len(ratio))]) for _ in range(n_resamples)])
    with np.errstate(invalid="ignore"):
        spread = resampled.std(axis=0, ddof=1)
    return pd.DataFrame(
        {
            "median": medians,
            "standard_error": spread,
            "5 %": [*_quantiles(ratio, 0.05), np.nan],
            "95 %": [*_quantiles(ratio, 0.95), np.nan],
            "worse": [*_share_above_one(ratio), np.nan],
            "n": [*(~np.isnan(ratio)).sum(axis=0), len(ratio)],
        },
        index=pd.Index([*names, "geometric mean"], name="target"),
    )


def _medians(ratio: FloatArray) -> FloatArray:
    """Of each target, and their geometric mean."""
    medians = _quantiles(ratio, 0.5)
    with np.errstate(divide="ignore"):
        return np.append(medians, np.exp(np.log(medians).mean()))


def _share_above_one(ratio: FloatArray) -> FloatArray:
    """Of the tissues that have a ratio, for each target; NaN if there are none."""
    told = (~np.isnan(ratio)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (ratio > 1).sum(axis=0) / told


def _quantiles(ratio: FloatArray, level: float) -> FloatArray:
    """Of each target; NaN if there is no ratio. No values are averaged, as they may be infinite."""
    columns = (column[~np.isnan(column)] for column in ratio.T)
    return np.array([np.quantile(c, level, method="inverted_cdf") if len(c) else np.nan for c in columns])

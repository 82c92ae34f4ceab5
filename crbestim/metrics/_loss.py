"""The CRB-weighted loss of estimates, and its inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._validation import FloatArray, check_crb, check_targets


def crb_loss(y_true: ArrayLike, y_pred: ArrayLike, crb: ArrayLike) -> float:
    r"""Mean squared error in units of the Cramér-Rao bound.

    .. math::
        L_\mathrm{CRB} = \frac{1}{P_e S} \sum_{s=1}^S \sum_{p=1}^{P_e}
        \frac{(\hat\theta_{p,s} - \theta_{p,s})^2}{\mathrm{CRB}_p(\theta_s)}

    An efficient unbiased estimator has an expected loss of 1 for every parameter and everywhere in parameter
    space. The reverse does not hold: shrinking towards the mean can push it below 1.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (n,) or (n, p)
        True and estimated parameters.
    crb : array_like of the shape of y_true
        Bounds at the amplitude and noise of the data that were estimated from. Entries with inf leave
        numerator and denominator.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If shapes differ, values are not finite, a bound is NaN or not positive, or all are inf.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Magn. Reson. Med. 88, 2022, Eq. (1).

    Examples
    --------
    >>> crb_loss([[1.0, 2.0]], [[1.1, 2.0]], [[0.01, 0.5]])
    0.5...
    """
    y_true, y_pred, crb, informative = _checked(y_true, y_pred, crb)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = float(np.mean(np.square((y_pred - y_true)[informative] / np.sqrt(crb[informative]))))
    if not np.isfinite(loss):
        raise ValueError(
            "y_pred and y_true differ by so many roots of crb that the loss is beyond the range of numbers."
        )
    return loss


def crb_efficiency_score(y_true: ArrayLike, y_pred: ArrayLike, crb: ArrayLike) -> float:
    """Inverse of `crb_loss`: 1 for an efficient unbiased estimator, greater is better.

    A shrinking (biased) estimator can exceed 1; `CRBEfficiencyScorer` cannot be won that way.

    Parameters
    ----------
    y_true, y_pred, crb
        As for `crb_loss`.

    Returns
    -------
    float
        inf if every estimate is exact.

    Raises
    ------
    ValueError
        As `crb_loss`.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022, Eq. (1).

    Examples
    --------
    >>> from crbestim import crb_efficiency_score
    >>> round(crb_efficiency_score([[1.0, 2.0]], [[1.1, 2.0]], [[0.01, 0.5]]), 3)
    2.0
    """
    loss = crb_loss(y_true, y_pred, crb)
    return float("inf") if loss == 0 else 1 / loss


def _checked(
    y_true: ArrayLike, y_pred: ArrayLike, crb: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    truth = check_targets(y_true, name="y_true")
    estimate = check_targets(y_pred, name="y_pred")
    if truth.shape != estimate.shape:
        raise ValueError(f"y_pred must have the shape of y_true, {truth.shape}; got {estimate.shape}.")
    bound = check_crb(crb, truth.shape)
    informative = np.isfinite(bound)
    if not informative.any():
        raise ValueError("crb is inf everywhere: no entry is left to average.")
    return truth, estimate, bound, informative

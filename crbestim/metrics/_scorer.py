"""CRB efficiency as a scorer for model selection."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import MetadataRequest

from .._validation import (
    FloatArray,
    check_count,
    check_crb,
    check_same_columns,
    check_targets,
    random_generator,
    spread_of,
)
from ..noise import NoiseModel
from ._response import (
    NoiseResponse,
    checked_estimate,
    checked_signals,
    informative_entries,
    noise_response,
    predictor,
)


class CRBEfficiencyScorer:
    r"""Scorer for `cross_val_score`, `cross_validate` and `GridSearchCV`: the mean CRB efficiency.

    Each clean fingerprint of the test set is given an amplitude and N realizations of noise, and the estimator
    predicts from all of them. The score is the mean over the informative entries (sqrt(CRB) below a third of
    the standard deviation of y) of

    .. math:: \frac{1}{b^2/\mathrm{CRB} + \max(\mathrm{var}/\mathrm{CRB}, 1)} \in (0, 1],

    where :math:`b^2` is the squared bias with var/N subtracted, and set to zero where that leaves a negative
    rest. Shrinking cannot win: a variance below the bound gains nothing, and its bias costs. Since the variance
    is estimated from N realizations, an efficient estimator reaches slightly less than 1 (0.89 at N = 20).

    Parameters
    ----------
    noise : NoiseModel or None, default=NoiseModel()
        Amplitude and noise to be added. None: the data carry their noise already, `crb` is at their amplitude
        and noise level, and, as one realization cannot separate bias from variance, each entry's squared error
        stands for both: the score is :math:`1 / \max(L_\mathrm{CRB}, 1)` with the loss over the informative
        entries.
    n_realizations : int, default=20
        N, at least 2.
    random_state : int or None, default=None
        Seed. With an int, every call draws the same noise, so that candidates are compared on the same data.
    real : bool, optional
        Whether real X are real data, or stacked coefficients; by default the estimator's first step tells.

    Raises
    ------
    TypeError, ValueError
        If `noise` is no NoiseModel, `n_realizations` no number of at least 2, or `random_state` no int.

    See Also
    --------
    bias_variance : The same evidence as a table.
    crb_efficiency_score : The inverse loss, which shrinking can push above 1.

    Notes
    -----
    The bound reaches the scorer by metadata routing::

        with sklearn.config_context(enable_metadata_routing=True):
            cross_val_score(pipe, X, y, params={"crb": crb}, scoring=CRBEfficiencyScorer())

    and so do covariates.

    Examples
    --------
    >>> from scipy import stats
    >>> from sklearn import config_context
    >>> from sklearn.model_selection import cross_val_score
    >>> from crbestim import CRBEfficiencyScorer, DictionaryMatcher, MonoExponentialModel, NoiseModel, Prior
    >>> from crbestim import make_fingerprints
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> data = make_fingerprints(model, prior, n_samples=60, random_state=0, progress=False)
    >>> matcher = DictionaryMatcher(model, prior=prior, entries=1000, verbose=0, random_state=0)
    >>> scorer = CRBEfficiencyScorer(NoiseModel.at_snr(100), random_state=0)
    >>> 0.5 < scorer(matcher.fit(), data.X, data.y, crb=data.crb) <= 1
    True
    >>> with config_context(enable_metadata_routing=True):  # by which the bound reaches the scorer
    ...     scores = cross_val_score(matcher, data.X, data.y, params={"crb": data.crb}, scoring=scorer, cv=3)
    >>> scores.shape
    (3,)
    """

    def __init__(
        self,
        noise: NoiseModel | None = NoiseModel(),  # noqa: B008 - frozen
        n_realizations: int = 20,
        random_state: int | None = None,
        *,
        real: bool | None = None,
    ) -> None:
        if noise is not None and not isinstance(noise, NoiseModel):
            raise TypeError(f"noise must be a NoiseModel or None; got {type(noise).__name__}.")
        if random_state is not None and not isinstance(random_state, numbers.Integral):
            raise TypeError(f"random_state must be an int or None; got {type(random_state).__name__}.")
        self.noise = noise
        self.n_realizations = check_count(n_realizations, "n_realizations", minimum=2)
        self.random_state = random_state
        self.real = real

    def __call__(
        self,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        crb: ArrayLike | None = None,
        covariates: ArrayLike | pd.DataFrame | None = None,
    ) -> float:
        """Score a fitted estimator on clean data.

        Parameters
        ----------
        estimator : object with `predict`
            Fitted.
        X : array_like of shape (n, m)
            Clean signals, complex, or real if the model's data are; stacked real coefficients for an estimator that
            takes those.
        y : array_like of shape (n, p)
            True parameters.
        crb : array_like of shape (n, p)
            Bound at |M0| = 1, sigma = 1.
        covariates : array_like or DataFrame of shape (n, c), optional
            Values of known parameters, for an estimator whose `predict` takes them.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If `crb` is missing, shapes do not match or no entry is informative.
        """
        if crb is None:
            raise ValueError(
                "crb must be given to CRBEfficiencyScorer. In cross-validation pass params={'crb': crb}, with "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        X, real = checked_signals(estimator, X, self.real)
        predict = predictor(estimator, covariates)
        check_same_columns(y, crb)
        y = check_targets(y, len(X))
        crb = check_crb(crb, y.shape)
        spread = spread_of(y)
        if self.noise is None:
            error = checked_estimate(predict(X), y.shape) - y
            loss = (error**2 / crb)[self._informative(crb, spread)].mean()
            return float(1 / max(loss, 1.0))
        rng = random_generator(self.random_state)
        magnitude = self.noise.draw_magnitude(len(X), rng)
        crb = self.noise.scale_crb(crb, magnitude)
        informative = self._informative(crb, spread)
        response = noise_response(predict, X, y.shape, self.noise, magnitude, self.n_realizations, rng, real)
        return float(_efficiency(response, y, crb)[informative].mean())

    def _informative(self, crb: FloatArray, spread: FloatArray) -> np.ndarray:
        informative = informative_entries(crb, spread)
        if not informative.any():
            raise ValueError(
                "crb is nowhere below (std(y) / 3)^2: no entry is informative at this noise level, so there is "
                "no efficiency to average. Is crb in the units of y, at |M0| = 1 and sigma = 1?"
            )
        return informative

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for `crb` and `covariates` when metadata are routed.

        Returns
        -------
        MetadataRequest
        """
        request = MetadataRequest(owner=self)
        for name in ("crb", "covariates"):
            request.score.add_request(param=name, alias=True)
        return request

    def __repr__(self) -> str:
        return (
            f"CRBEfficiencyScorer(noise={self.noise!r}, n_realizations={self.n_realizations}, "
            f"random_state={self.random_state}" + ("" if self.real is None else f", real={self.real}") + ")"
        )


def _efficiency(response: NoiseResponse, y: FloatArray, crb: FloatArray) -> FloatArray:
    squared_bias = np.maximum(response.squared_bias(y), 0.0)
    return 1 / (squared_bias / crb + np.maximum(response.variance / crb, 1.0))

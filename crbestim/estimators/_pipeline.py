"""Pipeline that names bare estimators and hands the Cramér-Rao bound to the one that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn import pipeline as sklearn_pipeline
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from ._svd_compressor import SVDCompressor


class Pipeline(sklearn_pipeline.Pipeline):
    """A scikit-learn Pipeline for `Pipeline([SVDCompressor(), CRBWeightedRegressor()]).fit(X, y, crb=crb)`.

    It differs from `sklearn.pipeline.Pipeline` in three points: bare estimators get names as
    `sklearn.pipeline.make_pipeline` gives them; `fit` takes `crb` whether or not metadata routing is on; and
    `predict_coefficients` starts behind the compression.

    Parameters
    ----------
    steps : list of estimators or of (str, estimator)
        Transformers and a final estimator.
    transform_input, memory, verbose
        As for `sklearn.pipeline.Pipeline`.
    """

    def __init__(
        self,
        steps: Sequence[Any],
        *,
        transform_input: list[str] | None = None,
        memory: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(_named(steps), transform_input=transform_input, memory=memory, verbose=verbose)

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, crb: ArrayLike | None = None, **params: Any
    ) -> Pipeline:
        """Fit the transformers one after the other, then the final estimator.

        Parameters
        ----------
        X : array_like of shape (n, T)
            Clean signals, complex.
        y : array_like of shape (n, p)
            Targets.
        crb : array_like of shape (n, p), optional
            Bound at |M0| = 1, sigma = 1, for the step that asks for it.
        **params
            Further parameters, as for `sklearn.pipeline.Pipeline.fit`.

        Returns
        -------
        Pipeline
            Itself.

        Raises
        ------
        TypeError
            If `crb` is given and no step takes it.
        """
        if crb is not None:
            name, final = self.steps[-1]
            if get_config()["enable_metadata_routing"]:
                params["crb"] = crb
            elif has_fit_parameter(final, "crb"):
                params[f"{name}__crb"] = crb
            else:
                raise TypeError(
                    f"crb was given, but the final step, {type(final).__name__}, has no use for it unless "
                    "sklearn.set_config(enable_metadata_routing=True) is on and a step asks for it."
                )
        super().fit(X, y, **params)
        return self

    def predict_coefficients(self, C: ArrayLike) -> NDArray:
        """Predict from complex coefficients that a reconstruction made in the compressor's `basis_`.

        Parameters
        ----------
        C : array_like of shape (..., k), complex
            Coefficients, or coefficient images with any leading shape.

        Returns
        -------
        ndarray of shape (..., p)
            As `predict` (shape (...) if that returns one value a sample). NaN where all k coefficients are zero,
            as in a masked background.

        Raises
        ------
        TypeError
            If C is real, or the pipeline holds no SVDCompressor.
        ValueError
            If C does not have k columns or is not finite.
        """
        check_is_fitted(self)
        position = next((i for i, (_, step) in enumerate(self.steps[:-1]) if isinstance(step, SVDCompressor)), None)
        if position is None:
            raise TypeError("predict_coefficients needs an SVDCompressor in the pipeline; it has none.")
        coefficients = np.asarray(C)
        if coefficients.ndim < 2:
            raise ValueError(f"C must have shape (..., k) with at least two dimensions; got {coefficients.shape}.")
        rows = coefficients.reshape(-1, coefficients.shape[-1])
        stacked = self.steps[position][1].stack_coefficients(rows)
        rest = self[position + 1 :]
        if hasattr(rest[0], "feature_names_in_"):
            stacked = pd.DataFrame(stacked, columns=self.steps[position][1].get_feature_names_out())
        prediction = np.asarray(rest.predict(stacked))
        return prediction.reshape(*coefficients.shape[:-1], *prediction.shape[1:])


def _named(steps: Sequence[Any]) -> Sequence[Any]:
    """Name bare estimators; steps that are all named pass untouched, as `clone` compares identities."""
    if not isinstance(steps, (list, tuple)):
        return steps  # scikit-learn tells, when it is fitted
    bare = [not isinstance(step, (tuple, list)) for step in steps]
    if not any(bare):
        return steps
    if not all(bare):
        raise TypeError("steps must be either all estimators or all (name, estimator) pairs, not a mixture.")
    return sklearn_pipeline._name_estimators(steps)

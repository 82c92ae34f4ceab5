"""Another estimator's predictions as starts of a fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .._validation import FloatArray, is_complex
from ._model_estimator import ModelEstimator


class StartingEstimator(NamedTuple):
    """A fitted estimator, and the columns of theta that it predicts.

    Attributes
    ----------
    estimator : estimator
        Fitted.
    columns : list of int
        Of the parameters that it predicts.
    n_coefficients : int or None
        Number of complex columns that are coefficients.
    """

    estimator: Any
    columns: list[int]
    n_coefficients: int | None

    @classmethod
    def of(cls, estimator: Any, fit: ModelEstimator) -> StartingEstimator:
        """Check an estimator that starts a fit; raise TypeError, ValueError or NotFittedError."""
        if not hasattr(estimator, "predict"):
            raise TypeError(f"init must be a fitted estimator or None; got {type(estimator).__name__}.")
        check_is_fitted(estimator)
        names = getattr(_last_step(estimator), "target_names_", None) or fit.target_names_
        unknown = [name for name in names if name not in fit.model.parameter_names]
        if unknown:
            raise ValueError(f"init predicts {unknown}, which are not parameters of the model.")
        k = None if fit._basis is None or fit._basis.shape[1] == fit.model.n_timepoints else fit._basis.shape[1]
        return cls(estimator, fit.model._columns(names), k)

    def predict(self, X: ArrayLike, covariates: ArrayLike | pd.DataFrame | None, rows: NDArray[np.intp]) -> FloatArray:
        """Return predictions for some rows of X, (len(rows), len(columns))."""
        values = X.to_numpy() if isinstance(X, pd.DataFrame) else np.asarray(X)
        known = {}
        n_covariates: int = getattr(_last_step(self.estimator), "n_covariates_", False)
        if covariates is not None and n_covariates:
            known["covariates"] = (
                covariates.iloc[rows] if isinstance(covariates, pd.DataFrame) else np.asarray(covariates)[rows]
            )
        are_coefficients = is_complex(values) and values.shape[1] == self.n_coefficients
        coefficients = are_coefficients and hasattr(self.estimator, "predict_coefficients")
        predict = self.estimator.predict_coefficients if coefficients else self.estimator.predict
        prediction = np.asarray(predict(values[rows], **known), dtype=np.float64).reshape(len(rows), -1)
        if prediction.shape[1] != len(self.columns):
            raise ValueError(
                f"init must predict {len(self.columns)} parameters, as its target_names_ or this estimator's targets "
                f"tell; got {prediction.shape[1]}."
            )
        return prediction


def _last_step(estimator: Any) -> Any:
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator

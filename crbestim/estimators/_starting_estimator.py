"""Another estimator's predictions as starts of a fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .._validation import FloatArray, is_complex
from ..metrics._response import final_step
from ._model_estimator import ModelEstimator


class StartingEstimator(NamedTuple):
    """A fitted estimator, and the columns of theta that it predicts.

    Attributes
    ----------
    estimator : estimator
        Fitted.
    columns : list of list of int
        Of the parameters that it may predict; their number tells which.
    basis : ndarray of shape (T, k) or None
        In which complex data of k columns are coefficients.
    n_parameters : int
        P.
    """

    estimator: Any
    columns: list[list[int]]
    basis: NDArray | None
    n_parameters: int

    @classmethod
    def of(cls, estimator: Any, fit: ModelEstimator) -> StartingEstimator:
        """Check an estimator that starts a fit; raise TypeError, ValueError or NotFittedError."""
        if not hasattr(estimator, "predict"):
            raise TypeError(f"init must be a fitted estimator or None; got {type(estimator).__name__}.")
        check_is_fitted(estimator)
        model = fit.model
        own = getattr(final_step(estimator), "target_names_", None)
        unknown = [name for name in own or () if name not in model.parameter_names]
        if unknown:
            raise ValueError(f"init predicts {unknown}, which are not parameters of the model.")
        possible = [own] if own else [fit.target_names_, model.check_names(None), model.parameter_names]
        return cls(estimator, [model._columns(names) for names in possible], fit._basis, len(model.parameters))

    def predict(self, X: ArrayLike, covariates: ArrayLike | pd.DataFrame | None, rows: NDArray[np.intp]) -> FloatArray:
        """Return predictions for some rows of X, (len(rows), P), with NaN for what is not predicted."""
        values = X.to_numpy() if isinstance(X, pd.DataFrame) else np.asarray(X)
        known = {}
        n_covariates: int = getattr(final_step(self.estimator), "n_covariates_", 0)
        if covariates is not None and n_covariates:
            known["covariates"] = (
                covariates.iloc[rows] if isinstance(covariates, pd.DataFrame) else np.asarray(covariates)[rows]
            )
        predict = self.estimator.predict
        if is_complex(values) and self.basis is not None and values.shape[1] == self.basis.shape[1] < len(self.basis):
            predict = getattr(self.estimator, "predict_coefficients", predict)
            _check_basis(self.estimator, self.basis)
        prediction = np.asarray(predict(values[rows], **known), dtype=np.float64).reshape(len(rows), -1)
        for columns in self.columns:
            if len(columns) == prediction.shape[1]:
                theta = np.full((len(rows), self.n_parameters), np.nan)
                theta[:, columns] = prediction
                return theta
        raise ValueError(
            f"init predicts {prediction.shape[1]} parameters without telling which; expected the "
            f"{' or '.join(str(len(columns)) for columns in self.columns)} that are wanted here."
        )


def _check_basis(estimator: Any, basis: NDArray) -> None:
    """Raise ValueError if an estimator's own compression has another basis than coefficients."""
    for _, step in getattr(estimator, "steps", ()):
        own = getattr(step, "basis_", None)
        if own is not None and (np.shape(own) != basis.shape or not np.allclose(own, basis)):
            raise ValueError("init compresses with another basis than that of the coefficients; give both the same.")

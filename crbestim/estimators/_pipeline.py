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

from .._validation import numeric_array
from ._svd_compressor import SVDCompressor


class Pipeline(sklearn_pipeline.Pipeline):
    """A scikit-learn Pipeline for `Pipeline([SVDCompressor(), CRBWeightedRegressor()]).fit(X, y, crb=crb)`.

    It differs from `sklearn.pipeline.Pipeline` in three points: bare estimators get names as
    `sklearn.pipeline.make_pipeline` gives them; `fit` takes `crb` and `covariates` whether or not metadata routing is
    on; and `predict_coefficients` starts behind the compression.

    Parameters
    ----------
    steps : list of estimators or of (str, estimator)
        Transformers and a final estimator.
    transform_input, memory, verbose
        As for `sklearn.pipeline.Pipeline`.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Pipeline, Prior, SVDCompressor, make_fingerprints
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> data = make_fingerprints(model, prior, n_samples=32, random_state=0, progress=False)
    >>> compressor = SVDCompressor(n_components=3).fit(data.X)
    >>> fit = NLLSEstimator(model, basis=compressor.basis_, prior=prior, verbose=0, random_state=0)
    >>> pipe = Pipeline([SVDCompressor(basis=compressor.basis_), fit]).fit(data.X, data.y)
    >>> list(pipe.named_steps)
    ['svdcompressor', 'nllsestimator']
    >>> images = (data.X @ pipe[0].basis_).reshape(4, 4, 2, 3)  # coefficient images
    >>> pipe.predict_coefficients(images).shape
    (4, 4, 2, 1)
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
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        crb: ArrayLike | None = None,
        covariates: ArrayLike | pd.DataFrame | None = None,
        **params: Any,
    ) -> Pipeline:
        """Fit the transformers one after the other, then the final estimator.

        Parameters
        ----------
        X : array_like of shape (n, T)
            Clean signals, complex, or real if the model's data are.
        y : array_like of shape (n, p)
            Targets.
        crb : array_like of shape (n, p), optional
            Bound at |M0| = 1, sigma = 1, for the step that asks for it.
        covariates : array_like or DataFrame of shape (n, c), optional
            Parameters that are known in each voxel, for the step that asks for them; `predict` then takes them, too.
        **params
            Further parameters, as for `sklearn.pipeline.Pipeline.fit`.

        Returns
        -------
        Pipeline
            Itself.

        Raises
        ------
        TypeError
            If `crb` or `covariates` are given and no step takes them.
        """
        usable = isinstance(self.steps, list) and self.steps  # if not, scikit-learn tells
        for name, values in (("crb", crb), ("covariates", covariates)):
            if values is None or not usable:
                continue
            step, final = self.steps[-1]
            if get_config()["enable_metadata_routing"]:
                params[name] = values
            elif has_fit_parameter(final, name):
                params[f"{step}__{name}"] = values
            else:
                raise TypeError(
                    f"{name} was given, but the final step, {type(final).__name__}, has no use for it unless "
                    "sklearn.set_config(enable_metadata_routing=True) is on and a step asks for it."
                )
        super().fit(X, y, **params)
        return self

    def predict_coefficients(
        self, C: ArrayLike, *, covariates: ArrayLike | pd.DataFrame | None = None, **params: Any
    ) -> Any:
        """Predict from complex coefficients that a reconstruction made in the compressor's `basis_`.

        Parameters
        ----------
        C : array_like of shape (..., k), complex
            Coefficients, or coefficient images with any leading shape; real ones if the signals in `fit` were real.
        covariates : array_like of shape (..., c), or DataFrame with one row a voxel, optional
            As in `fit`, if it was given any. A single one may lack its last axis.
        **params
            Further parameters of the final step's `predict`, such as ``return_std=True``; a ``noise_std`` of the
            shape (...) is a map of it.

        Returns
        -------
        ndarray of shape (..., p)
            As `predict` (shape (...) if that returns one value a sample), a tuple if that returns one. NaN where all k
            coefficients are zero, as in a masked background.

        Raises
        ------
        TypeError
            If C is real, but the signals in `fit` were complex, or the pipeline holds no SVDCompressor.
        ValueError
            If C does not have k columns or is not finite, or covariates do not fit.
        """
        check_is_fitted(self)
        position = next((i for i, (_, step) in enumerate(self.steps[:-1]) if isinstance(step, SVDCompressor)), None)
        if position is None:
            raise TypeError("predict_coefficients needs an SVDCompressor in the pipeline; it has none.")
        coefficients = numeric_array(C, "C")
        if coefficients.ndim < 2 or not coefficients.size:
            raise ValueError(f"C must have shape (..., k) with at least two dimensions; got {coefficients.shape}.")
        rows = coefficients.reshape(-1, coefficients.shape[-1])
        stacked = self.steps[position][1].stack_coefficients(rows)
        rest = self[position + 1 :]
        if hasattr(rest[0], "feature_names_in_"):
            stacked = pd.DataFrame(stacked, columns=self.steps[position][1].get_feature_names_out())
        if covariates is not None:
            params["covariates"] = (
                covariates
                if isinstance(covariates, pd.DataFrame)
                else _one_row_a_voxel(covariates, coefficients.shape)
            )
        noise_std = params.get("noise_std")
        if noise_std is not None and np.shape(noise_std) == coefficients.shape[:-1]:
            params["noise_std"] = np.ravel(noise_std)
        prediction = rest.predict(stacked, **params)
        if isinstance(prediction, tuple):
            return tuple(_as_image(np.asarray(part), coefficients.shape) for part in prediction)
        return _as_image(np.asarray(prediction), coefficients.shape)


def _as_image(values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Return values of rows, (n, ...), with the leading axes of coefficients of a shape (..., k)."""
    return values.reshape(*shape[:-1], *values.shape[1:])


def _one_row_a_voxel(covariates: ArrayLike, shape: tuple[int, ...]) -> NDArray:
    """Return covariates, (..., c) or for a single one (...), as (n, c) for coefficients of a shape (..., k)."""
    values, leading = numeric_array(covariates, "covariates"), shape[:-1]
    if values.shape == leading:
        values = values[..., None]
    if values.shape[:-1] != leading:
        raise ValueError(
            f"covariates must have shape {(*leading, 'c')}, or {leading} for a single one; got {values.shape}."
        )
    return values.reshape(-1, values.shape[-1])


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

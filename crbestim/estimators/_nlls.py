"""Non-linear least squares, the gold standard that networks are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from .._validation import (
    FloatArray,
    check_count,
    check_covariates,
    check_matrix,
    check_names,
    check_targets,
    is_complex,
    unstack_complex,
)
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..signal import SignalModel
from ._voxel_fit import ParameterScaling, fit_voxel


class NLLSEstimator(RegressorMixin, BaseEstimator):
    r"""Fit the signal model to each voxel by bounded non-linear least squares.

    .. math:: \min_{\theta, M_0} \| L^{-1} (x - M_0 s(\theta)) \|^2

    over all parameters of the model but the known ones, where L whitens the noise (:math:`L = 1` if it is white). M0
    is complex (real for real data) and solved for inside the fit, :math:`M_0 = s^H x / s^H s` for white noise
    (variable projection, with the exact Jacobian of the projected residual). A parameter that never exceeds another
    one is fitted through the ratio of the two, whose bounds are the widest that the prior allows. Starts are those out
    of a sample of the prior whose signals match best; the fit with the lowest cost wins.

    Parameters
    ----------
    model : SignalModel
        Signal and Jacobian.
    targets : sequence of str, optional
        Parameters that `predict` returns; by default those of the model that are not known. All of the latter are
        fitted anyway.
    basis : array_like of shape (T, k), optional
        Orthonormal compression basis. The fit then takes place in the compressed space.
    prior : Prior, optional
        Its support bounds the fit, and starts are drawn from it; by default the one that goes with the model.
    known : sequence of str, default=()
        Parameters that are not fitted: `predict` takes their values, such as those of a measured B1 map, as
        `covariates`.
    covariance : array_like of shape (T, T) or (k, k), or NoiseCovariance, optional
        Of coloured noise, in any unit: that of the signals, or with a basis that of the coefficients. By default the
        noise is white.
    n_starts : int, default=3
        Starts a voxel.
    n_candidates : int, default=2048
        Size of the sample from which the starts are chosen.
    n_jobs : int, optional
        Processes (see joblib).
    verbose : int, default=1
        0: no progress bar.
    random_state : int, RandomState or None, default=None
        Seed of the sample.

    Attributes
    ----------
    candidates_ : ndarray of shape (n_candidates, P)
        Parameters from which starts are chosen.
    target_names_ : tuple of str
        Names of the columns that `predict` returns.
    n_features_in_ : int
        Number of columns of X in `fit`; without a call of `fit` with data, T.

    References
    ----------
    G. Golub and V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate, SIAM J. Numer. Anal. 10, 1973.
    """

    __metadata_request__fit = {"covariates": True}  # noqa: RUF012 - read by scikit-learn
    __metadata_request__predict = {"covariates": True}  # noqa: RUF012

    def __init__(
        self,
        model: SignalModel,
        targets: str | Sequence[str] | None = None,
        basis: ArrayLike | None = None,
        prior: Prior | None = None,
        *,
        known: str | Sequence[str] = (),
        covariance: ArrayLike | NoiseCovariance | None = None,
        n_starts: int = 3,
        n_candidates: int = 2048,
        n_jobs: int | None = None,
        verbose: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.targets = targets
        self.basis = basis
        self.prior = prior
        self.known = known
        self.covariance = covariance
        self.n_starts = n_starts
        self.n_candidates = n_candidates
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self, X: ArrayLike | None = None, y: ArrayLike | None = None, *, covariates: ArrayLike | None = None
    ) -> NLLSEstimator:
        """Prepare bounds and starts; nothing is learnt from the data, which may be left out.

        Parameters
        ----------
        X : array_like, optional
            As for `predict`; only its number of columns is looked at.
        y : array_like of shape (n, p), optional
            Targets; only its number of columns is looked at.
        covariates : ignored
            So that a pipeline or a cross-validation may pass them.

        Returns
        -------
        NLLSEstimator
            Itself.

        Raises
        ------
        TypeError, ValueError
            If arguments do not fit each other.
        """
        if not isinstance(self.model, SignalModel):
            raise TypeError(f"model must be a SignalModel; got {type(self.model).__name__}.")
        self.target_names_ = self.model.check_names(self.targets, self.known)
        n_starts = check_count(self.n_starts, "n_starts")
        n_candidates = check_count(self.n_candidates, "n_candidates", minimum=n_starts)
        self._known = check_names(self.known, self.model.parameter_names, "known")
        basis = None if self.basis is None else self.model._check_basis(self.basis)
        self._basis = basis
        self._noise = self.model._check_covariance(self.covariance, basis)
        prior = checked_prior(self.prior, self.model)
        if X is not None:
            X = self._signals(X, reset=True)
            if y is not None:
                n_targets = check_targets(y, len(X)).shape[1]
                if n_targets != len(self.target_names_):
                    raise ValueError(
                        f"y must have one column for each of the targets {list(self.target_names_)}; got {n_targets}."
                    )
        else:
            self.n_features_in_ = self.model.n_timepoints if basis is None else basis.shape[1]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        sample = prior.sample(n_candidates, random_state=seed, method="sobol")
        self.candidates_ = self.model.check_theta(sample)
        self._operator = basis
        if self._noise is not None:
            self._operator = self._noise.whiten(np.eye(self.model.n_timepoints) if basis is None else basis)
        self._scaling = ParameterScaling.of(self.model, prior, self._known)
        signals = self.model.signal(self.candidates_)
        if self._operator is not None:
            signals = signals @ self._operator
        norm = np.linalg.norm(signals, axis=1, keepdims=True)
        self._directions = np.divide(signals, norm, out=np.zeros_like(signals), where=norm > 0)
        return self

    def predict(self, X: ArrayLike, *, covariates: ArrayLike | pd.DataFrame | None = None) -> FloatArray:
        """Fit the model to each voxel.

        Parameters
        ----------
        X : array_like of shape (n, T) complex, (n, k) complex or (n, 2k) real
            Signals; or, if a basis is given, signals, complex coefficients or stacked coefficients. For a model of
            real data, signals and coefficients, (n, k), may be real.
        covariates : array_like or DataFrame of shape (n, len(known))
            Values of the known parameters in SI units; an array's columns in the order of `known`. They are not looked
            at for rows of zeros.

        Returns
        -------
        ndarray of shape (n, p)
            Targets, with symmetries folded; NaN for a row of zeros, as in a masked background.

        Raises
        ------
        ValueError
            If the number of columns does not fit, a value is not finite, or covariates are missing or not physical.
        """
        check_is_fitted(self)
        data = self._signals(X, reset=False)
        if self._noise is not None:
            data = self._noise.whiten(data)
        is_present = np.asarray(data.any(axis=1))
        known = self._checked_covariates(covariates, is_present)
        present = np.flatnonzero(is_present)
        starts = self._best_starts(data[present], known[present])
        jobs = (
            delayed(fit_voxel)(self.model, self._operator, self._scaling.holding(values), row, start)
            for row, values, start in zip(data[present], known[present], starts, strict=True)
        )
        targets = np.full((len(data), len(self.target_names_)), np.nan)
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs)
        shown = tqdm(results, total=len(present), desc="least squares", unit="voxel", disable=not self.verbose)
        for i, theta in zip(present, shown, strict=True):
            targets[i] = self.model.target_values(theta[None], self.target_names_)[0]
        return targets

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        return tags

    def _takes_real_data(self, n_columns: int) -> bool:
        """Tell whether real arrays of so many columns are real data; otherwise they are stacked coefficients."""
        k = None if self._basis is None else self._basis.shape[1]
        if not self.model.real_valued:
            return False
        if k is not None and n_columns == 2 * k == self.model.n_timepoints:
            raise ValueError(
                f"X is ambiguous: {n_columns} real columns may be signals or {k} stacked coefficients. Pass signals "
                "as X.astype(complex), coefficients as complex ones."
            )
        return n_columns in (self.model.n_timepoints, k)

    def _checked_covariates(
        self, covariates: ArrayLike | pd.DataFrame | None, present: NDArray[np.bool_]
    ) -> FloatArray:
        """Values of the known parameters, (n, len(known)), physical where there is a signal."""
        if covariates is None and not self._known:
            return np.empty((len(present), 0))
        if covariates is None:
            raise ValueError(f"covariates must be given: the values of the known parameters {list(self._known)}.")
        if not self._known:
            raise ValueError("covariates were given, but no parameter is known; name them in `known`.")
        values = check_covariates(covariates, len(present), self._known, present)
        self.model._check_ranges(values, self._known, "covariates", present)
        return values

    def _signals(self, X: ArrayLike, reset: bool) -> NDArray:
        """Return data in the space of the fit, complex unless they are real data."""
        values: NDArray
        basis = self._basis
        if is_complex(X):
            values = check_matrix(X, "X", kind="complex")
        else:
            values = check_array(X, dtype=np.float64, input_name="X", estimator=self)
        n_timepoints = self.model.n_timepoints
        width = values.shape[1]
        complex_valued = values.dtype.kind == "c"
        if reset:
            validate_data(self, values, reset=True, skip_check_array=True)
        real_data = not complex_valued and self._takes_real_data(width)
        if (complex_valued or real_data) and width == n_timepoints:
            return (values if basis is None else values @ basis).astype(np.float64 if real_data else np.complex128)
        if real_data:
            return values
        kinds = "real or complex" if self.model.real_valued else "complex"
        expected = f"{kinds} with {n_timepoints} columns, the model's time points"
        if basis is not None:
            k = basis.shape[1]
            if complex_valued and width == k:
                return values.astype(np.complex128)
            if not complex_valued and width == 2 * k:
                return unstack_complex(values).astype(np.complex128)
            expected = f"{kinds} ({n_timepoints} or {k} columns) or stacked real ({2 * k} columns)"
        raise ValueError(f"X must be {expected}; got {'complex' if complex_valued else 'real'} with {width} columns.")

    def _best_starts(self, data: NDArray, known: FloatArray) -> FloatArray:
        """Return the candidates that correlate best with each voxel, (n, n_starts, P), with its known values."""
        starts = np.empty((len(data), self.n_starts, self.candidates_.shape[1]))
        for i in range(0, len(data), 1024):
            chunk = slice(i, i + 1024)
            match = data[chunk] @ self._directions.conj().T
            match = match if match.dtype.kind == "f" else np.abs(match)  # M0 of real data is positive
            if self._known:
                match[self._far_from(known[chunk])] = -np.inf
            best = np.argsort(-match, axis=1)[:, : self.n_starts]
            starts[chunk] = self.candidates_[best]
        starts[:, :, self.model._columns(self._known)] = known[:, None, :]
        return starts

    def _far_from(self, known: FloatArray) -> NDArray[np.bool_]:
        """Tell which candidates, (n, n_candidates), are not among the quarter that is nearest in the known values."""
        columns = self.model._columns(self._known)
        candidates = self.candidates_[:, columns]
        spread = np.ptp(candidates, axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        distance = sum(
            np.subtract.outer(values, candidate) ** 2
            for values, candidate in zip((known / scale).T, (candidates / scale).T, strict=True)
        )
        n_near = max(self.n_starts, len(candidates) // 4)
        return np.asarray(distance > np.partition(distance, n_near - 1, axis=1)[:, n_near - 1 : n_near])

"""Non-linear least squares, the gold standard that networks are compared with."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from copy import copy
from typing import Any, Literal

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from .._files import digest_of
from .._validation import (
    FloatArray,
    check_count,
    check_covariates,
    check_names,
    check_option,
    check_positive,
)
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..least_squares import FitStatus, LeastSquaresResult
from ..least_squares._batch_log import BatchLog
from ..least_squares._covariance import bound_of_targets
from ..least_squares._levenberg_marquardt import levenberg_marquardt
from ..least_squares._parameter_scaling import ParameterScaling
from ..least_squares._problem import Problem
from ..least_squares._scipy_fit import scipy_fit
from ..signal import SignalModel
from ._model_estimator import ModelEstimator
from ._starting_estimator import StartingEstimator
from ._starts import StartSearch

_SOLVERS = {"levenberg-marquardt": levenberg_marquardt, "scipy": scipy_fit}
_BATCH_BYTES = 2**27  # of the signals and derivatives of a batch
_MOST_VOXELS, _MOST_SCIPY_VOXELS = 4096, 32  # of a batch
_AT_BOUND = 1e-9  # of a parameter's range


class NLLSEstimator(ModelEstimator):
    r"""Fit the signal model to each voxel by bounded non-linear least squares.

    .. math:: \min_{\theta, M_0} \| L^{-1} (x - M_0 s(\theta)) \|^2

    over all parameters of the model but the known ones, where L whitens the noise (:math:`L = 1` if it is white). M0
    is complex (real, of either sign, for real data) and solved for inside the fit, :math:`M_0 = s^H x / s^H s` for
    white noise (variable projection, with the exact Jacobian of the projected residual). A parameter that never
    exceeds another one is fitted through the ratio of the two, whose bounds are the widest that the prior allows.

    Thousands of voxels are fitted at once. Each is fitted from several starts: entries of a sample of the prior whose
    signals match its own best and whose parameters lie apart. Of fits of a voxel that come into the same minimum one
    goes on; the one with the lowest cost wins.

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
        Its support bounds the fit, and starts are drawn from it; by default the one that goes with the model. A
        parameter that is fitted through its ratio to another one can leave its own support, within that of the ratio.
    known : sequence of str, default=()
        Parameters that are not fitted: `predict` takes their values, such as those of a measured B1 map, as
        `covariates`.
    covariance : array_like of shape (T, T) or (k, k), or NoiseCovariance, optional
        Of coloured noise, in any unit: that of the signals, or with a basis that of the coefficients. By default the
        noise is white.
    noise_std : float, optional
        Standard deviation of the noise in each real channel (of coloured noise the factor by which `covariance` is
        short), in the unit of the data, for the standard deviations of the estimates. By default it is taken from each
        voxel's residual.
    solver : {"levenberg-marquardt", "scipy"}, default="levenberg-marquardt"
        The batched solver, or `scipy.optimize.least_squares` voxel by voxel as an independent reference.
    init : estimator, optional
        A fitted estimator whose predictions are the first start, such as a network. It gets the same X (of complex
        coefficients its `predict_coefficients`, if it has one). Which parameters it predicts is told by its
        `target_names_` (those of a DataFrame y), or else by their number: the targets of this estimator, the model's
        default ones, or all. What it does not predict comes from the sample of the prior. Wrapped in
        `sklearn.frozen.FrozenEstimator` it stays fitted when this estimator is cloned.
    n_starts : int, default=6
        Starts a voxel; with `init`, that one and n_starts - 1 others.
    n_candidates : int, default=16384
        Size of the sample from which the starts are chosen.
    max_iterations : int, default=100
        Steps a start.
    batch_size : int, optional
        Voxels that are fitted at a time; by default as many as take 128 MiB, up to 4096.
    n_jobs : int, optional
        Processes among which the batches are spread (see joblib, whose backends include Dask). By default the batches
        come one after the other, with the compiled parts in threads.
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
    n_covariates_ : int
        Number of known parameters.
    n_features_in_ : int
        Number of columns of X in `fit`; without a call of `fit` with data, T (with a basis, k).

    See Also
    --------
    CRBWeightedRegressor : A network, some hundred times faster once it is trained.
    goodness_of_fit : Tells which voxels the model cannot explain.
    read_results : Finished fits of a checkpoint.

    References
    ----------
    G. Golub and V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate, SIAM J. Numer. Anal. 10, 1973.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, NoiseModel, Prior
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> signals = model.signal([[0.05], [0.12]])
    >>> fit.predict(3j * signals).round(4).tolist()  # whatever M0
    [[0.05], [0.12]]
    >>> noisy = NoiseModel.at_snr(200).add_to(signals, np.random.default_rng(0))
    >>> estimate, std = fit.predict(noisy, return_std=True)
    >>> estimate.shape, std.shape
    ((2, 1), (2, 1))
    >>> fit.estimate(noisy).status.tolist()  # see FitStatus
    [0, 0]
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
        noise_std: float | None = None,
        solver: Literal["levenberg-marquardt", "scipy"] = "levenberg-marquardt",
        init: Any = None,
        n_starts: int = 6,
        n_candidates: int = 16384,
        max_iterations: int = 100,
        batch_size: int | None = None,
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
        self.noise_std = noise_std
        self.solver = solver
        self.init = init
        self.n_starts = n_starts
        self.n_candidates = n_candidates
        self.max_iterations = max_iterations
        self.batch_size = batch_size
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
        sklearn.exceptions.NotFittedError
            If `init` is not fitted.
        """
        self._prepare(X, y, self.known)
        n_starts = check_count(self.n_starts, "n_starts")
        n_candidates = check_count(self.n_candidates, "n_candidates", minimum=n_starts)
        check_count(self.max_iterations, "max_iterations")
        check_option(self.solver, "solver", list(_SOLVERS))
        if self.batch_size is not None:
            check_count(self.batch_size, "batch_size")
        if self.noise_std is not None:
            check_positive(self.noise_std, "noise_std")
        self._known = check_names(self.known, self.model.parameter_names, "known")
        self.n_covariates_ = len(self._known)
        self._first_start = None if self.init is None else StartingEstimator.of(self.init, self)
        scaling = ParameterScaling.of(self.model, self._prior, self._known)
        self._problem = Problem(self.model, self._operator, scaling)
        self.candidates_ = self._sample(n_candidates)
        self._search = StartSearch.of(self._problem, self.candidates_)
        return self

    def predict(
        self, X: ArrayLike, *, covariates: ArrayLike | pd.DataFrame | None = None, return_std: bool = False
    ) -> Any:
        """Fit the model to each voxel and return the targets.

        Parameters
        ----------
        X : array_like of shape (n, T) complex, (n, k) complex or (n, 2k) real
            Signals; or, if a basis is given, signals, complex coefficients or stacked coefficients. For a model of
            real data, signals and coefficients, (n, k), may be real.
        covariates : array_like or DataFrame of shape (n, len(known))
            Values of the known parameters in SI units; an array's columns in the order of `known`. They are not looked
            at for rows that are not fitted.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        targets : ndarray of shape (n, p)
            With symmetries folded. NaN for a row of zeros, as in a masked background, for one that is not finite, and
            where no fit is possible, as the model has no signal for the covariates.
        std : ndarray of shape (n, p)
            Only with `return_std`: their standard deviations (see `LeastSquaresResult.covariance`).

        Raises
        ------
        ValueError
            If the number of columns does not fit, or covariates are missing or not physical.
        """
        result = self.estimate(X, covariates=covariates)
        return (result.targets, result.std) if return_std else result.targets

    def estimate(
        self,
        X: ArrayLike,
        *,
        covariates: ArrayLike | pd.DataFrame | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> LeastSquaresResult:
        """Fit the model to each voxel and return all that is known of the fits.

        Parameters
        ----------
        X, covariates
            As for `predict`.
        checkpoint : path-like, optional
            Directory in which finished batches are kept. If it holds some of the same data and settings, only the rest
            is fitted. `crbestim.read_results` reads them at any time. `random_state` must be an int.

        Returns
        -------
        LeastSquaresResult
            Estimates, M0, covariance, residual, iterations and status of each voxel.

        Raises
        ------
        TypeError, ValueError
            As `predict`; if the checkpoint cannot be used, or belongs to other data or settings.
        """
        check_is_fitted(self)
        if checkpoint is not None and not isinstance(self.random_state, numbers.Integral):
            raise ValueError(f"checkpoint needs an int as random_state; got {self.random_state!r}.")
        voxels = self._voxels(X)
        known = self._checked_covariates(covariates, voxels.present)
        present = np.flatnonzero(voxels.present)
        data, known = voxels.data[present], known[present]
        init = None
        if self._first_start is not None and len(present):
            init = self._first_start.predict(X, covariates, present)
        result = LeastSquaresResult._empty(self.model.parameter_names, self.target_names_, voxels.status)
        step = self._voxels_at_a_time()
        batches = [slice(first, min(first + step, len(present))) for first in range(0, len(present), step)]
        with ExitStack() as stack:
            log = None
            if checkpoint is not None:
                digest = self._digest(X, covariates, voxels.status)
                log = stack.enter_context(closing(BatchLog(checkpoint, digest, self._fingerprint(init), result)))
            progress = stack.enter_context(
                tqdm(total=len(present), desc="least squares", unit="voxel", disable=not self.verbose)
            )
            for rows, part in self._fit_batches(batches, data, known, init, present, log):
                result._put(present[rows], part)
                progress.update(len(part))
        return result

    def _fit_batches(
        self,
        batches: Sequence[slice],
        data: NDArray,
        known: FloatArray,
        init: FloatArray | None,
        present: NDArray[np.intp],
        log: BatchLog | None,
    ) -> Iterator[tuple[slice, LeastSquaresResult]]:
        """Yield the fits of each batch, finished ones from the log."""
        missing = []
        for batch, rows in enumerate(batches):
            part = None if log is None else log.read(batch, present[rows])
            if part is None:
                missing.append(batch)
            else:
                yield rows, part
        worker = copy(self)
        worker.init = worker._first_start = None  # they have done their part, and may be large
        jobs = (
            delayed(worker._fit_batch)(data[rows], known[rows], None if init is None else init[rows])
            for rows in (batches[batch] for batch in missing)
        )
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs)
        for batch, part in zip(missing, results, strict=True):
            rows = batches[batch]
            if log is not None:
                log.write(batch, present[rows], part)
            yield rows, part

    def _fit_batch(self, data: NDArray, known: FloatArray, init: FloatArray | None) -> LeastSquaresResult:
        """Fit rows of data, (n, m), all of which hold signals."""
        problem = self._problem._replace(scaling=self._problem.scaling.holding(known))
        peak = np.abs(data).max(axis=1)
        directions = data / peak[:, None]  # first, as squares may leave the range of numbers
        norm = np.linalg.norm(directions, axis=1)
        directions /= norm[:, None]
        norm *= peak
        starts = self._starts(problem, directions, known, init)
        unit_data = directions.astype(np.complex128, copy=False)
        fits = _SOLVERS[self.solver](problem, unit_data, starts, self.max_iterations)
        status = np.full(len(data), FitStatus.MAX_ITERATIONS, np.int8)
        result = LeastSquaresResult._empty(self.model.parameter_names, self.target_names_, status)
        found = np.flatnonzero(np.isfinite(fits.cost))
        if len(found):
            result._put(found, self._described(problem.rows(found), unit_data[found], norm[found], fits.rows(found)))
        return result

    def _starts(self, problem: Problem, data: NDArray, known: FloatArray, init: FloatArray | None) -> FloatArray:
        """Return starts in the unit cube, (n, n_starts, F)."""
        theta = self._search.starts(data, known, int(self.n_starts))
        if init is not None:
            first = np.where(np.isfinite(init), init, theta[:, 0])
            first[:, problem.scaling.known] = known
            theta = np.concatenate([first[:, None], theta[:, : int(self.n_starts) - 1]], axis=1)
        return np.stack([problem.scaling.to_unit(theta[:, i]) for i in range(theta.shape[1])], axis=1)

    def _described(self, problem: Problem, data: NDArray, norm: FloatArray, fits: Any) -> LeastSquaresResult:
        """Turn fits of data of unit norm into a result."""
        theta = problem.scaling.from_unit(fits.unit)
        m0 = problem.quadratic(fits.unit, data).m0 * norm
        residual_norm = np.sqrt(fits.cost) * norm
        at_bound = np.zeros(theta.shape, np.bool_)
        at_bound[:, problem.scaling.free] = (fits.unit < _AT_BOUND) | (fits.unit > 1 - _AT_BOUND)
        # One that is fitted through its ratio to another may have left its physical range.
        for column, parameter in enumerate(self.model.parameters):
            at_bound[:, column] |= ~parameter.contains(theta[:, column])
        if self.noise_std is not None:
            noise_std = np.full(len(theta), float(self.noise_std))
        else:
            are_complex = not self.model.real_valued or data.imag.any(axis=1)
            channels = np.where(are_complex, 2, 1)
            freedom = channels * (data.shape[1] - 1) - (fits.unit.shape[1] - at_bound.sum(axis=1))
            noise_std = residual_norm / np.sqrt(np.where(freedom > 0, freedom, np.nan))
        status = np.where(at_bound.any(axis=1), FitStatus.AT_BOUND, FitStatus.CONVERGED)
        bound = bound_of_targets(problem, theta, self.target_names_, self._known)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            covariance = bound * ((noise_std / np.abs(m0)) ** 2)[:, None, None]
        return LeastSquaresResult(
            self.model.parameter_names,
            self.target_names_,
            theta=theta,
            targets=self.model._target_values(theta)[:, self.model._columns(self.target_names_)],
            m0=m0,
            residual_norm=residual_norm,
            noise_std=noise_std,
            n_iterations=fits.n_iterations,
            status=np.where(fits.converged, status, FitStatus.MAX_ITERATIONS).astype(np.int8),
            at_bound=at_bound,
            covariance=covariance,
        )

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

    def _voxels_at_a_time(self) -> int:
        if self.batch_size is not None:
            return int(self.batch_size)
        if self.solver == "scipy":
            return _MOST_SCIPY_VOXELS
        n_points = self.model.n_timepoints
        if self._operator is not None and type(self.model)._coefficients is not SignalModel._coefficients:
            n_points = self._operator.shape[1]
        n_arrays = 3 * (len(self.model.parameters) + 1)
        return int(np.clip(_BATCH_BYTES // (16 * n_points * n_arrays * int(self.n_starts)), 1, _MOST_VOXELS))

    def _digest(self, X: ArrayLike, covariates: ArrayLike | pd.DataFrame | None, status: NDArray[np.int8]) -> str:
        """Hash of settings and data as they were given: what is computed from them differs in the last bits."""
        settings = {
            name: getattr(self, name) for name in ("solver", "n_starts", "max_iterations", "noise_std", "random_state")
        }
        settings |= {"targets": self.target_names_, "known": self._known, "batch": self._voxels_at_a_time()}
        noise = None if self._noise is None else self._noise.matrix
        scaling = self._problem.scaling
        given = [X, covariates, self.basis, noise, status, self.candidates_, scaling.low, scaling.high]
        return digest_of(settings, *(np.zeros(0) if array is None else np.asarray(array) for array in given))

    def _fingerprint(self, init: FloatArray | None) -> FloatArray:
        """Some numbers that follow from the model and the starts, equal up to rounding for the same fit."""
        norms = self._search.dictionary.norm[:16]
        return norms if init is None else np.concatenate([norms, np.abs(init).mean(axis=0)])

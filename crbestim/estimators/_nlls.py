"""Non-linear least squares, the gold standard that networks are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from .._validation import (
    FloatArray,
    check_basis,
    check_count,
    check_matrix,
    check_targets,
    is_complex,
    unstack_complex,
)
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..signal import SignalModel

_MAX_EVALUATIONS = 200
_TOLERANCE = 1e-10


class NLLSEstimator(RegressorMixin, BaseEstimator):
    r"""Fit the signal model to each voxel by bounded non-linear least squares.

    .. math:: \min_{\theta, M_0} \| x - M_0 s(\theta) \|^2

    over all parameters of the model. M0 is complex and solved for inside the fit,
    :math:`M_0 = s^H x / s^H s` (variable projection, with the exact Jacobian of the projected residual). A
    parameter that never exceeds another one is fitted through the ratio of the two, whose bounds are the widest that
    the prior allows. Starts are those out of a sample of the prior whose signals match best; the fit with the lowest
    cost wins.

    Parameters
    ----------
    model : SignalModel
        Signal and Jacobian.
    targets : sequence of str, optional
        Parameters that `predict` returns; by default the model's, all of them being fitted anyway.
    basis : array_like of shape (T, k), optional
        Orthonormal compression basis. The fit then takes place in the compressed space.
    prior : Prior, optional
        Its support bounds the fit, and starts are drawn from it; by default the one that goes with the model.
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

    def __init__(
        self,
        model: SignalModel,
        targets: str | Sequence[str] | None = None,
        basis: ArrayLike | None = None,
        prior: Prior | None = None,
        *,
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
        self.n_starts = n_starts
        self.n_candidates = n_candidates
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> NLLSEstimator:
        """Prepare bounds and starts; nothing is learnt from the data, which may be left out.

        Parameters
        ----------
        X : array_like, optional
            As for `predict`; only its number of columns is looked at.
        y : array_like of shape (n, p), optional
            Targets; only its number of columns is looked at.

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
        self.target_names_ = self.model.check_names(self.targets)
        n_starts = check_count(self.n_starts, "n_starts")
        n_candidates = check_count(self.n_candidates, "n_candidates", minimum=n_starts)
        basis = None if self.basis is None else check_basis(self.basis, self.model.n_timepoints)
        prior = checked_prior(self.prior, self.model)
        if X is not None:
            X = self._signals(X, basis, reset=True)
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
        self._basis = basis
        self._scaling = _Scaling.of(self.model, prior)
        signals = self._compress(self.model.signal(self.candidates_))
        norm = np.linalg.norm(signals, axis=1, keepdims=True)
        self._directions = np.divide(signals, norm, out=np.zeros_like(signals), where=norm > 0)
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Fit the model to each voxel.

        Parameters
        ----------
        X : array_like of shape (n, T) complex, (n, k) complex or (n, 2k) real
            Signals; or, if a basis is given, signals, complex coefficients or stacked coefficients.

        Returns
        -------
        ndarray of shape (n, p)
            Targets, with symmetries folded; NaN for a row of zeros, as in a masked background.

        Raises
        ------
        ValueError
            If the number of columns does not fit, or a value is not finite.
        """
        check_is_fitted(self)
        data = self._signals(X, self._basis, reset=False)
        present = np.flatnonzero(data.any(axis=1))
        starts = self._best_starts(data[present])
        jobs = (
            delayed(_fit_voxel)(self.model, self._basis, self._scaling, row, start)
            for row, start in zip(data[present], starts, strict=True)
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

    def _compress(self, signals: NDArray) -> NDArray:
        return signals if self._basis is None else signals @ self._basis

    def _signals(self, X: ArrayLike, basis: NDArray | None, reset: bool) -> NDArray[np.complex128]:
        """Return complex data in the space of the fit."""
        values: NDArray
        if is_complex(X):
            values = check_matrix(X, "X", kind="complex")
        else:
            values = check_array(X, dtype=np.float64, input_name="X", estimator=self)
        n_timepoints = self.model.n_timepoints
        width = values.shape[1]
        complex_valued = values.dtype.kind == "c"
        if reset:
            validate_data(self, values, reset=True, skip_check_array=True)
        if complex_valued and width == n_timepoints:
            return (values if basis is None else values @ basis).astype(np.complex128)
        expected = f"complex with {n_timepoints} columns, the model's time points"
        if basis is not None:
            k = basis.shape[1]
            if complex_valued and width == k:
                return values.astype(np.complex128)
            if not complex_valued and width == 2 * k:
                return unstack_complex(values).astype(np.complex128)
            expected = f"complex ({n_timepoints} or {k} columns) or stacked real ({2 * k} columns)"
        raise ValueError(f"X must be {expected}; got {'complex' if complex_valued else 'real'} with {width} columns.")

    def _best_starts(self, data: NDArray) -> FloatArray:
        """Return the candidates that correlate best with each voxel, (n, n_starts, P)."""
        starts = np.empty((len(data), self.n_starts, self.candidates_.shape[1]))
        for i in range(0, len(data), 1024):
            match = np.abs(data[i : i + 1024] @ self._directions.conj().T)
            best = np.argsort(-match, axis=1)[:, : self.n_starts]
            starts[i : i + 1024] = self.candidates_[best]
        return starts


class _Scaling(NamedTuple):
    """Map between the model's parameters and the fit's, which run from 0 to 1 within the bounds.

    Parameters that never exceed another one are replaced by the ratio of the two, from 0 to 1 itself.
    """

    low: FloatArray
    high: FloatArray
    ratios: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, model: SignalModel, prior: Prior) -> _Scaling:
        names = model.parameter_names
        support = prior.support()
        low, high = (np.array([support[name][end] for name in names]) for end in (0, 1))
        for i, parameter in enumerate(model.parameters):
            if not np.isfinite([low[i], high[i]]).all():
                low[i], high[i] = max(low[i], parameter.bounds[0]), min(high[i], parameter.bounds[1])
            if not np.isfinite([low[i], high[i]]).all():
                raise ValueError(f"prior must bound {names[i]}, as the model does not; got ({low[i]}, {high[i]}).")
        ratios = tuple((names.index(lower), names.index(upper)) for lower, upper in model.not_above.items())
        for lower, upper in ratios:
            low[lower], high[lower] = low[lower] / high[upper], min(1.0, high[lower] / low[upper])
        return cls(low, high, ratios)

    def to_unit(self, theta: FloatArray) -> FloatArray:
        free = theta.copy()
        for lower, upper in self.ratios:
            free[lower] = theta[lower] / theta[upper]
        return (free - self.low) / (self.high - self.low)

    def from_unit(self, unit: FloatArray) -> FloatArray:
        theta = np.clip(self.low + unit * (self.high - self.low), self.low, self.high)
        for lower, upper in self.ratios:
            theta[lower] *= theta[upper]
        return theta

    def pull_back(self, jacobian: NDArray, theta: FloatArray) -> NDArray:
        """Turn derivatives by the model's parameters, (k, P), into those by the fit's."""
        by_free = jacobian.copy()
        for lower, upper in self.ratios:
            by_free[:, upper] += jacobian[:, lower] * (theta[lower] / theta[upper])
            by_free[:, lower] = jacobian[:, lower] * theta[upper]
        return by_free * (self.high - self.low)


class _Objective:
    """Projected residual of one voxel and its Jacobian; both come from one simulation."""

    def __init__(self, model: SignalModel, basis: NDArray | None, scaling: _Scaling, data: NDArray) -> None:
        self.model, self.basis, self.scaling = model, basis, scaling
        self.norm = np.linalg.norm(data)
        self.data = data / self.norm
        self.unit: FloatArray | None = None

    def residual(self, unit: FloatArray) -> FloatArray:
        self._evaluate(unit)
        return self._residual

    def jacobian(self, unit: FloatArray) -> FloatArray:
        self._evaluate(unit)
        return self._derivatives

    def _evaluate(self, unit: FloatArray) -> None:
        if self.unit is not None and np.array_equal(unit, self.unit):
            return
        theta = self.scaling.from_unit(unit)
        signal, jacobian = (values[0] for values in self.model._signal_and_jacobian(theta[None]))
        if self.basis is not None:
            signal, jacobian = signal @ self.basis, self.basis.T @ jacobian
        jacobian = self.scaling.pull_back(jacobian, theta)
        energy = np.vdot(signal, signal).real
        if energy > 0:
            m0 = np.vdot(signal, self.data) / energy
            by_m0 = (jacobian.conj().T @ self.data - 2 * m0 * (jacobian.conj().T @ signal).real) / energy
        else:
            m0, by_m0 = 0.0, np.zeros(jacobian.shape[1])
        residual = self.data - m0 * signal
        derivatives = -m0 * jacobian - np.outer(signal, by_m0)
        self._residual = np.concatenate([residual.real, residual.imag])
        self._derivatives = np.concatenate([derivatives.real, derivatives.imag])
        self.unit = unit.copy()


def _fit_voxel(
    model: SignalModel, basis: NDArray | None, scaling: _Scaling, data: NDArray, starts: FloatArray
) -> FloatArray:
    """Return the parameters, (P,), of the best of several fits."""
    objective = _Objective(model, basis, scaling, data)
    best: Any = None
    for start in starts:
        fit = least_squares(
            objective.residual,
            np.clip(scaling.to_unit(start), 1e-6, 1 - 1e-6),
            jac=objective.jacobian,
            bounds=(0.0, 1.0),
            method="trf",
            x_scale=1.0,
            ftol=_TOLERANCE,
            xtol=_TOLERANCE,
            gtol=_TOLERANCE,
            max_nfev=_MAX_EVALUATIONS,
        )
        if best is None or fit.cost < best.cost:
            best = fit
    return scaling.from_unit(best.x)

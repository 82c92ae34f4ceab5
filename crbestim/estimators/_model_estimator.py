"""What estimators that hold a signal model share: their targets, their data, and voxels without a usable signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .._validation import FloatArray, check_matrix, check_targets, is_complex, unstack_complex
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..least_squares import FitStatus
from ..signal import SignalModel
from ..signal._base import check_model
from ._seed import drawn_seed


class Voxels(NamedTuple):
    """Data as a fit takes them.

    Attributes
    ----------
    data : ndarray of shape (n, m)
        Compressed and whitened; complex unless they are real data. Rows that are not finite hold zeros.
    status : ndarray of int, (n,)
        `FitStatus.NOT_FITTED`, or why there is nothing to fit.
    """

    data: NDArray
    status: NDArray[np.int8]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows can be fitted."""
        return np.asarray(self.status == FitStatus.NOT_FITTED)


class ModelEstimator(RegressorMixin, BaseEstimator):
    """An estimator that compares data with a model's signals; learns nothing from data."""

    model: SignalModel
    targets: str | Sequence[str] | None
    basis: ArrayLike | None
    prior: Prior | None
    covariance: ArrayLike | NoiseCovariance | None
    random_state: int | np.random.RandomState | None
    target_names_: tuple[str, ...]
    n_features_in_: int
    _basis: NDArray | None
    _noise: NoiseCovariance | None
    _operator: NDArray | None
    _prior: Prior

    def _prepare(
        self, X: ArrayLike | None, y: ArrayLike | None, known: str | Sequence[str] = (), *, uses_prior: bool = True
    ) -> None:
        """Check what does not depend on the kind of estimator; raise TypeError or ValueError for what does not fit."""
        check_model(self.model)
        self.target_names_ = self.model.check_names(self.targets, known)
        self._basis = None if self.basis is None else self.model._check_basis(self.basis)
        self._noise = self.model._check_covariance(self.covariance, self._basis)
        if uses_prior or self.prior is not None:
            self._prior = checked_prior(self.prior, self.model)
        self._operator = self._basis
        if self._noise is not None:
            identity = np.eye(self.model.n_timepoints)
            self._operator = self._noise.whiten(identity if self._basis is None else self._basis)
        if X is None:
            k = None if self._basis is None else self._basis.shape[1]
            self.n_features_in_ = self.model.n_timepoints if k is None else k
            return
        data = self._voxels(X, reset=True).data
        if y is not None:
            n_targets = check_targets(y, len(data)).shape[1]
            if n_targets != len(self.target_names_):
                raise ValueError(
                    f"y must have one column for each of the targets {list(self.target_names_)}; got {n_targets}."
                )

    def _voxels(self, X: ArrayLike, reset: bool = False) -> Voxels:
        """Check data and return them in the space of the fit."""
        values: NDArray
        if is_complex(X):
            values = check_matrix(X, "X", kind="complex", finite=False)
        else:
            values = check_array(X, dtype=np.float64, input_name="X", estimator=self, ensure_all_finite=False)
        if reset:
            validate_data(self, values, reset=True, skip_check_array=True)
        finite = np.asarray(np.isfinite(values).all(axis=1))
        data = self._in_space_of_fit(values if finite.all() else np.where(finite[:, None], values, 0))
        if self._noise is not None:
            data = self._noise.whiten(data)
        status = np.full(len(values), FitStatus.NOT_FITTED, np.int8)
        status[~np.asarray(data.any(axis=1))] = FitStatus.NO_SIGNAL
        status[~finite | ~np.asarray(np.isfinite(data).all(axis=1))] = FitStatus.INVALID_INPUT
        return Voxels(data, status)

    def _sample(self, n_samples: int) -> FloatArray:
        """Draw parameters from the prior, (n_samples, P), by the estimator's seed."""
        seed = drawn_seed(self.random_state)
        sample = self._prior.sample(n_samples, random_state=seed, method="sobol")
        try:
            return self.model.check_theta(sample)
        except ValueError as error:
            raise ValueError(f"prior must give parameters that are physical: {error}") from error

    def _in_space_of_fit(self, values: NDArray) -> NDArray:
        basis, n_timepoints, width = self._basis, self.model.n_timepoints, values.shape[1]
        complex_valued = values.dtype.kind == "c"
        real_data = not complex_valued and self._takes_real_data(width)
        if (complex_valued or real_data) and width == n_timepoints:
            return (values if basis is None else values @ basis).astype(np.float64 if real_data else np.complex128)
        if real_data:
            return values.astype(np.float64)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        tags.input_tags.allow_nan = True
        return tags

"""What a fit found in each voxel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._validation import FloatArray


class FitStatus(IntEnum):
    """How the fit of a voxel ended.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import FitStatus, MonoExponentialModel, NLLSEstimator, Prior
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> signals = model.signal([[0.05], [0.5], [0.1]])  # the second beyond the prior
    >>> result = fit.estimate(np.vstack([signals, np.zeros((1, 5))]))
    >>> [FitStatus(status).name for status in result.status]
    ['CONVERGED', 'AT_BOUND', 'CONVERGED', 'NO_SIGNAL']
    >>> good = result.status == FitStatus.CONVERGED
    >>> result.targets[good].round(4).tolist()
    [[0.05], [0.1]]
    """

    #: The best fit converged between the bounds.
    CONVERGED = 0
    #: It converged with one parameter or more at a bound of the prior; `LeastSquaresResult.at_bound` tells which.
    AT_BOUND = 1
    #: The best fit ran out of iterations (or the model was not finite at any start: the estimates are NaN).
    MAX_ITERATIONS = 2
    #: The row holds zeros only, as in a masked background; the estimates are NaN.
    NO_SIGNAL = 3
    #: The row holds NaN or infinity; the estimates are NaN.
    INVALID_INPUT = 4
    #: An interrupted run has not come to this voxel; the estimates are NaN.
    NOT_FITTED = 5


@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresResult:
    r"""Fits of n voxels.

    Attributes
    ----------
    parameter_names : tuple of str
        Columns of `theta`.
    target_names : tuple of str
        Columns of `targets`.
    theta : ndarray of shape (n, P)
        All parameters as fitted, known ones included.
    targets : ndarray of shape (n, p)
        Estimates of the targets, with symmetries folded.
    m0 : ndarray of shape (n,), complex
        Amplitude :math:`M_0`.
    residual_norm : ndarray of shape (n,)
        :math:`\| L^{-1} (x - M_0 s) \|`, in the unit of the data (of whitened data, that of their covariance).
    noise_std : ndarray of shape (n,)
        Standard deviation of the noise in each real channel behind `covariance`: the one given, or
        :math:`\| r \| / \sqrt{m - q}`, with m real data points and q fitted real numbers, M0's included and those at a
        bound left out (NaN if m = q).
    n_iterations : ndarray of int, (n,)
        Steps that the best fit tried.
    status : ndarray of int, (n,)
        See `FitStatus`.
    at_bound : ndarray of bool, (n, P)
        Which parameters (for T2f its ratio to T1, and so for any parameter that never exceeds another) lie at a bound.
    covariance : ndarray of shape (n, p, p)
        Of the targets: the Cramér-Rao bound at the estimate, :math:`F^{-1} \sigma^2 / |M_0|^2`, with all fitted
        parameters and M0 unknown. inf on the diagonal, and NaN beside it, for a target that the signal does not tell
        there. Bounds of the prior are not counted as knowledge: at a bound the estimates scatter less than it tells.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Prior
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> result = fit.estimate(2 * model.signal([[0.05], [0.12]]))
    >>> len(result), result.target_names
    (2, ('T2',))
    >>> result.targets.round(4).tolist(), result.m0.real.round(4).tolist()
    ([[0.05], [0.12]], [2.0, 2.0])
    >>> result.to_frame().columns.tolist()
    ['T2', 'T2_std', 'm0', 'residual_norm', 'noise_std', 'n_iterations', 'status']
    """

    parameter_names: tuple[str, ...]
    target_names: tuple[str, ...]
    theta: FloatArray
    targets: FloatArray
    m0: NDArray[np.complex128]
    residual_norm: FloatArray
    noise_std: FloatArray
    n_iterations: NDArray[np.intp]
    status: NDArray[np.int8]
    at_bound: NDArray[np.bool_]
    covariance: FloatArray

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        counts = ", ".join(f"{status.name} {(self.status == status).sum()}" for status in FitStatus)
        return f"LeastSquaresResult({len(self)} voxels: {counts})"

    @property
    def std(self) -> FloatArray:
        """Standard deviation of each target, (n, p): the square root of the covariance's diagonal."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a voxel.

        Returns
        -------
        DataFrame
            The targets, their standard deviations with the suffix ``_std``, `m0`, `residual_norm`, `noise_std`,
            `n_iterations`, and the name of the `status`.
        """
        table = pd.DataFrame(self.targets, columns=list(self.target_names))
        for name, std in zip(self.target_names, self.std.T, strict=True):
            table[f"{name}_std"] = std
        for name in ("m0", "residual_norm", "noise_std", "n_iterations"):
            table[name] = getattr(self, name)
        table["status"] = [FitStatus(status).name for status in self.status]
        return table

    @classmethod
    def _empty(
        cls, parameter_names: tuple[str, ...], target_names: tuple[str, ...], status: NDArray[np.int8]
    ) -> LeastSquaresResult:
        """Return a result of voxels that are not fitted: NaN, with a status."""
        n, n_parameters, n_targets = len(status), len(parameter_names), len(target_names)

        def nan(*shape: int) -> FloatArray:
            return np.full((n, *shape), np.nan)

        return cls(
            parameter_names,
            target_names,
            theta=nan(n_parameters),
            targets=nan(n_targets),
            m0=nan().astype(np.complex128),
            residual_norm=nan(),
            noise_std=nan(),
            n_iterations=np.zeros(n, np.intp),
            status=status.copy(),
            at_bound=np.zeros((n, n_parameters), np.bool_),
            covariance=nan(n_targets, n_targets),
        )

    def _put(self, rows: NDArray | slice, part: LeastSquaresResult) -> None:
        """Fill in the fits of some of the voxels."""
        for name in VOXEL_ARRAYS:
            getattr(self, name)[rows] = getattr(part, name)


VOXEL_ARRAYS = tuple(field.name for field in fields(LeastSquaresResult) if not field.name.endswith("_names"))

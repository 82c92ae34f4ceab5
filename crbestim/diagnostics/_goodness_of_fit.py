"""Whether signals look like those of the model."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .._validation import FloatArray, check_positive, numeric_array
from ..datasets import Prior
from ..estimators import NLLSEstimator
from ..least_squares import FitStatus, LeastSquaresResult
from ..signal import SignalModel

_FIRST_ITERATIONS = 12
_SIGNIFICANCE = 1e-3


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    r"""How well the model explains each voxel.

    Attributes
    ----------
    chi_square : ndarray of shape (...)
        :math:`\| x - \hat M_0 s(\hat\theta) \|^2 / \sigma^2`; NaN where there is no signal,
        inf beyond the range of numbers.
    n_degrees : ndarray of shape (...)
        Degrees of freedom: real data points, less the real numbers that were fitted and lie at no bound.
    p_value : ndarray of shape (...)
        Probability of a greater value if the model holds; NaN where there is no signal.
    flagged : ndarray of bool, (...)
        Whether the voxel does not look like a signal of the model: `p_value` below the significance, or not finite
        data. Voxels of zeros, as in a masked background, are not flagged.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NoiseModel, Prior, goodness_of_fit
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> images = NoiseModel.at_snr(100).add_to(model.signal(np.full((32, 1), 0.08)), np.random.default_rng(0))
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> fit = goodness_of_fit(model, images.reshape(4, 4, 2, 5), noise_std=0.01, prior=prior, verbose=0)
    >>> fit.chi_square.shape, round(float(fit.n_degrees[0, 0, 0]))  # 10 real data points, T2 and a complex M0
    ((4, 4, 2), 7)
    >>> bool(((fit.p_value < 0.001) == fit.flagged).all())
    True
    """

    chi_square: FloatArray
    n_degrees: FloatArray
    p_value: FloatArray
    flagged: NDArray[np.bool_]


def goodness_of_fit(
    model: SignalModel,
    X: ArrayLike,
    noise_std: float,
    *,
    basis: ArrayLike | None = None,
    prior: Prior | None = None,
    init: Any = None,
    significance: float = _SIGNIFICANCE,
    covariates: ArrayLike | pd.DataFrame | None = None,
    known: Any = (),
    verbose: int = 1,
    random_state: int | np.random.RandomState | None = 0,
) -> GoodnessOfFit:
    r"""Flag signals that no tissue of the prior could have given, such as those of artefacts, flow or mixtures.

    A network answers to any input. This compares each voxel with the model itself: a few steps of least squares from
    the network's estimate, and where these leave a significant residual, a full fit from several starts, so that no
    voxel is flagged for want of a fit. If the model holds, the residual follows a :math:`\chi^2` distribution, as
    far as the model is linear within the noise and the parameters are not held by the prior's bounds.

    Parameters
    ----------
    model : SignalModel
        The model.
    X : array_like of shape (..., m), or as `NLLSEstimator.predict` takes it
        Signals, or coefficients if a basis is given; images with any leading shape.
    noise_std : float
        Standard deviation of the noise in each real channel (see `estimate_noise_std`).
    basis : array_like of shape (T, k), optional
        Compression basis.
    prior : Prior, optional
        Bounds of the fit; by default those that go with the model.
    init : estimator, optional
        Fitted, such as the network whose maps are to be judged; where it starts from.
    significance : float, default=1e-3
        Share of good voxels that may be flagged.
    covariates, known
        As for `NLLSEstimator`.
    verbose : int, default=1
        0: no progress bars.
    random_state : int, RandomState or None, default=0
        Seed of the starts.

    Returns
    -------
    GoodnessOfFit

    Raises
    ------
    TypeError, ValueError
        As `NLLSEstimator`; if `significance` does not lie between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NoiseModel, Prior, goodness_of_fit
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> signals = model.signal([[0.05], [0.12]])
    >>> signals[1, 2] = 0  # an artefact
    >>> noisy = NoiseModel.at_snr(100).add_to(signals, np.random.default_rng(0))
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> goodness_of_fit(model, noisy, noise_std=0.01, prior=prior, verbose=0).flagged.tolist()
    [False, True]
    """
    noise_std = check_positive(noise_std, "noise_std")
    if not 0 < check_positive(significance, "significance") < 1:
        raise ValueError(f"significance must lie between 0 and 1; got {significance}.")
    values = numeric_array(X, "X")
    if values.ndim < 2 or not values.size:
        raise ValueError(f"X must have shape (..., points) with at least two dimensions; got {values.shape}.")
    rows = values.reshape(-1, values.shape[-1])
    fit = NLLSEstimator(
        model, basis=basis, prior=prior, init=init, known=known, verbose=verbose, random_state=random_state
    ).fit()  # fmt: skip
    found = goodness_of(fit, rows, noise_std, significance, covariates)
    return GoodnessOfFit(*(array.reshape(values.shape[:-1]) for array in vars(found).values()))


def goodness_of(
    fit: NLLSEstimator,
    rows: NDArray,
    noise_std: float,
    significance: float = _SIGNIFICANCE,
    covariates: ArrayLike | pd.DataFrame | None = None,
) -> GoodnessOfFit:
    """Return the goodness of fit of rows of data, (n, m), by a fitted estimator: quick, and thorough where needed."""
    quick = copy(fit)
    quick.n_starts, quick.max_iterations = 1, _FIRST_ITERATIONS
    result = quick.estimate(rows, covariates=covariates)
    doubtful = np.flatnonzero(_chi_square(result, noise_std)[2] < significance)
    if len(doubtful):
        result._put(doubtful, fit.estimate(rows[doubtful], covariates=_rows_of(covariates, doubtful)))
    chi_square, n_degrees, p_value = _chi_square(result, noise_std)
    flagged = (p_value < significance) | (result.status == FitStatus.INVALID_INPUT)
    return GoodnessOfFit(chi_square, n_degrees, p_value, flagged)


def _chi_square(result: LeastSquaresResult, noise_std: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return chi square, degrees of freedom and the probability of a greater chi square, (n,) each."""
    # The fit's own estimate of the noise is the residual over the root of the degrees of freedom.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        n_degrees = (result.residual_norm / result.noise_std) ** 2
        chi_square = (result.residual_norm / noise_std) ** 2
    return chi_square, n_degrees, stats.chi2.sf(chi_square, n_degrees)


def _rows_of(covariates: ArrayLike | pd.DataFrame | None, rows: NDArray[np.intp]) -> ArrayLike | pd.DataFrame | None:
    if covariates is None:
        return None
    return covariates.iloc[rows] if isinstance(covariates, pd.DataFrame) else np.asarray(covariates)[rows]

"""The best that any estimator can do under a prior: the posterior mean, by importance sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from .._validation import FloatArray, check_count, check_option
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..datasets._priors import unit_cube
from ..noise import NoiseModel
from ..signal import SignalModel
from ._mixture_sampling import Drawn, Settings, Weighted, effective_size, sample_posterior
from ._model_estimator import ModelEstimator
from ._posterior_target import NormalCoordinates, energy_and_overlap, marginal_likelihood
from ._seed import drawn_seed

_ROWS = 8  # voxels of a job
_IMPOSSIBLE = -1e30  # logarithm of the likelihood where the model is not finite
_GREATEST_DATA = 1e100  # in units of the noise, so that squares stay in the range of numbers
_NEGLIGIBLE = 1e-4  # of the mean weight: points whose bound is not computed


@dataclass(frozen=True, eq=False, repr=False)
class PosteriorResult:
    r"""Posterior moments of n voxels; NaN for one without a usable signal.

    Attributes
    ----------
    target_names : tuple of str
        Columns of the arrays of shape (n, p).
    mean : ndarray of shape (n, p)
        Posterior mean :math:`E[\theta_i | x]`.
    crb_weighted_mean : ndarray of shape (n, p)
        :math:`E[\theta_i / C_i | x] / E[1 / C_i | x]`; `mean` where no point of the posterior has a finite bound.
    std : ndarray of shape (n, p)
        Posterior standard deviation.
    expected_crb_loss : ndarray of shape (n, p)
        :math:`E[(\theta_i - \hat\theta_i)^2 / C_i | x]` of `crb_weighted_mean`. Its mean over voxels that are drawn
        from prior and noise model is the least CRB loss that any estimator has, with less scatter than that of the
        errors themselves.
    effective_sample_size : ndarray of shape (n,)
        Kish's effective number of samples behind `mean` and `std`: 1 / sum(w^2) of the normalised weights.
    crb_effective_sample_size : ndarray of shape (n, p)
        The same behind `crb_weighted_mean`.
    log_evidence : ndarray of shape (n,)
        Logarithm of the density of the data (in the space of the fit: compressed and whitened, if they are).

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NoiseModel, PosteriorMean, Prior
    >>> model = MonoExponentialModel([0.02, 0.04, 0.08, 0.16])
    >>> prior, noise = Prior({"T2": stats.uniform(0.03, 0.17)}), NoiseModel(noise_std=0.02, m0_range=(0.5, 1.0))
    >>> X = noise.add_to(model.signal([[0.08]]), 0)
    >>> estimator = PosteriorMean(model, prior=prior, noise=noise, n_candidates=1024, verbose=0, random_state=0).fit()
    >>> result = estimator.estimate(X)
    >>> result.mean.shape, result.std.shape, result.effective_sample_size.shape
    ((1, 1), (1, 1), (1,))
    >>> result.to_frame().columns.tolist()[:2]
    ['T2', 'T2_crb_weighted']
    """

    target_names: tuple[str, ...]
    mean: FloatArray
    crb_weighted_mean: FloatArray
    std: FloatArray
    expected_crb_loss: FloatArray
    effective_sample_size: FloatArray
    crb_effective_sample_size: FloatArray
    log_evidence: FloatArray

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        sizes = self.effective_sample_size[np.isfinite(self.effective_sample_size)]
        least = f", effective sample size {sizes.min():.0f} or more" if len(sizes) else ""
        return f"PosteriorResult({len(self)} voxels{least})"

    def to_frame(self) -> pd.DataFrame:
        """Return one row a voxel.

        Returns
        -------
        DataFrame
            For each target its `mean`, and with suffixes ``_crb_weighted``, ``_std``, ``_expected_crb_loss`` and
            ``_crb_effective_sample_size`` the rest; `effective_sample_size` and `log_evidence`.
        """
        table = pd.DataFrame(self.mean, columns=list(self.target_names))
        columns = {
            "crb_weighted": self.crb_weighted_mean,
            "std": self.std,
            "expected_crb_loss": self.expected_crb_loss,
            "crb_effective_sample_size": self.crb_effective_sample_size,
        }
        for suffix, values in columns.items():
            for name, column in zip(self.target_names, values.T, strict=True):
                table[f"{name}_{suffix}"] = column
        table["effective_sample_size"] = self.effective_sample_size
        table["log_evidence"] = self.log_evidence
        return table


class Posterior(NamedTuple):
    """Weighted sample of one voxel's posterior.

    Attributes
    ----------
    theta : ndarray of shape (N, P)
        Parameters.
    weight : ndarray of shape (N,)
        Of sum 1.
    mean_square : ndarray of shape (N,)
        Mean of :math:`|M_0|^2` at each of them.
    log_evidence : float
        Logarithm of the density of the data.
    """

    theta: FloatArray
    weight: FloatArray
    mean_square: FloatArray
    log_evidence: float


class PosteriorMean(ModelEstimator):
    r"""Estimate parameters by their posterior mean under a prior and a noise model: a yardstick for networks.

    A network that is trained on tissues of a `Prior` with the amplitudes and the noise of a `NoiseModel` learns the
    estimator that minimises its loss on average over all of them. For the mean squared error that is the posterior
    mean :math:`E[\theta_i | x]`; for the CRB loss, the mean of :math:`(\hat\theta_i - \theta_i)^2 / C_i`, it is

    .. math:: \hat\theta_i = E[\theta_i / C_i \,|\, x] \, / \, E[1 / C_i \,|\, x], \qquad
        C_i = \mathrm{CRB}_i(\theta) \, \sigma^2 / |M_0|^2.

    No estimator has a smaller expected loss, so the loss of this one tells how much a network could still gain.

    The data are NOT normalised: they must have the amplitude and the noise of `noise`, with :math:`|M_0|` in
    `noise.m0_range` for a signal of the model at :math:`M_0 = 1` and `noise.noise_std` the standard deviation of each
    real channel.

    M0 is integrated out numerically for every point. All parameters are then sampled in coordinates in which the prior
    is a standard normal distribution: a mixture of Student distributions is fitted to the posterior, starting from a
    sample of the prior that all voxels share, with a power of the likelihood that grows to 1 (population Monte Carlo);
    all points of all rounds are weighted by the mixture of all that they were drawn from (adaptive multiple
    importance sampling). The effective sample sizes of the result tell how well that went.

    Parameters
    ----------
    model : SignalModel
        Signals and bounds.
    targets : sequence of str, optional
        Parameters that `predict` returns; by default the model's `default_targets`.
    basis : array_like of shape (T, k), optional
        Orthonormal compression basis. Data and bound are then the compressed ones. Without one, the shared sample
        takes 8 (16 for complex signals) times n_candidates times T bytes.
    prior : Prior, optional
        Of the parameters; by default the one that goes with the model.
    noise : NoiseModel, default=NoiseModel()
        Prior of M0 (uniform in modulus and phase; positive for real data), and the noise. If that is coloured, its
        covariance is that of the signals or, with a basis, that of the coefficients.
    weight : {"crb", None}, default="crb"
        Whether `predict` returns the CRB-weighted or the plain posterior mean.
    n_samples : int, default=4000
        Draws of the last round, in which the mixture is no longer adapted.
    n_adaptation_samples : int, default=1000
        Draws of each other round.
    n_candidates : int, default=32768
        Size of the shared sample of the prior.
    n_components : int, default=20
        Student distributions of the mixture, of which those that are not needed are dropped.
    max_iterations : int, default=30
        Rounds a voxel.
    n_jobs : int, optional
        Processes among which voxels are spread (see joblib).
    verbose : int, default=1
        0: no progress bar.
    random_state : int, RandomState or None, default=None
        Seed of the sample and of the draws for each row.

    Attributes
    ----------
    target_names_ : tuple of str
        Names of the columns that `predict` returns.
    n_features_in_ : int
        Number of columns of X in `fit`; without a call of `fit` with data, T (with a basis, k).

    See Also
    --------
    CRBWeightedRegressor : What comes close to it in microseconds a voxel.

    Notes
    -----
    A parameter that the model's `target_values` fold, such as B0, is sampled within its fold, if the prior's other
    parameters do not depend on it. Parts of the posterior that no point comes near are missed without notice: more
    candidates make that less likely. Far tails, such as that of m0s where Rx comes near 0, hold few points.

    References
    ----------
    O. Cappé, R. Douc, A. Guillin, J.-M. Marin and C. P. Robert, Adaptive importance sampling in general mixture
    classes, Stat. Comput. 18, 2008.
    J.-M. Cornuet, J.-M. Marin, A. Mira and C. P. Robert, Adaptive multiple importance sampling, Scand. J. Stat. 39,
    2012.
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel
    >>> model = MonoExponentialModel([0.02, 0.04, 0.08, 0.16])
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> noise = NoiseModel(noise_std=0.02, m0_range=(0.5, 1.0))
    >>> X = noise.add_to(model.signal([[0.08]]).astype(complex), 0)
    >>> estimator = PosteriorMean(model, prior=prior, noise=noise, n_candidates=1024, verbose=0, random_state=0).fit()
    >>> estimator.predict(X).shape
    (1, 1)
    """

    def __init__(
        self,
        model: SignalModel,
        targets: str | Sequence[str] | None = None,
        basis: ArrayLike | None = None,
        prior: Prior | None = None,
        *,
        noise: NoiseModel = NoiseModel(),  # noqa: B008 - immutable
        weight: Literal["crb"] | None = "crb",
        n_samples: int = 4000,
        n_adaptation_samples: int = 1000,
        n_candidates: int = 2**15,
        n_components: int = 20,
        max_iterations: int = 30,
        n_jobs: int | None = None,
        verbose: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.targets = targets
        self.basis = basis
        self.prior = prior
        self.noise = noise
        self.weight = weight
        self.n_samples = n_samples
        self.n_adaptation_samples = n_adaptation_samples
        self.n_candidates = n_candidates
        self.n_components = n_components
        self.max_iterations = max_iterations
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @property
    def covariance(self) -> ArrayLike | NoiseCovariance | None:  # type: ignore[override]
        """That of the noise model."""
        return self.noise.covariance

    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> PosteriorMean:
        """Simulate the sample of the prior; nothing is learnt from the data, which may be left out.

        Parameters
        ----------
        X : array_like, optional
            As for `predict`; only its number of columns is looked at.
        y : array_like of shape (n, p), optional
            Targets; only its number of columns is looked at.

        Returns
        -------
        PosteriorMean
            Itself.

        Raises
        ------
        TypeError, ValueError
            If arguments do not fit each other, or the prior leaves the physical ranges.
        """
        if not isinstance(self.noise, NoiseModel):
            raise TypeError(f"noise must be a NoiseModel; got {type(self.noise).__name__}.")
        check_option(self.weight, "weight", ("crb", None))
        self._settings = Settings(
            check_count(self.n_samples, "n_samples", minimum=100),
            check_count(self.n_adaptation_samples, "n_adaptation_samples", minimum=100),
            check_count(self.n_components, "n_components"),
            check_count(self.max_iterations, "max_iterations"),
        )
        n_candidates = check_count(self.n_candidates, "n_candidates", minimum=100)
        self._prepare(X, y)
        self._seed = drawn_seed(self.random_state)
        self._coordinates = NormalCoordinates.of(self.model, self._prior)
        self._normal = ndtri(unit_cube(n_candidates, len(self.model.parameters), self._seed, "sobol"))
        self._signals = self.model._checked_signal(self._coordinates.theta(self._normal), self._operator)
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the posterior mean of the targets, CRB-weighted or plain.

        Parameters
        ----------
        X : array_like of shape (n, T) complex, (n, k) complex or (n, 2k) real
            Signals; or, if a basis is given, signals, complex coefficients or stacked coefficients, with the amplitude
            and the noise of `noise`. For a model of real data, signals and coefficients, (n, k), may be real.

        Returns
        -------
        ndarray of shape (n, p)
            With symmetries folded. NaN for a row of zeros, as in a masked background, and for one that is not finite.

        Raises
        ------
        ValueError
            If the number of columns does not fit, or values are beyond all noise (1e100 standard deviations).
        """
        result = self.estimate(X)
        return result.mean if self.weight is None else result.crb_weighted_mean

    def estimate(self, X: ArrayLike) -> PosteriorResult:
        """Return both posterior means, with standard deviations and effective sample sizes.

        Parameters
        ----------
        X : array_like
            As for `predict`.

        Returns
        -------
        PosteriorResult

        Raises
        ------
        ValueError
            As `predict`.
        """
        check_is_fitted(self)
        voxels = self._voxels(X)
        if np.abs(voxels.data).max() > _GREATEST_DATA * self.noise.noise_std:
            raise ValueError(
                "X must have the amplitude and the noise of the noise model; got values of up to "
                f"{np.abs(voxels.data).max():g} for a noise_std of {self.noise.noise_std:g}."
            )
        present = np.flatnonzero(voxels.present)
        n, p = len(voxels.data), len(self.target_names_)
        shapes = [(n, p)] * 4 + [(n,), (n, p), (n,)]
        columns = [np.full(shape, np.nan) for shape in shapes]
        with tqdm(total=len(present), desc="posterior", unit="voxel", disable=not self.verbose) as progress:
            for rows, found in self._blocks(voxels.data, present):
                for column, values in zip(columns, found, strict=True):
                    column[rows] = values
                progress.update(len(rows))
        return PosteriorResult(self.target_names_, *columns)

    def _blocks(self, data: NDArray, present: NDArray[np.intp]) -> Iterator[tuple[NDArray, list[FloatArray]]]:
        """Yield rows, and what was found for them."""
        signed = self._is_signed(data)
        blocks = [present[first : first + _ROWS] for first in range(0, len(present), _ROWS)]
        jobs = (delayed(self._block)(data[rows], rows, signed) for rows in blocks)
        yield from zip(blocks, Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs), strict=True)

    def _block(self, data: NDArray, rows: NDArray[np.intp], signed: bool) -> list[FloatArray]:
        moments = [self._moments(self._posterior(x, int(row), signed)) for x, row in zip(data, rows, strict=True)]
        return [np.array(column) for column in zip(*moments, strict=True)]

    def _is_signed(self, data: NDArray) -> bool:
        """Tell whether data are real ones, whose M0 is positive."""
        return self.model.real_valued and not (data.dtype.kind == "c" and bool(data.imag.any()))

    def _posterior(self, x: NDArray, row: int, signed: bool) -> Posterior:
        """Sample the posterior of one row of data, (m,)."""
        noise_std, m0_range = self.noise.noise_std, self.noise.m0_range
        x = x.real if signed else x

        def evaluate(normal: FloatArray, signals: NDArray) -> Drawn:
            energy, overlap = energy_and_overlap(signals, x, signed)
            log_likelihood, mean_square = marginal_likelihood(energy, overlap, noise_std, m0_range, signed=signed)
            finite = np.isfinite(log_likelihood)
            return Drawn(normal, np.where(finite, log_likelihood, _IMPOSSIBLE), np.where(finite, mean_square, 0.0))

        def draw(normal: FloatArray) -> Drawn:
            theta = self._coordinates.theta(normal)
            return evaluate(normal, self.model._checked_signal(theta, self._operator))

        first = evaluate(self._normal, self._signals)
        sample: Weighted = sample_posterior(draw, first, self._settings, np.random.default_rng([self._seed, row]))
        channels = len(x) if signed else 2 * len(x)
        power = float(np.vdot(x, x).real)
        constant = power / (2 * noise_std**2) + channels / 2 * np.log(2 * np.pi * noise_std**2)
        used = sample.weight > _NEGLIGIBLE / len(sample.weight)
        weight = sample.weight[used] / sample.weight[used].sum()
        theta = self._coordinates.theta(sample.normal[used])
        return Posterior(theta, weight, sample.mean_square[used], sample.log_evidence - constant)

    def _moments(self, posterior: Posterior) -> tuple[FloatArray | float, ...]:
        theta, weight, mean_square, log_evidence = posterior
        names = self.target_names_
        values = self.model.target_values(theta, names)
        bounds = self.model._stream_bounds(theta, names, (self._basis,), (), (self.covariance,))
        bound = np.concatenate([part for _, _, (part,) in bounds])
        mean = weight @ values
        std = np.sqrt(weight @ (values - mean) ** 2)
        information = (mean_square / self.noise.noise_std**2)[:, None] / bound
        by_information = weight[:, None] * np.where(np.isfinite(bound), information, 0.0)
        total = by_information.sum(axis=0)
        told = total > 0
        by_information /= np.where(told, total, 1.0)
        weighted = np.where(told, (by_information * values).sum(axis=0), mean)
        loss = total * (by_information * (values - weighted) ** 2).sum(axis=0)
        size = np.divide(1.0, (by_information**2).sum(axis=0), out=np.zeros(len(names)), where=told)
        return mean, weighted, std, loss, effective_size(weight), size, log_evidence

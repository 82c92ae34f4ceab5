"""Compression to a subspace that keeps the Cramér-Rao bound instead of the energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._validation import FloatArray, check_count, check_option, check_positive
from ..bounds import cramer_rao_bound
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..signal import SignalModel
from ..signal._base import check_model
from ._seed import drawn_seed
from ._subspace import leading_vectors
from ._svd_compressor import SVDCompressor

_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
_LARGEST_AUTO = 40
_HELD_OUT = 512


class CRBSVDCompressor(SVDCompressor):
    r"""Compress complex signals to k coefficients that keep the Cramér-Rao bound of chosen parameters.

    The k largest singular vectors of the signals keep their energy, not what they tell. Here the basis is that of the
    normalised signals together with the normalised parts of the derivatives that no other derivative, nor the signal,
    can take the place of. With the Jacobian :math:`J = Q R`, derivatives by M0 included, these are the columns
    :math:`u_p` of :math:`Q R^{-H}`, whose squared norms are the bounds, and the basis holds the leading
    eigenvectors of

    .. math:: (1 - w)\, \overline{s s^H / \|s\|^2} + w\, \overline{u_p u_p^H / \|u_p\|^2},

    averaged over tissues of the prior and, on the right, over the targets. A basis that contains :math:`u_p` of a
    tissue leaves its bound of parameter p as it is.

    Parameters
    ----------
    model : SignalModel
        What makes signals and derivatives.
    n_components : int or "auto", default=13
        Number of coefficients k. "auto": the least one that keeps :math:`\sqrt{\mathrm{CRB}}` of every target within
        `tolerance` at the median.
    targets : sequence of str, optional
        Parameters whose bounds are to be kept; by default those of the model that are not known.
    prior : Prior, optional
        Where tissues are drawn from; by default the one that goes with the model.
    known : sequence of str, default=()
        Parameters that are known.
    weight : float or "auto", default="auto"
        w, from 0 (the singular vectors of the signals) to 1 (exclusive). "auto": that with the smallest product of two
        inflations, that of the targets' :math:`\sqrt{\mathrm{CRB}}` (median over held-out tissues, geometric mean over
        the targets) and that of the amplitude M0 by itself, the inverse root of the energy that is kept.
    tolerance : float, default=0.05
        For ``n_components="auto"``.
    n_samples : int, default=2048
        Number of tissues.
    random_state : int, RandomState or None, default=None
        Seed of the tissues.

    Attributes
    ----------
    basis_ : ndarray of shape (T, k)
        Basis V; real if signals and derivatives are. The largest entry of each vector is real and positive.
    n_components_ : int
        k.
    weight_ : float
        w.
    inflation_ : Series of length p
        Median over held-out tissues of the ratio of :math:`\sqrt{\mathrm{CRB}}`, compressed to full, for each target.
    explained_energy_ratio_ : ndarray of shape (k,)
        Share of the energy of the normalised signals that each vector explains.
    n_features_in_ : int
        T.

    See Also
    --------
    SVDCompressor : The basis that keeps the energy.

    Notes
    -----
    Jacobians exist for one chunk of tissues at a time; two matrices of shape (T, T) are kept. The noise is taken to be
    white.

    References
    ----------
    A. Mao, S. Flassbeck, C. Gultekin and J. Assländer, Cramér-Rao bound optimized subspace reconstruction in
    quantitative MRI, arXiv:2305.00326, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import CRBSVDCompressor, MonoExponentialModel, Prior
    >>> model = MonoExponentialModel(np.arange(1, 33) * 0.01)
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> compressor = CRBSVDCompressor(model, n_components="auto", prior=prior, n_samples=128, random_state=0).fit()
    >>> compressor.basis_.shape == (32, compressor.n_components_)
    True
    >>> bool(compressor.inflation_["T2"] < 1.05)  # of sqrt(CRB), by the compression
    True
    >>> compressor.transform(model.signal([[0.05], [0.1]])).shape == (2, 2 * compressor.n_components_)
    True
    """

    n_components: int | Literal["auto"]  # type: ignore[assignment]

    def __init__(
        self,
        model: SignalModel,
        n_components: int | Literal["auto"] = 13,
        *,
        targets: str | Sequence[str] | None = None,
        prior: Prior | None = None,
        known: str | Sequence[str] = (),
        weight: float | Literal["auto"] = "auto",
        tolerance: float = 0.05,
        n_samples: int = 2048,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.n_components = n_components
        self.targets = targets
        self.prior = prior
        self.known = known
        self.weight = weight
        self.tolerance = tolerance
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: ArrayLike | None = None, y: object = None) -> CRBSVDCompressor:
        """Find the basis; it depends on model and prior alone.

        Parameters
        ----------
        X : array_like of shape (n, T), optional
            Signals; only their number of columns and their kind are looked at.
        y : ignored

        Returns
        -------
        CRBSVDCompressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If arguments do not fit each other, no tissue has a finite bound, `n_components` are too few to tell the
            targets, or no k up to 40 keeps the tolerance.
        """
        check_model(self.model)
        names = self.model.check_names(self.targets, self.known)
        n_samples = check_count(self.n_samples, "n_samples", minimum=2)
        is_automatic = isinstance(self.weight, str) and self.weight == "auto"
        weights = _WEIGHTS if is_automatic else (_checked_weight(self.weight),)
        n_largest, tolerance = self._checked_size()
        prior = checked_prior(self.prior, self.model)
        self._look_at(X)
        seed = drawn_seed(self.random_state)
        tissues = self.model.check_theta(prior.sample(n_samples + _HELD_OUT, random_state=seed))
        problem = _Problem(self.model, names, self.known)
        signals, derivatives = problem.gram_matrices(tissues[:n_samples])
        automatic = isinstance(self.n_components, str)
        bases = [
            leading_vectors((1 - w) * signals + w * derivatives, n_largest, at_most=automatic)[0] for w in weights
        ]
        n_largest = min(basis.shape[1] for basis in bases)
        sizes = range(1, n_largest + 1) if automatic else [n_largest]
        held_out = tissues[n_samples:]
        full = problem.bounds(held_out)
        inflation = np.array([problem.inflation(held_out, full, basis, sizes) for basis in bases])
        energy = [((signals @ basis) * basis.conj()).sum(axis=0).real for basis in bases]
        kept = np.array([np.cumsum(shares)[np.array(sizes) - 1] for shares in energy])
        chosen, size = _choice(inflation, kept, tolerance, names)
        if not np.isfinite(inflation[chosen, size]).all():
            raise ValueError(
                f"n_components={n_largest} are too few: they leave bounds of {list(names)} infinite at the median. "
                "Each unknown parameter, and M0, takes a coefficient at least."
            )
        self.weight_, self.n_components_ = weights[chosen], int(sizes[size])
        self.basis_ = bases[chosen][:, : self.n_components_]
        self.inflation_ = pd.Series(inflation[chosen, size], index=list(names))
        self.explained_energy_ratio_ = energy[chosen][: self.n_components_]
        return self

    def _checked_size(self) -> tuple[int, float]:
        """Largest number of components to be looked at, and the inflation that is allowed of one that is chosen."""
        n_timepoints = self.model.n_timepoints
        if isinstance(self.n_components, str):
            check_option(self.n_components, "n_components", ("auto",))
            return min(_LARGEST_AUTO, n_timepoints), check_positive(self.tolerance, "tolerance")
        n_components = check_count(self.n_components, "n_components")
        if n_components > n_timepoints:
            raise ValueError(f"n_components={n_components} exceeds the {n_timepoints} time points of the signal.")
        return n_components, np.inf

    def _look_at(self, X: ArrayLike | None) -> None:
        """Remember the kind of signals and their number of columns."""
        if X is None:
            self._complex, self.n_features_in_ = not self.model.real_valued, self.model.n_timepoints
            return
        signals = self._check_signals(X, reset=True)
        if signals.shape[1] != self.model.n_timepoints:
            raise ValueError(f"X must have the model's {self.model.n_timepoints} time points; got {signals.shape[1]}.")
        self._complex = signals.dtype.kind == "c"


class _Problem(NamedTuple):
    """A model, the targets whose bounds are to be kept, and the known parameters."""

    model: SignalModel
    targets: tuple[str, ...]
    known: str | Sequence[str]

    def gram_matrices(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        """Mean outer products of the normalised signals and of the parts that tell the targets, both (T, T)."""
        n_timepoints = self.model.n_timepoints
        signals, derivatives = (np.zeros((n_timepoints, n_timepoints)) for _ in range(2))
        n_signals = n_derivatives = 0
        for signal, jacobian in self._chunks(theta, None):
            norm = np.linalg.norm(signal, axis=1, keepdims=True)
            rows = (signal / np.where(norm > 0, norm, 1.0))[norm[:, 0] > 0]
            signals, n_signals = signals + rows.conj().T @ rows, n_signals + len(rows)
            rows = _telling_parts(jacobian, len(self.targets))
            derivatives, n_derivatives = derivatives + rows.conj().T @ rows, n_derivatives + len(rows)
        if not n_derivatives:
            raise ValueError("prior: no tissue tells the targets; their bounds are all infinite.")
        return signals / n_signals, derivatives / n_derivatives

    def bounds(self, theta: FloatArray) -> FloatArray:
        """Bounds of the targets in the full data, (n, p)."""
        return np.concatenate([cramer_rao_bound(j)[:, : len(self.targets)] for _, j in self._chunks(theta, None)])

    def inflation(self, theta: FloatArray, full: FloatArray, basis: NDArray, sizes: Sequence[int]) -> FloatArray:
        """Median ratio of sqrt(CRB), compressed to full, for each size and target."""
        n_targets = len(self.targets)
        compressed = np.concatenate([j for _, j in self._chunks(theta, basis)])
        medians = []
        for size in sizes:
            bound = cramer_rao_bound(compressed[:, :size])[:, :n_targets]
            with np.errstate(invalid="ignore"):
                ratio = np.sqrt(bound / full)
            medians.append(np.nanmedian(np.where(np.isfinite(full), ratio, np.nan), axis=0))
        return np.array(medians)

    def _chunks(self, theta: FloatArray, basis: NDArray | None) -> Iterator[tuple[NDArray, NDArray]]:
        """Signals and all unknown columns of the Jacobian, those of the targets first."""
        return self.model._stream_unknowns(theta, self.targets, basis, self.known)


def _telling_parts(jacobian: NDArray, n_targets: int) -> NDArray:
    """Unit vectors along the part of each target's derivative that is orthogonal to all other columns, (m, T).

    Those are the columns of Q R^-H; samples where a column vanishes or depends on others are left out.
    """
    is_complex = jacobian.dtype.kind == "c"
    stacked = np.concatenate([jacobian.real, jacobian.imag], axis=1) if is_complex else jacobian
    norm = np.linalg.norm(stacked, axis=1, keepdims=True)
    regular = (norm > 0).all(axis=(1, 2))
    q, r = np.linalg.qr(stacked[regular] / norm[regular])
    told = np.abs(np.diagonal(r, axis1=1, axis2=2)).min(axis=1) > len(q[0]) * np.finfo(float).eps
    parts = q[told] @ np.swapaxes(np.linalg.inv(r[told]), 1, 2)[:, :, :n_targets]
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    half = jacobian.shape[1]
    if is_complex:
        parts = parts[:, :half] + 1j * parts[:, half:]
    return np.swapaxes(parts, 1, 2).reshape(-1, half)


def _checked_weight(weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float, np.integer, np.floating)):
        raise TypeError(f"weight must be a number or 'auto'; got {weight!r}.")
    if not 0 <= weight < 1:
        raise ValueError(f"weight must lie in [0, 1); got {weight:g}.")
    return float(weight)


def _choice(inflation: FloatArray, energy: FloatArray, tolerance: float, names: Sequence[str]) -> tuple[int, int]:
    """Return weight and size of the best subspace of the least size within the tolerance.

    From inflations, (weight, size, target), and shares of the energy that are kept, (weight, size).
    """
    within: NDArray[np.bool_] = np.all(inflation <= 1 + tolerance, axis=2)
    if not within.any():
        best = dict(zip(names, inflation[:, -1].min(axis=0).round(3).tolist(), strict=True))
        raise ValueError(
            f"tolerance={tolerance:g} is not kept by {inflation.shape[1]} coefficients, which inflate sqrt(CRB) by "
            f"{best}."
        )
    size = int(within.any(axis=0).argmax())
    score = np.exp(np.log(inflation[:, size]).mean(axis=1)) / np.sqrt(energy[:, size])
    return int(np.argmin(np.where(within[:, size], score, np.inf))), size

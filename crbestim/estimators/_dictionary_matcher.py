"""Dictionary matching, as in magnetic resonance fingerprinting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from .._validation import FloatArray, check_count, check_names, check_positive, numeric_array
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..signal import SignalModel
from ._dictionary import Dictionary
from ._model_estimator import ModelEstimator

_ROWS = 4096  # voxels between two updates of the progress bar


class DictionaryMatcher(ModelEstimator):
    r"""Return for each voxel the parameters of the simulated signal that matches it best.

    .. math:: \arg\max_j \; | s_j^H C^{-1} x | \, / \, \| L^{-1} s_j \|

    with the noise's covariance :math:`C = L L^H` (1 if it is white): the least squares over the entries
    :math:`\theta_j` of a dictionary and M0. (For real data without the absolute value: M0 is positive, if an entry
    allows that.) Estimates
    are those of entries and nothing between them, so that the error has a floor: the distance of entries, which grows
    quickly with the number of parameters. See `NLLSEstimator` for one without it.

    Parameters
    ----------
    model : SignalModel
        Signals.
    targets : sequence of str, optional
        Parameters that `predict` returns; by default the model's `default_targets`.
    basis : array_like of shape (T, k), optional
        Orthonormal compression basis. The matching then takes place in the compressed space.
    prior : Prior, optional
        From which entries are drawn; by default the one that goes with the model. Not needed for entries that are
        given.
    entries : int, mapping of str to array_like, array_like or DataFrame of shape (K, P), default=100_000
        The number of entries that are drawn from the prior (a scrambled Sobol sequence); or, for every parameter, the
        values of a grid, in SI units, of which combinations that violate `model.not_above` are left out; or the
        entries themselves, as `model.signal` takes them.
    covariance : array_like of shape (T, T) or (k, k), or NoiseCovariance, optional
        Of coloured noise, in any unit: that of the signals, or with a basis that of the coefficients. By default the
        noise is white.
    memory_limit : float, default=2e9
        Bytes that the dictionary may take; a larger one is refused.
    verbose : int, default=1
        0: no progress bar.
    random_state : int, RandomState or None, default=None
        Seed of the entries that are drawn.

    Attributes
    ----------
    dictionary_theta_ : ndarray of shape (K, P)
        Parameters of the entries.
    target_names_ : tuple of str
        Names of the columns that `predict` returns.
    n_features_in_ : int
        Number of columns of X in `fit`; without a call of `fit` with data, T (with a basis, k).

    See Also
    --------
    NLLSEstimator : Finds values between the entries, and error bars.

    References
    ----------
    D. Ma, V. Gulani, N. Seiberlich et al., Magnetic resonance fingerprinting, Nature 495, 2013.
    D. F. McGivney, E. Pierre, D. Ma et al., SVD compression for magnetic resonance fingerprinting in the time domain,
    IEEE Trans. Med. Imaging 33, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import DictionaryMatcher, MonoExponentialModel
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> matcher = DictionaryMatcher(model, entries={"T2": np.arange(30, 201) * 1e-3}, verbose=0).fit()  # steps of 1 ms
    >>> targets, m0 = matcher.predict(2j * model.signal([[0.0503]]), return_m0=True)
    >>> targets.round(3).tolist(), m0.imag.round(2).tolist()
    ([[0.05]], [2.0])
    """

    def __init__(
        self,
        model: SignalModel,
        targets: str | Sequence[str] | None = None,
        basis: ArrayLike | None = None,
        prior: Prior | None = None,
        *,
        entries: int | Mapping[str, ArrayLike] | ArrayLike | pd.DataFrame = 100_000,
        covariance: ArrayLike | NoiseCovariance | None = None,
        memory_limit: float = 2e9,
        verbose: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.targets = targets
        self.basis = basis
        self.prior = prior
        self.entries = entries
        self.covariance = covariance
        self.memory_limit = memory_limit
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> DictionaryMatcher:
        """Simulate the dictionary; nothing is learnt from the data, which may be left out.

        Parameters
        ----------
        X : array_like, optional
            As for `predict`; only its number of columns is looked at.
        y : array_like of shape (n, p), optional
            Targets; only its number of columns is looked at.

        Returns
        -------
        DictionaryMatcher
            Itself.

        Raises
        ------
        TypeError, ValueError
            If arguments do not fit each other, or the dictionary would exceed the memory limit.
        """
        self._prepare(X, y, uses_prior=self._are_drawn)
        limit = check_positive(self.memory_limit, "memory_limit")
        n_points = self.model.n_timepoints if self._operator is None else self._operator.shape[1]
        bytes_an_entry = 16 * n_points + 8 * (len(self.model.parameters) + 1)  # directions may be complex
        theta = self._entries(int(limit // bytes_an_entry))
        self._dictionary = Dictionary.of(self.model, self._operator, theta)
        if not (self._dictionary.norm > 0).any():
            raise ValueError("entries: none of them has a signal, so that there is nothing to match.")
        self.dictionary_theta_ = theta
        return self

    def predict(self, X: ArrayLike, *, return_m0: bool = False) -> Any:
        """Find the entry that matches each voxel best.

        Parameters
        ----------
        X : array_like of shape (n, T) complex, (n, k) complex or (n, 2k) real
            Signals; or, if a basis is given, signals, complex coefficients or stacked coefficients. For a model of
            real data, signals and coefficients, (n, k), may be real.
        return_m0 : bool, default=False
            Whether to return the amplitude, too.

        Returns
        -------
        targets : ndarray of shape (n, p)
            With symmetries folded. NaN for a row of zeros, as in a masked background, and for one that is not finite.
        m0 : ndarray of shape (n,), complex
            Only with `return_m0`: the amplitude with which the entry fits best, or NaN.

        Raises
        ------
        ValueError
            If the number of columns does not fit.
        """
        check_is_fitted(self)
        voxels = self._voxels(X)
        targets = np.full((len(voxels.data), len(self.target_names_)), np.nan)
        m0 = np.full(len(targets), np.nan, np.complex128)
        present = np.flatnonzero(voxels.present)
        theta, directions, norm = self._dictionary
        with tqdm(total=len(present), desc="matching", unit="voxel", disable=not self.verbose) as progress:
            for first in range(0, len(present), _ROWS):
                rows = present[first : first + _ROWS]
                data = voxels.data[rows]
                entry = self._dictionary.best(data / np.abs(data).max(axis=1, keepdims=True))
                targets[rows] = self.model.target_values(theta[entry], self.target_names_)
                m0[rows] = (directions[:, entry].T.conj() * data).sum(axis=1) / norm[entry]
                progress.update(len(rows))
        return (targets, m0) if return_m0 else targets

    @property
    def _are_drawn(self) -> bool:
        """Whether entries are a number of samples of the prior."""
        return isinstance(self.entries, (int, np.integer)) and not isinstance(self.entries, bool)

    def _entries(self, most: int) -> FloatArray:
        """Return the parameters of the entries, of which there are at most so many."""
        entries: Any = self.entries
        names = self.model.parameter_names
        if isinstance(entries, Mapping):
            grid = self._axes(entries)
            n_entries = int(np.prod([len(axis) for axis in grid], dtype=np.float64))
        elif self._are_drawn:
            n_entries = check_count(entries, "entries")
        else:
            theta = self._checked_entries(entries)
            n_entries = len(theta)
        if n_entries > most:
            raise ValueError(
                f"entries: a dictionary of {n_entries:.4g} entries needs more than the memory_limit of "
                f"{self.memory_limit:.3g} bytes, which suffices for {most}."
            )
        if isinstance(entries, Mapping):
            theta = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(names))
            for lower, upper in self.model.not_above.items():
                theta = theta[theta[:, names.index(lower)] <= theta[:, names.index(upper)]]
            if not len(theta):
                raise ValueError(f"entries: no combination obeys {dict(self.model.not_above)} (lower and upper).")
            return self._checked_entries(theta)
        return self._sample(n_entries) if self._are_drawn else theta

    def _checked_entries(self, theta: ArrayLike | pd.DataFrame) -> FloatArray:
        if not isinstance(theta, pd.DataFrame) and np.ndim(theta) == 0:
            raise TypeError(
                f"entries must be an integer, a mapping of names to values, or a table; got {type(theta).__name__}."
            )
        try:
            return self.model.check_theta(theta)
        except (TypeError, ValueError) as error:
            raise type(error)(f"entries: {error}") from error

    def _axes(self, grid: Mapping[str, ArrayLike]) -> list[FloatArray]:
        """Return the values of each parameter, in the model's order."""
        names = self.model.parameter_names
        check_names(tuple(grid), names, "entries")
        missing = [name for name in names if name not in grid]
        if missing:
            raise ValueError(f"entries must have values for all of {list(names)}; {missing} are missing.")
        axes = []
        for name in names:
            axis = np.atleast_1d(numeric_array(grid[name], f"entries[{name!r}]"))
            if axis.ndim != 1 or axis.dtype.kind == "c" or not len(axis):
                raise ValueError(f"entries[{name!r}] must hold real values, (n,); got {axis.dtype} {axis.shape}.")
            axes.append(axis.astype(np.float64))
        return axes

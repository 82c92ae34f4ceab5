"""Compression of signals to the coefficients of their largest singular vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from .._validation import (
    ComplexArray,
    FloatArray,
    check_basis,
    check_count,
    check_matrix,
    is_complex,
    stack_complex,
    unstack_complex,
)
from ._subspace import leading_vectors

_CHUNK_ROWS = 4096


class SVDCompressor(TransformerMixin, BaseEstimator):
    r"""Compress complex signals to k coefficients, stacked as real numbers [Re | Im].

    The basis V holds the k largest right singular vectors of the training signals (not centred); coefficients are
    :math:`c = x V`, and :math:`x \approx c V^H`.

    Parameters
    ----------
    n_components : int, default=13
        Number of coefficients k. Not used if a basis is given.
    basis : array_like of shape (T, k), optional
        Orthonormal basis that is used as it is, such as the one of a reconstruction.

    Attributes
    ----------
    basis_ : ndarray of shape (T, k)
        Basis V; real if the training signals are. The largest entry of each vector is real and positive.
    n_components_ : int
        k.
    explained_energy_ratio_ : ndarray of shape (k,)
        Share of the training signals' energy (not of their variance) that each vector explains.
    n_features_in_ : int
        T.

    See Also
    --------
    CRBSVDCompressor : A basis that keeps the bound instead of the energy.
    io.save_basis : Writes the basis for a reconstruction.

    References
    ----------
    D. McGivney et al., SVD compression for magnetic resonance fingerprinting in the time domain, IEEE Trans. Med.
    Imaging 33, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import MonoExponentialModel, SVDCompressor
    >>> model = MonoExponentialModel(np.arange(1, 33) * 0.01)
    >>> signals = model.signal(np.linspace(0.03, 0.2, 50)[:, None])
    >>> compressor = SVDCompressor(n_components=4).fit(signals)
    >>> coefficients = compressor.transform(signals)
    >>> coefficients.shape
    (50, 8)
    >>> bool(np.allclose(compressor.inverse_transform(coefficients), signals, atol=1e-2))
    True
    >>> bool(np.allclose(compressor.stack_coefficients(signals @ compressor.basis_), coefficients))
    True
    >>> compressor.get_feature_names_out()[:2].tolist()
    ['real0', 'real1']
    """

    n_features_in_: int

    def __init__(self, n_components: int = 13, basis: ArrayLike | None = None) -> None:
        self.n_components = n_components
        self.basis = basis

    def fit(self, X: ArrayLike, y: object = None) -> SVDCompressor:
        """Learn the basis.

        Parameters
        ----------
        X : array_like of shape (n, T), complex or real
            Clean signals. Real ones make a compressor of real data, whose imaginary parts are zero.
        y : ignored

        Returns
        -------
        SVDCompressor
            Itself.

        Raises
        ------
        TypeError
            If X does not hold numbers.
        ValueError
            If X is not a finite (n, T) array, `n_components` exceeds its rank, or a given basis does not fit.
        """
        X = self._check_signals(X, reset=True)
        self._complex = X.dtype.kind == "c"
        total = _energy(X)
        if self.basis is None:
            n_components = check_count(self.n_components, "n_components")
            self.basis_, energies = _right_singular_vectors(X, n_components)
        else:
            self.basis_ = check_basis(self.basis, X.shape[1])
            if not self._complex and self.basis_.dtype.kind == "c":
                raise ValueError("basis must be real for real X; it is complex.")
            energies = _component_energies(X, self.basis_)
        self.n_components_ = self.basis_.shape[1]
        self.explained_energy_ratio_ = energies / total if total > 0 else np.zeros_like(energies)
        return self

    def transform(self, X: ArrayLike) -> FloatArray:
        """Compress signals.

        Parameters
        ----------
        X : array_like of shape (n, T), complex or real
            Signals.

        Returns
        -------
        ndarray of shape (n, 2k)
            [Re c | Im c].

        Raises
        ------
        ValueError
            If X is not a finite (n, T) array.
        TypeError
            If X is real, but was complex in `fit`.
        """
        check_is_fitted(self)
        X = self._check_signals(X, reset=False)
        if self._complex and X.dtype.kind != "c":
            raise TypeError(f"X must be complex, as it was in fit; got real ({X.dtype}).")
        coefficients = X @ self.basis_
        return stack_complex(coefficients)

    def inverse_transform(self, X: ArrayLike) -> ComplexArray:
        """Expand coefficients to signals.

        Parameters
        ----------
        X : array_like of shape (n, 2k)
            [Re c | Im c].

        Returns
        -------
        ndarray of shape (n, T), complex

        Raises
        ------
        ValueError
            If X is not a finite real (n, 2k) array.
        """
        check_is_fitted(self)
        stacked = check_matrix(X, "X", n_columns=2 * self.n_components_)
        return unstack_complex(stacked) @ self.basis_.conj().T

    def stack_coefficients(self, C: ArrayLike) -> FloatArray:
        """Turn complex coefficients made in `basis_` into what `transform` returns.

        Parameters
        ----------
        C : array_like of shape (n, k), complex
            Coefficients, such as those of a reconstruction; real ones if the signals in `fit` were real.

        Returns
        -------
        ndarray of shape (n, 2k)

        Raises
        ------
        TypeError
            If C is real, but the signals in `fit` were complex.
        ValueError
            If it does not have k columns or is not finite.
        """
        check_is_fitted(self)
        kind = "complex" if self._complex else "either"
        return stack_complex(check_matrix(C, "C", kind=kind, n_columns=self.n_components_))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return names of the output's columns: real0, real1, ..., imag0, imag1, ....

        Parameters
        ----------
        input_features : array_like of str, optional
            Checked against the names seen in `fit`, otherwise not used.

        Returns
        -------
        ndarray of shape (2k,), object
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        return np.array([f"{part}{i}" for part in ("real", "imag") for i in range(self.n_components_)], dtype=object)

    def _takes_real_data(self, n_columns: int) -> bool:
        """Real arrays are real signals; if `fit` saw complex ones, `transform` refuses them."""
        return True

    def _check_signals(self, X: ArrayLike, reset: bool) -> NDArray:
        if is_complex(X):
            X = check_matrix(X, "X", kind="complex")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _energy(X: NDArray) -> float:
    with np.errstate(over="ignore"):
        energy = float(np.square(np.linalg.norm(X)))
    if not np.isfinite(energy):
        raise ValueError(f"X has values whose squares are beyond the range of numbers: {np.abs(X).max():g}.")
    return energy


def _component_energies(X: NDArray, basis: NDArray) -> FloatArray:
    return (np.abs(X @ basis) ** 2).sum(axis=0)


def _right_singular_vectors(X: NDArray, n_components: int) -> tuple[NDArray, FloatArray]:
    """Largest right singular vectors, (T, k), and their energies, from the Gram matrix X^H X.

    It is summed in double precision over chunks of rows, and real if X is.
    """
    n, n_timepoints = X.shape
    if n_components > min(n, n_timepoints):
        raise ValueError(
            f"n_components={n_components} exceeds the rank of X, at most min(n_samples = {n}, "
            f"n_features = {n_timepoints})."
        )
    dtype = np.complex128 if np.iscomplexobj(X) and np.any(X.imag) else np.float64
    gram = np.zeros((n_timepoints, n_timepoints), dtype=dtype)
    for start in range(0, n, _CHUNK_ROWS):
        rows = X[start : start + _CHUNK_ROWS]
        rows = rows.astype(dtype) if dtype is np.complex128 else np.ascontiguousarray(rows.real, dtype=dtype)
        gram += rows.conj().T @ rows
    basis, energies = leading_vectors(gram, n_components)
    return basis.astype(X.dtype if dtype is np.complex128 else X.real.dtype), energies

"""Fitted compressors as plain values and a basis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import check_basis
from ..estimators import SVDCompressor
from ._format import Arrays, check_names_or_none, plain_entries, take


def pack_compressor(compressor: SVDCompressor) -> tuple[dict[str, Any], Arrays]:
    """Return what prediction needs to know of a fitted compressor, and the settings that plain values can tell."""
    basis = compressor.basis_
    is_complex = basis.dtype.kind == "c"
    arrays = {"basis.real": basis.real} | ({"basis.imag": basis.imag} if is_complex else {})
    arrays["explained_energy_ratio"] = np.asarray(compressor.explained_energy_ratio_, dtype=np.float64)
    names = getattr(compressor, "feature_names_in_", None)
    return {
        "class": type(compressor).__name__,
        "settings": plain_entries(compressor.get_params(deep=False)),
        "complex_signals": compressor._complex,
        "feature_names": None if names is None else names.tolist(),
        "basis_dtype": str(basis.real.dtype),
        # The product with a single signal differs in its last bit from one layout to the other.
        "basis_order": "C" if basis.flags.c_contiguous else "F",
        "basis_complex": is_complex,
    }, arrays


def unpack_compressor(description: dict[str, Any], arrays: Arrays) -> SVDCompressor:
    """Return a fitted compressor with the same basis as a setting, so that a clone of it is of the same basis, too.

    Raises
    ------
    ValueError
        If there is no orthonormal basis, or it is not what the description tells.
    """
    basis = _basis(description, arrays)
    n_timepoints, n_components = basis.shape
    compressor = SVDCompressor(n_components, basis=basis)
    compressor.basis_ = basis
    compressor.n_components_ = n_components
    compressor.n_features_in_ = n_timepoints
    compressor.explained_energy_ratio_ = take(arrays, "explained_energy_ratio", (n_components,))
    compressor._complex = bool(description["complex_signals"])
    names = check_names_or_none(description["feature_names"], n_timepoints, "the names of the signal's columns")
    if names is not None:
        compressor.feature_names_in_ = np.array(names, dtype=object)
    return compressor


def _basis(description: dict[str, Any], arrays: Arrays) -> NDArray:
    dtype = description["basis_dtype"]
    if dtype not in ("float64", "float32"):
        raise ValueError(f"the basis must be of type float64 or float32; got {dtype!r}")
    basis = take(arrays, "basis.real", dtype=dtype)
    if description["basis_complex"]:
        whole = np.empty(basis.shape, dtype=np.result_type(basis, np.complex64))
        whole.real, whole.imag = basis, take(arrays, "basis.imag", basis.shape, dtype)
        basis = whole
    return np.array(check_basis(basis), order=description["basis_order"])

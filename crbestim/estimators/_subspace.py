"""Leading vectors of a subspace, from a sum of outer products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from .._validation import FloatArray


def leading_vectors(gram: NDArray, n_components: int, *, at_most: bool = False) -> tuple[NDArray, FloatArray]:
    """Return the leading eigenvectors, (T, k), of a Gram matrix X^H X, and their energies, (k,).

    The largest entry of each vector is real and positive. Energies below rounding (of the largest) count as zero; with
    `at_most`, there are fewer vectors if fewer energies are above zero.

    Raises
    ------
    ValueError
        If fewer energies are above zero, unless `at_most`.
    """
    n_timepoints = len(gram)
    energies, vectors = eigh(gram, subset_by_index=(n_timepoints - n_components, n_timepoints - 1))
    energies, vectors = energies[::-1], vectors[:, ::-1]
    rank = int((energies > n_timepoints * np.finfo(float).eps * energies[0]).sum()) if energies[0] > 0 else 0
    if at_most:
        n_components = min(rank, n_components)
        energies, vectors = energies[:n_components], vectors[:, :n_components]
    if rank < n_components:
        raise ValueError(f"n_components={n_components} exceeds the numerical rank of X, {rank}.")
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)]
    return vectors * (np.abs(largest) / largest), energies

"""Directions of simulated signals, and how well data match them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ..signal import SignalModel

_BLOCK_BYTES = 2**24  # of the matches that are held at a time


class Dictionary(NamedTuple):
    """Signals of unit norm with their parameters.

    Attributes
    ----------
    theta : ndarray of shape (K, P)
        Parameters of the entries.
    directions : ndarray of shape (K, m)
        Their signals divided by the norm; zeros for an entry without a finite signal.
    norm : ndarray of shape (K,)
        What they were divided by.
    """

    theta: FloatArray
    directions: NDArray
    norm: FloatArray

    @classmethod
    def of(
        cls, model: SignalModel, operator: NDArray | None, theta: FloatArray, dtype: type[np.floating] = np.float64
    ) -> Dictionary:
        """Simulate entries as an operator, (T, m), sees them, and keep them in a precision."""
        n_points = model.n_timepoints if operator is None else operator.shape[1]
        norm = np.empty(len(theta))
        directions: NDArray = np.empty((len(theta), n_points), dtype)
        for chunk in model._chunks(len(theta), 2):
            signal = model._checked_signal(theta[chunk], operator)
            if signal.dtype.kind == "c" and directions.dtype.kind != "c":
                directions = directions.astype(np.result_type(dtype, np.complex64))
            norm[chunk] = np.linalg.norm(signal, axis=1)
            usable = np.isfinite(norm[chunk]) & (norm[chunk] > 0)
            unit = np.divide(signal, norm[chunk][:, None], out=np.zeros_like(signal), where=usable[:, None])
            directions[chunk] = unit
        return cls(theta, directions, norm)

    def match(self, data: NDArray, entries: slice = slice(None)) -> NDArray:
        """Return how well each row of data, (n, m), matches each entry, (n, K).

        That is the inner product with the entry, or, for complex data with an M0 of any phase, its squared modulus.
        """
        directions = self.directions[entries]
        dtype = directions.real.dtype
        if data.dtype.kind != "c":
            return data.astype(dtype) @ directions.T
        real, imag = data.real.astype(dtype), data.imag.astype(dtype)
        if directions.dtype.kind == "c":
            product = (real + 1j * imag) @ directions.conj().T
            real_part, imaginary_part = product.real, product.imag
        else:
            real_part, imaginary_part = real @ directions.T, imag @ directions.T
        match = np.square(real_part)
        imaginary_part *= imaginary_part
        match += imaginary_part
        return match

    def blocks(self, n: int) -> Iterator[tuple[slice, slice]]:
        """Yield blocks of n rows of data and, for each of them, blocks of entries, whose matches fit in the cache."""
        n_entries = min(len(self.theta), 2**14)
        n_rows = max(1, _BLOCK_BYTES // (8 * n_entries))
        for row in range(0, n, n_rows):
            for entry in range(0, len(self.theta), n_entries):
                yield slice(row, min(row + n_rows, n)), slice(entry, min(entry + n_entries, len(self.theta)))

    def best(self, data: NDArray) -> NDArray[np.intp]:
        """Return the entry that matches each row of data, (n, m), best."""
        index, value = np.zeros(len(data), np.intp), np.full(len(data), -np.inf)
        for rows, entries in self.blocks(len(data)):
            match = self.match(data[rows], entries)
            best = match.argmax(axis=1)
            top = match[np.arange(len(match)), best]
            better = top > value[rows]
            index[rows] = np.where(better, best + entries.start, index[rows])
            value[rows] = np.where(better, top, value[rows])
        return index

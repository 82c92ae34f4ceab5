"""Directions of simulated signals, and how well data match them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .._threads import run_blocks
from .._validation import FloatArray
from ..signal import SignalModel

_ENTRIES, _ROWS = 1024, 64  # that a thread works on at a time: their matches stay in the cache


class Dictionary(NamedTuple):
    """Signals of unit norm with their parameters.

    Attributes
    ----------
    theta : ndarray of shape (K, P)
        Parameters of the entries.
    directions : ndarray of shape (m, K)
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
        directions: NDArray = np.empty((n_points, len(theta)), dtype)
        for chunk in model._chunks(len(theta), 2):
            signal = model._checked_signal(theta[chunk], operator)
            if signal.dtype.kind == "c" and directions.dtype.kind != "c":
                directions = directions.astype(np.result_type(dtype, np.complex64))
            norm[chunk] = np.linalg.norm(signal, axis=1)
            usable = np.isfinite(norm[chunk]) & (norm[chunk] > 0)
            unit = np.divide(signal, norm[chunk][:, None], out=np.zeros_like(signal), where=usable[:, None])
            directions[:, chunk] = unit.T
        return cls(theta, directions, norm)

    def match(self, data: NDArray) -> NDArray:
        """Return how well each row of data, (n, m), matches each entry, (n, K).

        That is the inner product with the entry, or, for complex data with an M0 of any phase, its squared modulus.
        """
        directions = self.directions
        dtype = directions.real.dtype
        if data.dtype.kind != "c":
            return data.astype(dtype) @ directions
        real, imag = data.real.astype(dtype), data.imag.astype(dtype)
        if directions.dtype.kind == "c":
            product = (real + 1j * imag) @ directions.conj()
            real_part, imaginary_part = product.real, product.imag
        else:
            real_part, imaginary_part = real @ directions, imag @ directions
        match = np.square(real_part)
        imaginary_part *= imaginary_part
        match += imaginary_part
        return match

    def best(self, data: NDArray) -> NDArray[np.intp]:
        """Return the entry that matches each row of data, (n, m), best, the first of equal ones."""
        rows, directions = data, self.directions
        if directions.dtype.kind == "c":  # Re(s^H x) and Im(s^H x) are inner products of real vectors
            directions = np.concatenate([directions.real, directions.imag])
            rows = np.concatenate([data, -1j * data], axis=1)
        real, imag = (np.ascontiguousarray(part, dtype=np.float64) for part in (rows.real, rows.imag))
        index = np.zeros(len(data), np.intp)
        signed = data.dtype.kind != "c"
        run_blocks(
            lambda block: _best_entries(real[block], imag[block], directions, signed, index[block]), len(data), _ROWS
        )
        return index


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract"})
def _best_entries(real, imag, directions, signed, index):  # type: ignore[no-untyped-def]
    n, n_points = real.shape
    n_entries = directions.shape[1]
    best = np.full(n, -np.inf)
    first_part, second_part = np.empty(_ENTRIES), np.empty(_ENTRIES)
    for first in range(0, n_entries, _ENTRIES):
        size = min(_ENTRIES, n_entries - first)
        for i in range(n):
            first_part[:size] = 0.0
            second_part[:size] = 0.0
            for t in range(n_points):
                x, y = real[i, t], imag[i, t]
                entries = directions[t, first : first + size]
                for k in range(size):
                    first_part[k] += x * entries[k]
                if not signed:
                    for k in range(size):
                        second_part[k] += y * entries[k]
            if not signed:
                for k in range(size):
                    first_part[k] = first_part[k] * first_part[k] + second_part[k] * second_part[k]
            for k in range(size):
                if first_part[k] > best[i]:
                    best[i], index[i] = first_part[k], first + k

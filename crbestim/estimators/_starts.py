"""Starts of a fit: entries of a dictionary that match the data and lie apart from each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .._threads import run_blocks
from .._validation import FloatArray
from ..least_squares._problem import Problem
from ._dictionary import Dictionary
from ._subspace import leading_vectors

# Data of more points are searched in so many leading components of the dictionary.
_MOST_POINTS, _COMPONENTS = 48, 24
# Of so many parts of the dictionary the best entries are looked at. A further start is the one that matches best of
# those whose rank among all entries differs in some parameter by more than this fraction.
_PARTS, _APART = 256, 0.5
_NEAR = 4  # known values: the nearest quarter of the entries
_ROWS = 32  # voxels that a thread takes at a time


class StartSearch(NamedTuple):
    """A dictionary in which starts are searched.

    Attributes
    ----------
    dictionary : Dictionary
        Entries.
    subspace : ndarray of shape (m, r) or None
        Projection of the data onto the dictionary's points.
    places : ndarray of shape (K, P)
        Rank of each entry in each parameter, from 0 to 1, with symmetries folded.
    known : ndarray of int
        Columns of the known parameters.
    """

    dictionary: Dictionary
    subspace: NDArray | None
    places: FloatArray
    known: NDArray[np.intp]

    @classmethod
    def of(cls, problem: Problem, theta: FloatArray) -> StartSearch:
        """Simulate the entries, (K, P)."""
        model, operator, scaling = problem
        n_points = model.n_timepoints if operator is None else operator.shape[1]
        subspace = None
        if n_points > _MOST_POINTS:
            gram: NDArray = np.zeros((n_points, n_points))
            for chunk in model._chunks(min(len(theta), 2048), 2):
                signal = model._checked_signal(theta[chunk], operator)
                gram = gram + signal.conj().T @ signal
            # Right singular vectors: signals are rows, so that they project as signals @ vectors.
            subspace, _ = leading_vectors(gram, _COMPONENTS, at_most=True)
            operator = subspace if operator is None else operator @ subspace
        folded = model._target_values(theta).copy()
        for lower, upper in scaling.ratios:
            folded[:, lower] /= folded[:, upper]
        places = folded.argsort(axis=0).argsort(axis=0) / len(theta)
        return cls(Dictionary.of(model, operator, theta, np.float32), subspace, places, scaling.known)

    def starts(self, data: NDArray, known: FloatArray, n_starts: int) -> FloatArray:
        """Return starts of each row of data, (n, n_starts, P), with its known values, (n, len(known))."""
        chosen = np.empty((len(data), n_starts), np.intp)
        if self.subspace is not None:
            data = data @ self.subspace
        step = max(1, 2**22 // len(self.dictionary.theta))
        for first in range(0, len(data), step):
            rows = slice(first, first + step)
            match = self.dictionary.match(data[rows])
            if len(self.known):
                match[self._far_from(known[rows])] = -np.inf
            self._choose(match, chosen[rows])
        starts = self.dictionary.theta[chosen]
        starts[:, :, self.known] = known[:, None, :]
        return starts

    def _choose(self, match: NDArray[np.float32], chosen: NDArray[np.intp]) -> None:
        n_parts = min(match.shape[1], max(_PARTS, chosen.shape[1]))
        run_blocks(lambda rows: _best_apart(match[rows], self.places, n_parts, chosen[rows]), len(match), _ROWS)

    def _far_from(self, known: FloatArray) -> NDArray[np.bool_]:
        """Tell which entries, (n, K), are not among the quarter that is nearest in the known values."""
        entries = self.dictionary.theta[:, self.known]
        spread = np.ptp(entries, axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        distance = sum(
            np.subtract.outer(values, entry) ** 2
            for values, entry in zip((known / scale).T, (entries / scale).T, strict=True)
        )
        n_near = max(1, len(entries) // _NEAR)
        return np.asarray(distance > np.partition(distance, n_near - 1, axis=1)[:, n_near - 1 : n_near])


@njit(cache=True, error_model="numpy", nogil=True)
def _best_apart(match, places, n_parts, chosen):  # type: ignore[no-untyped-def]
    """Choose entries, (n, n_starts), by matches, (n, K), and places, (K, P)."""
    n, n_entries = match.shape
    n_starts, n_parameters = chosen.shape[1], places.shape[1]
    best = np.empty(n_parts, np.int64)
    value = np.empty(n_parts, np.float32)
    apart = np.empty(n_parts)
    for i in range(n):
        for part in range(n_parts):
            first, last = part * n_entries // n_parts, (part + 1) * n_entries // n_parts
            best[part] = first + np.argmax(match[i, first:last])
            value[part] = match[i, best[part]]
            apart[part] = np.inf
        order = np.argsort(-value)
        for start in range(n_starts):
            taken = -1
            for candidate in order:
                if apart[candidate] > _APART and value[candidate] > -np.inf:
                    taken = candidate
                    break
            if taken < 0:  # none is as far as wanted from all others: the farthest
                for candidate in order:
                    if value[candidate] > -np.inf and (taken < 0 or apart[candidate] > apart[taken]):
                        taken = candidate
            chosen[i, start] = best[taken]
            for part in range(n_parts):
                distance = 0.0
                for j in range(n_parameters):
                    distance = max(distance, abs(places[best[part], j] - places[best[taken], j]))
                apart[part] = min(apart[part], distance)

"""A long simulation in parts, and what is kept of them in a directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._array_log import ArrayLog, damaged
from .._files import digest_of
from .._validation import FloatArray
from ..covariance import NoiseCovariance
from ..signal import SignalModel

ORIGIN = "fingerprints.json"
_MOST_SAMPLES = 2048  # of a part
_SHARE = 0.5  # of the memory limit that a part may take
_N_CHECKED, _N_TIMES = 4, 16  # of the fingerprint: samples and points of their signals


def split(n: int, chunk: int, bytes_per_sample: int, memory_limit: int) -> list[slice]:
    """Divide n samples into parts of whole chunks, in which they are simulated anyway, or of smaller ones."""
    most = min(_MOST_SAMPLES, max(1, int(_SHARE * memory_limit) // bytes_per_sample))
    size = most if chunk > most else most // chunk * chunk
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


class FingerprintLog:
    """Finished parts of a simulation, as files of an `ArrayLog`.

    Parameters
    ----------
    path : path-like
        Directory; it is made if it does not exist.
    model : SignalModel
        What makes the signals; it is known again by some of them, up to rounding.
    theta : ndarray of shape (n, P)
        Tissues.
    targets, known : tuple of str
        Of the bound.
    basis : ndarray of shape (T, k) or None
        Compression.
    noise : NoiseCovariance or None
        Of coloured noise.
    arrays : mapping of str to ndarray of n rows
        The result, which is written and read in parts.
    parts : list of slice
        Their rows.

    Raises
    ------
    TypeError, ValueError
        If it is no directory, cannot be read, is in use, or belongs to other data or settings.
    """

    def __init__(
        self,
        path: Any,
        model: SignalModel,
        theta: FloatArray,
        targets: tuple[str, ...],
        known: tuple[str, ...],
        basis: NDArray | None,
        noise: NoiseCovariance | None,
        arrays: Mapping[str, NDArray],
        parts: list[slice],
    ) -> None:
        settings = {
            "model": [repr(type(model)), model.parameter_names],
            "targets": targets,
            "known": known,
            "part": parts[0].stop,
            "arrays": {name: [array.shape[1:], array.dtype.str] for name, array in arrays.items()},
        }
        given = [theta, basis, None if noise is None else noise.matrix]
        digest = digest_of(settings, *(np.zeros(0) if array is None else array for array in given))
        self._arrays, self._parts = arrays, parts
        self._log = ArrayLog.of(path, ORIGIN, "a simulation", digest, _fingerprint(model, theta, targets, known))

    def close(self) -> None:
        """Let other runs use the directory."""
        self._log.close()

    def take(self, number: int) -> bool:
        """Put a finished part into its rows, or tell that it is not there."""
        found = self._log.read(number)
        if found is None:
            return False
        rows = {name: array[self._parts[number]] for name, array in self._arrays.items()}
        expected = {name: (own.shape, own.dtype) for name, own in rows.items()}
        if {name: (array.shape, array.dtype) for name, array in found.items()} != expected:
            raise damaged(self._log.file(number))
        for name, own in rows.items():
            own[:] = found[name]
        return True

    def keep(self, number: int) -> None:
        """Write a part that is finished."""
        self._log.write(number, **{name: array[self._parts[number]] for name, array in self._arrays.items()})


def _fingerprint(
    model: SignalModel, theta: FloatArray, targets: tuple[str, ...], known: tuple[str, ...]
) -> FloatArray:
    """Some numbers that follow from the model, equal up to rounding for the same one."""
    few = theta[:_N_CHECKED]
    times = np.linspace(0, model.n_timepoints - 1, _N_TIMES).astype(int)
    signals = model.signal(few)[:, times]
    return np.concatenate(
        [part.ravel() for part in (signals.real, signals.imag, model.crb(few, targets, known=known))]
    )

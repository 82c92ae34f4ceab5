"""A record of evaluations, from which an interrupted minimisation is repeated up to where it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import check_origin, write_whole
from .._numpy_files import read_npz, refusing_damage
from .._validation import FloatArray

_FORMAT = 1
_PERIOD = 10.0  # s between two writes, at least
_SHARE = 0.05  # of the time may go into writing
_AGREEMENT = 1e-6  # of values of the same function


class OutOfTimeError(Exception):
    """The time is up."""


class Recorder:
    """Evaluates a function once for each argument, and keeps value, gradient and time in a file.

    A minimiser without randomness asks for the same arguments again when it is started again: it is answered from the
    record as long as there is one, and so comes to the same result as if it had never been interrupted. The last
    evaluation of a file is repeated, to see that the function is still the same.

    Parameters
    ----------
    path : Path or None
        File. It is replaced as a whole.
    digest : str
        Identifies data and settings.
    time_budget : float or None
        In s, from now on.

    Raises
    ------
    ValueError
        If the file is not readable, or belongs to other data or settings.
    """

    def __init__(self, path: Path | None, digest: str, time_budget: float | None) -> None:
        self._path, self._digest = path, digest
        self._begin = self._written = time.monotonic()
        self._period = _PERIOD
        self._end = None if time_budget is None else self._begin + time_budget
        self._rows: list[FloatArray] = []  # each: stage, seconds, value, point, gradient
        if path is not None and path.exists():
            self._rows = self._read(path)
        self._n_known = len(self._rows)
        self._earlier = float(self._rows[-1][1]) if self._rows else 0.0
        self._position = 0

    def evaluate(
        self, function: Callable[[FloatArray], tuple[float, FloatArray]], stage: int, point: FloatArray
    ) -> tuple[float, FloatArray, float]:
        """Return value, gradient and the seconds since the beginning, without pauses.

        Raises
        ------
        OutOfTimeError
            If the time is up.
        ValueError
            If the file holds the evaluations of another function.
        """
        if self._position == len(self._rows):
            if self._end is not None and time.monotonic() > self._end:
                raise OutOfTimeError
            value, gradient = function(point)
            seconds = self._earlier + time.monotonic() - self._begin
            self._rows.append(np.concatenate([[stage, seconds, value], point, gradient]))
            if time.monotonic() - self._written > self._period:
                self.write()
        row = self._rows[self._position]
        self._position += 1
        known, gradient = np.split(row[3:], 2)
        same = row[0] == stage and np.array_equal(known, point)
        if same and self._position == self._n_known:
            same = np.isclose(function(point)[0], row[2], rtol=_AGREEMENT, atol=_AGREEMENT)
        if not same:
            raise ValueError(
                f"checkpoint: {self._path} holds the way of another model, machine or version. Delete it, or choose "
                "another path, to start anew."
            )
        return float(row[2]), gradient.copy(), float(row[1])

    def write(self) -> None:
        """Write the record."""
        if self._path is None or not self._rows:
            return
        begin = time.monotonic()
        content: dict[str, Any] = {
            "header": np.frombuffer(json.dumps({"format": _FORMAT, "digest": self._digest}).encode(), np.uint8),
            "lengths": np.array([len(row) for row in self._rows]),
            "numbers": np.concatenate(self._rows),
        }
        write_whole(self._path, lambda file: np.savez(file, **content))
        self._written = time.monotonic()
        self._period = max(_PERIOD, (self._written - begin) / _SHARE)

    def _read(self, path: Path) -> list[FloatArray]:
        with refusing_damage(f"checkpoint: {path} is no readable state of a design"):
            content = read_npz(path)
            header: dict[str, Any] = json.loads(content["header"].tobytes())
            rows = _rows_of(content["numbers"], content["lengths"])
            digest = header["digest"] if header["format"] == _FORMAT else None
        check_origin(path, digest, self._digest, "a design")
        return rows


def _rows_of(numbers: FloatArray, lengths: NDArray) -> list[FloatArray]:
    """Return the rows of a record; ValueError if they are none: stage, seconds, value, point, gradient."""
    if numbers.dtype != np.float64 or numbers.ndim != 1 or lengths.dtype.kind != "i" or lengths.ndim != 1:
        raise ValueError(
            f"numbers and lengths are {numbers.dtype} {numbers.shape} and {lengths.dtype} {lengths.shape}"
        )
    if (lengths < 5).any() or (lengths % 2 == 0).any() or lengths.sum() != len(numbers) or not len(lengths):
        raise ValueError("lengths do not fit the numbers")
    return np.split(numbers, np.cumsum(lengths)[:-1])

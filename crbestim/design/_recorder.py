"""A record of evaluations, from which an interrupted minimisation is repeated up to where it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_whole
from .._validation import FloatArray

_FORMAT = 1
_PERIOD = 10.0  # s between two writes


class OutOfTimeError(Exception):
    """The time is up."""


class Recorder:
    """Evaluates a function once for each argument, and keeps value, gradient and time in a file.

    A minimiser without randomness asks for the same arguments again when it is started again: it is answered from the
    record as long as there is one, and so comes to the same result as if it had never been interrupted.

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
        self._end = None if time_budget is None else self._begin + time_budget
        self._values: list[FloatArray] = []  # stage, seconds, value, knots..., gradient...
        if path is not None and path.exists():
            self._values = self._read(path)
        self._earlier = float(self._values[-1][1]) if self._values else 0.0
        self._position = 0

    def evaluate(
        self, function: Callable[[FloatArray], tuple[float, FloatArray]], stage: int, point: FloatArray
    ) -> tuple[float, FloatArray, float]:
        """Return value, gradient and the seconds since the beginning, without pauses.

        Raises
        ------
        OutOfTimeError
            If the time is up.
        """
        if self._position == len(self._values):
            if self._end is not None and time.monotonic() > self._end:
                raise OutOfTimeError
            value, gradient = function(point)
            seconds = self._earlier + time.monotonic() - self._begin
            self._values.append(np.concatenate([[stage, seconds, value], point, gradient]))
            if time.monotonic() - self._written > _PERIOD:
                self.write()
        row = self._values[self._position]
        self._position += 1
        known, gradient = np.split(row[3:], 2)
        if row[0] != stage or not np.array_equal(known, point):
            raise ValueError(
                f"checkpoint: {self._path} holds the way of another machine or version. Delete it, or choose another "
                "path, to start anew."
            )
        return float(row[2]), gradient.copy(), float(row[1])

    def write(self) -> None:
        """Write the record."""
        self._written = time.monotonic()
        if self._path is not None and self._values:
            header = np.frombuffer(json.dumps({"format": _FORMAT, "digest": self._digest}).encode(), np.uint8)
            rows = np.array(self._values)
            write_whole(self._path, lambda file: np.savez(file, header=header, rows=rows))

    def _read(self, path: Path) -> list[FloatArray]:
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                header: dict[str, Any] = json.loads(file["header"].tobytes())
                rows = file["rows"]
            digest = header["digest"] if header["format"] == _FORMAT else None
        except Exception as error:
            raise ValueError(f"checkpoint: {path} is no readable state of a design: {error}") from error
        if digest != self._digest:
            raise ValueError(
                f"checkpoint: {path} belongs to a design with other data or settings. Delete it, or choose another "
                "path, to start anew."
            )
        return list(rows)

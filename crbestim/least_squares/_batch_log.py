"""Finished batches of a long fit in a directory, from which it goes on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from .._files import check_checkpoint, check_origin, write_whole
from .._validation import FloatArray
from ._result import VOXEL_ARRAYS, FitStatus, LeastSquaresResult

_FORMAT = 1
_ORIGIN = "fit.json"
_AGREEMENT = 1e-4  # of fingerprints of the same fit


class BatchLog:
    """One file a batch, each whole or absent, and one that tells whose they are.

    Parameters
    ----------
    path : path-like
        Directory; it is made if it does not exist.
    digest : str
        Identifies data and settings.
    fingerprint : ndarray of shape (f,)
        Numbers that identify the model and the starts up to rounding, which differs between machines and numbers of
        threads.
    result : LeastSquaresResult
        Without fits: names and the status of the voxels that cannot be fitted.

    Raises
    ------
    TypeError, ValueError
        If it is no directory, cannot be read, or belongs to other data or settings.
    """

    def __init__(self, path: Any, digest: str, fingerprint: FloatArray, result: LeastSquaresResult) -> None:
        checked = check_checkpoint(path)
        assert checked is not None
        self.path = checked
        if checked.exists() and not checked.is_dir():
            raise ValueError(f"checkpoint: {path} is not a directory.")
        checked.mkdir(exist_ok=True)
        if (checked / _ORIGIN).exists():
            self._origin = _read_origin(checked)
            known = np.array(self._origin["fingerprint"], dtype=np.float64)
            same = known.shape == fingerprint.shape and np.allclose(known, fingerprint, _AGREEMENT, 0, equal_nan=True)
            check_origin(checked, self._origin["digest"] if same else None, digest, "a fit")
            return
        if any(not file.name.endswith(".partial") for file in checked.iterdir()):
            raise ValueError(f"checkpoint: {path} holds other files; choose a new or an empty directory.")
        self._origin = {
            "format": _FORMAT,
            "digest": digest,
            "fingerprint": fingerprint.tolist(),
            "parameter_names": result.parameter_names,
            "target_names": result.target_names,
            "status": result.status.tolist(),
        }
        write_whole(checked / _ORIGIN, lambda file: file.write(json.dumps(self._origin).encode()))

    def read(self, batch: int, rows: NDArray) -> LeastSquaresResult | None:
        """Return the fits of a batch, those of some rows, or None if it is not there."""
        path = self._file(batch)
        if not path.exists():
            return None
        own, part = _read_batch(path, self._origin)
        if not np.array_equal(own, rows):
            raise _damaged(path)
        return part

    def write(self, batch: int, rows: Any, part: LeastSquaresResult) -> None:
        """Keep the fits of a batch, those of some rows."""
        arrays = {name: getattr(part, name) for name in VOXEL_ARRAYS}
        write_whole(self._file(batch), lambda file: np.savez(file, rows=rows, **arrays))

    def _file(self, batch: int) -> Path:
        return self.path / f"batch_{batch:06d}.npz"


def read_results(path: Any) -> LeastSquaresResult:
    """Read what a fit with a checkpoint has finished so far.

    Parameters
    ----------
    path : path-like
        Directory that was given as `checkpoint` to `NLLSEstimator.estimate`, of a fit that has ended, was interrupted
        or is still running.

    Returns
    -------
    LeastSquaresResult
        Of all voxels; those that are still to come have the status `FitStatus.NOT_FITTED`.

    Raises
    ------
    ValueError
        If there is no such directory, or a file in it is damaged.
    """
    directory = check_checkpoint(path)
    if directory is None or not (directory / _ORIGIN).exists():
        raise ValueError(f"checkpoint: {path} is not the directory of a fit.")
    origin = _read_origin(directory)
    result = LeastSquaresResult._empty(
        tuple(origin["parameter_names"]), tuple(origin["target_names"]), np.array(origin["status"], np.int8)
    )
    for file in sorted(directory.glob("batch_*.npz")):
        result._put(*_read_batch(file, origin))
    return result


def _read_origin(directory: Path) -> dict[str, Any]:
    try:
        origin: dict[str, Any] = json.loads((directory / _ORIGIN).read_text())
        if origin["format"] != _FORMAT:
            raise ValueError(f"checkpoint: {directory} was written by another version.")
        if not {"digest", "fingerprint", "parameter_names", "target_names", "status"} <= set(origin):
            raise KeyError(_ORIGIN)
        return origin
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"checkpoint: {directory / _ORIGIN} is damaged.") from error


def _read_batch(path: Path, origin: dict[str, Any]) -> tuple[NDArray, LeastSquaresResult]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows = arrays["rows"]
            values = {name: arrays[name] for name in VOXEL_ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path) from error
    part = LeastSquaresResult(tuple(origin["parameter_names"]), tuple(origin["target_names"]), **values)
    if any(len(getattr(part, name)) != len(rows) for name in values) or (part.status == FitStatus.NOT_FITTED).any():
        raise _damaged(path)
    return rows, part


def _damaged(path: Path) -> ValueError:
    return ValueError(f"checkpoint: {path} is damaged. Delete it to fit its voxels again.")

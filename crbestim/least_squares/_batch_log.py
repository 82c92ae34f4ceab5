"""Finished batches of a long fit in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._array_log import ArrayLog, damaged, parts_of, read_arrays, read_origin
from .._files import check_checkpoint
from .._validation import FloatArray
from ._result import VOXEL_ARRAYS, FitStatus, LeastSquaresResult

_ORIGIN = "fit.json"
_ENTRIES = ("digest", "fingerprint", "parameter_names", "target_names", "status")


class BatchLog:
    """Fits of batches of voxels, as files of an `ArrayLog`.

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
        further = (result.parameter_names, result.target_names, result.status.tolist())
        self._log = ArrayLog.of(
            path, _ORIGIN, "a fit", digest, fingerprint, dict(zip(_ENTRIES[2:], further, strict=True))
        )

    def close(self) -> None:
        """Let other runs use the directory."""
        self._log.close()

    def read(self, batch: int, rows: NDArray) -> LeastSquaresResult | None:
        """Return the fits of a batch, those of some rows, or None if it is not there."""
        path = self._log.file(batch)
        if not path.exists():
            return None
        own, part = _read_batch(path, self._log.origin)
        if not np.array_equal(own, rows):
            raise damaged(path)
        return part

    def write(self, batch: int, rows: Any, part: LeastSquaresResult) -> None:
        """Keep the fits of a batch, those of some rows."""
        self._log.write(batch, rows=rows, **{name: getattr(part, name) for name in VOXEL_ARRAYS})


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

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Prior, read_results
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fit.estimate(model.signal([[0.05], [0.12]]), checkpoint=Path(folder) / "fits")
    ...     result = read_results(Path(folder) / "fits")  # from any other process, too, while the fit goes on
    >>> result.targets.round(4).tolist()
    [[0.05], [0.12]]
    """
    directory = check_checkpoint(path)
    if directory is None or not (directory / _ORIGIN).exists():
        raise ValueError(f"checkpoint: {path} is not the directory of a fit.")
    origin = read_origin(directory, _ORIGIN, _ENTRIES)
    result = LeastSquaresResult._empty(
        tuple(origin["parameter_names"]), tuple(origin["target_names"]), np.array(origin["status"], np.int8)
    )
    for file in parts_of(directory):
        result._put(*_read_batch(file, origin))
    return result


def _read_batch(path: Path, origin: dict[str, Any]) -> tuple[NDArray, LeastSquaresResult]:
    values = read_arrays(path, ("rows", *VOXEL_ARRAYS))
    rows = values.pop("rows")
    part = LeastSquaresResult(tuple(origin["parameter_names"]), tuple(origin["target_names"]), **values)
    if any(len(getattr(part, name)) != len(rows) for name in values) or (part.status == FitStatus.NOT_FITTED).any():
        raise damaged(path)
    return rows, part

"""Finished parts of a long computation in a directory, from which it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._files import check_checkpoint, check_origin, only_run, write_whole
from ._numpy_files import read_npz, refusing_damage

_FORMAT = 1
_LOCK = "run.lock"
_DIGEST, _FINGERPRINT = "digest", "fingerprint"
_AGREEMENT = 1e-4  # of fingerprints of the same computation
_NEGLIGIBLE = 1e-12


class ArrayLog:
    """One file a part, each whole or absent, and one that tells whose they are.

    No other run can use the directory until it is closed, or the process ends.

    Parameters
    ----------
    path : path-like
        Directory; it is made if it does not exist.
    origin_name : str
        Name of the file that tells whose parts they are, such as "fit.json".
    origin : dict
        What it is to hold, in a new directory.

    Attributes
    ----------
    path : Path
        The directory.
    origin : dict
        What it tells: that of the directory, if there was one.
    is_new : bool
        Whether there was none.

    Raises
    ------
    TypeError, ValueError
        If the path is no directory, holds other files, cannot be read or is in use by another run.
    """

    def __init__(self, path: Any, origin_name: str, origin: dict[str, Any]) -> None:
        checked = check_checkpoint(path)
        assert checked is not None
        self.path = checked
        if checked.exists() and not checked.is_dir():
            raise ValueError(f"checkpoint: {path} is not a directory.")
        checked.mkdir(exist_ok=True)
        names = {file.name for file in checked.iterdir() if file.suffix != ".partial"}
        if origin_name not in names and names - {_LOCK}:
            raise ValueError(f"checkpoint: {path} holds other files; choose a new or an empty directory.")
        self._running = only_run(checked / _LOCK)
        self.is_new = not (checked / origin_name).exists()
        try:
            self.origin = (
                self._begin(origin_name, origin) if self.is_new else read_origin(checked, origin_name, origin)
            )
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(
        cls,
        path: Any,
        origin_name: str,
        what: str,
        digest: str,
        fingerprint: NDArray | None = None,
        further: Mapping[str, Any] = MappingProxyType({}),
    ) -> ArrayLog:
        """Return the log of a computation, or raise if the directory holds parts of another one.

        Parameters
        ----------
        path, origin_name
            As above.
        what : str
            What it is, for the error, such as "a fit".
        digest : str
            Identifies data and settings.
        fingerprint : ndarray of shape (f,), optional
            Numbers that identify what has no digest, such as a model, up to rounding, which differs between machines
            and numbers of threads.
        further : mapping
            Further entries of the origin.

        Returns
        -------
        ArrayLog

        Raises
        ------
        TypeError, ValueError
            As above, or if the parts belong to other data or settings.
        """
        own = {_DIGEST: digest} if fingerprint is None else {_DIGEST: digest, _FINGERPRINT: fingerprint.tolist()}
        log = cls(path, origin_name, {**own, **further})
        try:
            same = fingerprint is None or _agree(log.origin[_FINGERPRINT], fingerprint)
            check_origin(log.path, log.origin[_DIGEST] if same else None, digest, what)
        except BaseException:
            log.close()
            raise
        return log

    def _begin(self, origin_name: str, origin: dict[str, Any]) -> dict[str, Any]:
        whole = {"format": _FORMAT, **origin}
        write_whole(self.path / origin_name, lambda file: file.write(json.dumps(whole).encode()))
        return whole

    def close(self) -> None:
        """Let other runs use the directory."""
        self._running.release()

    def read(self, part: int) -> dict[str, NDArray] | None:
        """Return the arrays of a part, or None if it is not there."""
        path = self.file(part)
        return read_arrays(path) if path.exists() else None

    def write(self, part: int, **arrays: NDArray) -> None:
        """Keep the arrays of a part; raise ValueError if one does not hold numbers."""
        objects = [name for name, array in arrays.items() if array.dtype.hasobject]
        if objects:  # they would be pickled, and `read` refuses that
            raise ValueError(f"checkpoint: {', '.join(objects)} must be arrays of numbers.")
        parts: dict[str, Any] = dict(arrays)
        write_whole(self.file(part), lambda file: np.savez(file, **parts))

    def file(self, part: int) -> Path:
        """Return the path of a part."""
        return self.path / f"batch_{part:06d}.npz"


def _agree(known: Any, fingerprint: NDArray) -> bool:
    values = np.array(known, dtype=np.float64)
    return values.shape == fingerprint.shape and np.allclose(
        values, fingerprint, _AGREEMENT, _NEGLIGIBLE, equal_nan=True
    )


def parts_of(directory: Path) -> list[Path]:
    """Return the files of all parts that are there, in order."""
    return sorted(directory.glob("batch_*.npz"))


def remove_parts(directory: Path, origin_name: str, *notes: str) -> None:
    """Remove what a log has written, further notes by name, and the directory unless something else is in it.

    What tells whose parts they are goes last: a run that is killed meanwhile can go on with the others.
    """
    parts = [*parts_of(directory), *directory.glob("batch_*.npz.partial")]
    names = [*notes, f"{origin_name}.partial", origin_name, _LOCK]
    for file in [*parts, *(directory / name for name in names)]:
        file.unlink(missing_ok=True)
    if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
        directory.rmdir()


def read_origin(directory: Path, origin_name: str, required: Any) -> dict[str, Any]:
    """Return what tells whose parts a directory holds; raise ValueError if it is damaged or of another version."""
    try:
        origin: dict[str, Any] = json.loads((directory / origin_name).read_text())
        if origin["format"] != _FORMAT:
            raise ValueError(f"checkpoint: {directory} was written by another version.")
        if not set(required) <= set(origin):
            raise KeyError(origin_name)
        return origin
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"checkpoint: {directory / origin_name} is damaged.") from error


def read_arrays(path: Path, names: Any = None) -> dict[str, NDArray]:
    """Return the arrays of a part; raise ValueError if the file is damaged."""
    try:
        with refusing_damage(str(path)):
            return read_npz(path, names)
    except (ValueError, OSError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> ValueError:
    """Return the error of a part that cannot be used."""
    return ValueError(f"checkpoint: {path} is damaged. Delete it to compute its part again.")

"""Files that are whole or absent, and what tells whose state a file holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray


def checked_path(path: object, name: str = "path") -> Path:
    """Return a path; raise TypeError if it is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path; got {type(path).__name__}.")
    return Path(path)


def check_checkpoint(path: object) -> Path | None:
    """Return the path of a checkpoint, or None; raise if it is no path or has no directory."""
    if path is None:
        return None
    place = checked_path(path, "checkpoint")
    if not place.absolute().parent.is_dir():
        raise ValueError(f"checkpoint: the directory of {path} does not exist.")
    return place


def check_origin(path: Path, digest: object, expected: str, what: str) -> None:
    """Raise ValueError if a checkpoint's digest tells that it belongs to something else."""
    if digest != expected:
        raise ValueError(
            f"checkpoint: {path} belongs to {what} with other data or settings. Delete it, or choose another path, to "
            "start anew."
        )


def only_run(path: Path) -> BaseFileLock:
    """Take a lock that is released with the process, or before; ValueError if another run holds it."""
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False).lock
    except Timeout:
        raise ValueError(f"checkpoint: another run is at work there: it holds {path}.") from None


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Replace a file as a whole: a kill leaves the old one or the new one."""
    write_together({path: write}, overwrite=True)


def write_together(writers: Mapping[Path, Callable[[BinaryIO], Any]], *, overwrite: bool) -> None:
    """Write several files at a time beside their places, and move them there when all are complete.

    A symbolic link in the place of a file is replaced itself; what it points to stays as it is.

    Raises
    ------
    FileExistsError
        If one of them exists, unless `overwrite`; then none is written.
    OSError
        If one cannot be written; then there is none of them, or the old ones.
    """
    check_places(writers)
    present = [str(path) for path in writers if is_taken(path)]
    if present and not overwrite:
        raise FileExistsError(f"{', '.join(present)} exists; it is only replaced with overwrite.")
    partial = {path: path.with_name(path.name + ".partial") for path in writers}

    def write_partial(path: Path) -> None:
        try:
            partial[path].unlink(missing_ok=True)  # of a run that was killed
            with open(partial[path], "xb") as file:  # nothing that someone else puts there is followed
                writers[path](file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename is None and error.errno is not None:
                error.filename = str(path)
            raise

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # compression leaves the interpreter to the others
            for _ in pool.map(write_partial, writers):
                pass
        for path in writers:
            partial[path].replace(path)
    except BaseException:
        for path in partial.values():
            path.unlink(missing_ok=True)
        raise


def is_taken(path: Path) -> bool:
    """Tell whether something is there, a link to nowhere included."""
    return os.path.lexists(path)


def check_not_taken(path: Path, overwrite: bool) -> None:
    """Raise FileExistsError if something is there and must not be replaced."""
    if not overwrite and is_taken(path):
        raise FileExistsError(f"path: {path} exists; pass overwrite=True to replace it.")


def check_places(paths: Iterable[Path]) -> None:
    """Raise OSError if no file can be at one of them."""
    for path in paths:
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"The directory of {path} does not exist.")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a directory.")


def digest_of(settings: dict[str, Any], *arrays: NDArray) -> str:
    """Return a hash of settings and data."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

"""Arrays in files of numpy: no pickle, and no more memory than the file is long."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


_OF_LIBRARIES = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)  # not of the content


@contextmanager
def refusing_damage(complaint: str) -> Iterator[None]:
    """Turn whatever a damaged file leads to, warnings too, into a ValueError that ends in the reason.

    An OSError that names a file is left as it is: that file is missing, or cannot be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for category in _OF_LIBRARIES:
                warnings.simplefilter("ignore", category)
            yield
    except OSError as error:
        if error.filename is not None:  # the file is not there, or cannot be opened
            raise
        raise ValueError(f"{complaint}: {error}.") from error
    except Exception as error:
        reason = str(error) if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{complaint}: {' '.join(reason.split()).rstrip('.')}.") from error


def read_npy(file: IO[bytes]) -> NDArray:
    """Return the array of a .npy file; raise an error of any kind if it is damaged."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    array = _read_array(file, size)
    if file.read(1):
        raise ValueError("there is more in it than its header tells")
    return array


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray]:
    """Return the arrays of a .npz file that is not compressed; raise an error of any kind if it is damaged."""
    with open(path, "rb") as file, whole_archive(file) as archive:
        chosen = [name.removesuffix(".npy") for name in archive.namelist()] if names is None else names
        arrays = {}
        for name in chosen:
            with archive.open(f"{name}.npy") as member:
                arrays[name] = _read_array(member, archive.getinfo(f"{name}.npy").file_size)
        return arrays


@contextmanager
def whole_archive(file: IO[bytes]) -> Iterator[ZipFile]:
    """Open a zip archive, all of whose checksums are right, and which does not expand.

    Raises
    ------
    ValueError
        If a checksum is wrong, or a part is compressed or overlaps another one. The errors of `zipfile` for a damaged
        archive are of many kinds.
    """
    size = file.seek(0, SEEK_END)
    with ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != ZIP_STORED for member in members):
            raise ValueError("parts of the archive are compressed; expected none that are")
        if sum(member.file_size for member in members) > size:
            raise ValueError("the archive is shorter than its parts")
        wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of its part {wrong!r} is wrong")
        yield archive


def _read_array(file: IO[bytes], size: int) -> NDArray:
    """Read an array from a file of so many bytes, after a look at how many its header calls for."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"it has the version {version} of the format; expected {' or '.join(map(str, _HEADERS))}")
    shape, _, dtype = _HEADERS[version](file)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it has {size} bytes, too few for {dtype} {shape}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)

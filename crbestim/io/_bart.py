"""BART's files: dimensions in a .hdr, numbers in a .cfl."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._volume import Block, Volume, spatial_and_channels

_N_DIMS = 16
TIME_DIM = 5
COEFFICIENT_DIM = 6


def open_cfl(path: Path) -> Volume:
    """Open a volume of BART, with or without a dimension of coefficients.

    Parameters
    ----------
    path : Path
        The .cfl or the .hdr.

    Returns
    -------
    Volume
        Of single-precision complex numbers; without an affine, which BART's files do not tell.

    Raises
    ------
    ValueError
        If a file is damaged, or has more than one dimension beside those of space.
    OSError
        If one of the two is missing.
    """
    array = read_cfl(path)
    shape, n_channels = spatial_and_channels(array.shape, path)
    vectors = array.reshape(*shape, n_channels, order="F")

    def read(block: Block) -> NDArray:
        return np.ascontiguousarray(vectors[block])

    return Volume(path, shape, n_channels, np.dtype(np.complex64), None, None, read)


def read_cfl(path: Path) -> NDArray[np.complex64]:
    """Return an array of BART with all its dimensions, mapped from the file.

    Raises
    ------
    ValueError
        If the header has no dimensions or the file another size than it tells.
    OSError
        If one of the two files is missing.
    """
    header, numbers = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    lines = header.read_text(errors="replace").splitlines()
    try:
        dims = [int(size) for size in lines[lines.index("# Dimensions") + 1].split()]
    except (ValueError, IndexError) as error:
        raise ValueError(f"{header} is no header of BART, or is damaged: it has no dimensions.") from error
    if not 1 <= len(dims) <= _N_DIMS or min(dims) < 1:
        raise ValueError(f"{header} is damaged: its dimensions are {dims}.")
    needed, size = 8 * math.prod(dims), numbers.stat().st_size
    if size != needed:
        raise ValueError(f"{numbers} must have {needed} bytes for the dimensions {dims}; it has {size}.")
    return np.memmap(numbers, dtype=np.complex64, mode="r", shape=tuple(dims), order="F")


def header_bytes(shape: tuple[int, ...]) -> bytes:
    """Return the header of an array with up to 16 dimensions."""
    dims = [*shape, *[1] * (_N_DIMS - len(shape))]
    return f"# Dimensions\n{' '.join(map(str, dims))}\n".encode()


def write_numbers(file: BinaryIO, values: NDArray) -> None:
    """Write the numbers of an array, in BART's order and precision, one slice of its last axis at a time."""
    for part in np.moveaxis(values, -1, 0):
        file.write(np.asarray(part, dtype=np.complex64).tobytes(order="F"))


def volume_dims(values: NDArray) -> tuple[int, ...]:
    """Return the dimensions of a volume (nx, ny, nz) or of coefficients (nx, ny, nz, k)."""
    return (*values.shape[:3], *[1] * (COEFFICIENT_DIM - 3), *values.shape[3:])

"""A volume in blocks of limited size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ._volume import Block


def split(shape: tuple[int, int, int], mask: NDArray[np.bool_], most_voxels: int) -> list[Block]:
    """Divide a volume into blocks of whole slices, or of rows of a slice, that have voxels of the mask.

    Parameters
    ----------
    shape : tuple of three int
        Voxels along x, y and z.
    mask : ndarray of bool of that shape
        Blocks without any are left out.
    most_voxels : int
        Most voxels of a block, if a single row along x has no more.

    Returns
    -------
    list of Block
    """
    return [block for block in _all_blocks(shape, most_voxels) if mask[block].any()]


def _all_blocks(shape: tuple[int, int, int], most_voxels: int) -> Iterator[Block]:
    nx, ny, nz = shape
    slices = max(1, most_voxels // (nx * ny))
    rows = ny if nx * ny <= most_voxels else max(1, most_voxels // nx)
    for z in range(0, nz, slices):
        for y in range(0, ny, rows):
            yield slice(0, nx), slice(y, min(y + rows, ny)), slice(z, min(z + slices, nz))

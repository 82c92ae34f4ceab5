"""Zarr arrays."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from .._optional import imported
from ._volume import Volume, block_reader, spatial_and_channels

# Headers may call for so much more than is stored, if it is not small anyway.
_MOST_EXPANSION, _SMALL = 10_000, 2**28  # bytes
_MOST_SPARSE, _FEW = 100, 10_000  # chunks


def open_zarr(path: Path) -> Volume:
    """Open a Zarr array with the axes x, y, z and coefficients.

    Parameters
    ----------
    path : Path
        Directory of the array. Its attribute ``affine``, of shape (4, 4), is used if it has one.

    Returns
    -------
    Volume

    Raises
    ------
    ImportError
        If zarr is not installed.
    ValueError
        If it is no array of numbers, or is damaged.
    """
    zarr = imported("zarr", "cluster")
    try:
        array = zarr.open_array(path, mode="r")
        affine = array.attrs.get("affine")
    except Exception as error:  # whatever a damaged header leads to
        raise ValueError(f"{path} is no Zarr array, or is damaged: {error}.") from error
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{path} must hold numbers; it has the type {array.dtype}.")
    _check_size(path, array)
    shape, n_channels = spatial_and_channels(array.shape, path)
    dtype = np.result_type(array.dtype, np.float32) if array.dtype.kind in "biu" else array.dtype
    if affine is not None:
        try:
            affine = np.array(affine, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: the attribute affine must hold numbers: {error}.") from error
        if affine.shape != (4, 4):
            raise ValueError(f"{path}: the attribute affine must have shape (4, 4); got {affine.shape}.")

    return Volume(path, shape, n_channels, dtype, affine, None, block_reader(array, shape, n_channels, dtype))


def _check_size(path: Path, array: Any) -> None:
    """Raise ValueError if a header claims far more than is stored: what is missing would be read as the fill value."""
    chunks = array.shards or array.chunks
    if min(chunks, default=1) < 1:
        raise ValueError(f"{path} is damaged: its chunks have the shape {chunks}.")
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    n_bytes = math.prod(array.shape) * array.dtype.itemsize
    n_chunks = math.prod(-(-size // chunk) for size, chunk in zip(array.shape, chunks, strict=True))
    if n_bytes > max(_SMALL, _MOST_EXPANSION * sum(sizes)) or n_chunks > max(_FEW, _MOST_SPARSE * len(sizes)):
        raise ValueError(
            f"{path} seems to be damaged: its header calls for {n_bytes:.3g} bytes in {n_chunks:.3g} chunks; there "
            f"are {sum(sizes):.3g} bytes in {len(sizes)} files."
        )

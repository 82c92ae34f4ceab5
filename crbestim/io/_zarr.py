"""Zarr arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .._optional import imported
from ._volume import Volume, block_reader, spatial_and_channels


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

"""Volumes as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from .._files import checked_path, write_together
from .._validation import numeric_array
from ._bart import header_bytes, volume_dims, write_numbers
from ._nifti import write_nifti
from ._volume import Volume

Format = Literal[".nii.gz", ".nii", ".cfl"]
FORMATS: tuple[Format, ...] = (".nii.gz", ".nii", ".cfl")
Writers = dict[Path, Callable[[BinaryIO], Any]]


def save_volume(
    path: str | Path, values: NDArray, *, like: Volume | None = None, description: str = "", overwrite: bool = False
) -> None:
    """Write an array of voxels to a file.

    Parameters
    ----------
    path : path-like
        NIfTI (.nii, .nii.gz) or BART (.cfl, with its .hdr).
    values : ndarray of shape (nx, ny, nz) or (nx, ny, nz, k)
        Real or complex numbers; BART's are complex and of single precision.
    like : Volume, optional
        Gives affine and header. Without it, voxels are cubes of 1 mm.
    description : str, default=""
        For the header of a NIfTI file.
    overwrite : bool, default=False
        Whether a file that exists may be replaced.

    Raises
    ------
    TypeError
        If `values` are no numbers.
    ValueError
        If the suffix is another one, or `values` have another shape.
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written; then there is none, or the old one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim.io import open_volume, save_volume
    >>> coefficients = np.ones((4, 4, 2, 3), np.complex64)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "coefficients.nii.gz"
    ...     save_volume(path, coefficients, description="three coefficients")
    ...     volume = open_volume(path)
    ...     save_volume(Path(folder) / "magnitude.nii.gz", abs(coefficients[..., 0]), like=volume)
    >>> volume.shape, volume.n_channels, volume.dtype.name
    ((4, 4, 2), 3, 'complex64')
    """
    checked = numeric_array(values, "values")
    values = values if np.asarray(values).dtype.kind in "iu" else checked
    values = np.asarray(values)
    if values.ndim not in (3, 4) or not values.size:
        raise ValueError(
            f"values must be numbers of shape (nx, ny, nz) or (nx, ny, nz, k); got {values.dtype} {values.shape}."
        )
    if like is not None and values.shape[:3] != like.shape:
        raise ValueError(f"values must have the {like.shape} voxels of {like.path}; got {values.shape}.")
    write_together(writers_of(checked_path(path), values, like, description), overwrite=overwrite)


def writers_of(path: Path, values: NDArray, like: Volume | None, description: str) -> Writers:
    """Return what writes the file of an array, or the two files of BART."""
    if like is None:
        like = Volume.from_array(values if values.ndim == 4 else values[..., None])
    if path.name.endswith((".nii", ".nii.gz")):
        compressed = path.name.endswith(".gz")
        return {path: lambda file: write_nifti(file, values, like, description, compressed)}
    if path.suffix != ".cfl":
        raise ValueError(f"path must end in one of {', '.join(FORMATS)}; got {path}.")
    dims = header_bytes(volume_dims(values))
    return {
        path: lambda file: write_numbers(file, values),
        path.with_suffix(".hdr"): lambda file: file.write(dims),
    }

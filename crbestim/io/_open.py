"""Volumes of any format that is known, by the suffix of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._files import checked_path
from .._validation import check_count
from ._bart import open_cfl
from ._nifti import open_nifti
from ._volume import Volume
from ._zarr import open_zarr

_FORMATS: dict[str, Callable[[Path], Volume]] = {
    ".nii": open_nifti,
    ".nii.gz": open_nifti,
    ".cfl": open_cfl,
    ".hdr": open_cfl,
    ".zarr": open_zarr,
}
_SAME_PLACE = 1e-3  # of a voxel


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Open a volume without reading it.

    Parameters
    ----------
    path : path-like
        NIfTI (.nii, .nii.gz), BART (.cfl or .hdr) or Zarr (.zarr), with up to three axes of space and one of
        coefficients.

    Returns
    -------
    Volume

    Raises
    ------
    TypeError, ValueError
        If the suffix is another one, or the file is damaged.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim.io import open_volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "T1map.nii.gz"
    ...     save_volume(path, np.full((4, 4, 2), 1.2))  # s
    ...     volume = open_volume(path)
    ...     first_slice = volume.read((slice(None), slice(None), slice(0, 1)))
    >>> volume.shape, volume.n_channels
    ((4, 4, 2), 1)
    >>> first_slice.shape
    (4, 4, 1, 1)
    """
    path = checked_path(path)
    suffix = next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"{path} must end in one of {', '.join(_FORMATS)}.")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if path.is_dir() and suffix != ".zarr":
        raise IsADirectoryError(f"{path} is a directory.")
    return _FORMATS[suffix](path)


def open_coefficients(
    path: str | os.PathLike[str],
    n_coefficients: int,
    *,
    imaginary: str | os.PathLike[str] | None = None,
    conjugate: bool = False,
    real_valued: bool = False,
) -> Volume:
    """Open coefficient images.

    Parameters
    ----------
    path : path-like
        As for `open_volume`: k complex images; or 2k real ones, all real parts before all imaginary ones; or k real
        ones, if the imaginary parts have a file of their own or the data are real.
    n_coefficients : int
        k, that of the basis.
    imaginary : path-like, optional
        File of the imaginary parts.
    conjugate : bool, default=False
        The reconstruction used the conjugate of the basis, so the coefficients are conjugated.
    real_valued : bool, default=False
        The signals are real, as those of magnitude images.

    Returns
    -------
    Volume
        Of k complex channels (real ones, if `real_valued`).

    Raises
    ------
    TypeError, ValueError
        As `open_volume`; if the number of images is not k, or the two files do not fit each other.
    OSError
        If a file is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim.io import open_coefficients, save_volume
    >>> images = np.random.default_rng(0).standard_normal((4, 4, 2, 6))  # real parts, then imaginary ones
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "coefficients.nii.gz"
    ...     save_volume(path, images)
    ...     coefficients = open_coefficients(path, n_coefficients=3).read()
    >>> coefficients.shape, coefficients.dtype.kind
    ((4, 4, 2, 3), 'c')
    >>> bool(np.allclose(coefficients, images[..., :3] + 1j * images[..., 3:]))
    True
    """
    k = check_count(n_coefficients, "n_coefficients")
    volume = open_volume(path)
    if imaginary is not None:
        other = open_volume(imaginary)
        check_same_space(other, volume)
        if volume.dtype.kind == "c" or other.dtype.kind == "c":
            raise ValueError(f"imaginary: {volume.path} and {other.path} must both hold real numbers.")
        if other.n_channels != volume.n_channels:
            raise ValueError(
                f"imaginary: {other.path} has {other.n_channels} images, {volume.path} has {volume.n_channels}."
            )
        volume = volume._with_imaginary(other)
    elif volume.dtype.kind != "c" and volume.n_channels == 2 * k and not real_valued:
        volume = volume._as_complex()
    if volume.n_channels != k:
        raise ValueError(
            f"{volume.path} must hold the {k} coefficients of the basis; it has {volume.n_channels} "
            f"{'complex' if volume.dtype.kind == 'c' else 'real'} images."
        )
    if (volume.dtype.kind == "c") == real_valued:
        wanted = "real" if real_valued else "complex"
        raise ValueError(
            f"{volume.path} must hold {wanted} coefficients; it has {k} images of {volume.dtype}."
            + ("" if real_valued else " The imaginary parts may be in a file of their own.")
        )
    return volume._conjugated() if conjugate else volume


def read_map(path: str | os.PathLike[str], like: Volume) -> NDArray:
    """Read a map of one real number a voxel, such as a field or a noise level.

    Parameters
    ----------
    path : path-like
        As for `open_volume`.
    like : Volume
        What it must lie upon.

    Returns
    -------
    ndarray of shape (nx, ny, nz)

    Raises
    ------
    ValueError
        If it has another shape or affine, or more than one number a voxel, or imaginary parts.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim.io import Volume, read_map, save_volume
    >>> volume = Volume.from_array(np.ones((4, 4, 2, 3), complex))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(Path(folder) / "B1map.nii.gz", np.full((4, 4, 2), 0.5))
    ...     b1_map = read_map(Path(folder) / "B1map.nii.gz", like=volume)
    >>> b1_map.shape, float(b1_map.mean())
    ((4, 4, 2), 0.5)
    """
    volume = open_volume(path)
    check_same_space(volume, like)
    if volume.n_channels != 1:
        raise ValueError(f"{volume.path} must hold one number a voxel; it has {volume.n_channels}.")
    values = volume.read()[..., 0]
    if values.dtype.kind == "c":
        if values.imag.any():
            raise ValueError(f"{volume.path} must hold real numbers; it has imaginary parts.")
        values = values.real
    return values


def read_mask(path: str | os.PathLike[str], like: Volume) -> NDArray[np.bool_]:
    """Read a mask: a voxel belongs to it if its value is not zero.

    Parameters
    ----------
    path, like
        As for `read_map`.

    Returns
    -------
    ndarray of bool, (nx, ny, nz)

    Raises
    ------
    ValueError, OSError
        As `read_map`; if a value is not finite, or no voxel belongs to it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim.io import Volume, read_mask, save_volume
    >>> volume = Volume.from_array(np.ones((4, 4, 2, 3), complex))
    >>> brain = np.zeros((4, 4, 2), np.uint8)
    >>> brain[1:3, 1:3] = 1
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(Path(folder) / "mask.nii.gz", brain)
    ...     mask = read_mask(Path(folder) / "mask.nii.gz", like=volume)
    >>> mask.dtype.name, int(mask.sum())
    ('bool', 8)
    """
    values = read_map(path, like)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: the mask must be finite; it has NaN or infinity.")
    mask = values != 0
    if not mask.any():
        raise ValueError(f"{path}: the mask is empty.")
    return mask


def check_same_space(volume: Volume, like: Volume) -> None:
    """Raise ValueError unless two volumes have the same voxels (and affine, where both tell it)."""
    if volume.shape != like.shape:
        raise ValueError(f"{volume.path} has {volume.shape} voxels, but {like.path} has {like.shape}.")
    if volume.affine is None or like.affine is None:
        return
    sizes = np.sqrt((like.affine[:3, :3] ** 2).sum(axis=0))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in like.shape], [1])).reshape(4, -1)
    distance = np.abs((volume.affine - like.affine) @ corners).max()
    if not distance <= _SAME_PLACE * sizes.min():  # NaN is no place
        raise ValueError(
            f"{volume.path} has another affine than {like.path}: their voxels lie up to {distance:.3g} mm apart."
        )

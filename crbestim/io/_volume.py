"""A volume in a file, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray

Block = tuple[slice, slice, slice]
_WHOLE: Block = (slice(None), slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume of vectors, such as coefficient images, that stays in its file until a part of it is read.

    Attributes
    ----------
    path : Path
        The file.
    shape : tuple of three int
        Voxels along x, y and z.
    n_channels : int
        Length of the vectors: coefficients, or 1 for a map.
    dtype : dtype
        Of what `read` returns.
    affine : ndarray of shape (4, 4) or None
        From voxels to millimetres, if the file tells it.
    header : nibabel header or None
        That of a NIfTI file.

    Examples
    --------
    Of a file by `open_volume` or `open_coefficients`; of an array:

    >>> import numpy as np
    >>> from crbestim.io import Volume
    >>> coefficients = np.random.default_rng(0).standard_normal((4, 4, 2, 3)) + 0j
    >>> volume = Volume.from_array(coefficients)
    >>> volume.shape, volume.n_channels, volume.affine is None
    ((4, 4, 2), 3, True)
    >>> volume.read((slice(0, 4), slice(0, 2), slice(1, 2))).shape
    (4, 2, 1, 3)
    """

    path: Path
    shape: tuple[int, int, int]
    n_channels: int
    dtype: np.dtype
    affine: FloatArray | None
    header: Any
    _read: Callable[[Block], NDArray]

    @classmethod
    def from_array(cls, values: NDArray, like: Volume | None = None) -> Volume:
        """Return a volume of an array in memory.

        Parameters
        ----------
        values : ndarray of shape (nx, ny, nz, n_channels)
            Numbers.
        like : Volume, optional
            Gives name, affine and header.

        Returns
        -------
        Volume

        Raises
        ------
        TypeError, ValueError
            If it is no array, or one with another number of axes, or other voxels than `like`.
        """
        if not isinstance(values, np.ndarray):
            raise TypeError(f"values must be an ndarray; got {type(values).__name__}.")
        if values.ndim != 4 or (like is not None and values.shape[:3] != like.shape):
            wanted = "(nx, ny, nz, n_channels)" if like is None else (*like.shape, "n_channels")
            raise ValueError(f"values must have shape {wanted}; got {values.shape}.")
        path, affine, header = (Path("array"), None, None) if like is None else (like.path, like.affine, like.header)
        nx, ny, nz, n_channels = values.shape
        return cls(path, (nx, ny, nz), n_channels, values.dtype, affine, header, lambda block: values[block])

    def read(self, block: Block = _WHOLE) -> NDArray:
        """Read a part.

        Parameters
        ----------
        block : tuple of three slices, optional
            Along x, y and z; by default everything.

        Returns
        -------
        ndarray of shape (bx, by, bz, n_channels)

        Raises
        ------
        ValueError
            If the file cannot be read, with its name.
        """
        try:
            return self._read(block)
        except Exception as error:  # nibabel and Zarr have many
            raise ValueError(f"{self.path} cannot be read: {error}.") from error

    def at_place_of(self, other: Volume) -> Volume:
        """Return it with the affine of another one of the same voxels, if it has none of its own.

        Parameters
        ----------
        other : Volume
            Gives the affine.

        Returns
        -------
        Volume

        Raises
        ------
        ValueError
            If the other one has another number of voxels.
        """
        if other.shape != self.shape:
            raise ValueError(f"other must have the voxels of {self.path}, {self.shape}; got {other.shape}.")
        return replace(self, affine=other.affine) if self.affine is None else self

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"Volume({self.path}, {size} voxels, {self.n_channels} {self.dtype} values each)"

    def _as_complex(self) -> Volume:
        """Return it with real channels [Re | Im] joined to complex ones."""
        k = self.n_channels // 2

        def read(block: Block) -> NDArray:
            values = self._read(block)
            return _complex(values[..., :k], values[..., k:])

        return replace(self, n_channels=k, dtype=np.result_type(self.dtype, np.complex64), _read=read)

    def _with_imaginary(self, imaginary: Volume) -> Volume:
        """Return it as the real part of complex values."""

        def read(block: Block) -> NDArray:
            return _complex(self._read(block), imaginary.read(block))

        dtype = np.result_type(self.dtype, imaginary.dtype, np.complex64)
        return replace(self, dtype=dtype, _read=read)

    def _conjugated(self) -> Volume:
        return replace(self, _read=lambda block: np.conj(self._read(block)))


def spatial_and_channels(shape: Sequence[int], path: Path) -> tuple[tuple[int, int, int], int]:
    """Return the voxels along x, y, z and the number of channels of an array with up to three axes of space.

    Raises
    ------
    ValueError
        If more than one further axis is longer than 1.
    """
    sizes = [*shape, 1, 1, 1][: max(3, len(shape))]
    further = [size for size in sizes[3:] if size > 1]
    if len(further) > 1:
        raise ValueError(
            f"{path} has shape {tuple(shape)}: beside x, y and z there must be one axis at most, that of the "
            "coefficients."
        )
    if min(sizes) < 1:
        raise ValueError(f"{path} has shape {tuple(shape)}: it is empty.")
    return (sizes[0], sizes[1], sizes[2]), further[0] if further else 1


def block_reader(
    array: Any, shape: tuple[int, int, int], n_channels: int, dtype: np.dtype
) -> Callable[[Block], NDArray]:
    """Return what reads blocks of an array in a file, which may have fewer axes than three and others of length 1."""

    def read(block: Block) -> NDArray:
        part = np.asarray(array[block[: len(array.shape)]])
        size = tuple(len(range(*axis.indices(n))) for axis, n in zip(block, shape, strict=True))
        return part.reshape(*size, n_channels).astype(dtype, copy=False)

    return read


def _complex(real: NDArray, imaginary: NDArray) -> NDArray:
    """Join two parts as they are: a sum with 1j * infinity would make NaN of the real part."""
    values = np.empty(real.shape, np.result_type(real, imaginary, np.complex64))
    values.real, values.imag = real, imaginary
    return values

"""NIfTI files, read lazily and written as a stream."""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ._volume import Volume, block_reader, spatial_and_channels

_TEXT_BYTES = 79  # of the header's field for a description
_DAMAGE = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    ValueError,
    OverflowError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
)
_NIFTI2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))  # what a file begins with: the size of its header


def open_nifti(path: Path) -> Volume:
    """Open a NIfTI file of real or complex numbers.

    Parameters
    ----------
    path : Path
        File, compressed or not. A compressed one is expanded to a temporary file, so that its parts can be read.

    Returns
    -------
    Volume

    Raises
    ------
    ValueError
        If it is no NIfTI file, or is truncated or damaged.
    OSError
        If it cannot be read, or there is no room to expand it.
    """
    try:
        image = _expanded(path) if path.name.endswith(".gz") else nib.load(path)
    except _DAMAGE as error:
        raise ValueError(f"{path} is no NIfTI file, or is damaged: {error}.") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise ValueError(f"{path} is no NIfTI file, but {type(image).__name__}.")
    shape, n_channels = spatial_and_channels(image.shape, path)
    proxy, header = image.dataobj, image.header
    dtype = header.get_data_dtype()
    if dtype.kind not in "iufc":
        raise ValueError(f"{path} must hold numbers; it has the type {dtype}.")
    _check_size(path, image)
    scaled = proxy.slope != 1 or proxy.inter != 0
    dtype = np.result_type(dtype, np.float32) if dtype.kind in "iu" or scaled else dtype

    dtype = dtype.newbyteorder("=")
    read = block_reader(proxy, shape, n_channels, dtype)
    return Volume(path, shape, n_channels, dtype, image.affine, header.copy(), read)


def write_nifti(file: BinaryIO, values: NDArray, like: Volume, description: str, compressed: bool) -> None:
    """Write an array of shape (nx, ny, nz) or (nx, ny, nz, k) with the geometry of a volume.

    Parameters
    ----------
    file : binary file
        Open for writing.
    values : ndarray
        Real or complex.
    like : Volume
        Gives affine and header, if it has any.
    description : str
        For the header, such as name and unit; cut at 79 bytes.
    compressed : bool
        Whether to compress it (gzip).
    """
    if like.header is None:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm")
    else:
        header = like.header.copy()
    try:
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
    except HeaderDataError as error:
        raise ValueError(f"a NIfTI file cannot hold {values.dtype} {values.shape}: {error}.") from error
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = description.encode("ascii", "replace")[:_TEXT_BYTES]
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(values, np.eye(4) if like.affine is None else like.affine, header)
    if not compressed:
        image.to_stream(file)
        return
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="") as stream:
        image.to_stream(stream)


def _expanded(path: Path) -> Any:
    expanded = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the image's data
    try:
        with gzip.open(path, "rb") as compressed:
            shutil.copyfileobj(compressed, expanded, 2**22)
        expanded.flush()
        expanded.seek(0)
        holder = {"header": FileHolder(fileobj=expanded), "image": FileHolder(fileobj=expanded)}
        first = expanded.read(4)
        expanded.seek(0)
        image = (nib.Nifti2Image if first in _NIFTI2 else nib.Nifti1Image).from_file_map(holder)
    except BaseException:
        expanded.close()
        raise
    weakref.finalize(image.dataobj, expanded.close)
    return image


def _check_size(path: Path, image: Any) -> None:
    holder = image.file_map["image"]
    file = holder.fileobj
    size = Path(holder.filename).stat().st_size if file is None else file.seek(0, 2)
    needed = int(image.dataobj.offset) + math.prod(map(int, image.shape)) * image.header.get_data_dtype().itemsize
    if size < needed:
        raise ValueError(f"{path} is truncated: it has {size} bytes of {needed}.")

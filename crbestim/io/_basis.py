"""The basis of the coefficients as a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._files import checked_path, write_together
from .._numpy_files import read_npy, refusing_damage
from .._validation import check_basis
from ._bart import COEFFICIENT_DIM, TIME_DIM, header_bytes, read_cfl, write_numbers

BASIS_FORMATS = (".cfl", ".npy")


def save_basis(path: str | os.PathLike[str], basis: ArrayLike, *, overwrite: bool = False) -> None:
    r"""Write the basis of coefficients, so that a reconstruction can use it.

    Parameters
    ----------
    path : path-like
        File. ``.cfl``: for BART (``bart pics -B``), with time along dimension 5 and coefficients along 6. BART's
        signals are :math:`x_t = \sum_k B_{tk} c_k`, ours :math:`x = c V^H`, so that B is the conjugate of V, and
        BART's coefficients are ours. ``.npy``: V itself.
    basis : array_like of shape (T, k)
        V, such as `SVDCompressor.basis_`.
    overwrite : bool, default=False
        Whether a file that exists may be replaced.

    Raises
    ------
    ValueError
        If the suffix is another one, or the basis has no orthonormal columns.
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim import MonoExponentialModel, SVDCompressor
    >>> from crbestim.io import save_basis
    >>> model = MonoExponentialModel(np.arange(1, 33) * 0.01)
    >>> compressor = SVDCompressor(n_components=4).fit(model.signal(np.linspace(0.03, 0.2, 50)[:, None]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_basis(Path(folder) / "basis.cfl", compressor.basis_)  # for bart pics -B basis
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['basis.cfl', 'basis.hdr']
    """
    target, basis = _basis_path(path), check_basis(basis)
    if target.suffix == ".npy":
        write_together({target: lambda file: np.save(file, basis)}, overwrite=overwrite)
        return
    values = np.conj(basis).reshape(*[1] * TIME_DIM, *basis.shape)
    header = header_bytes(values.shape)
    write_together(
        {
            target: lambda file: write_numbers(file, values),
            target.with_suffix(".hdr"): lambda file: file.write(header),
        },
        overwrite=overwrite,
    )


def load_basis(path: str | os.PathLike[str]) -> NDArray:
    """Read the basis of coefficients, such as one that a reconstruction used.

    Parameters
    ----------
    path : path-like
        As for `save_basis`.

    Returns
    -------
    ndarray of shape (T, k)
        V, real if all imaginary parts are zero; of BART's files in single precision.

    Raises
    ------
    ValueError
        If the suffix is another one, the file is damaged, or it holds no orthonormal columns.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim import SVDCompressor
    >>> from crbestim.io import load_basis, save_basis
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_basis(Path(folder) / "basis.npy", np.eye(5)[:, :2])
    ...     basis = load_basis(Path(folder) / "basis.npy")  # that of the reconstruction
    >>> compressor = SVDCompressor(basis=basis)
    >>> compressor.fit(np.ones((1, 5), complex)).n_components_
    2
    """
    source = _basis_path(path)
    if source.suffix == ".npy":
        with open(source, "rb") as file, refusing_damage(f"{source} is no array, or is damaged"):
            values = read_npy(file)
    else:
        array = read_cfl(source)
        sizes = {dim: size for dim, size in enumerate(array.shape) if size > 1}
        if not set(sizes) <= {TIME_DIM, COEFFICIENT_DIM}:
            raise ValueError(
                f"{source} must have time along dimension {TIME_DIM} and coefficients along {COEFFICIENT_DIM}; its "
                f"dimensions are {array.shape}."
            )
        n_times, n_coefficients = sizes.get(TIME_DIM, 1), sizes.get(COEFFICIENT_DIM, 1)
        values = np.conj(np.asarray(array).reshape(n_times, n_coefficients, order="F"))
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of a damaged file
            basis = check_basis(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
    return basis.real.copy() if np.iscomplexobj(basis) and not basis.imag.any() else basis


def _basis_path(path: str | os.PathLike[str]) -> Path:
    place = checked_path(path)
    if place.suffix not in BASIS_FORMATS:
        raise ValueError(f"path: a basis is a file with the suffix {' or '.join(BASIS_FORMATS)}; got {path}.")
    return place

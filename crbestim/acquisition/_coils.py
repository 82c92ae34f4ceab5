"""Receive coils: their sensitivities, and fewer virtual ones with the same information."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._optional import imported
from .._validation import check_count, check_finite, numeric_array
from ..datasets import Phantom

_COILS_OF_A_RING = 8


def make_coil_sensitivities(phantom: Phantom, n_coils: int = 20) -> NDArray[np.complex64]:
    r"""Return the sensitivities of coils in rings around a phantom.

    Parameters
    ----------
    phantom : Phantom
        What they surround.
    n_coils : int, default=20
        Eight to a ring.

    Returns
    -------
    ndarray of shape (n_coils, nx, ny, nz)
        Complex, with :math:`\sum_c |S_c|^2 = 1` in every voxel.

    Raises
    ------
    ImportError
        If sigpy is missing; the extra ``phantom`` brings it.
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim.acquisition import make_coil_sensitivities
    >>> from crbestim.datasets import make_bsa_phantom
    >>> coils = make_coil_sensitivities(make_bsa_phantom(13), n_coils=8)
    >>> bool(np.allclose((np.abs(coils) ** 2).sum(axis=0), 1, atol=1e-5))
    True
    """
    if not isinstance(phantom, Phantom):
        raise TypeError(f"phantom must be a Phantom; got {type(phantom).__name__}.")
    n_coils = check_count(n_coils, "n_coils")
    maps = imported("sigpy.mri", "phantom").birdcage_maps((n_coils, *phantom.shape), r=1.5, nzz=_COILS_OF_A_RING)
    return np.asarray(maps, dtype=np.complex64)


def compress_coils(samples: ArrayLike, sensitivities: ArrayLike, n_coils: int) -> tuple[NDArray, NDArray]:
    r"""Combine coils into fewer virtual ones: the first left singular vectors of their samples.

    Parameters
    ----------
    samples : array_like of shape (T, n, ...)
        k-space, coils along the second axis.
    sensitivities : array_like of shape (n, nx, ny, nz)
        Of the same coils.
    n_coils : int
        Of the virtual coils, at most n.

    Returns
    -------
    samples : ndarray of shape (T, n_coils, ...)
        Since the combinations are orthonormal, white noise stays white.
    sensitivities : ndarray of shape (n_coils, nx, ny, nz)

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit each other, or values are not finite.

    References
    ----------
    M. Buehrer et al., Array compression for MRI with large coil arrays, Magn. Reson. Med. 57, 2007.
    """
    kspace, maps = numeric_array(samples, "samples"), numeric_array(sensitivities, "sensitivities")
    if kspace.ndim < 3 or maps.ndim != 4 or kspace.shape[1] != len(maps):
        raise ValueError(
            "samples must be of shape (T, n, ...) and sensitivities of (n, nx, ny, nz), with the same n; "
            f"got {kspace.shape} and {maps.shape}."
        )
    check_finite(kspace, "samples")
    check_finite(maps, "sensitivities")
    if check_count(n_coils, "n_coils") > len(maps):
        raise ValueError(f"n_coils must be at most the number of coils, {len(maps)}; got {n_coils}.")
    gram = sum(echo.reshape(len(maps), -1) @ echo.reshape(len(maps), -1).conj().T for echo in kspace)
    weights = np.linalg.eigh(gram)[1][:, : -n_coils - 1 : -1].conj().T.astype(kspace.dtype)
    combined = np.einsum("vc,tc...->tv...", weights, kspace)
    return combined, np.tensordot(weights, maps, axes=1)

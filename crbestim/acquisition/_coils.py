"""Receive coils: their sensitivities, and fewer virtual ones with the same information."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._optional import imported
from .._validation import check_count
from ..datasets import Phantom
from ._kspace import KSpaceData

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


def compress_coils(data: KSpaceData, n_coils: int) -> KSpaceData:
    r"""Combine coils into fewer virtual ones: the first left singular vectors of their samples.

    Parameters
    ----------
    data : KSpaceData
        Of C coils.
    n_coils : int
        Of the virtual coils, at most C.

    Returns
    -------
    KSpaceData
        Samples and sensitivities of the virtual coils. Their combinations are orthonormal: white noise stays white.

    Raises
    ------
    TypeError, ValueError
        If the number of coils is none, or there are not that many.

    References
    ----------
    M. Buehrer et al., Array compression for MRI with large coil arrays, Magn. Reson. Med. 57, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim.acquisition import KSpaceData, compress_coils, koosh_ball_trajectory
    >>> rng = np.random.default_rng(0)
    >>> trajectory = koosh_ball_trajectory(n_echoes=10, n_cycles=3, n_samples=8)
    >>> samples = rng.standard_normal((10, 4, 3, 8)) + 1j * rng.standard_normal((10, 4, 3, 8))
    >>> data = KSpaceData(samples, trajectory, sensitivities=np.full((4, 8, 8, 8), 0.5))
    >>> few = compress_coils(data, n_coils=2)
    >>> few.samples.shape, few.sensitivities.shape
    ((10, 2, 3, 8), (2, 8, 8, 8))
    """
    if not isinstance(data, KSpaceData):
        raise TypeError(f"data must be KSpaceData; got {type(data).__name__}.")
    available = len(data.sensitivities)
    n_coils = check_count(n_coils, "n_coils")
    if n_coils > available:
        raise ValueError(f"n_coils must be at most the number of coils, {available}; got {n_coils}.")
    by_coil = data.samples.reshape(len(data.samples), available, -1)
    gram = sum(samples @ samples.conj().T for samples in by_coil)
    weights = np.linalg.eigh(gram)[1][:, : -n_coils - 1 : -1].conj().T
    return KSpaceData(
        (weights @ by_coil).reshape(len(by_coil), n_coils, *data.samples.shape[2:]),
        data.trajectory,
        np.tensordot(weights, data.sensitivities, axes=1),
    )

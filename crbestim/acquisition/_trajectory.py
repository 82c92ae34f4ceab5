"""Where a 3-D radial scan samples k-space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._validation import check_count

_GOLDEN_MEAN = 0.6823278038280193  # root of x^3 + x = 1; its square is the other one


def koosh_ball_trajectory(n_echoes: int, n_cycles: int, n_samples: int) -> NDArray[np.float32]:
    r"""Return the samples of a koosh ball: full spokes through the centre, turned by the 2-D golden means.

    The increments run on through all cycles of the pulse train: the spoke of echo t in cycle c has the number
    :math:`n = c T + t` and the direction

    .. math:: \cos\vartheta = n \varphi^2 \bmod 1, \qquad \phi = 2 \pi (n \varphi \bmod 1), \qquad \varphi = 0.6823,

    so that the spokes of each echo, and of each cycle, are spread over the sphere.

    Parameters
    ----------
    n_echoes : int
        Echoes T of a cycle.
    n_cycles : int
        Repetitions of the pulse train.
    n_samples : int
        Samples N of a spoke, evenly from -pi.

    Returns
    -------
    ndarray of shape (T, n_cycles, N, 3)
        Single precision, in rad per voxel, within the sphere of radius pi.

    Raises
    ------
    TypeError, ValueError
        If a number is no positive integer.

    References
    ----------
    R. W. Chan, E. A. Ramsay, C. H. Cunningham and D. B. Plewes, Temporal stability of adaptive 3D radial MRI using
    multidimensional golden means, Magn. Reson. Med. 61, 2009.

    Examples
    --------
    >>> from crbestim.acquisition import koosh_ball_trajectory
    >>> koosh_ball_trajectory(n_echoes=10, n_cycles=3, n_samples=8).shape
    (10, 3, 8, 3)
    """
    n_echoes, n_cycles = check_count(n_echoes, "n_echoes"), check_count(n_cycles, "n_cycles")
    n_samples = check_count(n_samples, "n_samples", minimum=2)
    spoke = np.arange(n_echoes * n_cycles, dtype=float)
    cos_polar, azimuth = spoke * _GOLDEN_MEAN**2 % 1, 2 * np.pi * (spoke * _GOLDEN_MEAN % 1)
    sin_polar = np.sqrt(1 - cos_polar**2)
    direction = np.stack([sin_polar * np.cos(azimuth), sin_polar * np.sin(azimuth), cos_polar], axis=-1)
    radius = np.pi * (2 * np.arange(n_samples) / n_samples - 1)
    spokes = (direction[:, None] * radius[:, None]).astype(np.float32)
    return np.ascontiguousarray(spokes.reshape(n_cycles, n_echoes, n_samples, 3).swapaxes(0, 1))

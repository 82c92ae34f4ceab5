"""Where a 3-D radial scan samples k-space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import check_count, check_finite, check_not_negative, in_single_precision, numeric_array

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


def radial_weights(trajectory: ArrayLike, power: float = 2.0) -> NDArray[np.float32]:
    r"""Return weights that make up for the density of radial samples: :math:`(|k| / \pi)^p`.

    Parameters
    ----------
    trajectory : array_like of shape (T, n_spokes, N, 3)
        In rad per voxel.
    power : float, default=2.0
        p: the density of the samples of a koosh ball falls by :math:`1 / |k|^2`. Less makes up for a part of it.

    Returns
    -------
    ndarray of shape (T, n_spokes, N)
        Single precision; a sample at the centre has the weight of one at half a step of the spoke.

    Raises
    ------
    TypeError, ValueError
        If the trajectory is none, or the power is negative.

    Examples
    --------
    >>> from crbestim.acquisition import koosh_ball_trajectory, radial_weights
    >>> radial_weights(koosh_ball_trajectory(1, 1, 8), power=1)[0, 0].round(3).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.125, 0.25, 0.5, 0.75]
    """
    where = checked_trajectory(trajectory)
    power = check_not_negative(power, "power")
    radius = np.linalg.norm(where, axis=-1).astype(np.float64) / np.pi
    with np.errstate(over="ignore", under="ignore"):
        weights = np.maximum(radius, 1 / where.shape[2]) ** power
    return in_single_precision(weights, f"power = {power:g} makes weights that")


def checked_trajectory(trajectory: ArrayLike) -> NDArray[np.float32]:
    """Return positions in k-space within the range of the voxels, in single precision."""
    where = numeric_array(trajectory, "trajectory")
    if where.ndim != 4 or where.shape[-1] != 3 or not where.size or where.dtype.kind == "c":
        raise ValueError(
            f"trajectory must be real numbers of shape (T, n_spokes, N, 3); got {where.dtype} {where.shape}."
        )
    check_finite(where, "trajectory")
    if np.abs(where).max() > np.pi * (1 + 1e-6):
        raise ValueError(f"trajectory must lie within pi, in rad per voxel; got up to {np.abs(where).max():.3g}.")
    return np.ascontiguousarray(where, dtype=np.float32)

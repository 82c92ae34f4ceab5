"""Smooth fields of a scanner: what B0, B1 and the receive phase look like across an object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray


def voxel_positions(shape: tuple[int, int, int], affine: FloatArray) -> FloatArray:
    """Return the centres of the voxels, (nx, ny, nz, 3), in mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def second_order_field(positions: FloatArray, inside: NDArray[np.bool_], amplitude: float) -> FloatArray:
    r"""Return what shims of first order leave: a field of second order, between -amplitude and amplitude.

    With coordinates u that run over [-1, 1] inside of the object, it is :math:`u_x u_y + u_z^2 / 2 - u_y^2 / 2`, less
    the middle of its range.
    """
    u = _unit_coordinates(positions, inside)
    field = u[..., 0] * u[..., 1] + (u[..., 2] ** 2 - u[..., 1] ** 2) / 2
    low, high = field[inside].min(), field[inside].max()
    return amplitude * (field - (low + high) / 2) / max((high - low) / 2, np.finfo(float).tiny)


def field_of_cavity(positions: FloatArray, centre: tuple[float, float, float], width: float) -> FloatArray:
    """Return the field of a cavity of air near the object: 1 at its centre, a Gaussian of a width in mm."""
    return np.exp(-((positions - np.asarray(centre)) ** 2).sum(axis=-1) / (2 * width**2))


def centre_brightening(positions: FloatArray, inside: NDArray[np.bool_], b1_range: tuple[float, float]) -> FloatArray:
    """Return a B1 that falls from the object's middle to its rim, with its extremes there, and is a little askew."""
    u = _unit_coordinates(positions, inside)
    profile = -(u[..., 0] ** 2 + u[..., 1] ** 2 + 0.5 * u[..., 2] ** 2) + 0.2 * u[..., 0] * u[..., 1]
    low, high = profile[inside].min(), profile[inside].max()
    share = (profile - low) / max(high - low, np.finfo(float).tiny)
    return b1_range[0] + (b1_range[1] - b1_range[0]) * share


def receive_phase(positions: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Return a phase that varies by some pi across the object, in rad."""
    u = _unit_coordinates(positions, inside)
    return 0.9 * u[..., 0] - 1.2 * u[..., 1] + 0.8 * (u**2).sum(axis=-1)


def _unit_coordinates(positions: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Return coordinates that run over [-1, 1] inside of the object."""
    low, high = positions[inside].min(axis=0), positions[inside].max(axis=0)
    return (positions - (low + high) / 2) / np.maximum((high - low) / 2, np.finfo(float).tiny)

"""Slices of a volume that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
_PLANE = {"L": "sagittal", "R": "sagittal", "P": "coronal", "A": "coronal", "I": "axial", "S": "axial"}
_MOST_PANELS = 6
_LEAST_FOR_OTHER_PLANES = 8


@dataclass(frozen=True)
class Slice:
    """One slice of a volume: the axis that it is perpendicular to, and the index there."""

    axis: int
    index: int

    @property
    def in_plane(self) -> tuple[int, int]:
        """The axes that point to the right and upward."""
        right, up = (axis for axis in range(3) if axis != self.axis)
        return right, up


@dataclass(frozen=True)
class View:
    """The slices of volumes of one geometry, cropped to where there are estimates.

    Attributes
    ----------
    slices : tuple of Slice
        What is shown.
    box : tuple of slice
        The part of the volume that has estimates.
    voxel_size : tuple of float
        Extent of a voxel along each axis.
    axis_codes : tuple of str or None
        Where the indices increase to, such as ("R", "A", "S").
    """

    slices: tuple[Slice, ...]
    box: tuple[slice, slice, slice]
    voxel_size: tuple[float, float, float]
    axis_codes: tuple[str, str, str] | None

    @classmethod
    def of(cls, mask: NDArray[np.bool_], voxel_size: Sequence[float] | None, axis_codes: Sequence[str] | None) -> View:
        """Choose slices of a mask that has at least one voxel: most along z, and a central one along y and x."""
        inside = [
            np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)
        ]
        box = tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in inside)
        others = [Slice(axis, int(inside[axis][len(inside[axis]) // 2])) for axis in (1, 0)]
        if box[2].stop - box[2].start < _LEAST_FOR_OTHER_PLANES:
            others = []
        n_slices = min(_MOST_PANELS - len(others), len(inside[2]))
        picked = inside[2][((np.arange(n_slices) + 0.5) * len(inside[2]) / n_slices).astype(int)]
        x, y, z = (1.0, 1.0, 1.0) if voxel_size is None else voxel_size
        return cls(
            slices=(*(Slice(2, int(index)) for index in picked), *others),
            box=(box[0], box[1], box[2]),
            voxel_size=(float(x), float(y), float(z)),
            axis_codes=None if axis_codes is None else (axis_codes[0], axis_codes[1], axis_codes[2]),
        )

    def image(self, volume: NDArray, shown: Slice) -> NDArray:
        """Return a slice, (up, right)."""
        index: list[slice | int] = list(self.box)
        index[shown.axis] = shown.index
        return volume[tuple(index)].T

    def extent(self, shown: Slice) -> tuple[float, float]:
        """Return width and height of a slice in the unit of the voxel's size."""
        width, height = (
            (self.box[axis].stop - self.box[axis].start) * self.voxel_size[axis] for axis in shown.in_plane
        )
        return width, height

    def title(self, shown: Slice) -> str:
        """Return the slice's index, with the name of its plane if that is known."""
        index = f"{'xyz'[shown.axis]} = {shown.index}"
        return index if self.axis_codes is None else f"{_PLANE[self.axis_codes[shown.axis]]}, {index}"

    def edges(self, shown: Slice) -> tuple[str, str, str, str]:
        """Return the letters at the left, right, lower and upper edge; empty where they are unknown."""
        if self.axis_codes is None:
            return "", "", "", ""
        right, up = (self.axis_codes[axis] for axis in shown.in_plane)
        return _OPPOSITE[right], right, _OPPOSITE[up], up

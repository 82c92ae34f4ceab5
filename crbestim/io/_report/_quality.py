"""Flags of a report: how many voxels have each, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NONE_COLOR, _SEVERAL_COLOR = "#b9cfe0", "#1a1a1a"
# Okabe and Ito's colours, which the colour-blind can tell apart.
_FLAG_COLORS = ("#e69f00", "#cc3311", "#aa4499", "#009e73", "#0072b2", "#f0e442", "#7a4b00")


@dataclass(frozen=True)
class FlagCount:
    """A row of the table: colour, text and number of voxels."""

    color: str
    text: str
    n_voxels: int


def count_flags(quality: NDArray[np.integer], mask: NDArray[np.bool_], labels: Mapping[int, str]) -> list[FlagCount]:
    """Count, in a mask: no flag, each flag that has a label or occurs, more than one flag."""
    inside = quality[mask]
    flags = _flags(inside, labels)
    n_flags = np.bitwise_count(inside)
    rows = [FlagCount(_NONE_COLOR, "no objection", int(np.count_nonzero(n_flags == 0)))]
    for number, flag in enumerate(flags):
        count = int(np.count_nonzero(inside & flag))
        rows.append(FlagCount(_FLAG_COLORS[number % len(_FLAG_COLORS)], labels.get(flag, f"flag {flag}"), count))
    rows.append(FlagCount(_SEVERAL_COLOR, "more than one of these", int(np.count_nonzero(n_flags > 1))))
    return rows


def flag_categories(
    quality: NDArray[np.integer], mask: NDArray[np.bool_], labels: Mapping[int, str]
) -> NDArray[np.floating]:
    """Return for each voxel the row of `count_flags` that its colour comes from; NaN outside of the mask."""
    flags = _flags(quality[mask], labels)
    rows = np.zeros(quality.shape, np.float32)
    for number, flag in enumerate(flags, start=1):
        rows[quality == flag] = number
    rows[np.bitwise_count(quality) > 1] = len(flags) + 1
    rows[~mask] = np.nan
    return rows


def _flags(inside: NDArray[np.integer], labels: Mapping[int, str]) -> list[int]:
    present = int(np.bitwise_or.reduce(inside))
    return sorted({int(flag) for flag in labels} | {1 << bit for bit in range(63) if present >> bit & 1})

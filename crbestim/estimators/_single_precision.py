"""Rows of numbers in single precision, whatever their size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RANGE = 1e-30, 1e30  # well within that of single precision


def scaled_to_single(rows: NDArray) -> tuple[NDArray[np.float32], NDArray[np.intc]]:
    """Return rows in single precision, (n, m), and the power of two that each was multiplied by to fit, (n,).

    Rows that fit as they are keep their values: the power is 0.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    outside = (largest > _RANGE[1]) | ((largest < _RANGE[0]) & (largest > 0))
    power = np.where(outside, -np.frexp(largest)[1], 0).astype(np.intc)
    if outside.any():
        rows = np.ldexp(rows, power[:, None])
    return np.require(rows, np.float32, "W"), power

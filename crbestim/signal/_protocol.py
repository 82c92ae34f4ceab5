"""Checks of what a model is told of a measurement: times, flip angles and the kind of data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._validation import numeric_array


def protocol_values(values: ArrayLike, name: str, *, unit: str, least: float = 0.0) -> tuple[float, ...]:
    """Return the settings of a measurement's samples as a tuple, which makes a model hashable and immutable.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If they are not one-dimensional, finite and at least `least`, or there are none.
    """
    array = numeric_array(values, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real; got {array.dtype}.")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be one-dimensional with at least one value; got shape {array.shape}.")
    if not np.isfinite(array).all() or (array < least).any():
        raise ValueError(
            f"{name} must be finite and at least {least:g} {unit}; got {array.min():g} to {array.max():g}."
        )
    return tuple(array.astype(float).tolist())

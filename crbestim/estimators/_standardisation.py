"""Mean and scale by which a network's targets and covariates are standardised."""

from __future__ import annotations

import numpy as np

from .._validation import FloatArray, spread_of

_CONSTANT = 1e-9  # least spread, in units of the largest value: what is below is rounding


def mean_and_scale(values: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each column, (c,); the scale of a constant column is 1.

    Raises
    ------
    ValueError
        If they are beyond the range of numbers.
    """
    spread = spread_of(values, name)
    return values.mean(axis=0), np.where(spread > _CONSTANT * np.abs(values).max(axis=0), spread, 1.0)

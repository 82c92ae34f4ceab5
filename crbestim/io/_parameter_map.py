"""Map of one parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..signal import Parameter


@dataclass(frozen=True, eq=False)
class ParameterMap:
    """Estimates of one parameter in every voxel of a volume.

    Attributes
    ----------
    parameter : Parameter
        Name, symbol and unit.
    values : ndarray of shape (nx, ny, nz)
        Estimates; NaN where there is none, as outside of a mask.
    std : ndarray of shape (nx, ny, nz) or None
        Their standard deviations, if they are known.
    """

    parameter: Parameter
    values: NDArray[np.floating]
    std: NDArray[np.floating] | None = None

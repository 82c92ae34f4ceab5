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

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import MonoExponentialModel
    >>> from crbestim.io import ParameterMap
    >>> T2 = MonoExponentialModel([0.02, 0.04]).parameters[0]
    >>> found = ParameterMap(T2, values=np.full((4, 4, 2), 0.08), std=np.full((4, 4, 2), 0.002))
    >>> found.parameter.label, found.values.shape
    ('$T_2$ [s]', (4, 4, 2))
    >>> round(float(np.nanmedian(found.std / found.values)), 4)  # relative error
    0.025
    """

    parameter: Parameter
    values: NDArray[np.floating]
    std: NDArray[np.floating] | None = None

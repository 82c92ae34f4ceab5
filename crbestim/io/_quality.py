"""What is to be said against an estimate."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray


class QualityFlag(IntFlag):
    """Bits of a quality map; 0: nothing is to be said against the estimates.

    Examples
    --------
    Keep the voxels whose fits ended between the bounds:

    >>> import numpy as np
    >>> from crbestim.io import QualityFlag
    >>> quality = np.array([0, 4, 8, 16, 20], np.uint32)  # of VolumeEstimates, or from quality.nii.gz
    >>> doubtful = QualityFlag.AT_BOUND | QualityFlag.NOT_CONVERGED
    >>> ((quality & doubtful) == 0).tolist()
    [True, False, False, True, False]
    >>> QualityFlag.NOT_CONVERGED.text
    'a fit that ran out of iterations'
    >>> [flag.name for flag in QualityFlag(20)]
    ['AT_BOUND', 'POORLY_DETERMINED']
    """

    #: An estimate lies outside of the central 99 % of the prior that the network was trained with.
    OUTSIDE_PRIOR = 1
    #: The signal is none that the model can give (see `crbestim.goodness_of_fit`).
    NOT_OF_MODEL = 2
    #: An estimate lies at a bound of the least-squares fit. That others end there, such as T2s, is common.
    AT_BOUND = 4
    #: The least-squares fit ran out of iterations.
    NOT_CONVERGED = 8
    #: The standard deviation of the first target exceeds a third of that of the prior: the signal tells little about
    #: it. The same of the further targets are 32, 64 and so on.
    POORLY_DETERMINED = 16

    @property
    def text(self) -> str:
        """What it means, in a few words; of several flags, one after the other."""
        return "; ".join(_TEXTS[flag] for flag in self)


_TEXTS = {
    QualityFlag.OUTSIDE_PRIOR: "an estimate outside of the central 99 % of the training's prior",
    QualityFlag.NOT_OF_MODEL: "a signal that is none of the model's",
    QualityFlag.AT_BOUND: "an estimate at a bound of the fit",
    QualityFlag.NOT_CONVERGED: "a fit that ran out of iterations",
    QualityFlag.POORLY_DETERMINED: "a standard deviation of the first target above a third of the prior's",
}


def poorly_determined(target: int) -> int:
    """Return the bit of a target, counted from 0."""
    return int(QualityFlag.POORLY_DETERMINED) << target


def labels_of_targets(names: Any) -> dict[int, str]:
    """Return the bits of all targets with what they mean."""
    return {
        poorly_determined(target): f"a standard deviation of {name} above a third of the prior's"
        for target, name in enumerate(names)
    }


def no_flags(n: int) -> NDArray[np.uint32]:
    """Return the quality of n voxels against which nothing is said yet."""
    return np.zeros(n, np.uint32)


def mark(quality: NDArray[np.uint32], voxels: Any, flag: int) -> None:
    """Set a bit in some voxels, chosen by a boolean array."""
    quality[voxels] |= np.uint32(flag)

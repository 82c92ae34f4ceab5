"""Known parameters of each voxel as further inputs of a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._validation import FloatArray, check_covariates, in_single_precision
from ._standardisation import mean_and_scale


class Covariates(NamedTuple):
    """What a training remembers of its covariates.

    Attributes
    ----------
    names : list of str or None
        Columns, if they were a DataFrame.
    mean, scale : ndarray of shape (c,)
        By which they are standardised; c = 0 if there are none.
    """

    names: list[str] | None
    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, covariates: ArrayLike | pd.DataFrame | None, n: int) -> Covariates:
        """Take names and scale from those of the n samples of a training."""
        names = [str(name) for name in covariates.columns] if isinstance(covariates, pd.DataFrame) else None
        values = np.empty((n, 0)) if covariates is None else check_covariates(covariates, n)
        return cls(names, *mean_and_scale(values, "covariates"))

    def standardised(
        self, covariates: ArrayLike | pd.DataFrame | None, n: int, present: NDArray[np.bool_] | None = None
    ) -> FloatArray:
        """Return covariates of n samples as the network takes them, (n, c), in single precision.

        Those of samples that are not present are not looked at.

        Raises
        ------
        TypeError, ValueError
            If they are missing, or have other columns than in the training or values that are not finite.
        """
        if covariates is None:
            if len(self.mean):
                raise ValueError(f"covariates must be given, as they were in fit ({self.names or len(self.mean)}).")
            return np.empty((n, 0), dtype=np.float32)
        if not len(self.mean):
            raise ValueError("covariates were given, but fit got none.")
        values = check_covariates(covariates, n, self.names, present)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"covariates must have {len(self.mean)} columns, as in fit; got {values.shape[1]}.")
        return in_single_precision((values - self.mean) / self.scale, "covariates")

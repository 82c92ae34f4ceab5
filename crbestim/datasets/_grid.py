"""Tissues on a regular grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._validation import check_finite, numeric_array
from ._priors import Prior, check_prior


def make_grid(axes: Mapping[str, ArrayLike], prior: Prior) -> pd.DataFrame:
    """Return tissues on a regular grid through the middle of a prior, such as a 2-D slice for maps.

    Parameters
    ----------
    axes : mapping of str to array_like of shape (n_i,)
        Values of the parameters that vary, in SI units.
    prior : Prior
        The parameters that do not vary are at its means.

    Returns
    -------
    DataFrame of shape (n_1 n_2 ..., P)
        The last axis runs fastest: a result of shape (n,) is a map after ``reshape(n_1, n_2)``.

    Raises
    ------
    TypeError, ValueError
        If an axis is no parameter of the prior, or not a list of finite real numbers, or there is none.

    Examples
    --------
    >>> from crbestim import paper_prior
    >>> theta = make_grid({"m0s": [0.1, 0.2], "T1": [1.0, 1.5, 2.0]}, paper_prior())
    >>> theta.shape, theta["T1"].iloc[:4].tolist()
    ((6, 7), [1.0, 1.5, 2.0, 1.0])
    """
    if not isinstance(axes, Mapping) or not axes:
        raise TypeError("axes must be a mapping of parameters' names to their values.")
    check_prior(prior)
    unknown = [name for name in axes if name not in prior.names]
    if unknown:
        raise ValueError(
            f"axes names {unknown}, which are not parameters of the prior; expected some of {prior.names}."
        )
    values = {name: numeric_array(axis, f"axes[{name!r}]") for name, axis in axes.items()}
    for name, axis in values.items():
        if axis.ndim != 1 or not len(axis) or axis.dtype.kind == "c":
            raise ValueError(f"axes[{name!r}] must be real values of shape (n,); got {axis.dtype} of {axis.shape}.")
        check_finite(axis, f"axes[{name!r}]")
    mesh = np.meshgrid(*values.values(), indexing="ij")
    middle = prior.mean()
    varied = dict(zip(values, (axis.ravel() for axis in mesh), strict=True))
    return pd.DataFrame({name: varied.get(name, np.full(mesh[0].size, middle[name])) for name in prior.names})

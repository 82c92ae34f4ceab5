"""Covariance of estimates, from the bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._validation import FloatArray
from ..bounds import cramer_rao_bound, information_root
from ._problem import Problem


def bound_of_targets(problem: Problem, theta: FloatArray, targets: Sequence[str], known: Sequence[str]) -> FloatArray:
    r"""Return the targets' block of :math:`F^{-1}`, (n, p, p), for parameters (n, P), at |M0| = 1 and sigma = 1.

    A target that the signal does not tell has inf on the diagonal and NaN beside it. Where it tells some unknowns in
    combination only, all entries beside the diagonal are NaN.
    """
    p = len(targets)
    parts = []
    for _, derivatives in problem.model._stream_unknowns(theta, targets, problem.operator, known):
        root = information_root(derivatives)[:, :p]
        with np.errstate(invalid="ignore", over="ignore"):
            block = root @ root.swapaxes(1, 2)
        dependent = ~np.isfinite(root).all(axis=(1, 2))
        if dependent.any():  # of some of the unknowns only a combination is told: the others have a bound all the same
            block[dependent] = np.nan
            diagonal = np.einsum("nii->ni", block)
            diagonal[dependent] = cramer_rao_bound(derivatives[dependent])[:, :p]
        parts.append(block)
    bound = np.concatenate(parts)
    factor = problem.model._regular_point(theta, known)[1][:, problem.model._columns(targets)]
    with np.errstate(invalid="ignore", over="ignore"):
        bound *= np.sqrt(factor[:, :, None] * factor[:, None, :])
    diagonal = np.einsum("nii->ni", bound)
    untold = ~np.isfinite(diagonal) | (diagonal == 0)
    bound[untold[:, :, None] | untold[:, None, :]] = np.nan
    diagonal[untold] = np.inf
    return bound

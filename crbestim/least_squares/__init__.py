"""Bounded non-linear least squares of many voxels: the problem, two solvers, and what they found."""

from ._batch_log import read_results
from ._result import FitStatus, LeastSquaresResult

__all__ = ["FitStatus", "LeastSquaresResult", "read_results"]

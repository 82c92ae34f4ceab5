"""Coefficient images from k-space, by an external program."""

from ._bart import find_bart
from ._low_rank import reconstruct_coefficients

__all__ = ["find_bart", "reconstruct_coefficients"]

"""Priors of tissue parameters and simulated data."""

from ._bsa_inversion_recovery import fetch_bsa_inversion_recovery
from ._fingerprints import default_prior, make_fingerprints
from ._grid import make_grid
from ._priors import Prior, paper_prior, truncated_normal

__all__ = [
    "Prior",
    "default_prior",
    "fetch_bsa_inversion_recovery",
    "make_fingerprints",
    "make_grid",
    "paper_prior",
    "truncated_normal",
]

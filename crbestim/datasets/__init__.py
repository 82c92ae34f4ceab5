"""Priors of tissue parameters and simulated data."""

from ._bsa_inversion_recovery import fetch_bsa_inversion_recovery
from ._fingerprints import default_prior, make_fingerprints
from ._priors import Prior, paper_prior, truncated_normal

__all__ = [
    "Prior",
    "default_prior",
    "fetch_bsa_inversion_recovery",
    "make_fingerprints",
    "paper_prior",
    "truncated_normal",
]

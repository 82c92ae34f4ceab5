"""Priors of tissue parameters and simulated data."""

from ._fingerprints import default_prior, make_fingerprints
from ._priors import Prior, paper_prior, truncated_normal

__all__ = ["Prior", "default_prior", "make_fingerprints", "paper_prior", "truncated_normal"]

"""Priors of tissue parameters, simulated data and phantoms."""

from ._brain_phantom import make_brain_phantom
from ._bsa_inversion_recovery import fetch_bsa_inversion_recovery
from ._bsa_phantom import make_bsa_phantom
from ._fingerprints import default_prior, make_fingerprints
from ._grid import make_grid
from ._phantom import Phantom
from ._priors import Prior, paper_prior, truncated_normal

__all__ = [
    "Phantom",
    "Prior",
    "default_prior",
    "fetch_bsa_inversion_recovery",
    "make_brain_phantom",
    "make_bsa_phantom",
    "make_fingerprints",
    "make_grid",
    "paper_prior",
    "truncated_normal",
]

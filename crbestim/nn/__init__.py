"""Torch modules: networks and losses."""

from ._losses import CRBLoss, MSELoss
from ._networks import NETWORKS, FingerprintNetwork, PaperNetwork, PhaseAlignment, ResidualNetwork, UnitNorm

__all__ = [
    "NETWORKS",
    "CRBLoss",
    "FingerprintNetwork",
    "MSELoss",
    "PaperNetwork",
    "PhaseAlignment",
    "ResidualNetwork",
    "UnitNorm",
]

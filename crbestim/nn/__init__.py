"""Torch modules: networks and losses."""

from ._losses import CRBLoss, MSELoss
from ._networks import NETWORKS, PaperNetwork, PhaseAlignment, ResidualNetwork, UnitNorm

__all__ = ["NETWORKS", "CRBLoss", "MSELoss", "PaperNetwork", "PhaseAlignment", "ResidualNetwork", "UnitNorm"]

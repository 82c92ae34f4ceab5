"""Torch modules: networks and losses."""

from ._criterion import Criterion, EstimatorNetwork
from ._losses import LOSSES, BiasReducedLoss, CRBLoss, MSELoss, RelativeLoss
from ._networks import (
    NETWORKS,
    AsinhOutput,
    FingerprintNetwork,
    PaperNetwork,
    PhaseAlignment,
    ResidualNetwork,
    UnitNorm,
)

__all__ = [
    "LOSSES",
    "NETWORKS",
    "AsinhOutput",
    "BiasReducedLoss",
    "CRBLoss",
    "Criterion",
    "EstimatorNetwork",
    "FingerprintNetwork",
    "MSELoss",
    "PaperNetwork",
    "PhaseAlignment",
    "RelativeLoss",
    "ResidualNetwork",
    "UnitNorm",
]

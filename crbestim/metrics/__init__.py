"""Losses, scores and scorers in units of the Cramér-Rao bound."""

from ._loss import crb_efficiency_score, crb_loss
from ._scorer import CRBEfficiencyScorer

__all__ = ["CRBEfficiencyScorer", "crb_efficiency_score", "crb_loss"]

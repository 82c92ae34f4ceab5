"""Pulse sequences designed by the Cramér-Rao bound."""

from ._comparison import compare_bounds
from ._constraints import SequenceConstraints
from ._hybrid_state_error import hybrid_state_error
from ._optimize import optimize_sequence
from ._result import SequenceDesign

__all__ = ["SequenceConstraints", "SequenceDesign", "compare_bounds", "hybrid_state_error", "optimize_sequence"]

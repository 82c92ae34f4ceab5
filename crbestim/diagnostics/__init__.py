"""Evidence of an estimator's bias, variance and efficiency."""

from ._bias_variance import bias_variance
from ._estimate_display import EstimateDisplay
from ._sequence_display import SequenceDisplay

__all__ = ["EstimateDisplay", "SequenceDisplay", "bias_variance"]

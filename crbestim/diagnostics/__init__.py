"""Evidence of an estimator's bias, variance and efficiency."""

from ._bias_variance import bias_variance
from ._estimate_display import EstimateDisplay

__all__ = ["EstimateDisplay", "bias_variance"]

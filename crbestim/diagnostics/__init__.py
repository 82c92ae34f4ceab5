"""Evidence of an estimator's bias, variance and efficiency."""

from ._bias_variance import bias_and_std, bias_variance
from ._estimate_display import EstimateDisplay
from ._goodness_of_fit import GoodnessOfFit, goodness_of_fit
from ._interval_coverage import interval_coverage
from ._sequence_display import SequenceDisplay

__all__ = [
    "EstimateDisplay",
    "GoodnessOfFit",
    "SequenceDisplay",
    "bias_and_std",
    "bias_variance",
    "goodness_of_fit",
    "interval_coverage",
]

"""Estimators with the API of scikit-learn."""

from ._crb_regressor import CRBWeightedRegressor
from ._crb_svd_compressor import CRBSVDCompressor
from ._dictionary_matcher import DictionaryMatcher
from ._nlls import NLLSEstimator
from ._pipeline import Pipeline
from ._posterior_mean import PosteriorMean, PosteriorResult
from ._svd_compressor import SVDCompressor

__all__ = [
    "CRBSVDCompressor",
    "CRBWeightedRegressor",
    "DictionaryMatcher",
    "NLLSEstimator",
    "Pipeline",
    "PosteriorMean",
    "PosteriorResult",
    "SVDCompressor",
]

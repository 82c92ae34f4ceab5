"""Cramér-Rao-bound-informed estimators for quantitative MRI."""

from importlib.metadata import version

from . import design
from .bounds import cramer_rao_bound, fisher_information
from .covariance import NoiseCovariance
from .datasets import Prior, make_fingerprints, paper_prior
from .diagnostics import EstimateDisplay, SequenceDisplay, bias_variance
from .estimators import (
    CRBSVDCompressor,
    CRBWeightedRegressor,
    DictionaryMatcher,
    NLLSEstimator,
    Pipeline,
    SVDCompressor,
)
from .least_squares import FitStatus, LeastSquaresResult, read_results
from .metrics import CRBEfficiencyScorer, crb_efficiency_score, crb_loss
from .noise import NoiseModel
from .signal import (
    BlochHybridStateModel,
    BlochMcConnellModel,
    FunctionModel,
    InversionRecoveryModel,
    InversionRecoveryMTModel,
    MonoExponentialModel,
    MTBlochModel,
    MTHybridStateModel,
    MultiEchoGradientEchoModel,
    Parameter,
    PulseSequence,
    SignalModel,
    VariableFlipAngleModel,
)

__version__ = version("crbestim")

__all__ = [
    "BlochHybridStateModel",
    "BlochMcConnellModel",
    "CRBEfficiencyScorer",
    "CRBSVDCompressor",
    "CRBWeightedRegressor",
    "DictionaryMatcher",
    "EstimateDisplay",
    "FitStatus",
    "FunctionModel",
    "InversionRecoveryMTModel",
    "InversionRecoveryModel",
    "LeastSquaresResult",
    "MTBlochModel",
    "MTHybridStateModel",
    "MonoExponentialModel",
    "MultiEchoGradientEchoModel",
    "NLLSEstimator",
    "NoiseCovariance",
    "NoiseModel",
    "Parameter",
    "Pipeline",
    "Prior",
    "PulseSequence",
    "SVDCompressor",
    "SequenceDisplay",
    "SignalModel",
    "VariableFlipAngleModel",
    "bias_variance",
    "cramer_rao_bound",
    "crb_efficiency_score",
    "crb_loss",
    "design",
    "fisher_information",
    "make_fingerprints",
    "paper_prior",
    "read_results",
]

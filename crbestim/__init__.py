"""Cramér-Rao-bound-informed estimators for quantitative MRI."""

from importlib.metadata import version

from . import _start  # noqa: F401 - first, as the others take seconds

# isort: split
from . import acquisition, datasets, design, reconstruction
from .bounds import cramer_rao_bound, fisher_information
from .covariance import NoiseCovariance
from .datasets import Prior, make_fingerprints, make_grid, paper_prior
from .diagnostics import (
    EstimateDisplay,
    GoodnessOfFit,
    SequenceDisplay,
    bias_and_std,
    bias_variance,
    goodness_of_fit,
    interval_coverage,
)
from .estimators import (
    CRBSVDCompressor,
    CRBWeightedRegressor,
    DictionaryMatcher,
    NLLSEstimator,
    Pipeline,
    PosteriorMean,
    PosteriorResult,
    SVDCompressor,
)
from .least_squares import FitStatus, LeastSquaresResult, read_results
from .metrics import CRBEfficiencyScorer, crb_efficiency_score, crb_loss
from .noise import NoiseModel, estimate_noise_std
from .pretrained import PretrainedPipeline, load_estimator, load_pretrained, save_estimator, save_pretrained
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
    "GoodnessOfFit",
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
    "PosteriorMean",
    "PosteriorResult",
    "PretrainedPipeline",
    "Prior",
    "PulseSequence",
    "SVDCompressor",
    "SequenceDisplay",
    "SignalModel",
    "VariableFlipAngleModel",
    "acquisition",
    "bias_and_std",
    "bias_variance",
    "cramer_rao_bound",
    "crb_efficiency_score",
    "crb_loss",
    "datasets",
    "design",
    "estimate_noise_std",
    "fisher_information",
    "goodness_of_fit",
    "interval_coverage",
    "load_estimator",
    "load_pretrained",
    "make_fingerprints",
    "make_grid",
    "paper_prior",
    "read_results",
    "reconstruction",
    "save_estimator",
    "save_pretrained",
]

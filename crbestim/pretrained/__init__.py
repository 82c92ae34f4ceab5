"""Trained networks, and other fitted estimators, as files without pickle."""

from ._estimators import TRUSTED_TYPES, load_estimator, save_estimator
from ._load import load_pretrained
from ._pipeline import PretrainedPipeline
from ._save import save_pretrained

__all__ = [
    "TRUSTED_TYPES",
    "PretrainedPipeline",
    "load_estimator",
    "load_pretrained",
    "save_estimator",
    "save_pretrained",
]

"""Trained networks as files, without pickle."""

from ._load import load_pretrained
from ._pipeline import PretrainedPipeline
from ._save import save_pretrained

__all__ = ["PretrainedPipeline", "load_pretrained", "save_pretrained"]

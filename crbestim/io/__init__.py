"""Volumes as files: coefficient images in, parameter maps and a report out."""

from ._basis import load_basis, save_basis
from ._estimate_volume import VolumeEstimates, estimate_volume
from ._map_volume import map_volume
from ._open import open_coefficients, open_volume, read_map, read_mask
from ._parameter_map import ParameterMap
from ._prior_file import load_prior
from ._quality import QualityFlag
from ._report import write_report
from ._save_estimates import save_estimates
from ._save_volume import save_volume
from ._volume import Volume

__all__ = [
    "ParameterMap",
    "QualityFlag",
    "Volume",
    "VolumeEstimates",
    "estimate_volume",
    "load_basis",
    "load_prior",
    "map_volume",
    "open_coefficients",
    "open_volume",
    "read_map",
    "read_mask",
    "save_basis",
    "save_estimates",
    "save_volume",
    "write_report",
]

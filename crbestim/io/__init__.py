"""Volumes as files: coefficient images in, parameter maps and a report out."""

from ._parameter_map import ParameterMap
from ._report import write_report

__all__ = ["ParameterMap", "write_report"]

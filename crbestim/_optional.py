"""Libraries that only some files need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def imported(module: str, extra: str) -> Any:
    """Import an optional library; raise ImportError with what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} is not installed; pip install 'crbestim[{extra}]' brings it.") from error

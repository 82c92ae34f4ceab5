"""A signal model in a Python file of the user's."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..signal import PulseSequence, SignalModel


def attribute_of(path: Path, name: str) -> Any:
    """Run a file and return what it defines under a name; raise OSError or ValueError, with the line, if it fails."""
    if not path.is_file():
        raise FileNotFoundError(f"--signal-model: there is no file {path}.")
    # A name that no module has: a file may be called signal.py.
    spec = importlib.util.spec_from_file_location(f"crbestim_model_file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.absolute().parent))  # for what it imports from beside it
    sys.modules[spec.name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"--signal-model: {path} failed: {_described(error)}") from error
    finally:
        del sys.modules[spec.name]  # so that other processes get its code, which they could not import
    if not hasattr(module, name):
        raise ValueError(f"--signal-model: {path} defines no {name!r}.")
    return getattr(module, name)


def made_by(make: Callable[[PulseSequence], SignalModel], sequence: PulseSequence, name: str) -> SignalModel:
    """Return what a function makes of a pulse train; raise ValueError, with the line, if it fails."""
    try:
        found = make(sequence)
    except Exception as error:
        raise ValueError(f"--signal-model: {name} failed: {_described(error)}") from error
    if not isinstance(found, SignalModel):
        raise TypeError(f"--signal-model: {name} must be a SignalModel; got {type(found).__name__}.")
    return found


def _described(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        place, text = f"{error.filename}, line {error.lineno}", error.msg
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place, text = f"{last.filename}, line {last.lineno}", str(error)
    return f"{type(error).__name__}: {text} ({place})"

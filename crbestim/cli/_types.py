"""Kinds of options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ..io._names import check_name_part


def positive(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
    return value


def count(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number; got {text!r}")
    return int(text)


def processes(text: str) -> int:
    """A number of processes, as joblib counts them: -1 is all cores."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not value:
        raise argparse.ArgumentTypeError(f"must be a whole number other than 0; got {text!r}")
    return value


def number_or_path(text: str) -> float | Path:
    """A positive number, or else a file."""
    try:
        float(text)
    except ValueError:
        if text.strip("+-.,0123456789eE"):
            return Path(text)
    return positive(text)


def file_ending_in(*suffixes: str) -> Callable[[str], Path]:
    """Return the kind of files with one of these suffixes."""

    def named(text: str) -> Path:
        if not text.endswith(suffixes):
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(suffixes)}; got {text!r}")
        return Path(text)

    return named


def name_part(text: str) -> str:
    """What may be in the name of a file."""
    try:
        return check_name_part(text, "it")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def named_path(text: str) -> tuple[str, Path]:
    """A file with a name: NAME=FILE."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"must be NAME=FILE; got {text!r}")
    return name, Path(path)


def named_number(text: str) -> tuple[str, float]:
    """A number with a name: NAME=VALUE."""
    name, equals, value = text.partition("=")
    try:
        return name, float(value if name and equals else "none")
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE; got {text!r}") from None

"""The command line: each command is a thin call of the public API."""

from ._main import main

__all__ = ["main"]

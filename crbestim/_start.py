"""Ctrl-C in the seconds in which a command is still being imported."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

_INTERRUPTED = 130


def is_command() -> bool:
    """Tell whether this process is `crbestim` or `python -m crbestim.cli`."""
    return Path(sys.argv[0]).stem == "crbestim" or "crbestim.cli" in sys.orig_argv


def end_quietly_on_interruption() -> None:
    """Let an interruption from the keyboard end the process at once, with the exit code of an interrupted command.

    There is nothing to be saved yet, and Python would show where among the imports it was.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupt_as_usual() -> None:
    """Let an interruption be a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: Any) -> None:
    os._exit(_INTERRUPTED)


if is_command():
    end_quietly_on_interruption()

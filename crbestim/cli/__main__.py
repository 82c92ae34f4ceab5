"""`python -m crbestim.cli`, and the command `crbestim`."""

import gc
import sys

from .._start import interrupt_as_usual
from ._main import main


def run() -> int:
    """Run a command as a process of its own, and return its exit code."""
    interrupt_as_usual()
    gc.freeze()  # what was imported lives until the end: looking for garbage in it would take more than a second
    return main()


if __name__ == "__main__":
    sys.exit(run())

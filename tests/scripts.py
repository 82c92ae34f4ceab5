"""Runs the examples as a user does."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_fast(name, *arguments):
    """A trial run of a script with some arguments."""
    return subprocess.run(
        [sys.executable, EXAMPLES / name, "--fast", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )

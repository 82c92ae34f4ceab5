"""BART, the Berkeley Advanced Reconstruction Toolbox, as a program with files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ..io._bart import header_bytes, read_cfl, write_numbers

_MISSING = (
    "BART, the program that reconstructs, was not found. Install it (Debian and Ubuntu: apt install bart; others: "
    "https://mrirecon.github.io/bart) and put it on the PATH, or name its directory in BART_TOOLBOX_PATH."
)


def find_bart() -> Path | None:
    """Return where the program ``bart`` is: in the directory BART_TOOLBOX_PATH, or on the PATH.

    Returns
    -------
    Path or None
        None if it is not there.

    Examples
    --------
    >>> from crbestim.reconstruction import find_bart
    >>> program = find_bart()
    >>> print("BART is missing" if program is None else program)  # doctest: +SKIP
    /usr/bin/bart
    """
    folder = os.environ.get("BART_TOOLBOX_PATH")
    found = shutil.which("bart", path=folder) if folder else shutil.which("bart")
    return None if found is None else Path(found)


def required_bart() -> Path:
    """Return where ``bart`` is, or raise FileNotFoundError with how to get it."""
    program = find_bart()
    if program is None:
        raise FileNotFoundError(_MISSING)
    return program


def run_bart(
    command: Sequence[str], inputs: Mapping[str, NDArray], output: str, *, n_threads: int | None = None
) -> NDArray[np.complex64]:
    """Run a command of BART on arrays and return the one that it writes.

    Parameters
    ----------
    command : sequence of str
        Tool, options and names of files.
    inputs : mapping of str to ndarray
        Arrays by the names that stand for them in the command, with BART's dimensions.
    output : str
        Name of the result.
    n_threads : int, optional
        By default one for each processor.

    Raises
    ------
    FileNotFoundError
        If BART is not installed.
    RuntimeError
        If it fails; the message has the end of what it said.
    """
    program = required_bart()
    with TemporaryDirectory(prefix="crbestim-bart-") as folder:
        for name, values in inputs.items():
            path = Path(folder, name)
            path.with_suffix(".hdr").write_bytes(header_bytes(values.shape))
            with path.with_suffix(".cfl").open("wb") as file:
                write_numbers(file, values)
        environment = os.environ | ({} if n_threads is None else {"OMP_NUM_THREADS": str(n_threads)})
        done = subprocess.run([program, *command], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()[-8:]
            raise RuntimeError(
                f"bart {' '.join(command)} failed with exit code {done.returncode}:\n" + "\n".join(said)
            )
        return np.array(read_cfl(Path(folder, output + ".cfl")))

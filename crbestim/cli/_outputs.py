"""Files that a command is going to write, looked at before hours of work."""

from __future__ import annotations

import os
from pathlib import Path

from .._files import check_places, is_taken


def check_outputs(overwrite: bool, *paths: Path, with_directory: bool = False) -> None:
    """Raise OSError if a file cannot be written, or is there and may not be replaced; with it, the .hdr of a .cfl.

    Its directory must exist, unless the command makes it.
    """
    paths = (*paths, *(path.with_suffix(".hdr") for path in paths if path.suffix == ".cfl"))
    folders = {path.absolute().parent for path in paths}
    for folder in folders:
        nearest = folder
        while with_directory and not nearest.exists():
            nearest = nearest.parent
        if nearest.exists() and not nearest.is_dir():
            raise NotADirectoryError(f"{nearest} is no directory.")
        if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(f"No file may be written to {nearest}.")
    check_places([path for path in paths if not with_directory or path.absolute().parent.exists()])
    present = [path for path in paths if is_taken(path)]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists; --overwrite replaces it.")

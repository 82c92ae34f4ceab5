"""Files that a command is going to write."""

from __future__ import annotations

from pathlib import Path


def check_free(overwrite: bool, *paths: Path) -> None:
    """Raise FileExistsError if one exists, unless it may be replaced."""
    present = [path for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists; --overwrite replaces it.")

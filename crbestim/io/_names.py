"""Names of files after the manner of BIDS."""

from __future__ import annotations

import unicodedata
from pathlib import Path

_SEPARATORS = ("/", "\\")
SUFFIXES = (".nii.gz", ".nii", ".cfl", ".hdr", ".zarr")


def stem_of(path: Path) -> str:
    """Return the name of a volume without its suffix."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def prefix_of(path: Path) -> str:
    """Return what the names of maps begin with that were made from a file.

    Of ``sub-01_acq-mt_coefficients.nii.gz`` these are its entities, ``sub-01_acq-mt_``; of a name without entities
    all of it, ``brain_``, but nothing of ``coefficients.nii.gz``.
    """
    *entities, last = stem_of(path).split("_")
    if "-" in last or (last != "coefficients" and not any("-" in entity for entity in entities)):
        entities.append(last)
    return "".join(f"{entity}_" for entity in entities)


def check_name_part(text: str, name: str) -> str:
    """Return what goes into the name of a file; raise ValueError if it would lead elsewhere."""
    if any(character in _SEPARATORS or unicodedata.category(character) == "Cc" for character in text):
        raise ValueError(f"{name} must be a part of a file's name, without / or \\; got {text!r}.")
    return text

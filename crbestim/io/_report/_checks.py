"""Checks of the arguments of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._files import check_not_taken, checked_path
from .._parameter_map import ParameterMap

_CODES = ({"L", "R"}, {"P", "A"}, {"I", "S"})


def check_path(path: object, overwrite: bool) -> Path:
    """Return the path of a file to write; raise if it exists and must not be replaced."""
    target = checked_path(path)
    check_not_taken(target, overwrite)
    return target


def check_maps(maps: object) -> tuple[ParameterMap, ...]:
    """Return maps of one shape with real values, and real standard deviations that are not negative."""
    if isinstance(maps, ParameterMap) or not isinstance(maps, Sequence):
        raise TypeError(f"maps must be a sequence of ParameterMap; got {type(maps).__name__}.")
    if not maps:
        raise ValueError("maps is empty; expected at least one ParameterMap.")
    checked: list[ParameterMap] = []
    for number, entry in enumerate(maps):
        if not isinstance(entry, ParameterMap):
            raise TypeError(f"maps[{number}] must be a ParameterMap; got {type(entry).__name__}.")
        name = f"maps[{number}] ({entry.parameter.name})"
        values = _real_volume(entry.values, f"{name}: values")
        if checked and values.shape != checked[0].values.shape:
            raise ValueError(
                f"{name}: values must have the shape of the first map, {checked[0].values.shape}; got {values.shape}."
            )
        std = None if entry.std is None else _real_volume(entry.std, f"{name}: std")
        if std is not None and std.shape != values.shape:
            raise ValueError(f"{name}: std must have the shape of values, {values.shape}; got {std.shape}.")
        if std is not None and (std < 0).any():
            raise ValueError(f"{name}: std must not be negative; its least value is {np.nanmin(std):g}.")
        checked.append(ParameterMap(entry.parameter, values, std))
    return tuple(checked)


def _real_volume(array: Any, name: str) -> NDArray:
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers; got {values.dtype}.")
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"{name} must be 3-D (nx, ny, nz) and not empty; got shape {values.shape}.")
    return values


def check_quality(quality: Any, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Return bit flags of a volume, or None."""
    if quality is None:
        return None
    flags = np.asarray(quality)
    if flags.dtype.kind not in "iu":
        raise TypeError(f"quality must be integers, as bit flags; got {flags.dtype}.")
    if flags.shape != shape:
        raise ValueError(f"quality must have the shape of the maps, {shape}; got {flags.shape}.")
    flags = flags.astype(np.int64)
    if (flags < 0).any():
        raise ValueError(f"quality must not be negative, as its bits are flags; its least value is {flags.min()}.")
    return flags


def check_quality_labels(labels: Any, quality: object) -> dict[int, str]:
    """Return the texts of flags; none without labels."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise TypeError(f"quality_labels must map flags to texts; got {type(labels).__name__}.")
    if quality is None:
        raise ValueError("quality_labels has no meaning without quality; expected both or none.")
    for flag, text in labels.items():
        if isinstance(flag, bool) or not isinstance(flag, (int, np.integer)) or not isinstance(text, str):
            raise TypeError(f"quality_labels must map integers to texts; got {flag!r}: {text!r}.")
        if not 0 < flag < 2**63 or int(flag).bit_count() != 1:
            raise ValueError(f"quality_labels: each flag must be one bit (1, 2, 4, ...); got {flag}.")
    return {int(flag): text for flag, text in labels.items()}


def check_voxel_size(voxel_size: Any) -> tuple[float, float, float] | None:
    """Return three positive extents, or None."""
    if voxel_size is None:
        return None
    sides = np.asarray(voxel_size)
    if sides.dtype.kind not in "fiu":
        raise TypeError(f"voxel_size must be three real numbers; got {voxel_size!r}.")
    if sides.shape != (3,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(f"voxel_size must be three positive numbers, in mm; got {voxel_size!r}.")
    return float(sides[0]), float(sides[1]), float(sides[2])


def check_axis_codes(axis_codes: Any) -> tuple[str, str, str] | None:
    """Return three letters, one of each pair of directions, or None."""
    if axis_codes is None:
        return None
    if isinstance(axis_codes, str) or not isinstance(axis_codes, Sequence):
        raise TypeError(
            f'axis_codes must be a sequence of three letters, such as ("R", "A", "S"); got {axis_codes!r}.'
        )
    if len(axis_codes) != 3 or not all(any(code in pair for code in axis_codes) for pair in _CODES):
        raise ValueError(f"axis_codes must have one letter of each of L/R, P/A and I/S; got {axis_codes!r}.")
    return axis_codes[0], axis_codes[1], axis_codes[2]


def check_text(text: object, name: str) -> str:
    """Return a text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a text; got {type(text).__name__}.")
    return text


def check_details(details: Any) -> dict[str, dict[str, str]]:
    """Return tables of texts by their headings; the one without a heading, "", comes first."""
    if details is None:
        return {}
    if not isinstance(details, Mapping):
        raise TypeError(f"details must map texts to texts or to such mappings; got {type(details).__name__}.")
    tables: dict[str, dict[str, str]] = {"": {}}
    for key, value in details.items():
        check_text(key, "details: every key")
        if isinstance(value, Mapping):
            tables[key] = {
                check_text(name, f"details[{key!r}]: every key"): check_text(text, f"details[{key!r}][{name!r}]")
                for name, text in value.items()
            }
        else:
            tables[""][key] = check_text(value, f"details[{key!r}]")
    return {heading: table for heading, table in tables.items() if table}

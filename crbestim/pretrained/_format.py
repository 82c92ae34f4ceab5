"""The file of a trained network: arrays by name, and a header of plain JSON values, in the safetensors format.

Neither holds anything that could be executed. What the entries mean is decided where they are packed and unpacked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .._files import digest_of, write_whole

FORMAT = 1
_ENTRY = "crbestim"  # the one entry of the metadata, as the order of several would differ from one call to the next

_DIGEST = "sha256"

Header = dict[str, Any]
Arrays = dict[str, NDArray]


def write_file(path: Path, header: Header, arrays: Mapping[str, NDArray]) -> None:
    """Write header and arrays as one file, whole or not at all; the same content makes the same bytes."""
    whole = {"format": FORMAT, **header}
    text = _text({**whole, _DIGEST: _digest_of(whole, arrays)})
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={_ENTRY: text})
    write_whole(path, lambda file: file.write(content))


def read_file(path: Path) -> tuple[Header, Arrays]:
    """Return header and arrays.

    Raises
    ------
    ValueError
        If the file is no safetensors file, is damaged, or has no header or one of another format.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"it is no safetensors file, or a damaged one ({error})") from error
    if _ENTRY not in metadata:
        raise ValueError(f"its metadata lack the entry {_ENTRY!r}: it holds no network of this package")
    try:
        header = json.loads(metadata[_ENTRY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is no JSON ({error})") from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise ValueError(f"it has format {found!r}, and this version of crbestim reads format {FORMAT}")
    digest = header.pop(_DIGEST, None)  # older files have none
    if digest is not None and digest != _digest_of(header, arrays):
        raise ValueError("its content does not match its checksum; it is damaged or was edited")
    return header, arrays


def _text(header: Header) -> str:
    return json.dumps(header, ensure_ascii=False)


def _digest_of(header: Header, arrays: Mapping[str, NDArray]) -> str:
    names = sorted(arrays)
    return digest_of({"header": _text(header), "names": names}, *(arrays[name] for name in names))


def take(arrays: Arrays, name: str, shape: tuple[int, ...] | None = None, dtype: str = "float64") -> NDArray:
    """Return an array that is finite and has this shape and type.

    Raises
    ------
    ValueError
        If it is missing or has not.
    """
    if name not in arrays:
        raise ValueError(f"the tensor {name!r} is missing")
    array = arrays[name]
    if shape is not None and array.shape != shape:
        raise ValueError(f"the tensor {name!r} has shape {array.shape} instead of {shape}")
    if array.dtype != dtype:
        raise ValueError(f"the tensor {name!r} is of type {array.dtype} instead of {dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"the tensor {name!r} contains NaN or infinity")
    return array


def plain(value: object) -> Any:
    """Return a setting as JSON holds it.

    Raises
    ------
    TypeError
        If it is not made of numbers, text, truth values, None and sequences of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is no plain value")


def plain_entries(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return those settings that JSON can hold."""
    entries = {}
    for name, value in settings.items():
        try:
            entries[name] = plain(value)
        except TypeError:
            continue
    return entries


def check_names_or_none(names: object, n: int, what: str) -> list[str] | None:
    """Return n names, or None.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != n or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} must be {n} names, or none; got {names!r}")
    return names

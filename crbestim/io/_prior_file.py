"""Priors in TOML files."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from .._numpy_files import refusing_damage
from ..datasets import Prior
from ..datasets._plain_distributions import distribution_of
from ..datasets._priors import TruncatedNormalBelow, truncated_normal

_NORMAL = {"mean", "std", "low", "high"}


def load_prior(path: str | os.PathLike[str]) -> Prior:
    r"""Read the distribution of tissue parameters from a TOML file.

    Parameters
    ----------
    path : path-like
        One entry a parameter, in SI units, in the order in which they are drawn. ``T1 = [0.3, 4]`` is a uniform
        distribution; ``T1 = {mean = 1.6, std = 0.8, low = 0.1, high = 6}`` a truncated normal one, with mean and
        standard deviation before the truncation, and ``high = "T1"``, in a later parameter, one that never exceeds
        that parameter; ``Rx = {distribution = "gamma", a = 3, scale = 10}`` any continuous one of `scipy.stats` with
        its arguments.

    Returns
    -------
    Prior

    Raises
    ------
    ValueError
        If the file is no TOML, or an entry is none of these.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "prior.toml"
    >>> _ = path.write_text('T1 = [0.3, 4]\nT2 = {mean = 0.1, std = 0.1, low = 0.01, high = "T1"}\n')
    >>> load_prior(path).names
    ('T1', 'T2')
    >>> folder.cleanup()
    """
    with refusing_damage(f"{path} is no TOML file"):
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    distributions: dict[str, Any] = {}
    for name, entry in entries.items():
        with refusing_damage(f"{path}: {name} cannot be used"):
            distributions[name] = _distribution(entry, list(distributions))
    if not distributions:
        raise ValueError(f"{path} names no parameter.")
    return Prior(distributions)


def _distribution(entry: Any, earlier: list[str]) -> Any:
    if isinstance(entry, list):
        if len(entry) != 2:
            raise ValueError(f"a list must be [low, high]; got {entry}")
        low, high = (_number(value, "an end of the range") for value in entry)
        _check_order(low, high)
        return stats.uniform(low, high - low)
    if not isinstance(entry, dict):
        raise ValueError(f"it must be [low, high] or a table; got {entry!r}")
    if set(entry) == _NORMAL:
        mean, std, low = (_number(entry[key], key) for key in ("mean", "std", "low"))
        if std <= 0:
            raise ValueError(f"std must be positive; got {std}")
        if isinstance(entry["high"], str):
            if entry["high"] not in earlier:
                raise ValueError(f"high names {entry['high']!r}, which is none of those before it, {earlier}")
            return TruncatedNormalBelow(mean, std, low, entry["high"])
        high = _number(entry["high"], "high")
        _check_order(low, high)
        return truncated_normal(mean, std, low, high)
    if "distribution" not in entry:
        raise ValueError(f"a table must have the entries {sorted(_NORMAL)} or distribution; got {sorted(entry)}")
    arguments = dict(entry)
    frozen = distribution_of({"name": arguments.pop("distribution"), "args": (), "kwds": arguments})
    if not np.isfinite(frozen.ppf(0.5)):
        raise ValueError(f"its arguments {arguments} are not valid")
    return frozen


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value!r}")
    return float(value)


def _check_order(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"the lower end must be below the upper one; got {low} and {high}")

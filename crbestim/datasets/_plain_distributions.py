"""Distributions of scipy.stats as plain values: a name and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy import stats

_SETTINGS = ("a", "b", "xtol")


def described(distribution: Any) -> dict[str, Any] | None:
    """Return name and arguments of a frozen continuous distribution of scipy.stats, or None if it is anything else."""
    kind: Any = getattr(distribution, "dist", None)
    if not isinstance(kind, stats.rv_continuous):
        return None
    own: Any = getattr(stats, str(kind.name), None)
    if type(own) is not type(kind) or any(getattr(own, name) != getattr(kind, name) for name in _SETTINGS):
        return None
    return {"name": kind.name, "args": distribution.args, "kwds": dict(distribution.kwds)}


def distribution_of(description: Mapping[str, Any]) -> Any:
    """Return the frozen distribution.

    Raises
    ------
    ValueError
        If the name is that of no continuous distribution of scipy.stats.
    """
    kind = getattr(stats, str(description["name"]), None)
    if not isinstance(kind, stats.rv_continuous):
        raise ValueError(f"{description['name']!r} is no continuous distribution of scipy.stats")
    return kind(*description["args"], **description["kwds"])

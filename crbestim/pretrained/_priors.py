"""Priors as plain values, and as a table for those that plain values cannot tell."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pandas as pd

from ..datasets import Prior
from ..datasets._plain_distributions import described, distribution_of
from ..datasets._priors import TruncatedNormalBelow
from ._format import Arrays, plain, take

_N_SAMPLES = 2**15
_QUANTILES = (0.005, 0.5, 0.995)
_COLUMNS = ["mean", "std", *(f"{quantile:.1%}" for quantile in _QUANTILES)]
_BELOW = "truncated normal below"


def pack_prior(prior: Prior) -> tuple[dict[str, Any], Arrays]:
    """Return names and distributions (None where one is of a kind that only code can tell), and a table."""
    sample = prior.sample(_N_SAMPLES, random_state=0, method="sobol")
    table = [sample.mean(), sample.std(ddof=0), *(sample.quantile(quantile) for quantile in _QUANTILES)]
    description: dict[str, Any] = {"names": list(prior.names), "distributions": None}
    try:
        entries = [_described(distribution) for distribution in prior.distributions.values()]
        rebuilt = _prior(prior.names, entries).sample(_N_SAMPLES, random_state=0, method="sobol")
    except (TypeError, ValueError):
        rebuilt = None
    if rebuilt is not None and rebuilt.equals(sample):
        description["distributions"] = entries
    return description, {"prior.table": pd.concat(table, axis=1).to_numpy()}


def unpack_prior(description: dict[str, Any], arrays: Arrays) -> tuple[Prior | None, pd.DataFrame]:
    """Return the prior, if it can be rebuilt, and its table.

    Raises
    ------
    ValueError
        If a distribution is unknown, or the table does not fit the names.
    """
    names, entries = description["names"], description["distributions"]
    table = take(arrays, "prior.table", (len(names), len(_COLUMNS)))
    frame = pd.DataFrame(table, index=pd.Index(names, name="parameter"), columns=_COLUMNS)
    return None if entries is None else _prior(names, entries), frame


def _described(distribution: Any) -> dict[str, Any]:
    """Describe a distribution; TypeError if that cannot be done."""
    if isinstance(distribution, TruncatedNormalBelow):
        return {"name": _BELOW, "args": plain(astuple(distribution)), "kwds": {}}
    description = described(distribution)
    if description is None:
        raise TypeError("no continuous distribution of scipy.stats")
    arguments = {name: plain(value) for name, value in description["kwds"].items()}
    return {"name": description["name"], "args": plain(description["args"]), "kwds": arguments}


def _prior(names: Any, entries: list[dict[str, Any]]) -> Prior:
    return Prior({name: _distribution(entry) for name, entry in zip(names, entries, strict=True)})


def _distribution(description: dict[str, Any]) -> Any:
    if description["name"] == _BELOW:
        return TruncatedNormalBelow(*description["args"])
    return distribution_of(description)

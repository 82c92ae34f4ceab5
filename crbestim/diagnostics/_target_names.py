"""Names of the targets in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from ..metrics._response import final_step


def checked_target_names(
    estimator: Any, y: ArrayLike | pd.DataFrame, target_names: Sequence[str] | None, n_targets: int
) -> list[str]:
    """Return the names given, or those that y or the estimator knows, or made-up ones; raise if they do not fit."""
    names = _known_names(estimator, y, target_names)
    if names is None:
        return [f"target{i}" for i in range(n_targets)]
    if len(names) != n_targets:
        raise ValueError(f"target_names must have one name for each of y's {n_targets} columns; got {list(names)}.")
    return list(names)


def _known_names(
    estimator: Any, y: ArrayLike | pd.DataFrame, target_names: Sequence[str] | None
) -> Sequence[str] | None:
    if target_names is not None:
        return list(target_names)
    known = getattr(final_step(estimator), "target_names_", None)
    if isinstance(y, pd.DataFrame):
        names = [str(name) for name in y.columns]
        if known is not None and names != list(known):
            raise ValueError(f"y must have the columns that the estimator predicts, {list(known)}; got {names}.")
        return names
    return None if known is None else list(known)

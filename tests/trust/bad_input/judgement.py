"""Make a call with one argument changed, and judge what came of it."""

from __future__ import annotations

import copy
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch

from .arguments import Argument, Call
from .mutations import DESTROYS, KEEPS, MUTATIONS, Mutation

LONGEST_CALL = 60  # s; the longest valid one takes a hundredth of it


@dataclass(frozen=True)
class Outcome:
    """What a call returned or raised; `defect` tells what is wrong with that, if anything."""

    label: str
    defect: str | None = None


class TooLongError(Exception):
    """A call that did not come back."""


def mutation_named(name: str, argument: Argument) -> Mutation:
    return next(each for each in MUTATIONS if each.name == name and each.applies(argument))


def judge(call: Call, name: str, mutation: Mutation, random: Random) -> Outcome:
    """Make the call with the argument of a name changed."""
    argument = call.given[name]
    reference = call.result
    with np.errstate(all="ignore"):
        changed = mutation.make(argument, random)
    given = {**{key: _copied(value) for key, value in call.values().items()}, name: changed}
    before = {key: _copied(value) for key, value in given.items()}
    try:
        with warnings.catch_warnings(), _bounded_time():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            result = call.function(**given)
    except (ValueError, TypeError) as error:
        outcome = _of_error(error, name, argument, mutation)
    except Exception as error:  # any other kind is a defect, which is what is looked for
        outcome = Outcome(type(error).__name__, f"{type(error).__name__}: {error}")
    else:
        outcome = _of_result(result, reference, call, argument, mutation)
    touched = [key for key in given if not _same(given[key], before[key], 0.0)]
    if touched:
        return Outcome(outcome.label, f"arguments were modified: {touched}")
    return outcome


def _of_error(error: Exception, name: str, argument: Argument, mutation: Mutation) -> Outcome:
    label = "TypeError" if isinstance(error, TypeError) else "ValueError"
    if mutation.effect == KEEPS and mutation.name not in argument.documented:
        return Outcome(label, f"refused the same values: {error}")
    words = "|".join(re.escape(word) for word in (name, *argument.synonyms))
    if not re.search(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", str(error)):
        return Outcome(label, f"the message does not name {name}: {type(error).__name__}: {error}")
    return Outcome(label)


def _of_result(result: Any, reference: Any, call: Call, argument: Argument, mutation: Mutation) -> Outcome:
    if mutation.name in argument.documented:
        return Outcome(f"allowed: {argument.documented[mutation.name]}")
    if mutation.effect == DESTROYS:
        return Outcome("accepted", f"accepted, with the result {_brief(result)}")
    unexpected = _not_numbers(result) - set(call.holds)
    if unexpected:
        return Outcome("not finite", f"silent {sorted(unexpected)} in the result {_brief(result)}")
    if mutation.effect == KEEPS:
        tolerance = call.single if mutation.is_single_precision else call.tolerance
        if not _same(result, reference, tolerance):
            return Outcome("other result", f"another result: {_brief(result)} for {_brief(reference)}")
        return Outcome("same result")
    return Outcome("finite result")


@contextmanager
def _bounded_time() -> Iterator[None]:
    """Raise if what is inside does not end; only where alarms are."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(*_: object) -> None:
        raise TooLongError(f"no result within {LONGEST_CALL} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_CALL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy(order="K") if value.dtype != object else copy.copy(value)
    if isinstance(value, pd.DataFrame | pd.Series):
        return value.copy()
    if isinstance(value, list | dict):
        return copy.deepcopy(value) if not _holds_objects(value) else value
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value


def _holds_objects(value: Any) -> bool:
    entries = value.values() if isinstance(value, dict) else value
    return any(not isinstance(each, list | float | int | str | complex | None | np.ndarray) for each in entries)


def _leaves(result: Any) -> Iterator[Any]:
    """Arrays, numbers and texts in a result."""
    if isinstance(result, pd.DataFrame):
        yield from (result[column].to_numpy() for column in result)
    elif isinstance(result, pd.Series):
        yield result.to_numpy()
    elif isinstance(result, dict):
        for value in result.values():
            yield from _leaves(value)
    elif isinstance(result, list | tuple):
        for value in result:
            yield from _leaves(value)
    elif isinstance(result, torch.Tensor):
        yield result.detach().numpy()
    elif is_dataclass(result):
        for each in fields(result):
            yield from _leaves(getattr(result, each.name))
    else:
        yield result


def _not_numbers(result: Any) -> set[str]:
    found = set()
    for leaf in _leaves(result):
        values = np.asarray(leaf)
        if values.dtype.kind in "fc":
            found |= {"nan"} if np.isnan(values).any() else set()
            found |= {"inf"} if np.isinf(values).any() else set()
    return found


def _same(result: Any, reference: Any, tolerance: float) -> bool:
    ours, theirs = list(_leaves(result)), list(_leaves(reference))
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape:
            return False
        if a.dtype.kind in "fciub" and b.dtype.kind in "fciub":
            scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
                return False
        elif a.dtype.kind in "US" and not (a == b).all():
            return False
    return True


def _brief(result: Any) -> str:
    text = " ".join(str(result).split())
    return text if len(text) < 120 else f"{text[:117]}..."

"""The table of the documentation: what public callables do with each kind of bad input."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from random import Random

from . import calls_of_estimators, calls_of_models, calls_of_noise, calls_of_volumes
from .arguments import Call
from .judgement import judge
from .mutations import EMPTY, EXTREME, FINITE, FORM, RANGE, REAL, SHAPE, TYPE, UNIT, mutations_of

TABLES = {
    "models": calls_of_models.CALLS,
    "noise": calls_of_noise.CALLS,
    "estimators": calls_of_estimators.CALLS,
    "volumes": calls_of_volumes.CALLS,
}
COLUMNS = {
    "same values, other form": (FORM,),
    "shape, columns, empty": (SHAPE, EMPTY),
    "NaN, infinity": (FINITE,),
    "kind of numbers, no numbers": (REAL, TYPE),
    "range, unit": (RANGE, UNIT),
    "odd but legal": (EXTREME,),
}
HEADER = ["", *COLUMNS, "allowed"]
DIRECTORY = Path(__file__).parents[3] / "docs" / "user_guide" / "bad_input"


def row_of(call: Call) -> list[str]:
    """Name of a callable, what it does with each kind of bad input, and what its docstring allows."""
    found: dict[str, set[str]] = {column: set() for column in COLUMNS}
    allowed = []
    for name, argument in call.given.items():
        for mutation in mutations_of(argument):
            label = judge(call, name, mutation, Random(f"{call.name} {name} {mutation.name}")).label
            if mutation.name in argument.documented:
                allowed.append(f"{name}: {mutation.name} ({argument.documented[mutation.name]})")
            else:
                found[column_of(mutation.group)].add(label)
    return [call.name, *(_cell(labels) for labels in found.values()), "; ".join(_grouped(allowed))]


def column_of(group: str) -> str:
    return next(column for column, groups in COLUMNS.items() if group in groups)


def path_of(title: str, directory: Path = DIRECTORY) -> Path:
    return directory / f"{title}.csv"


def read(title: str) -> dict[str, list[str]]:
    """Rows of a committed table by the callable's name."""
    with open(path_of(title), newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == HEADER
    return {row[0]: row for row in rows}


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for title, calls in TABLES.items():
        with open(path_of(title, directory), "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *(row_of(call) for call in calls)])


def _cell(labels: Iterable[str]) -> str:
    order = ("same result", "finite result", "ValueError", "TypeError")
    return ", ".join(sorted(labels, key=lambda label: order.index(label) if label in order else -1))


def _grouped(allowed: list[str]) -> list[str]:
    """Join mutations that mean the same: "n: NaN, a word (not used)"."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in allowed:
        name, rest = entry.split(": ", 1)
        what, meaning = rest[:-1].split(" (", 1)
        groups.setdefault((name, meaning), []).append(what)
    return [
        f"{name}: {', '.join(what) if len(what) < 5 else 'anything'} ({meaning})"
        for (name, meaning), what in groups.items()
    ]

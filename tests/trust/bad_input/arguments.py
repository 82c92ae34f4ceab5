"""What a call of the public API takes, and which of it is data of what kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

NUMBERS = ("real", "complex", "either")


@dataclass(frozen=True)
class Argument:
    """A valid value of one argument, and what is known of it.

    `documented` names mutations that the docstring allows, with what they mean there: those are neither expected to
    fail nor to change nothing, and their results may hold NaN or infinity.
    """

    value: Any
    kind: str = "array"  # "array", "number", "count", "names", "object"
    numbers: str = "real"
    fixed_axes: tuple[int, ...] = ()  # whose length the model or another argument sets
    columns: tuple[str, ...] = ()  # names of the columns, by which a DataFrame's are put in order
    orthonormal: bool = False
    positive: bool = False
    times: tuple[str, ...] = ()  # columns in seconds; ("all",) for all values
    angles: bool = False  # in rad
    by_name: bool = True  # whether the names of a DataFrame's columns decide which is which
    synonyms: tuple[str, ...] = ()
    documented: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A public function with valid arguments; `holds` names what its docstring lets results hold beside numbers."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], dict[str, Argument]]
    holds: tuple[str, ...] = ()
    weight: float = 1.0  # share of the generated inputs, less for costly calls
    tolerance: float = 1e-9
    single: float = 1e-3  # tolerance for input in single precision

    @cached_property
    def given(self) -> dict[str, Argument]:
        return self.arguments()

    @cached_property
    def result(self) -> Any:
        return self.function(**self.values())

    def values(self) -> dict[str, Any]:
        return {name: argument.value for name, argument in self.given.items()}

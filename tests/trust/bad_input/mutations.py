"""Ways to change one argument, and what must follow from each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from .arguments import Argument

KEEPS, DESTROYS, MAY_CHANGE = "same result", "error", "finite result or error"


@dataclass(frozen=True)
class Mutation:
    """A change of an argument; `group` is a column of the documentation's table."""

    name: str
    group: str
    effect: str
    make: Callable[[Argument, Random], Any]
    applies: Callable[[Argument], bool]

    @property
    def is_single_precision(self) -> bool:
        return self.name == "single precision"


MUTATIONS: list[Mutation] = []

FORM = "other container, order or precision"
SHAPE = "wrong shape or columns"
EMPTY = "empty"
FINITE = "NaN, infinity"
REAL = "complex for real, or the reverse"
TYPE = "no numbers"
RANGE = "outside of the range"
UNIT = "wrong unit"
EXTREME = "odd but legal"
GROUPS = (FORM, SHAPE, EMPTY, FINITE, REAL, TYPE, RANGE, UNIT, EXTREME)


def mutation(
    name: str, group: str, effect: str, kinds: str = "array", when: Callable[[Argument], bool] = lambda argument: True
) -> Callable[[Callable[[Argument, Random], Any]], Callable[[Argument, Random], Any]]:
    def enter(make: Callable[[Argument, Random], Any]) -> Callable[[Argument, Random], Any]:
        MUTATIONS.append(
            Mutation(name, group, effect, make, lambda argument: argument.kind in kinds.split() and when(argument))
        )
        return make

    return enter


def mutations_of(argument: Argument) -> list[Mutation]:
    return [each for each in MUTATIONS if each.applies(argument)]


def _ndim(least: int, most: int = 9) -> Callable[[Argument], bool]:
    return lambda argument: least <= argument.value.ndim <= most


def _frame(argument: Argument) -> pd.DataFrame:
    return pd.DataFrame(argument.value, columns=list(argument.columns) or None)


# --- the same numbers in another form ---------------------------------------------------------------


mutation("list", FORM, KEEPS)(lambda a, r: a.value.tolist())
mutation("tuple of rows", FORM, KEEPS)(lambda a, r: tuple(a.value))
mutation("Fortran order", FORM, KEEPS, when=_ndim(2))(lambda a, r: np.asfortranarray(a.value))
mutation("other byte order", FORM, KEEPS)(lambda a, r: a.value.astype(a.value.dtype.newbyteorder(">")))
mutation("objects that are numbers", FORM, KEEPS, when=lambda a: a.value.dtype.kind != "c")(
    lambda a, r: a.value.astype(object)
)
mutation("torch tensor", FORM, KEEPS, when=lambda a: a.value.dtype.kind in "fc")(
    lambda a, r: torch.tensor(np.ascontiguousarray(a.value))
)
mutation("DataFrame", FORM, KEEPS, when=_ndim(2, 2))(lambda a, r: _frame(a))
mutation("Series", FORM, KEEPS, when=_ndim(1, 1))(lambda a, r: pd.Series(a.value))


@mutation("read-only", FORM, KEEPS)
def _read_only(argument: Argument, random: Random) -> np.ndarray:
    values = argument.value.copy()
    values.setflags(write=False)
    return values


@mutation("every second value of an array", FORM, KEEPS)
def _strided(argument: Argument, random: Random) -> np.ndarray:
    axis = random.randrange(argument.value.ndim)
    wide = np.repeat(argument.value, 2, axis=axis)
    return wide[(slice(None),) * axis + (slice(None, None, 2),)]


@mutation("negative strides", FORM, KEEPS)
def _reversed(argument: Argument, random: Random) -> np.ndarray:
    axis = random.randrange(argument.value.ndim)
    return np.flip(np.flip(argument.value, axis).copy(), axis)


@mutation("wider numbers", FORM, KEEPS, when=lambda a: a.value.dtype.kind in "fc")
def _wider(argument: Argument, random: Random) -> np.ndarray:
    return argument.value.astype(np.clongdouble if argument.value.dtype.kind == "c" else np.longdouble)


@mutation("single precision", FORM, KEEPS, when=lambda a: a.value.dtype.kind in "fc")
def _single(argument: Argument, random: Random) -> np.ndarray:
    return argument.value.astype(np.complex64 if argument.value.dtype.kind == "c" else np.float32)


@mutation("DataFrame with its columns in another order", FORM, KEEPS, when=lambda a: a.by_name and len(a.columns) > 1)
def _shuffled(argument: Argument, random: Random) -> pd.DataFrame:
    return _frame(argument)[random.sample(argument.columns, len(argument.columns))]


mutation("a number of NumPy", FORM, KEEPS, "number")(lambda a, r: np.float64(a.value))
mutation("an integer of NumPy", FORM, KEEPS, "count")(lambda a, r: r.choice([np.int64, np.uint16])(a.value))
mutation("names as a list", FORM, KEEPS, "names")(lambda a, r: list(a.value))
mutation("names as an array", FORM, KEEPS, "names")(lambda a, r: np.array(a.value))


# --- wrong shapes and columns -----------------------------------------------------------------------


mutation("one dimension less", SHAPE, DESTROYS)(lambda a, r: a.value.ravel() if a.value.ndim > 1 else a.value[0])
mutation("a scalar", SHAPE, DESTROYS)(lambda a, r: a.value.flat[0])
mutation("one dimension more", SHAPE, DESTROYS)(lambda a, r: r.choice([a.value[None], a.value[..., None]]))
mutation("an axis too short", SHAPE, DESTROYS, when=lambda a: bool(a.fixed_axes))(
    lambda a, r: (
        np.delete(a.value, r.randrange(1, 9) % a.value.shape[0], 0)
        if (axis := r.choice(a.fixed_axes)) == 0
        else np.delete(a.value, -1, axis)
    )
)
mutation("an axis too long", SHAPE, DESTROYS, when=lambda a: bool(a.fixed_axes))(
    lambda a, r: np.repeat(a.value, 2, axis=r.choice(a.fixed_axes))
)
mutation("transposed", SHAPE, DESTROYS, when=lambda a: bool(a.fixed_axes) and a.value.ndim == 2)(
    lambda a, r: a.value.T if a.value.shape[0] != a.value.shape[1] else a.value[:, :-1].T
)
mutation("rows of unequal length", SHAPE, DESTROYS, when=lambda a: a.value.ndim == 2 and min(a.value.shape) > 1)(
    lambda a, r: [a.value[0].tolist(), a.value[0, :-1].tolist()]
)
mutation("DataFrame without one of the columns", SHAPE, DESTROYS, when=lambda a: a.by_name and bool(a.columns))(
    lambda a, r: _frame(a).drop(columns=r.choice(a.columns))
)
mutation("DataFrame with a column twice", SHAPE, DESTROYS, when=lambda a: a.by_name and bool(a.columns))(
    lambda a, r: _frame(a)[[*a.columns, r.choice(a.columns)]]
)
mutation("DataFrame with a misnamed column", SHAPE, DESTROYS, when=lambda a: a.by_name and bool(a.columns))(
    lambda a, r: _frame(a).rename(columns={r.choice(a.columns): "T9"})
)
mutation("several numbers", SHAPE, DESTROYS, "number count")(
    lambda a, r: r.choice([list, tuple, np.array])([a.value] * 2)
)
mutation("a name twice", SHAPE, DESTROYS, "names")(lambda a, r: [*a.value, a.value[0]])
mutation("no rows", EMPTY, DESTROYS)(lambda a, r: a.value[:0])
mutation("no columns", EMPTY, DESTROYS, when=_ndim(2))(lambda a, r: a.value[..., :0])
mutation("an empty list", EMPTY, DESTROYS, "array number count")(lambda a, r: [])


# --- values that are none ---------------------------------------------------------------------------


def _with_entries(values: np.ndarray, random: Random, entry: Any, dtype: Any = None) -> np.ndarray:
    """Replace some entries, one in half of the cases."""
    changed = values.astype(dtype or values.dtype).copy()
    n_changed = 1 if random.random() < 0.5 else random.randrange(1, values.size + 1)
    for place in random.sample(range(values.size), n_changed):
        changed[np.unravel_index(place, values.shape)] = entry
    return changed


def _with_number(argument: Argument, random: Random, number: float) -> np.ndarray:
    dtype = argument.value.dtype if argument.value.dtype.kind in "fc" else np.float64
    if argument.value.dtype.kind == "c" and np.isinf(number) and random.random() < 0.5:
        return _with_entries(argument.value, random, complex(0.0, number))
    return _with_entries(argument.value, random, number, dtype)


mutation("NaN", FINITE, DESTROYS)(lambda a, r: _with_number(a, r, np.nan))
mutation("infinity", FINITE, DESTROYS)(lambda a, r: _with_number(a, r, np.inf))
mutation("minus infinity", FINITE, DESTROYS)(lambda a, r: _with_number(a, r, -np.inf))
mutation("NaN", FINITE, DESTROYS, "number count")(lambda a, r: r.choice([float("nan"), np.float32("nan")]))
mutation("infinity", FINITE, DESTROYS, "number count")(lambda a, r: r.choice([np.inf, -np.inf]))


@mutation("complex for real", REAL, DESTROYS, when=lambda a: a.numbers == "real")
def _complex(argument: Argument, random: Random) -> np.ndarray:
    return argument.value + 1j * random.choice([1.0, 1e-3]) * np.abs(argument.value).max()


mutation("real for complex", REAL, DESTROYS, when=lambda a: a.numbers == "complex")(lambda a, r: a.value.real.copy())
mutation("a complex number", REAL, DESTROYS, "number count")(lambda a, r: complex(a.value, r.choice([0.0, 1.0])))


# --- no numbers -------------------------------------------------------------------------------------

_RUBBISH = ("T1", None, {}, [1.0], object(), pd.NaT)

mutation("objects among the numbers", TYPE, DESTROYS)(
    lambda a, r: _with_entries(a.value, r, r.choice(["T1", None, {}, object(), pd.NaT]), object)
)
mutation("numbers as text", TYPE, DESTROYS)(lambda a, r: a.value.astype(str))
mutation("dates", TYPE, DESTROYS)(lambda a, r: np.full(a.value.shape, "2020-01-01", dtype="datetime64[D]"))
mutation("a word", TYPE, DESTROYS, "array number count object names")(lambda a, r: r.choice(["T9", "", "all of it"]))
mutation("None", TYPE, DESTROYS, "array number count")(lambda a, r: None)
mutation("another type", TYPE, DESTROYS, "array number count object")(
    lambda a, r: r.choice([{}, {"a": 1}, {1.0}, object(), len, dict, b"ab", iter([1.0, 2.0])])
)
mutation("a boolean", TYPE, DESTROYS, "array number count object names")(lambda a, r: r.choice([True, np.True_]))
mutation("sparse matrix", TYPE, DESTROYS, when=_ndim(2, 2))(lambda a, r: sparse.csr_matrix(a.value))
mutation("numbers as names", TYPE, DESTROYS, "names")(lambda a, r: r.choice([3, [3], [None], 1.5]))
mutation("an unknown name", RANGE, DESTROYS, "names")(lambda a, r: [*a.value[:-1], "T9"])
mutation("bytes", TYPE, DESTROYS, "array number count")(lambda a, r: b"1.0")


# --- numbers outside of what is meant ----------------------------------------------------------------

mutation("not positive", RANGE, DESTROYS, when=lambda a: a.positive)(
    lambda a, r: _with_number(a, r, r.choice([0.0, -1.0, -1e-30]))
)
mutation("not positive", RANGE, DESTROYS, "number", when=lambda a: a.positive)(
    lambda a, r: r.choice([0, 0.0, -1, -a.value, -1e-300])
)
mutation("no positive integer", RANGE, DESTROYS, "count")(lambda a, r: r.choice([0, -1, -7, 2.5, float(a.value)]))
mutation("columns not orthonormal", RANGE, DESTROYS, when=lambda a: a.orthonormal)(
    lambda a, r: (
        r.choice([2 * a.value, a.value + 0.1, a.value[:, [0] * a.value.shape[1]]])
        if a.value.shape[1] > 1
        else 2 * a.value
    )
)
mutation("milliseconds for seconds", UNIT, DESTROYS, when=lambda a: bool(a.times))(
    lambda a, r: a.value * 1e3 if a.times == ("all",) else a.value * np.where(np.isin(a.columns, a.times), 1e3, 1.0)
)
mutation("degrees for radians", UNIT, DESTROYS, when=lambda a: a.angles)(lambda a, r: np.rad2deg(a.value))
mutation("milliseconds for seconds", UNIT, DESTROYS, "number", when=lambda a: bool(a.times))(
    lambda a, r: a.value * 1e3
)


# --- what may be meant -------------------------------------------------------------------------------

mutation("one row", EXTREME, MAY_CHANGE)(lambda a, r: a.value[:1])
mutation("one column", EXTREME, MAY_CHANGE, when=_ndim(2))(lambda a, r: a.value[..., :1])
mutation("integers", EXTREME, MAY_CHANGE, when=lambda a: a.value.dtype.kind == "f")(
    lambda a, r: (
        np.round(a.value).astype(r.choice([np.int64, np.int8, np.int32]), casting="unsafe")
        if np.abs(a.value).max() < 100
        else np.round(a.value).astype(np.int64)
    )
)
mutation("booleans", EXTREME, MAY_CHANGE)(lambda a, r: np.abs(a.value) > np.median(np.abs(a.value)))
mutation("half precision", EXTREME, MAY_CHANGE, when=lambda a: a.value.dtype.kind == "f")(lambda a, r: _half(a.value))
mutation("huge", EXTREME, MAY_CHANGE)(
    lambda a, r: r.choice([lambda v: a.value * v, lambda v: _with_number(a, r, v)])(r.choice([1e30, 1e160, 1e300]))
)
mutation("tiny", EXTREME, MAY_CHANGE)(
    lambda a, r: r.choice([lambda v: a.value * v, lambda v: _with_number(a, r, v)])(r.choice([1e-30, 1e-160, 1e-300]))
)
mutation("zeros", EXTREME, MAY_CHANGE)(lambda a, r: r.choice([np.zeros_like(a.value), _with_number(a, r, 0.0)]))
mutation("negative", EXTREME, MAY_CHANGE, when=lambda a: not a.positive and a.value.dtype.kind in "fci")(
    lambda a, r: r.choice([-a.value, _with_number(a, r, -1.0)])
)
mutation("all values equal", EXTREME, MAY_CHANGE)(lambda a, r: np.full_like(a.value, a.value.flat[0]))
mutation("rows in another order", EXTREME, MAY_CHANGE, when=lambda a: len(a.value) > 1)(
    lambda a, r: a.value[r.sample(range(len(a.value)), len(a.value))]
)
mutation("complex without imaginary parts", EXTREME, MAY_CHANGE, when=lambda a: a.numbers == "real")(
    lambda a, r: a.value.astype(complex)
)
mutation("objects that are complex", EXTREME, MAY_CHANGE, when=lambda a: a.value.dtype.kind == "c")(
    lambda a, r: a.value.astype(object)
)
mutation("tensor with a gradient", EXTREME, MAY_CHANGE, when=lambda a: a.value.dtype.kind in "fc")(
    lambda a, r: torch.tensor(np.ascontiguousarray(a.value), requires_grad=True)
)
mutation("masked values", TYPE, DESTROYS)(
    lambda a, r: np.ma.masked_array(a.value, mask=_with_entries(np.zeros(a.value.shape, bool), r, True))
)
mutation("DataFrame with repeated row labels", EXTREME, MAY_CHANGE, when=_ndim(2, 2))(
    lambda a, r: _frame(a).set_axis([0] * len(a.value), axis=0)
)
mutation("values with gaps", EXTREME, MAY_CHANGE, when=lambda a: a.value.ndim == 2 and a.value.dtype.kind == "f")(
    lambda a, r: _frame(a).astype("Float64").where(pd.DataFrame(a.value).gt(np.median(a.value)).to_numpy())
)
mutation("huge", EXTREME, MAY_CHANGE, "number")(lambda a, r: r.choice([1e30, 1e200, 10**40]))
mutation("tiny", EXTREME, MAY_CHANGE, "number")(lambda a, r: r.choice([1e-30, 1e-200, 5e-324]))
mutation("another kind of number", EXTREME, MAY_CHANGE, "number")(
    lambda a, r: r.choice([Fraction(1, 3), Decimal("0.5"), np.float32(0.5), np.float16(0.5), np.array(0.5), 1])
)
mutation("negative", EXTREME, MAY_CHANGE, "number", when=lambda a: not a.positive)(lambda a, r: r.choice([0.0, -1.0]))
mutation("one", EXTREME, MAY_CHANGE, "count")(lambda a, r: 1)
mutation("no names", EXTREME, MAY_CHANGE, "names")(lambda a, r: r.choice([(), []]))


def _half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)

"""One argument at a time is changed; the call keeps its promises.

CRBESTIM_BAD_INPUTS sets how many inputs are generated; costly calls get a fraction of the others' share.
"""

import os
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from .arguments import Argument, Call
from .judgement import judge
from .mutations import MUTATIONS, mutations_of
from .registry import CALLS
from .table import COLUMNS, HEADER, TABLES, column_of, read, row_of

N_INPUTS = int(os.environ.get("CRBESTIM_BAD_INPUTS", "1000"))
ROWS = {name: row for title in TABLES for name, row in read(title).items()}


def inputs_of(call):
    """Names of arguments, each with one of its mutations."""
    return st.sampled_from(list(call.given)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(mutations_of(call.given[name])))
    )


def share_of(call):
    total = sum(each.weight for each in CALLS.values())
    return max(2, round(N_INPUTS * call.weight / total))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_bad_input_is_refused_or_harmless(call):
    call.result  # noqa: B018 - compiled and fitted before the first changed call

    @settings(max_examples=share_of(call), suppress_health_check=list(HealthCheck), database=None)
    @given(inputs_of(call), st.integers(0, 2**32 - 1))
    def check(changed, seed):
        name, mutation = changed
        outcome = judge(call, name, mutation, Random(seed))
        note(f"{call.name}: {name} with {mutation.name}, seed {seed}: {outcome.label}")
        assert outcome.defect is None

    check()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_table_tells_what_happens(call):
    assert row_of(call) == ROWS[call.name]


def test_every_column_and_call_is_in_the_tables():
    assert list(ROWS) == list(CALLS)
    assert {column_of(mutation.group) for mutation in MUTATIONS} == set(COLUMNS)
    assert all(len(row) == len(HEADER) for row in ROWS.values())


def test_tables_hold_no_defects():
    cells = {label for row in ROWS.values() for cell in row[1:-1] if cell for label in cell.split(", ")}
    assert cells == {"same result", "finite result", "ValueError", "TypeError"}


# --- defects are noticed ------------------------------------------------------------------------------


def sloppy(x):
    """Accepts everything that NumPy does."""
    return np.asarray(x, dtype=float) * 2


def modifying(x):
    if np.shape(x) != (3, 2) or np.asarray(x).dtype.kind not in "fiu":
        raise ValueError("x must be (3, 2)")
    x *= 2
    return np.array(x)


def nameless(x):
    if not np.isfinite(x).all():
        raise ValueError("wrong input")
    return x


def failing(x):
    raise IndexError("no")


@pytest.mark.parametrize(
    ("function", "mutation", "defect"),
    [
        (sloppy, "NaN", "accepted"),
        (sloppy, "numbers as text", "accepted"),
        (sloppy, "no rows", "accepted"),
        (modifying, "Fortran order", "arguments were modified"),
        (nameless, "NaN", "does not name x"),
        (failing, "list", "IndexError"),
        (lambda x: np.sqrt(np.asarray(x)), "negative", "RuntimeWarning"),
        (lambda x: np.where(np.asarray(x) < 0, np.nan, x), "negative", "silent"),
        (lambda x: np.asarray(x) * (1 if isinstance(x, np.ndarray) else 1.001), "list", "another result"),
        (lambda x: np.asarray(x).astype(np.float64, casting="no"), "single precision", "refused the same values"),
    ],
)
def test_defects_are_noticed(function, mutation, defect):
    argument = Argument(np.arange(1.0, 7).reshape(3, 2), columns=("a", "b"))
    call = Call("function", function, lambda: {"x": argument})
    call.__dict__["result"] = argument.value * 1.0 if function is failing else call.function(argument.value.copy())
    change = next(each for each in mutations_of(argument) if each.name == mutation)
    assert defect in (judge(call, "x", change, Random(0)).defect or "")

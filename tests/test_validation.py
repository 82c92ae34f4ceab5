import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from crbestim._validation import (
    check_basis,
    check_count,
    check_crb,
    check_finite,
    check_matrix,
    check_names,
    check_positive,
    check_targets,
    stack_complex,
    unstack_complex,
)

# --- complex and stacked real ---------------------------------------------------------------------


def test_stacking_puts_real_parts_first():
    np.testing.assert_array_equal(stack_complex(np.array([[1 + 2j, 3 + 4j]])), [[1, 3, 2, 4]])
    np.testing.assert_array_equal(unstack_complex(np.array([[1.0, 3.0, 2.0, 4.0]])), [[1 + 2j, 3 + 4j]])


@given(
    st.sampled_from([np.complex64, np.complex128]).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=1, max_dims=3, max_side=5),
            elements={"allow_nan": False, "allow_infinity": False},
        )
    )
)
def test_unstacking_undoes_stacking(coefficients):
    stacked = stack_complex(coefficients)
    assert stacked.shape == (*coefficients.shape[:-1], 2 * coefficients.shape[-1])
    assert stacked.dtype == coefficients.real.dtype
    restored = unstack_complex(stacked)
    assert restored.dtype == coefficients.dtype
    np.testing.assert_array_equal(restored, coefficients)


def test_odd_number_of_columns_cannot_be_unstacked():
    with pytest.raises(ValueError, match=r"C must hold stacked real .*got 3 columns"):
        unstack_complex(np.ones((2, 3)), "C")


# --- matrices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        (bool, np.float64),
        (np.int8, np.float64),
        (np.uint64, np.float64),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (object, np.float64),
    ],
)
def test_matrix_of_real_numbers(given_dtype, dtype):
    checked = check_matrix(np.ones((2, 3), dtype=given_dtype), "X")
    assert checked.dtype == dtype
    np.testing.assert_array_equal(checked, 1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("kind", ["complex", "either"])
def test_matrix_of_complex_numbers(dtype, kind):
    assert check_matrix(np.ones((2, 3), dtype=dtype), "X", kind=kind).dtype == dtype


def test_matrix_may_be_a_list_or_a_frame():
    np.testing.assert_array_equal(check_matrix([[1, 2]], "X"), [[1.0, 2.0]])
    np.testing.assert_array_equal(check_matrix(pd.DataFrame({"a": [1, 3], "b": [2.5, 4]}), "X"), [[1, 2.5], [3, 4]])


@pytest.mark.parametrize(
    ("array", "options", "error", "message"),
    [
        (np.ones((2, 3)) + 0j, {}, TypeError, "Q must be real, but is complex"),
        (np.ones((2, 3)), {"kind": "complex"}, TypeError, "Q must be complex, but is real"),
        (np.array([["a"]]), {}, TypeError, "Q must hold numbers"),
        (np.array([[object()]]), {}, TypeError, "Q must hold numbers"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), {}, TypeError, "Q must hold numbers"),
        (np.ones(3), {}, ValueError, "Q must be 2-D .* got 1-D"),
        (np.ones((1, 2, 3)), {}, ValueError, "Q must be 2-D .* got 3-D"),
        (3.0, {}, ValueError, "Q must be 2-D"),
        (np.ones((0, 3)), {}, ValueError, "Q is empty"),
        (np.ones((3, 0)), {}, ValueError, "Q is empty"),
        (np.ones((2, 3)), {"n_columns": 4}, ValueError, "Q must have 4 columns; got 3"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), {}, ValueError, "Q contains NaN or infinity, first in row 1"),
        (np.array([[-np.inf, 1.0]]), {}, ValueError, "Q contains NaN or infinity, first in row 0"),
        (np.array([[1.0, 1j * np.nan]]), {"kind": "complex"}, ValueError, "Q contains NaN or infinity"),
        ([[1.0, 2.0], [3.0]], {}, ValueError, "Q"),
    ],
)
def test_what_is_no_matrix_is_refused(array, options, error, message):
    with pytest.raises(error, match=message):
        check_matrix(array, "Q", **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_large_finite_values_are_finite(dtype):
    """Also where their sum overflows."""
    values = np.full((4, 2), 0.9 * np.finfo(dtype).max, dtype=dtype)
    check_finite(values, "X")
    values[2, 1] = np.inf
    with pytest.raises(ValueError, match="row 2"):
        check_finite(values, "X")


def test_opposite_infinities_do_not_cancel():
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        check_finite(np.array([[np.inf], [-np.inf]]), "X")


# --- targets, bounds, bases -----------------------------------------------------------------------


def test_targets_of_one_dimension_become_a_column():
    np.testing.assert_array_equal(check_targets([1, 2, 3]), [[1], [2], [3]])
    np.testing.assert_array_equal(check_targets(pd.Series([1, 2])), [[1], [2]])
    assert check_targets(np.ones((2, 3), dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([[1.0], [np.nan]], ValueError, "y contains NaN or infinity, first in row 1"),
        ([[1.0, 2.0]], ValueError, "y has 1 rows; expected 2"),
        ([1.0, 2.0, 3.0], ValueError, "y has 3 rows; expected 2"),
        ([[1j], [1.0]], TypeError, "y must be real"),
        (["a", "b"], TypeError, "y must hold numbers"),
        (np.ones((2, 1, 1)), ValueError, "y must be 2-D"),
        ([], ValueError, "y is empty"),
    ],
)
def test_bad_targets_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        check_targets(y, n_samples=2)


def test_bound_may_be_infinite():
    np.testing.assert_array_equal(check_crb([[1.0, np.inf]], (1, 2)), [[1.0, np.inf]])
    np.testing.assert_array_equal(check_crb([1, 2], (2, 1)), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("crb", "error", "message"),
    [
        ([[1.0, np.nan], [1.0, 1.0]], ValueError, "crb contains NaN, first in row 0; use inf"),
        ([[1.0, 1.0], [0.0, 1.0]], ValueError, "crb must be positive .* row 1"),
        ([[1.0, -1.0], [1.0, 1.0]], ValueError, "crb must be positive .* row 0"),
        ([[1.0, -np.inf], [1.0, 1.0]], ValueError, "crb must be positive"),
        ([[1.0, 1.0]], ValueError, r"crb must have the shape of y, \(2, 2\); got \(1, 2\)"),
        ([1.0, 1.0], ValueError, r"crb must have the shape of y, \(2, 2\); got \(2, 1\)"),
        ([[1j, 1.0], [1.0, 1.0]], TypeError, "crb must be real"),
        ([["a", "b"], ["c", "d"]], TypeError, "crb must hold numbers"),
        (None, (TypeError, ValueError), "crb"),
    ],
)
def test_bad_bounds_are_refused(crb, error, message):
    with pytest.raises(error, match=message):
        check_crb(crb, (2, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_basis_is_taken_as_it_is(dtype):
    matrix = np.random.default_rng(0).standard_normal((1000, 13)).astype(dtype)
    basis = np.linalg.qr(matrix)[0]
    checked = check_basis(basis, 1000)
    assert checked.dtype == dtype
    np.testing.assert_array_equal(checked, basis)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (np.eye(4, 2), "basis must have one row for each of the signal's 5 time points; got 4"),
        (np.eye(5, 6), "basis must have orthonormal columns"),
        (1.0001 * np.eye(5, 2), "basis must have orthonormal columns"),
        (np.eye(5, 2) + 1e-4, "basis must have orthonormal columns"),
        (np.array([[1, 1j, 0, 0, 0], [1, 1j, 0, 0, 0]]).T / np.sqrt(2), "basis must have orthonormal columns"),
        (np.full((5, 2), np.inf), "basis contains NaN or infinity"),
    ],
)
def test_bad_bases_are_refused(basis, message):
    with pytest.raises(ValueError, match=message):
        check_basis(basis, 5)


# --- names and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "expected"), [("b", ("b",)), (["c", "a"], ("c", "a")), ((), ())])
def test_names_keep_their_order(names, expected):
    assert check_names(names, ("a", "b", "c"), "targets") == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("d", r"targets contains \['d'\]; expected names out of \['a', 'b', 'c'\]"),
        (["a", 1], r"targets contains \[1\]"),
        (["a", "b", "a"], "targets contains a name twice"),
        ("abc", r"targets contains \['abc'\]"),
    ],
)
def test_bad_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(names, ("a", "b", "c"), "targets")


@pytest.mark.parametrize("names", [1, None, 2.5])
def test_what_are_no_names_is_refused(names):
    with pytest.raises(TypeError, match="targets"):
        check_names(names, ("a", "b"), "targets")


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3)])
def test_positive_numbers(value):
    checked = check_positive(value, "tau")
    assert type(checked) is float
    assert checked == value


@pytest.mark.parametrize("value", [0, -1, 0.0, np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_positive_are_refused(value):
    with pytest.raises(ValueError, match="tau must be positive and finite"):
        check_positive(value, "tau")


@pytest.mark.parametrize("value", ["1", None, True, 1j, [1.0], np.ones(1)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="tau must be a number"):
        check_positive(value, "tau")


@pytest.mark.parametrize("value", [2, np.int32(2), np.uint8(2)])
def test_counts(value):
    checked = check_count(value, "n", minimum=2)
    assert type(checked) is int
    assert checked == 2


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-3, 0), (4, 5)])
def test_counts_below_the_minimum_are_refused(value, minimum):
    with pytest.raises(ValueError, match=f"n must be at least {minimum}; got {value}"):
        check_count(value, "n", minimum=minimum)


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.float64(2)])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match="n must be an integer"):
        check_count(value, "n")

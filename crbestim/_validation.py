"""Checks of arrays, and the passage between complex numbers and stacked real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[Any]
ComplexArray = NDArray[Any]

_REPETITION_TIMES = 1e-6, 1.0  # s


def stack_complex(coefficients: ComplexArray) -> FloatArray:
    """Turn complex (n, k) into stacked real [Re | Im], (n, 2k)."""
    return np.concatenate([coefficients.real, coefficients.imag], axis=-1)


def unstack_complex(stacked: FloatArray, name: str = "X") -> ComplexArray:
    """Turn stacked real [Re | Im], (n, 2k), into complex (n, k).

    Raises
    ------
    ValueError
        If the number of columns is odd.
    """
    n_columns = stacked.shape[-1]
    if n_columns % 2:
        raise ValueError(
            f"{name} must hold stacked real and imaginary parts [Re | Im], an even number of columns; "
            f"got {n_columns} columns."
        )
    half = n_columns // 2
    return stacked[..., :half] + 1j * stacked[..., half:]


def is_complex(array: ArrayLike, name: str = "X") -> bool:
    """Tell whether array-like data hold complex numbers.

    Sparse matrices are left to scikit-learn, which refuses them. It would take dates and text for numbers and ignore
    masks; these are refused here, by the argument's name.

    Raises
    ------
    TypeError, ValueError
        As `numeric_array`.
    """
    return not hasattr(array, "tocsr") and bool(numeric_array(array, name).dtype.kind == "c")


def check_matrix(
    array: ArrayLike,
    name: str,
    *,
    kind: str = "real",
    n_columns: int | None = None,
    column_names: Sequence[str] | None = None,
    finite: bool = True,
) -> FloatArray | ComplexArray:
    """Return a finite, non-empty 2-D array of float64 or complex128 (single precision is kept).

    Parameters
    ----------
    array : array_like of shape (n, m)
        The input.
    name : str
        The argument's name, for messages.
    kind : {"real", "complex", "either"}
        Which numbers are allowed.
    n_columns : int, optional
        The number of columns that is required.
    finite : bool, default=True
        Whether NaN and infinity are refused.

    Raises
    ------
    TypeError
        If the values are not numbers, or real where complex is needed, or the reverse.
    ValueError
        If the shape is wrong or a value is NaN or infinite.
    """
    values = numeric_array(array, name)
    if values.dtype.kind == "c":
        if kind == "real":
            raise TypeError(f"{name} must be real, but is complex ({values.dtype}).")
    elif kind == "complex":
        raise TypeError(f"{name} must be complex, but is real ({values.dtype}).")
    if values.ndim != 2:
        raise ValueError(f"{name} must be 2-D (samples, columns); got {values.ndim}-D, shape {values.shape}.")
    if 0 in values.shape:
        raise ValueError(f"{name} is empty: shape {values.shape}.")
    if n_columns is not None and values.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns; got {values.shape[1]}, shape {values.shape}.")
    if finite:
        check_finite(values, name, column_names)
    return values


def check_finite(values: NDArray, name: str, column_names: Sequence[str] | None = None) -> None:
    """Raise ValueError if a value is NaN or infinite; the message tells the first bad row."""
    if not values.ndim and not np.isfinite(values):
        raise ValueError(f"{name} must be finite; got {values}.")
    # A sum is finite only if all its terms are: no mask of the array's size in the usual case.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    finite = np.isfinite(values)
    if not finite.all():
        index = np.argwhere(~finite)[0]
        row = int(index[0])
        where = f"row {row}" if column_names is None else f"{column_names[index[1]]} in row {row}"
        raise ValueError(f"{name} contains NaN or infinity, first in {where}; every value must be finite.")


def in_single_precision(values: NDArray, name: str) -> NDArray:
    """Return finite values in single precision; raise ValueError if one is too large for it."""
    dtype = np.complex64 if values.dtype.kind == "c" else np.float32
    with np.errstate(over="ignore"):
        single = values.astype(dtype, copy=False)
    if not np.isfinite(single).all():
        raise ValueError(
            f"{name} must not exceed the range of single precision, {np.finfo(dtype).max:.2g}; got "
            f"{np.abs(values).max():.2g}."
        )
    return single


def check_targets(y: ArrayLike, n_samples: int | None = None, name: str = "y") -> FloatArray:
    """Return targets as finite float64 of shape (n, p); 1-D input becomes one column."""
    values = numeric_array(y, name)
    if values.ndim == 1:
        values = values[:, None]
    values = np.asarray(check_matrix(values, name), dtype=np.float64)
    if n_samples is not None and len(values) != n_samples:
        raise ValueError(f"{name} has {len(values)} rows; expected {n_samples}, one for each sample.")
    return values


def spread_of(values: FloatArray, name: str = "y") -> FloatArray:
    """Return the standard deviation of each column, (c,); raise ValueError if it is beyond the range of numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = values.std(axis=0)
    if not np.isfinite(spread).all():
        raise ValueError(f"{name} has values whose squares are beyond the range of numbers: {np.abs(values).max():g}.")
    return spread


def check_same_columns(y: object, crb: object) -> None:
    """Raise ValueError if y and crb are DataFrames with other columns or rows."""
    if isinstance(y, pd.DataFrame) and isinstance(crb, pd.DataFrame) and list(crb.columns) != list(y.columns):
        raise ValueError(f"crb must have the columns of y, {list(y.columns)}; got {list(crb.columns)}.")
    check_same_rows(y, crb, "crb")


def check_same_rows(y: object, other: object, name: str) -> None:
    """Raise ValueError if y and what belongs to it are DataFrames with other rows."""
    if isinstance(y, pd.DataFrame) and isinstance(other, pd.DataFrame) and not other.index.equals(y.index):
        raise ValueError(f"{name} must have the row index of y.")


def check_crb(crb: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return a Cramér-Rao bound as float64 of the given shape: positive, infinite allowed, no NaN.

    Raises
    ------
    TypeError
        If it is not real.
    ValueError
        If its shape differs from that of y, or a value is NaN or not positive.
    """
    values = numeric_array(crb, "crb")
    if values.dtype.kind == "c":
        raise TypeError(f"crb must be real, but is complex ({values.dtype}).")
    values = values.astype(np.float64, copy=False)
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != shape:
        raise ValueError(f"crb must have the shape of y, {shape}; got {values.shape}.")
    if np.isnan(values).any():
        row = int(np.argwhere(np.isnan(values))[0][0])
        raise ValueError(f"crb contains NaN, first in row {row}; use inf for an entry without information.")
    if (values <= 0).any():
        row = int(np.argwhere(values <= 0)[0][0])
        raise ValueError(f"crb must be positive (it is a variance); got {values[row]} in row {row}.")
    return values


def check_covariates(
    covariates: ArrayLike | pd.DataFrame,
    n_samples: int,
    names: Sequence[str] | None = None,
    present: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Return covariates as finite float64 of shape (n, c), the columns of a DataFrame in the order of the names.

    Where samples are not present, as in a masked background, they are not looked at.

    Raises
    ------
    TypeError
        If they are complex.
    ValueError
        If rows or columns are missing or unknown, or values are not finite.
    """
    if isinstance(covariates, pd.DataFrame) and names is not None:
        covariates = ordered_columns(covariates, names, "covariates")
    if present is not None:
        covariates = numeric_array(covariates, "covariates").copy()
        if covariates.shape[:1] == present.shape:
            covariates[~present] = 0
    values = check_targets(covariates, n_samples, "covariates")
    if names is not None and values.shape[1] != len(names):
        raise ValueError(f"covariates must have one column for each of {list(names)}; got {values.shape[1]}.")
    return values


def ordered_columns(frame: pd.DataFrame, names: Sequence[str], name: str) -> pd.DataFrame:
    """Return a DataFrame with its columns in the order of the names; raise ValueError if it has others."""
    columns = [str(column) for column in frame.columns]
    if sorted(columns) != sorted(names):
        raise ValueError(f"{name} must have the columns {list(names)} in any order; got {columns}.")
    return frame.iloc[:, [columns.index(column) for column in names]]


def check_basis(basis: ArrayLike, n_timepoints: int | None = None) -> NDArray:
    """Return a compression basis of shape (T, k), k <= T, with orthonormal columns.

    Raises
    ------
    ValueError
        If its length is not the signal's, or its columns are not orthonormal.
    """
    values = check_matrix(basis, "basis", kind="either")
    n_rows, n_columns = values.shape
    if n_timepoints is not None and n_rows != n_timepoints:
        raise ValueError(
            f"basis must have one row for each of the signal's {n_timepoints} time points; got {n_rows} rows."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # of what is not orthonormal
        gram = values.conj().T @ values
    tolerance = 1e3 * np.sqrt(n_rows) * np.finfo(values.dtype).eps
    if n_columns > n_rows or not np.allclose(gram, np.eye(n_columns), atol=tolerance):
        raise ValueError(f"basis must have orthonormal columns (basis^H basis = identity); shape {values.shape}.")
    return values


def check_names(names: str | Sequence[str], allowed: Sequence[str], name: str) -> tuple[str, ...]:
    """Return names as a tuple, each of them allowed and none twice."""
    try:
        chosen = (names,) if isinstance(names, str) else tuple(names)
    except TypeError as error:
        raise TypeError(f"{name} must be a name or a sequence of names; got {type(names).__name__}.") from error
    unknown = [item for item in chosen if item not in allowed]
    if unknown:
        raise ValueError(f"{name} contains {unknown}; expected names out of {list(allowed)}.")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"{name} contains a name twice: {list(chosen)}.")
    return chosen


def check_not_above(not_above: Mapping[str, str]) -> None:
    """Raise ValueError for a parameter that is both a lower and an upper one."""
    both = [name for name in not_above if name in not_above.values()]
    if both:
        raise ValueError(f"not_above must not make a chain: {both} never exceed another parameter and bound one, too.")


def check_positive(value: float, name: str) -> float:
    """Return a finite positive float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number; got {type(value).__name__}.")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be positive and finite; it is beyond the range of numbers.") from error
    if not np.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be positive and finite; got {value}.")
    return number


def check_repetition_time(value: float) -> float:
    """Return the time between two pulses of a train, in s: at least a microsecond, and no longer than a second."""
    time = check_positive(value, "repetition_time")
    least, most = _REPETITION_TIMES
    if not least <= time <= most:
        question = " Is it in ms?" if time > most else ""
        raise ValueError(f"repetition_time must be from {least:g} to {most:g} s; got {time:g} s.{question}")
    return time


def check_not_negative(value: float, name: str) -> float:
    """Return a finite float that is not negative."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    is_zero = is_number and value == 0
    return 0.0 if is_zero else check_positive(value, name)


def check_range(values: tuple[float, float], name: str, *, from_zero: bool = False) -> tuple[float, float]:
    """Return two finite positive floats that do not decrease; the first may be zero, if so told."""
    try:
        low, high = () if isinstance(values, (str, bytes)) else values
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a pair (least, greatest); got {values!r}.") from error
    low = (check_not_negative if from_zero else check_positive)(low, f"{name}[0]")
    high = check_positive(high, f"{name}[1]")
    if low > high:
        raise ValueError(f"{name} must not be decreasing; got ({low:g}, {high:g}).")
    return low, high


def check_count(value: int, name: str, minimum: int = 1) -> int:
    """Return an int that is not below a minimum."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer; got {type(value).__name__}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {value}.")
    return int(value)


def random_generator(
    random_state: int | np.random.Generator | None, name: str = "random_state"
) -> np.random.Generator:
    """Return a generator of random numbers."""
    message = f"{name} must be an int that is not negative, a Generator or None; got {random_state!r}."
    try:
        return np.random.default_rng(random_state)
    except TypeError as error:
        raise TypeError(message) from error
    except ValueError as error:
        raise ValueError(message) from error


def numeric_array(array: ArrayLike, name: str) -> NDArray:
    """Return an array of floats or complex numbers, of any shape, in single or double precision.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If rows differ in length, or values of a masked array are masked.
    """
    try:
        values = array.to_numpy() if isinstance(array, (pd.DataFrame, pd.Series)) else np.asanyarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array: {error}") from error
    except RuntimeError as error:  # of a torch tensor that requires a gradient
        raise TypeError(f"{name} must hold numbers: {error}") from error
    if isinstance(values, np.ma.MaskedArray) and np.any(values.mask):
        raise ValueError(f"{name} must not have masked values; {np.count_nonzero(values.mask)} are masked.")
    values = np.asarray(values)
    if values.dtype.kind == "O":
        values = _numbers_of_objects(values, name)
    if values.dtype.kind in "biu":
        return values.astype(np.float64)
    if values.dtype.kind not in "fc":
        raise TypeError(f"{name} must hold numbers; got dtype {values.dtype}.")
    if values.dtype == np.float16:
        return values.astype(np.float32)
    double = np.dtype(np.complex128 if values.dtype.kind == "c" else np.float64)
    dtype = double if values.dtype.itemsize > double.itemsize else values.dtype.newbyteorder("=")
    return values.astype(dtype, copy=False)


def _numbers_of_objects(values: NDArray, name: str) -> NDArray:
    """Return objects as double precision; raise TypeError if they are no numbers."""
    if not values.ndim:
        raise TypeError(f"{name} must hold numbers; got {type(values.item()).__name__}.")
    missing = next((value for value in values.flat if value is None or value is pd.NaT), 0)
    if missing is None or missing is pd.NaT:
        raise TypeError(f"{name} must hold numbers; got {missing}.")
    is_complex = any(isinstance(value, (complex, np.complexfloating)) for value in values.flat)
    try:
        return values.astype(np.complex128 if is_complex else np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers; got values that are not: {error}.") from error


def check_option(value: object, name: str, choices: Sequence[object]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}; got {value!r}.")

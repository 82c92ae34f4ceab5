"""A SIMD vector of voxels as a number in compiled code: equations are written once, for scalars, and run on lanes.

Adds a type `Lanes` to numba, which holds one value of each of `WIDTH` voxels in a vector register. Lanes mix with
floats in +, -, * and /; `exp`, `sin_cos` and the like are in this module. Multiplications and additions fuse.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

WIDTH = 4  # two registers of SSE or NEON, one of AVX

compiled = njit(cache=True, error_model="numpy", nogil=True)
inlined = njit(error_model="numpy", nogil=True, forceinline=True)

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_INTEGERS = ir.VectorType(ir.IntType(64), WIDTH)
_INDEX = ir.IntType(32)
_FLAGS = ("contract",)


class LanesType(types.Type):
    """Numba's name for `WIDTH` doubles in a vector register."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{WIDTH}")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: types.Type) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _splat(builder: Any, scalar: Any) -> Any:
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * WIDTH)


def _as_vector(builder: Any, numba_type: types.Type, value: Any) -> Any:
    if isinstance(numba_type, LanesType):
        return value
    if isinstance(numba_type, types.Integer):
        value = builder.sitofp(value, _DOUBLE)
    return _splat(builder, value)


def _is_operand(numba_type: types.Type) -> bool:
    return isinstance(numba_type, LanesType | types.Integer) or numba_type == types.float64


def _add_binary_operator(function: Callable[..., Any], instruction: str) -> None:
    @type_callable(function)
    def _type(context: Any) -> Callable[..., Any]:
        def typer(left: types.Type, right: types.Type) -> types.Type | None:
            both = (left, right)
            mixed = any(isinstance(side, LanesType) for side in both) and all(map(_is_operand, both))
            return lanes if mixed else None

        return typer

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (_as_vector(builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        return getattr(builder, instruction)(left, right, flags=_FLAGS)

    for other in (types.Float, types.Integer):
        lower_builtin(function, LanesType, other)(lower)
        lower_builtin(function, other, LanesType)(lower)
    lower_builtin(function, LanesType, LanesType)(lower)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _add_binary_operator(_function, _instruction)


@type_callable(operator.neg)
def _type_negation(context: Any) -> Callable[..., Any]:
    return lambda value: lanes if isinstance(value, LanesType) else None


@lower_builtin(operator.neg, LanesType)
def _lower_negation(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fneg(arguments[0])


# --- memory -----------------------------------------------------------------------------------------


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any, last: Any) -> Any:
    """Address of array[(*index, last)]."""
    structure = context.make_array(array_type)(context, builder, array)
    indices = [*cgutils.unpack_tuple(builder, index, len(index_type)), *last]
    return cgutils.get_item_pointer(context, builder, array_type, structure, indices)


@intrinsic
def load(typing_context, array, index):
    """Lanes at array[(*index, :)]; the last axis of the array has `WIDTH` entries."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        last = [context.get_constant(types.intp, 0)]
        address = _pointer(context, builder, array, arguments[0], index, arguments[1], last)
        return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=8, typ=_VECTOR)

    return lanes(array, index), lower


@intrinsic
def store(typing_context, array, index, value):
    """Set array[(*index, :)] to lanes."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        last = [context.get_constant(types.intp, 0)]
        address = _pointer(context, builder, array, arguments[0], index, arguments[1], last)
        builder.store(arguments[2], builder.bitcast(address, _VECTOR.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.none(array, index, value), lower


@intrinsic(prefer_literal=True)
def load_row(typing_context, array, index, length):
    """Tuple of the lanes at array[(*index, i, :)] for i below a literal length.

    An index of one entry more tells the first i.
    """
    n = length.literal_value
    result = types.UniTuple(lanes, n)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        last = [context.get_constant(types.intp, 0)] * (array.ndim - len(index))
        address = _pointer(context, builder, array, arguments[0], index, arguments[1], last)
        address = builder.bitcast(address, _VECTOR.as_pointer())
        values = []
        for i in range(n):
            place = builder.gep(address, [ir.Constant(_INDEX, i)], source_etype=_VECTOR)
            values.append(builder.load(place, align=8, typ=_VECTOR))
        return context.make_tuple(builder, result, values)

    return result(array, index, length), lower


@intrinsic
def store_row(typing_context, array, index, values):
    """Set array[(*index, i, :)] to lanes i of a tuple; an index of one entry more tells the first i."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        last = [context.get_constant(types.intp, 0)] * (array.ndim - len(index))
        address = _pointer(context, builder, array, arguments[0], index, arguments[1], last)
        address = builder.bitcast(address, _VECTOR.as_pointer())
        for i, value in enumerate(cgutils.unpack_tuple(builder, arguments[2], len(values))):
            place = builder.gep(address, [ir.Constant(_INDEX, i)], source_etype=_VECTOR)
            builder.store(value, place, align=8)
        return context.get_dummy_value()

    return types.none(array, index, values), lower


@intrinsic
def scatter(typing_context, array, first, index, value):
    """Set array[(first + lane, *index)] to each lane's value."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = context.make_array(array)(context, builder, arguments[0])
        rest = cgutils.unpack_tuple(builder, arguments[2], len(index))
        for lane in range(WIDTH):
            row = builder.add(arguments[1], context.get_constant(types.intp, lane))
            address = cgutils.get_item_pointer(context, builder, array, structure, [row, *rest])
            builder.store(builder.extract_element(arguments[3], ir.Constant(_INDEX, lane)), address)
        return context.get_dummy_value()

    return types.none(array, first, index, value), lower


@intrinsic
def gather(typing_context, table, row):
    """Return columns 0 to 3 of table[row], for a row (a whole number) of each lane."""
    result = types.UniTuple(lanes, 4)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = context.make_array(table)(context, builder, arguments[0])
        rows = builder.fptosi(arguments[1], _INTEGERS)
        four = ir.VectorType(_DOUBLE, 4)
        columns = [ir.Constant(_VECTOR, ir.Undefined) for _ in range(4)]
        for lane in range(WIDTH):
            place = ir.Constant(_INDEX, lane)
            indices = [builder.extract_element(rows, place), context.get_constant(types.intp, 0)]
            address = cgutils.get_item_pointer(context, builder, table, structure, indices)
            values = builder.load(builder.bitcast(address, four.as_pointer()), align=8, typ=four)
            for column in range(4):
                value = builder.extract_element(values, ir.Constant(_INDEX, column))
                columns[column] = builder.insert_element(columns[column], value, place)
        return context.make_tuple(builder, result, columns)

    return result(table, row), lower


# --- functions --------------------------------------------------------------------------------------


@intrinsic
def splat(typing_context, value):
    """Lanes that all hold one float."""
    return lanes(value), lambda context, builder, signature, arguments: _splat(builder, arguments[0])


def _vector_intrinsic(name: str) -> Callable[..., Any]:
    @intrinsic
    def function(typing_context, value):
        def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function_type = ir.FunctionType(_VECTOR, [_VECTOR])
            full_name = f"{name}.v{WIDTH}f64"
            function = cgutils.get_or_insert_function(builder.module, function_type, full_name)
            return builder.call(function, arguments)

        return lanes(value), lower

    return function


sqrt = _vector_intrinsic("llvm.sqrt")
floor = _vector_intrinsic("llvm.floor")
absolute = _vector_intrinsic("llvm.fabs")


@intrinsic
def where_less(typing_context, left, right, yes, no):
    """Yes where left < right, else no; all are lanes or floats."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, x, y = (_as_vector(builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        return builder.select(builder.fcmp_ordered("<", a, b), x, y)

    return lanes(left, right, yes, no), lower


@intrinsic
def _power_of_two(typing_context, exponent):
    """2 ** exponent for whole exponents from -1022 to 1023."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # Adding 1.5 * 2^52 leaves the whole number in the low bits; they are moved to the exponent's place.
        shifted = builder.fadd(arguments[0], _constant(1.5 * 2**52 + 1023))
        bits = builder.shl(builder.bitcast(shifted, _INTEGERS), ir.Constant(_INTEGERS, [52] * WIDTH))
        return builder.bitcast(bits, _VECTOR)

    return lanes(exponent), lower


_LOG2_E = 1 / np.log(2)
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_HALF_PI_HIGH, _HALF_PI_LOW = np.pi / 2, 6.123233995736766e-17


@inlined
def exp(x):
    """Exponential, to rounding; the argument is limited to [-700, 700]."""
    x = where_less(x, -700.0, -700.0, where_less(700.0, x, 700.0, x))
    n = floor(x * _LOG2_E + 0.5)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    r2 = r * r
    low = (1 + r) + r2 * (0.5 + r * (1 / 6)) + r2 * r2 * ((1 / 24 + r * (1 / 120)) + r2 * (1 / 720 + r * (1 / 5040)))
    r8 = r2 * r2 * (r2 * r2)
    high = (1 / 40320 + r * (1 / 362880)) + r2 * (1 / 3628800 + r * (1 / 39916800)) + r2 * r2 * (1 / 479001600)
    return (low + r8 * high) * _power_of_two(n)


@inlined
def sin_cos(x):
    """Sine and cosine of angles of moderate size (up to some hundred), to rounding."""
    quarter = floor(x * (2 / np.pi) + 0.5)
    r = x - quarter * _HALF_PI_HIGH - quarter * _HALF_PI_LOW
    r2 = r * r
    r4 = r2 * r2
    sine = ((1 + r2 * (-1 / 6)) + r4 * (1 / 120 + r2 * (-1 / 5040))) + r4 * r4 * (
        (1 / 362880 + r2 * (-1 / 39916800)) + r4 * (1 / 6227020800 + r2 * (-1 / 1307674368000))
    )
    sine = r * sine
    high = (1 / 40320 + r2 * (-1 / 3628800)) + r4 * (1 / 479001600 + r2 * (-1 / 87178291200))
    cosine = ((1 + r2 * (-1 / 2)) + r4 * (1 / 24 + r2 * (-1 / 720))) + r4 * r4 * (
        high + r4 * r4 * (1 / 20922789888000)
    )
    place = quarter - 4 * floor(quarter * 0.25)
    odd = absolute(place - 2 * floor(place * 0.5))
    a = where_less(odd, 0.5, sine, cosine)
    b = where_less(odd, 0.5, cosine, sine)
    a = where_less(place, 1.5, a, -a)
    b = where_less(absolute(place - 1.5), 1.0, -b, b)
    return a, b

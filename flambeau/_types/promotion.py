"""Which dtype operands of different dtypes are computed in (PyTorch's "Tensor Attributes" page, "Type promotion").

A tensor with dimensions decides before a tensor without, and that before a Python number: the lesser one counts only
if its category (bool < integer < floating point < complex) is higher, and then by its category alone if it is a number.
"""

from __future__ import annotations

from functools import lru_cache

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

Number = bool | int | float | complex

_default = dt.float32


def get_default_dtype() -> DType:
    """The dtype of new floating-point tensors; float32 unless set otherwise."""
    return _default


def set_default_dtype(d: DType) -> None:
    """Set the dtype of new floating-point tensors.

    Raises:
        TypeError: ``d`` is not a floating-point dtype.
    """
    global _default
    if not isinstance(d, DType) or not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    if d in dt.FLOAT8:
        raise TypeError(f"{d!r} is a type for storage; the default type is float16, bfloat16, float32 or float64")
    if d is not _default:
        _default = d
        result_type.cache_clear()
        number_dtype.cache_clear()


_UNSIGNED = {dt.uint16, dt.uint32, dt.uint64}


@lru_cache(None)
def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that both dtypes convert to.

    Raises:
        RuntimeError: uint16, uint32 or uint64 meets a signed integer type: no dtype holds both. Or a float8 type meets another one.
    """
    if type1 is type2:
        return type1
    if type1 in dt.FLOAT8 or type2 in dt.FLOAT8:
        raise RuntimeError(f"Promotion for Float8 Types is not supported, attempted to promote {type1} and {type2}: convert one of them")
    low, high = sorted((type1, type2), key=lambda each: each.category)
    if low.category != high.category:
        if high.category == dt.COMPLEX and low.category == dt.FLOAT:
            return promote_types(high, low.to_complex())
        return high
    if low.category == dt.INTEGER:
        if _UNSIGNED & {low, high} and low is not high:
            return _promote_unsigned(low, high)
        if dt.uint8 in (low, high):
            other = high if low is dt.uint8 else low
            return dt.int16 if other is dt.int8 else other
        return low if low.itemsize > high.itemsize else high
    if low.category == dt.FLOAT and {low, high} == {dt.float16, dt.bfloat16}:
        return dt.float32
    return low if low.itemsize > high.itemsize else high


def _promote_unsigned(a: DType, b: DType) -> DType:
    if not a.is_signed and not b.is_signed:
        return a if a.itemsize > b.itemsize else b
    raise RuntimeError(f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a} and {b}")


@lru_cache(None)
def number_dtype(kind: type) -> DType:
    """The dtype of a tensor made of Python numbers of this class."""
    if kind is bool:
        return dt.bool
    if kind is int:
        return dt.int64
    if kind is float:
        return _default
    if kind is complex:
        return dt.complex128 if _default is dt.float64 else dt.complex64
    raise TypeError(f"expected a number, not {kind.__name__}")


@lru_cache(65536)
def result_type(*operands: tuple[DType, bool] | type) -> DType:
    """The dtype in which operands meet; an operand is ``(dtype, whether it has dimensions)`` or a number's class."""
    groups: list[DType | None] = [None, None, None]  # with dimensions, without, numbers
    for operand in operands:
        if isinstance(operand, tuple):
            which, found = (0 if operand[1] else 1), operand[0]
        else:
            which, found = 2, number_dtype(operand)
        groups[which] = found if groups[which] is None else promote_types(groups[which], found)
    result: DType | None = None
    for found in groups:
        if found is None:
            continue
        if result is None:
            result = found
        elif found.category > result.category:
            if found.category == dt.COMPLEX and result.category == dt.FLOAT:
                result = result.to_complex()
            else:
                result = promote_types(result, found) if found.category == dt.COMPLEX else found
    assert result is not None
    return result


@lru_cache(None)
def can_cast(from_: DType, to: DType) -> bool:
    """Whether an in-place operator may write a result of dtype ``from_`` into a tensor of dtype ``to``."""
    if from_.is_complex and not to.is_complex:
        return False
    if from_.is_floating_point and to.category < dt.FLOAT:
        return False
    return not (from_.category == dt.INTEGER and to.category == dt.BOOL)

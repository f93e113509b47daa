"""Putting the arguments of public functions in order, once for all families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.operator import PLAIN_NUMBERS
from flambeau._ops.origin import warn
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.writing import check_result, check_writable, write
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.finfo import finfo, iinfo
from flambeau._types.layout import Layout
from flambeau._types.promotion import can_cast, result_type
from flambeau._types.symbolic import SymInt

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def number(value: Any) -> Any:
    """A Python number from anything that is one (NumPy scalars too); tensors and numbers pass."""
    if value.__class__ in PLAIN_NUMBERS or isinstance(value, TensorBase):
        return value
    if isinstance(value, (np.generic, np.ndarray)) and value.size == 1:
        return value.item()
    for kind in (bool, int, float, complex):
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "__index__"):
        return int(value)
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError(f"expected a Tensor or a number, not {value.__class__.__name__}")


def number_for(dtype: DType, value: Any) -> Any:
    """A Python number from anything that is one, as an element of ``dtype`` can be it: an int for integers, a bool for bool.

    Raises:
        RuntimeError: it is out of the range of ``dtype``, or has an imaginary part where there is none. Infinity and NaN are in the range
            of every floating-point type; a negative int wraps in an unsigned type.
    """
    value = number(value)
    if dtype is dt.bool:
        return bool(value)
    if value.__class__ is complex:
        if dtype.is_complex and _fits(dtype, value.real) and _fits(dtype, value.imag):
            return value
        if value.imag or dtype.is_complex:
            raise _overflow(dtype, value)
        value = value.real
    if not _fits(dtype, value):
        raise _overflow(dtype, value)
    return int(value) if dtype.category == dt.INTEGER else value


def _fits(dtype: DType, value: float) -> bool:
    low, high = number_range(dtype)
    if low <= value <= high:
        return True
    if dtype.category == dt.INTEGER:
        return not dtype.is_signed and value.__class__ is int and -high <= value < 0
    return value - value != 0  # infinity or NaN


def _overflow(dtype: DType, value: complex) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {dtype.name} without overflow: {value}")


@cache
def number_range(dtype: DType) -> tuple[float, float]:
    """The least and the greatest finite number of a type."""
    limits = iinfo(dtype) if dtype.category == dt.INTEGER else finfo(dtype)
    return limits.min, limits.max


def common_dtype(operands: Sequence[Layout | type]) -> DType:
    """The dtype in which the operands of a record meet."""
    return result_type(*[operand if isinstance(operand, type) else (operand.dtype, operand.ndim > 0) for operand in operands])


def into(out: Tensor | None, result: Any) -> Any:
    """Give a result to the caller: as it is, or written into ``out=`` (resized to fit), which is returned."""
    if out is None:
        return result
    if isinstance(out, (tuple, list)):
        return tuple(into(target, each) for target, each in zip(out, result, strict=True))
    if not isinstance(out, TensorBase):
        raise TypeError(f"argument 'out' must be Tensor, not {out.__class__.__name__}")
    if isinstance(result, tuple):
        raise TypeError(f"argument 'out' must be tuple of {len(result)} Tensors, not Tensor")
    if (out.node is not None or result.node is not None) and LOCAL.tape.grad:
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad."
        )
    if not can_cast(result.layout.dtype, out.layout.dtype):
        raise RuntimeError(f"result type {result.layout.dtype!r} can't be cast to the desired output type {out.layout.dtype!r}")
    check_writable(out, "out=")
    if out.layout.shape != result.layout.shape:
        if out.layout.numel:
            warn(
                f"An output with one or more elements was resized since it had shape {list(out.layout.shape)}, which does not match the required "
                f"output shape {list(result.layout.shape)}. This behavior is deprecated: out.resize_(0) before says that it is meant."
            )
        out.resize_(result.layout.shape)
    write(out, result)
    return out


def dtype_of_total(dtype: Any, input: Tensor, out: Any) -> DType:
    """The dtype that a sum or a product is computed in: the one asked for, that of ``out=``, or the input's, int64 for integers and bool.

    Raises:
        RuntimeError: another dtype is asked for than ``out=`` has.
    """
    dtype, target = dt.of_python(dtype), out.layout.dtype if isinstance(out, TensorBase) else None
    if dtype is not None and target is not None and dtype is not target:
        raise RuntimeError(f"Expected out tensor to have dtype {dtype.name}, but got {target.name} instead")
    own = input.layout.dtype
    return dtype or target or (own if own.category >= dt.FLOAT else dt.int64)


def apart(out: Any, *others: Tensor, name: str, shape: tuple[int, ...] | None = None) -> None:
    """Check that ``out`` (resized to ``shape``) shares no memory with what is read while it is written.

    Raises:
        RuntimeError: some of its elements lie where elements of the others lie.
    """
    for each in (out,) if isinstance(out, TensorBase) else out or ():
        layout = each.layout
        if shape is not None and shape != layout.shape:
            layout = lay.layout(shape, lay.row_major(shape), layout.offset, layout.dtype)
        low, high = _reach(layout)
        for other in others:
            start, end = _reach(other.layout)
            if other.memory is each.memory and start < high and low < end:
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. "
                    f"Please clone() the tensor before performing the operation. ({name} with out= of shape {list(each.layout.shape)})"
                )


def _reach(layout: Layout) -> tuple[int, int]:
    """The bytes from the first element to behind the last."""
    if not layout.numel:
        return 0, 0
    last = layout.offset + sum(stride * (size - 1) for stride, size in zip(layout.strides, layout.shape, strict=True))
    return layout.offset * layout.dtype.itemsize, (last + 1) * layout.dtype.itemsize


_INT = frozenset((int,))


def int_tuple(value: Any, name: str = "size") -> tuple[int, ...]:
    """A tuple of ints from an int or a sequence of them (NumPy integers and tensors of one element too)."""
    if value.__class__ is tuple and _INT.issuperset(map(type, value)):
        return value
    if isinstance(value, TensorBase) and value.layout.ndim > 0:
        value = value.tolist()
    if not isinstance(value, (tuple, list)):
        value = (value,)
    result = []
    for item in value:
        try:
            result.append(item.__index__())
        except (AttributeError, TypeError):
            raise TypeError(
                f"argument '{name}' must be tuple of ints, but found element of type {item.__class__.__name__} at pos {len(result)}"
            ) from None
    return tuple(result)


def whole(value: Any, name: str) -> int:
    """A Python int from anything that is one: NumPy integers and integer tensors of one element too. Sizes that are not known stay what they are.

    Raises:
        TypeError: it is none
    """
    if value.__class__ is int or isinstance(value, SymInt):
        return value
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"argument '{name}' must be int, not {value.__class__.__name__}") from None


def sizes(args: tuple, name: str = "size") -> tuple[int, ...]:
    """The sizes given as ``f(2, 3)`` or ``f((2, 3))``."""
    if args.__class__ is tuple and _INT.issuperset(map(type, args)):
        return args
    return int_tuple(args[0] if len(args) == 1 and not isinstance(args[0], int) else args, name)


def in_place(function: Callable) -> Callable:
    """The in-place method (``f_``) of a function that is composed of several operators."""

    def inplace(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = function(self.clone(), *args, **kwargs)
        check_result(self, result.layout, name)
        return self.copy_(result)

    name = inplace.__name__ = inplace.__qualname__ = function.__name__ + "_"
    inplace.__doc__ = f"In-place version of ``{function.__name__}()``."
    return inplace


def named_sizes(name: str, keyword: str, args: tuple, named: dict[str, Any], left: str = "") -> tuple:
    """The arguments of a function of any number of sizes, which may also be given together by keyword; one other keyword may be ``left``.

    Raises:
        TypeError: there are others
    """
    if keyword in named:
        args = (*args, named.pop(keyword))
    for key in named:
        if key != left:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
    return args


def with_names(made: Tensor, named: dict[str, Any]) -> Tensor:
    """A new tensor, with names of its dimensions if a function got some by keyword."""
    return FUNCTIONS.named().given(made, named["names"]) if named.get("names") is not None else made


def optional_first(name: str, keys: Sequence[str], args: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    """The arguments called ``keys``, given by place or by name, of which the first ones may be left out (``None``).

    Raises:
        TypeError: more than these, or one twice.
    """
    for key in named:
        if key not in keys:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
    missing = [key for key in keys if key not in named]
    if len(args) > len(missing):
        raise TypeError(f"{name}() takes {len(keys)} arguments ({', '.join(keys)}), but got {len(args) + len(named)}")
    found = {**named, **dict(zip(missing[len(missing) - len(args) :], args, strict=True))}
    return [found.get(key) for key in keys]

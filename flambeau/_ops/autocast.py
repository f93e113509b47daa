"""Automatic casts: inside ``amp.autocast`` products run in half precision, and losses in float32.

The operators of the two lists become ``Casting`` operators when a region is entered for the first time, so that programs without one
pay nothing for these. Functions of several operators are wrapped by ``in_float32`` from the beginning, and pay for the call: 0.6 of the
6.3 µs of ``mse_loss``, nothing that could be measured of the 13 µs of ``linalg.inv`` (matrices of 3 x 3).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS, OPERATORS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

LOW = ("bmm", "conv_transpose", "convolution", "dot", "linear", "mv", "scaled_dot_product_attention")
"""Operators that run in the region's dtype."""

FULL = ("binary_cross_entropy", "nll_loss", "prod")
"""Operators that run in float32."""


class State(threading.local):
    """The dtype of this thread's innermost region, or ``None`` outside of one; and what a region without a dtype gets."""

    dtype: DType | None = None
    default: DType = dt.bfloat16


STATE = State()


def cast(value: Any, dtype: DType) -> Any:
    """A tensor in the dtype if it is floating point and no float64; anything else as it is."""
    if isinstance(value, TensorBase):
        own = value.layout.dtype
        if own is not dtype and own.is_floating_point and own is not dt.float64:
            return FUNCTIONS.cast(value, dtype)
    return value


class Casting(Operator):
    """An operator of one of the lists."""

    def __call__(self, *operands: Any, statics: tuple = ()) -> Any:
        dtype = STATE.dtype
        if dtype is not None:
            dtype = dtype if self.name in LOW else dt.float32
            operands = tuple(cast(operand, dtype) for operand in operands)
            if self.name == "prod" and statics[2].is_floating_point and statics[2] is not dt.float64:
                statics = (*statics[:2], dtype)
        return super().__call__(*operands, statics=statics)


def prepare() -> None:
    """Let the operators of the lists cast from now on, inside regions."""
    for name in (*LOW, *FULL):
        OPERATORS[name].__class__ = Casting


def outside(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What a function gives outside of the region that this thread is in."""
    dtype, STATE.dtype = STATE.dtype, None
    try:
        return function(*args, **kwargs)
    finally:
        STATE.dtype = dtype


def in_float32(function: Callable) -> Callable:
    """A function that gets its tensors in float32 inside a region, and computes in float32."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if STATE.dtype is None:
            return function(*args, **kwargs)
        full = {name: cast(each, dt.float32) for name, each in kwargs.items()}
        return outside(function, *[cast(each, dt.float32) for each in args], **full)

    return wrapped


def low(*operands: Tensor | None) -> tuple[Any, ...]:
    """What an operator that runs in the region's dtype is given, before its shape and dtypes are checked."""
    dtype = STATE.dtype
    return operands if dtype is None else tuple(cast(operand, dtype) for operand in operands)

"""What a function that a class is asked about is called, whether it is a function, a method, a property or one of Python's operators."""

from __future__ import annotations

from collections.abc import Callable

_BINARY = {
    "add": "add", "and": "bitwise_and", "floordiv": "floor_divide", "lshift": "bitwise_left_shift", "matmul": "matmul", "mod": "remainder", "mul": "mul",
    "or": "bitwise_or", "pow": "pow", "rshift": "bitwise_right_shift", "sub": "sub", "truediv": "div", "xor": "bitwise_xor",
}  # fmt: skip
_OPERATORS = {f"__{prefix}{operator}__": name for operator, name in _BINARY.items() for prefix in ("", "i", "r")} | {
    "__abs__": "abs", "__eq__": "eq", "__ge__": "ge", "__gt__": "gt", "__invert__": "bitwise_not", "__le__": "le", "__lt__": "lt", "__ne__": "ne", "__neg__": "neg",
    "__pos__": "positive",
}  # fmt: skip
"""The functions that Python's operators are."""


def is_property(func: Callable) -> bool:
    """Whether it is a property of tensors that is read or set."""
    return getattr(func, "__name__", "") in ("__get__", "__set__")


def name_of(func: Callable) -> str:
    """The name of a function, a method or a property; that of the function for one of Python's operators."""
    if is_property(func):
        return func.__self__.fget.__name__
    name = getattr(func, "__name__", "")
    return _OPERATORS.get(name, name)

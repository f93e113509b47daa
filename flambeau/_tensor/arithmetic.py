"""Python's operators on tensors: ``x + y``, ``x @ y``, ``x < y`` and their kin.

Each takes a tensor or a number, and otherwise leaves the question to the other operand (``NotImplemented``).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from flambeau._ops import elementwise, functions, matrix
from flambeau._ops.arguments import number
from flambeau._ops.operator import PLAIN_NUMBERS
from flambeau._tape.storage import TensorBase
from flambeau._types.errors import ArgumentError

_OPERANDS = (TensorBase, int, float, complex, np.generic)


def _forward(function: Callable) -> Callable:
    """``function(self, other)``."""

    def method(self: Any, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _backward(function: Callable) -> Callable:
    """``function(other, self)``, for a number on the left."""

    def method(self: Any, other: Any) -> Any:
        if not isinstance(self, TensorBase):
            raise ArgumentError(f"expected a Tensor, not {self.__class__.__name__}")
        return function(number(other), self) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _record(operator: Callable) -> Callable:
    """As ``_forward``, of an operator itself: what a loop calls most."""

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, TensorBase) or other.__class__ in PLAIN_NUMBERS:
            return operator(self, other)
        return operator(self, number(other)) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _symmetric(function: Callable) -> Callable:
    """``function(self, other)`` for a number on the left, of a function to which the order does not matter."""

    def method(self: Any, other: Any) -> Any:
        if not isinstance(self, TensorBase):
            raise ArgumentError(f"expected a Tensor, not {self.__class__.__name__}")
        return function(self, number(other)) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _floor_divide_(self: Any, other: Any) -> Any:
    return elementwise.div_(self, other, rounding_mode="floor")


class Arithmetic(TensorBase):
    """The operators."""

    __slots__ = ()

    __add__, __radd__, __iadd__ = _record(elementwise.ADD), _symmetric(elementwise.ADD), _forward(elementwise.add_)
    __sub__, __rsub__, __isub__ = _record(elementwise.SUB), _backward(elementwise.SUB), _forward(elementwise.sub_)
    __mul__, __rmul__, __imul__ = _record(elementwise.MUL), _symmetric(elementwise.MUL), _forward(elementwise.mul_)
    __truediv__, __rtruediv__, __itruediv__ = _record(elementwise.DIV), _backward(elementwise.DIV), _forward(elementwise.div_)
    __rdiv__ = __rtruediv__
    __floordiv__, __rfloordiv__ = _forward(elementwise.floor_divide), _backward(elementwise.floor_divide)
    __ifloordiv__ = _forward(_floor_divide_)
    __mod__, __rmod__, __imod__ = _forward(elementwise.remainder), _backward(elementwise.remainder), _forward(elementwise.remainder_)
    __pow__, __rpow__, __ipow__ = _forward(elementwise.pow), _backward(elementwise.pow), _forward(elementwise.pow_)

    def __matmul__(self, other: Any) -> Any:
        return matrix.matmul(self, other) if isinstance(other, TensorBase) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return matrix.matmul(other, self) if isinstance(other, TensorBase) else NotImplemented

    __eq__, __ne__ = _forward(elementwise.eq), _forward(elementwise.ne)
    __lt__, __le__, __gt__, __ge__ = map(_forward, (elementwise.lt, elementwise.le, elementwise.gt, elementwise.ge))
    __hash__ = object.__hash__  # of the identity, and not in Python

    __and__, __rand__, __iand__ = _forward(functions.bitwise_and), _symmetric(functions.bitwise_and), _forward(functions.bitwise_and_)
    __or__, __ror__, __ior__ = _forward(functions.bitwise_or), _symmetric(functions.bitwise_or), _forward(functions.bitwise_or_)
    __xor__, __rxor__, __ixor__ = _forward(functions.bitwise_xor), _symmetric(functions.bitwise_xor), _forward(functions.bitwise_xor_)
    __lshift__, __rlshift__ = _forward(functions.bitwise_left_shift), _backward(functions.bitwise_left_shift)
    __rshift__, __rrshift__ = _forward(functions.bitwise_right_shift), _backward(functions.bitwise_right_shift)
    __ilshift__, __irshift__ = _forward(functions.bitwise_left_shift_), _forward(functions.bitwise_right_shift_)

    def __invert__(self) -> Any:
        return functions.bitwise_not(self)

    def __neg__(self) -> Any:
        return elementwise.neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return elementwise.abs(self)


for _name, _method in list(vars(Arithmetic).items()):
    if isinstance(_method, FunctionType):  # in tracebacks and profiles
        _method.__name__, _method.__qualname__ = _name, f"Tensor.{_name}"

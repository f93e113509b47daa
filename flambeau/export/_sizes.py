"""Sizes that are not fixed: numbers that are known for each of several examples, and computed when the program runs.

Each is known as a value for every *variant* of the examples (see `_tracing`). Where a program needs one of them as a plain number, or asks
whether it is larger than another, it must not matter which variant is meant; else the program depends on the size.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from flambeau._dynamo.exc import UserError
from flambeau._types.symbolic import SymFloat, SymInt

__all__ = ["FreeFloat", "FreeInt", "Recorder", "plain"]


class Recorder:
    """What notes that numbers are computed; a tracer."""

    def computed(self, function: Callable, args: tuple) -> Any:
        """The node of a computation with numbers."""
        raise NotImplementedError

    def asked(self, function: Callable, args: tuple, answer: bool) -> None:
        """Note that the program goes on as an answer says."""
        raise NotImplementedError


class _Free:
    """A number for each variant, and how to compute it."""

    def __init__(self, values: tuple, node: Callable[[], Any], recorder: Recorder, what: str) -> None:
        self.values = values
        self.recorder = recorder
        self.what = what
        self._make = node
        self._node: Any = None

    @property
    def node(self) -> Any:
        if self._node is None:
            self._node = self._make()
        return self._node

    def fixed(self) -> Any:
        """The number, if it is the same for all variants.

        Raises:
            UserError: it is not
        """
        first = self.values[0]
        if any(value != first for value in self.values):
            raise UserError(
                f"{self.what} is to be free, but the program needs it as a plain number ({first}): a loop, an index, int() or a function "
                "of Python's takes it. Declare it Dim.STATIC (or leave it out of dynamic_shapes), or compute with sizes by + - * // only"
            )
        self.recorder.asked(operator.eq, (self, first), True)
        return first

    __index__ = __int__ = __float__ = __trunc__ = fixed

    def __bool__(self) -> bool:
        return bool(self != 0)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return self.what

    def __format__(self, form: str) -> str:
        return format(self.what, form)

    def __eq__(self, other: object) -> Any:
        return _compared(operator.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return _compared(operator.ne, self, other)

    def __lt__(self, other: Any) -> bool:
        return _compared(operator.lt, self, other)

    def __le__(self, other: Any) -> bool:
        return _compared(operator.le, self, other)

    def __gt__(self, other: Any) -> bool:
        return _compared(operator.gt, self, other)

    def __ge__(self, other: Any) -> bool:
        return _compared(operator.ge, self, other)


class FreeInt(_Free, SymInt):
    """A free integer."""


class FreeFloat(_Free, SymFloat):
    """A free number."""


_NUMBERS = (int, float, bool)
_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "floordiv": "//", "truediv": "/", "mod": "%", "pow": "**", "neg": "-", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


def plain(value: Any, variant: int) -> Any:
    """A number as it is for a variant; what is not free stays."""
    return value.values[variant] if isinstance(value, _Free) else value


def _compared(function: Callable, left: Any, right: Any) -> Any:
    if not isinstance(right, (_Free, *_NUMBERS)):
        return NotImplemented
    count = len(left.values)
    answers = {bool(function(plain(left, number), plain(right, number))) for number in range(count)}
    if len(answers) > 1:
        raise UserError(
            f"the program goes another way where {left!r} {_SIGNS[function.__name__]} {right!r} does not hold: sizes that are to be free may "
            f"not decide that. Restrict them with Dim(name, min=…, max=…), or declare them Dim.STATIC"
        )
    answer = answers.pop()
    left.recorder.asked(function, (left, right), answer)
    return answer


def _computed(function: Callable, args: tuple) -> Any:
    free = next(arg for arg in args if isinstance(arg, _Free))
    values = tuple([function(*[plain(arg, number) for arg in args]) for number in range(len(free.values))])
    sign = _SIGNS[function.__name__]
    what = f"({sign}{args[0]!r})" if len(args) == 1 else f"({args[0]!r} {sign} {args[1]!r})"
    kind = FreeFloat if isinstance(values[0], float) else FreeInt
    return kind(values, lambda: free.recorder.computed(function, args), free.recorder, what)


def _operator(name: str, reflected: bool) -> Callable:
    function = getattr(operator, name)

    def operate(self: Any, other: Any) -> Any:
        if not isinstance(other, (_Free, *_NUMBERS)):
            return NotImplemented
        return _computed(function, (other, self) if reflected else (self, other))

    return operate


for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow"):
    setattr(_Free, f"__{_name}__", _operator(_name, False))
    setattr(_Free, f"__r{_name}__", _operator(_name, True))
_Free.__neg__ = lambda self: _computed(operator.neg, (self,))

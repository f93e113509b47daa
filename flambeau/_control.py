"""Control flow as functions, and checks that programs make of their values: Python's own, for nothing is traced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import Tensor
from flambeau.cuda import OutOfMemoryError

__all__ = [
    "OutOfMemoryError",
    "cond",
    "set_flush_denormal",
    "sym_float",
    "sym_int",
    "sym_ite",
    "sym_max",
    "sym_min",
    "sym_not",
    "sym_sqrt",
    "sym_sum",
    "while_loop",
]


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: Sequence[Any] = ()) -> Any:
    """``true_fn(*operands)`` if ``pred`` holds, else ``false_fn(*operands)``."""
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Sequence[Any]) -> tuple:
    """Apply ``body_fn`` to the values as long as ``cond_fn`` holds for them."""
    values = tuple(carried_inputs)
    while bool(cond_fn(*values)):
        found = body_fn(*values)
        values = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return values


def set_flush_denormal(mode: bool) -> bool:
    """Ask that very small numbers count as 0. They never do here: returns False, as PyTorch does on processors without it."""
    return False


def _assert(condition: Any, message: str) -> None:
    """``assert`` as a function."""
    assert bool(condition), message


def _assert_async(condition: Tensor, message: str = "Expected Tensor with single nonzero value, but got zero") -> None:
    """``assert`` of a tensor's value."""
    if not bool(condition):
        raise RuntimeError(message)


def sym_int(a: Any) -> int:
    """A size as an integer."""
    return int(a)


def sym_float(a: Any) -> float:
    """A size as a number."""
    return float(a)


def sym_not(a: Any) -> bool:
    """Whether a condition does not hold."""
    return not a


def sym_max(*args: Any) -> Any:
    """The larger of two sizes."""
    return max(*args)


def sym_min(*args: Any) -> Any:
    """The smaller of two sizes."""
    return min(*args)


def sym_sqrt(a: Any) -> float:
    """The square root of a size."""
    return math.sqrt(a)


def sym_sum(args: Sequence[Any]) -> Any:
    """The sum of sizes."""
    return sum(args)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t`` if the condition holds, else ``f``."""
    return t if b else f

"""``torch._check`` and its kin: conditions that packages state, with an error of PyTorch's class if one does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import Tensor
from flambeau._types.symbolic import SymBool

__all__: list[str] = []

Message = Callable[[], Any] | None


def _check_with(error_type: type[Exception], cond: Any, message: Message = None) -> None:
    """Raise ``error_type`` with the text that ``message()`` gives unless ``cond`` holds.

    Raises:
        TypeError: the condition is no bool, or the message no function
    """
    if not isinstance(cond, (bool, SymBool)):
        hint = "; torch._check_tensor_all() takes tensors" if isinstance(cond, Tensor) else ""
        raise TypeError(f"cond must be a bool, but got a {type(cond).__name__}{hint}")
    if cond:
        return
    if message is None:
        raise error_type("a condition that the program states does not hold (it does not say why it should)")
    if not callable(message):
        raise TypeError(f"message must be a callable that returns the text, not a {type(message).__name__}")
    raise error_type(str(message()))


def _check(cond: Any, message: Message = None) -> None:
    """Raise a ``RuntimeError`` unless ``cond`` holds."""
    _check_with(RuntimeError, cond, message)


def _check_value(cond: Any, message: Message = None) -> None:
    """Raise a ``ValueError`` unless ``cond`` holds."""
    _check_with(ValueError, cond, message)


def _check_index(cond: Any, message: Message = None) -> None:
    """Raise an ``IndexError`` unless ``cond`` holds."""
    _check_with(IndexError, cond, message)


def _check_type(cond: Any, message: Message = None) -> None:
    """Raise a ``TypeError`` unless ``cond`` holds."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: Any, message: Message = None) -> None:
    """Raise a ``NotImplementedError`` unless ``cond`` holds."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i: Any, message: Message = None, *, max: int | None = None) -> None:
    """Raise a ``RuntimeError`` unless ``i`` can be a size: not negative, and at most ``max``."""
    _check(bool(i >= 0) and (max is None or bool(i <= max)), message)


def _check_tensor_all_with(error_type: type[Exception], cond: Tensor, message: Message = None) -> None:
    """Raise ``error_type`` unless all elements of a tensor of bools are true.

    Raises:
        TypeError: it is no tensor of bools
    """
    if not isinstance(cond, Tensor) or cond.dtype.name != "bool":
        raise TypeError(f"cond must be a tensor of bools, but got {cond.dtype if isinstance(cond, Tensor) else type(cond).__name__}")
    _check_with(error_type, bool(cond.all()), message)


def _check_tensor_all(cond: Tensor, message: Message = None) -> None:
    """Raise a ``RuntimeError`` unless all elements of a tensor of bools are true."""
    _check_tensor_all_with(RuntimeError, cond, message)

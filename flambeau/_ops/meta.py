"""The meta device: operators give tensors that have a shape, a dtype, strides and a history, and no elements.

Nothing of it is ever on a tape. A tape asks each storage that it does not know for its bytes, and what stands for a meta tensor's raises
``NoElements``; then the call comes here instead of being recorded. What computes on the CPU never notices.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from flambeau._ops.calls import CallRecord, record_of, remember
from flambeau._ops.operator import PLAIN_NUMBERS, PYTHON_INPLACE, Operator
from flambeau._ops.origin import is_inside
from flambeau._ops.registry import new_tensor
from flambeau._tape.storage import MetaStorage, NoElements, Storage, TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types.device import CPU
from flambeau._types.errors import ArgumentError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


OBSERVERS: list[Callable[[CallRecord], None]] = []
"""Called with what is known of each call: somebody counts what it would take to compute."""


_watch: Callable[[Operator, tuple, tuple], Any] | None = None


def set_watch(watch: Callable[[Operator, tuple, tuple], Any]) -> None:
    """Set the function that calls with tensors of classes with a ``__torch_dispatch__`` go to, which have no elements either."""
    global _watch
    _watch = watch


def nowhere(layout: Layout) -> Tensor:
    """A tensor on the meta device."""
    return new_tensor(MetaStorage(layout.extent * layout.dtype.itemsize), layout)


def record(op: Operator, operands: tuple, statics: tuple) -> CallRecord:
    """What is known of a call on the meta device.

    Raises:
        TypeError: an operand is neither a tensor nor a number
        Exception: what the operator's shape rule raises
    """
    key: list[Any] = [op, statics]
    for operand in operands:
        if isinstance(operand, TensorBase):
            key.append(operand.layout)
        elif operand.__class__ in PLAIN_NUMBERS:
            key.append(operand.__class__)
        else:
            raise ArgumentError(f"{op.name}(): expected a tensor or a number, not {operand.__class__.__name__}")
    return record_of(tuple(key), op, operands, statics)


def moved(op: Operator, operands: tuple, statics: tuple) -> Any:
    """What ``op`` gives on the meta device, wherever its operands are."""
    known = record(op, operands, statics)
    for observe in OBSERVERS:
        observe(known)
    results = [nowhere(layout) for layout in known.layouts]
    if LOCAL.tape.grad and known.differentiable and any(getattr(operand, "node", None) is not None for operand in operands):
        remember(op, operands, results, known)
    return results[0] if known.single is not None else tuple(results)


def call(op: Operator, operands: tuple, statics: tuple) -> Any:
    """What ``Operator.__call__`` does if one of the operands is on the meta device.

    Raises:
        RuntimeError: another one is not: a tensor with dimensions that the caller passed, and that is not written over nor an index
    """
    if _watch is not None and any(isinstance(operand, TensorBase) and operand.memory.wrapped for operand in operands):
        return _watch(op, operands, statics)
    strangers = {
        id(operand.memory): name
        for name, operand in zip(_names(op, len(operands)), operands, strict=True)
        if isinstance(operand, TensorBase) and operand.memory.device is CPU and operand.layout.ndim and name not in _INDICES
    }
    if strangers:
        for each in _passed(op):
            if id(each) in strangers:
                raise RuntimeError(
                    f"{op.name}(): expected all tensors to be on the same device, but {strangers[id(each)]} is on the CPU and another one on "
                    "the meta device; tensor.to('meta') leaves the elements behind"
                )
    return moved(op, operands, statics)


_INDICES = frozenset({"index", "indices", "places"})
"""Operands that may be on the CPU: they say where, not what."""


def _names(op: Operator, count: int) -> tuple[str, ...]:
    names = op.names[:count]
    return names + names[-1:] * (count - len(names))


def _passed(op: Operator) -> Iterator[Storage]:
    """The storages of the tensors that this package was called with; what it made on its way (the positions of a mask, say) is not among them.

    Nothing if the call is one in place over a meta tensor, which takes whatever it is given, as in PyTorch.

    Raises:
        NoElements: it is one in place over a tensor of the CPU
    """
    frame = sys._getframe(2)
    while True:
        if frame.f_code is PYTHON_INPLACE.__code__:
            if frame.f_locals["target"].memory.device is CPU:
                raise NoElements(f"{op.name}_() on the CPU cannot be given a tensor on the meta device, which has no elements to be copied")
            return
        if frame.f_back is None or not is_inside(frame.f_back.f_globals.get("__name__", "")):
            break
        frame = frame.f_back
    yield from _arguments(frame)


def passed() -> Iterator[Storage]:
    """The storages of the tensors that the outermost function of this package was called with."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_inside(frame.f_back.f_globals.get("__name__", "")):
        frame = frame.f_back
    yield from _arguments(frame)


def _arguments(frame: FrameType) -> Iterator[Storage]:
    """The storages of the tensors that a function was called with."""
    code, given = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)  # with *args and **kwargs
    yield from _storages([given.get(name) for name in code.co_varnames[:count]])


def _storages(value: Any) -> Iterator[Storage]:
    """The storages of all tensors in a value: itself, nested sequences and dictionaries, and what a module holds."""
    if isinstance(value, TensorBase):
        yield value.memory
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _storages(each)
    elif isinstance(value, dict):
        yield from _storages(list(value.values()))
    elif hasattr(value, "_parameters") and hasattr(value, "buffers"):
        yield from _storages([*value.parameters(), *value.buffers()])


def write(target: TensorBase, value: TensorBase) -> None:
    """What ``write`` does if the target, or what is written, is on the meta device.

    Raises:
        NoElements: the target is not
    """
    if target.memory.device is CPU:
        raise NoElements(f"there are no elements to be copied out of a meta tensor of shape {list(value.layout.shape)}")
    target.memory.version += 1


class _Here(threading.local):
    """Whether this thread is in a backward pass over meta tensors."""

    backward = False


HERE = _Here()


@contextmanager
def backward(on_meta: bool = True) -> Iterator[None]:
    """A context in which the zeros and ones that formulas of gradients are made of are on the meta device, too (or on the CPU again)."""
    before, HERE.backward = HERE.backward, on_meta
    try:
        yield
    finally:
        HERE.backward = before

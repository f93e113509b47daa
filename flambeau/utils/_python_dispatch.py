"""Modes and classes below autograd, which are told of every operator (``docs/dispatch.md``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau import Tensor
from flambeau._dispatch.dispatcher import Dispatcher, current
from flambeau._tape.tape import LOCAL

__all__ = [
    "BaseTorchDispatchMode",
    "TorchDispatchMode",
    "is_traceable_wrapper_subclass",
    "return_and_correct_aliasing",
    "transform_subclass",
]


class TorchDispatchMode:
    """A context that is asked about every operator, also those of backward passes.

    Example::

        >>> import flambeau
        >>> class Logging(TorchDispatchMode):
        ...     def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        ...         print(func)
        ...         return func(*args, **(kwargs or {}))
        >>> with Logging():
        ...     y = flambeau.ones(2, 3).relu().sum()
        aten.ones.default
        aten.relu.default
        aten.sum.default
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __torch_dispatch__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """What a call returns instead; call ``func`` to have it run. The mode is not asked meanwhile."""
        raise NotImplementedError

    def __enter__(self) -> TorchDispatchMode:
        current().enter_mode(self)
        return self

    def __exit__(self, *exc: object) -> None:
        current().leave_mode()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> TorchDispatchMode:
        """A mode, to be entered."""
        return cls(*args, **kwargs)


class BaseTorchDispatchMode(TorchDispatchMode):
    """A mode that lets every operator run."""

    def __torch_dispatch__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _get_current_dispatch_mode() -> TorchDispatchMode | None:
    """The innermost mode of this thread."""
    modes = _get_current_dispatch_mode_stack()
    return modes[-1] if modes else None


def _get_current_dispatch_mode_stack() -> list[TorchDispatchMode]:
    """The modes of this thread, innermost last."""
    tape = LOCAL.tape
    return list(tape.modes) if isinstance(tape, Dispatcher) else []


@contextmanager
def _disable_current_modes() -> Iterator[list[TorchDispatchMode]]:
    """A context in which no mode is asked; classes are."""
    tape = LOCAL.tape
    if not isinstance(tape, Dispatcher):
        yield []
        return
    modes, tape.modes = tape.modes, []
    try:
        yield modes
    finally:
        tape.modes = modes


def is_traceable_wrapper_subclass(t: object) -> bool:
    """Whether a tensor says which tensors it is made of: it is of a subclass with ``__tensor_flatten__`` and ``__tensor_unflatten__``."""
    return isinstance(t, Tensor) and type(t) is not Tensor and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")


def transform_subclass(t: Any, callback: Callable[[str, Tensor], Tensor], outer_size: Any = None, outer_stride: Any = None) -> Any:
    """A tensor of the same subclass that is made of ``callback(name, inner)`` for each of those that ``t`` is made of."""
    names, context = t.__tensor_flatten__()
    inner = {name: callback(name, getattr(t, name)) for name in names}
    size = t.size() if outer_size is None else outer_size
    return type(t).__tensor_unflatten__(inner, context, size, t.stride() if outer_stride is None else outer_stride)


def return_and_correct_aliasing(func: Any, args: Sequence[Any], kwargs: Any, out: Any) -> Any:
    """What a ``__torch_dispatch__`` returns: the tensor that was written over if ``func`` writes over one, else ``out``."""
    if not func._schema.is_mutable:
        return out
    return kwargs["out"] if kwargs and "out" in kwargs else args[0]

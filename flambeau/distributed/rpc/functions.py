"""A function whose result is a future of its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["async_execution", "is_async"]


def async_execution(fn: Callable) -> Callable:
    """Say that a function returns a future, whose value is what its callers in other processes get; no thread waits for it meanwhile.

    Below ``@staticmethod`` and ``@classmethod``, if the function is one.

    Example::

        @staticmethod
        @rpc.functions.async_execution
        def add_later(to, x, y, z):
            return rpc.rpc_async(to, torch.add, args=(x, y)).then(lambda future: future.wait() + z)
    """
    getattr(fn, "__func__", fn)._returns_future_to_callers = True
    return fn


def is_async(function: Any) -> bool:
    """Whether a function was decorated so."""
    return getattr(function, "_returns_future_to_callers", False)

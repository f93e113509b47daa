"""TorchScript, as far as it means to run a function faster: a scripted or traced function is the function itself.

There is no TorchScript language here, and nothing to save programs in: ``jit.save`` and ``jit.load`` do not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flambeau.nn import Module

__all__ = [
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "ignore",
    "is_scripting",
    "is_tracing",
    "script",
    "script_if_tracing",
    "trace",
    "unused",
]


class ScriptFunction:
    """A function in TorchScript, to ask whether something is one: nothing is.

    Raises:
        NotImplementedError: when called
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("there is no TorchScript in Flambeau: jit.script(f) is f, which is compiled when it is called")


class ScriptModule(Module):
    """A module in TorchScript, to ask whether something is one: nothing is.

    Raises:
        NotImplementedError: when called
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "there is no TorchScript in Flambeau: jit.script(module) is the module, which is compiled when it is called"
        )


def script(obj: Any, optimize: Any = None, example_inputs: Any = None) -> Any:
    """The function, class or module itself: what it records is compiled in any case."""
    return obj


def trace(
    func: Callable, example_inputs: Any = None, optimize: Any = None, check_trace: bool = True, check_inputs: Any = None,
    check_tolerance: float = 1e-5, strict: bool = True, example_kwarg_inputs: Any = None,
) -> Callable:  # fmt: skip
    """The function or module itself. Unlike a trace it still takes every branch by its data."""
    return func


def script_if_tracing(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def export(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def ignore(drop: Any = False, **others: Any) -> Callable:
    """The function itself, with or without arguments for the decorator."""
    return drop if callable(drop) else lambda fn: fn


def _overload(func: Callable) -> Callable:
    """The function itself, one signature of several; packages mark them for the compiler of TorchScript."""
    return func


_overload_method = _overload


def unused(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value itself."""
    return the_value


def is_scripting() -> bool:
    """Whether a function is being compiled to TorchScript: never."""
    return False


def is_tracing() -> bool:
    """Whether a function is being traced: never, functions are simply called."""
    return False


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module 'flambeau.jit' has no attribute {name!r}: there is no TorchScript in Flambeau. Save models by torch.save(model.state_dict(), path) "
        "and load them into the same class"
    )

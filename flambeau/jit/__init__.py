"""TorchScript, as far as it means to run a function faster: a scripted or traced function is the function itself.

There is no TorchScript language here. ``jit.save`` saves a module as ``torch.save`` does, so that ``jit.load`` needs its class, and
neither reads or writes PyTorch's TorchScript files.
"""

from __future__ import annotations

import builtins
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flambeau.futures import Future
from flambeau.jit._script import ScriptFunction, ScriptModule, mark
from flambeau.nn import Module
from flambeau.serialization import load as _load
from flambeau.serialization import save as _save

__all__ = [
    "Attribute", "Final", "Future", "ScriptFunction", "ScriptModule", "annotate", "enable_onednn_fusion", "export", "fork", "freeze", "ignore", "interface", "is_scripting",
    "is_tracing", "isinstance", "load", "onednn_fusion_enabled", "optimize_for_inference", "optimized_execution", "run_frozen_optimizations", "save", "script",
    "script_if_tracing", "script_method", "set_fusion_strategy", "trace", "trace_module", "unused", "wait",
]  # fmt: skip


def script(obj: Any, optimize: Any = None, example_inputs: Any = None) -> Any:
    """The function, class or module itself: what it records is compiled in any case."""
    return mark(obj)


def trace(
    func: Callable, example_inputs: Any = None, optimize: Any = None, check_trace: bool = True, check_inputs: Any = None,
    check_tolerance: float = 1e-5, strict: bool = True, example_kwarg_inputs: Any = None,
) -> Callable:  # fmt: skip
    """The function or module itself. Unlike a trace it still takes every branch by its data."""
    return mark(func)


def trace_module(mod: Module, inputs: dict[str, Any], *options: Any, **named: Any) -> Module:
    """The module itself, with all its methods."""
    return mark(mod)


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


# -- files -----------------------------------------------------------------------------------------------------------


def save(m: Module, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Save a module for ``jit.load``: its parameters and buffers, and the name of its class, which must be importable there."""
    _save({"flambeau.jit": 1, "module": m, "files": dict(_extra_files or {})}, f)


def load(f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None, _restore_shapes: bool = False) -> Module:
    """Load a module that ``jit.save`` has saved. As with ``torch.load(weights_only=False)``, load only what you trust.

    Raises:
        RuntimeError: the file is one of PyTorch's TorchScript
    """
    if zipfile.is_zipfile(f):
        with zipfile.ZipFile(f) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise RuntimeError(
                    "the file is a TorchScript program, which needs PyTorch's interpreter: there is no TorchScript in Flambeau. "
                    "Save the model by torch.save(model.state_dict(), path) and load that into the same class"
                )
    if hasattr(f, "seek"):
        f.seek(0)
    found = _load(f, map_location=map_location, weights_only=False)
    if type(found) is not dict or "flambeau.jit" not in found:
        raise RuntimeError("the file was not written by jit.save: use torch.load")
    for name in _extra_files or ():
        if _extra_files is not None and name in found["files"]:
            _extra_files[name] = found["files"][name]
    return mark(found["module"])


# -- what runs as it is ----------------------------------------------------------------------------------------------


def freeze(mod: Module, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Module:
    """The module itself, which must be in evaluation mode."""
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module before freezing."
        )
    return mod


def optimize_for_inference(mod: Module, other_methods: Any = None) -> Module:
    """The module itself: what it records is optimised when it is compiled."""
    return mod


def run_frozen_optimizations(mod: Module, optimize_numerics: bool = True, preserved_methods: Any = None) -> None:
    """Optimise a module: it is, when it is compiled."""


@contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """A context in which functions are optimised or not; they always are."""
    yield


def set_fusion_strategy(strategy: Any) -> list:
    """Say how often a function may be compiled for new shapes: kernels take any."""
    return []


def enable_onednn_fusion(enabled: bool) -> None:
    """Ask for oneDNN, which is not used."""


def onednn_fusion_enabled() -> bool:
    """Whether oneDNN is used: no."""
    return False


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """A future with the function's result, which is computed at once: as in eager PyTorch nothing runs beside it."""
    future: Future = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Future) -> Any:
    """The result of ``fork``."""
    return future.wait()


def script_method(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def interface(obj: type) -> type:
    """The class itself."""
    return obj


def isinstance(obj: Any, target_type: Any) -> bool:
    """As Python's, for types without parameters."""
    return builtins.isinstance(obj, target_type)


class Attribute:
    """A value with the type that TorchScript is to give it."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value, self.type = value, type


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module 'flambeau.jit' has no attribute {name!r}: there is no TorchScript in Flambeau: "
        "jit.script(f) is f, which is compiled when it is called"
    )

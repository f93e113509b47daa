"""TorchScript, as far as it means to run a function faster or elsewhere: a traced function is a program, a scripted one the function itself.

Python is not compiled to TorchScript here. A trace (``_trace.py``) is a graph of operators, which ``jit.save`` writes as TorchScript, as PyTorch does; archives
of it, PyTorch's or Flambeau's, are read, and interpreted (``torchscript/``). Other modules are saved as ``torch.save`` does it, so that ``jit.load`` needs
their class.
"""

from __future__ import annotations

import builtins
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flambeau._serialization.files import is_path, reading
from flambeau.futures import Future
from flambeau.jit._script import Error, ScriptFunction, ScriptModule, mark
from flambeau.nn import Module
from flambeau.serialization import load as _load
from flambeau.serialization import safe_globals
from flambeau.serialization import save as _save

__all__ = [
    "Attribute", "Error", "Final", "Future", "ScriptFunction", "ScriptModule", "TracerWarning", "TracingCheckError", "annotate", "enable_onednn_fusion", "export", "export_opnames", "fork", "freeze", "ignore", "interface", "is_scripting",
    "is_tracing", "isinstance", "load", "onednn_fusion_enabled", "optimize_for_inference", "optimized_execution", "run_frozen_optimizations", "save", "script",
    "script_if_tracing", "script_method", "set_fusion_strategy", "trace", "trace_module", "unused", "wait",
]  # fmt: skip


def script(obj: Any, optimize: Any = None, example_inputs: Any = None) -> Any:
    """The function, class or module itself: what it records is compiled in any case."""
    return mark(obj)


def _is_trace(obj: Any) -> bool:
    """Whether something is what ``trace`` has returned; tracing is loaded when it is first used."""
    tracing = sys.modules.get(f"{__name__}._trace")
    return tracing is not None and builtins.isinstance(obj, (tracing.TracedModule, tracing.TracedFunction))


def _is_program(obj: Any) -> bool:
    """Whether something is a module of a TorchScript program, which ``load`` has returned."""
    programs = sys.modules.get(f"{__name__}.torchscript.module")
    return programs is not None and issubclass(type(obj), programs.RecursiveScriptModule)  # what is scripted says that it is an instance


def trace_module(mod: Module, inputs: dict[str, Any], *options: Any, **named: Any) -> Module:
    """A trace of `forward`, if that is the only method; else the module itself, with all its methods."""
    if list(inputs) != ["forward"]:
        return mark(mod)
    from flambeau.jit._trace import trace

    return trace(mod, inputs["forward"], *options, **named)


def script_if_tracing(fn: Callable) -> Callable:
    """The function itself."""
    return fn


_script_if_tracing = script_if_tracing


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
    """Whether a function is being traced or exported."""
    from flambeau.compiler import is_exporting

    return is_exporting()


# -- files -----------------------------------------------------------------------------------------------------------


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Save a module for ``jit.load``: a trace, or a TorchScript program that was loaded, as TorchScript, so that PyTorch reads it, too; another module as its
    parameters, buffers and the name of its class, which must be importable there.

    A trace that calls what is no operator of PyTorch's, or has else what TorchScript does not know, is saved in Flambeau's own format, with a warning that
    says what it is.
    """
    if _is_trace(m):
        _save_trace(m if builtins.isinstance(m, Module) else m._module, f, _extra_files)
    elif _is_program(m):
        from flambeau.jit.torchscript.saving import save_archive

        save_archive(m, f, _extra_files)
    else:
        _save({"flambeau.jit": 1, "module": m, "files": dict(_extra_files or {})}, f)


def _save_trace(trace: Any, f: Any, extra_files: dict[str, Any] | None) -> None:
    from flambeau.export._saving import save_own
    from flambeau.export._schemas import NotWritable
    from flambeau.jit.torchscript.saving import save_archive
    from flambeau.jit.torchscript.translation import as_torchscript

    try:
        save_archive(as_torchscript(trace, trace.program(), trace.original_name), f, extra_files)
    except NotWritable as reason:
        about = {"jit.name": trace.original_name, "jit.training": "1" if trace.training else ""}
        save_own(trace.program(), f, {**about, **(extra_files or {})})
        warnings.warn(f"the trace was saved in Flambeau's own format, which PyTorch does not read: {reason}", UserWarning, stacklevel=3)


def load(f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None, _restore_shapes: bool = False) -> Module:
    """Load what ``jit.save``, Flambeau's or PyTorch's, has saved. Nothing in the file is run as Python: a trace can only call operators on
    tensors, a TorchScript program only what the interpreter knows, and of other modules only those are built whose classes the process has
    imported, with tensors and plain values as attributes.

    Args:
        f: a path, or a stream that can seek
        map_location: where tensors go, as in ``torch.load``
        _extra_files: what was saved besides is put in for the names in this dictionary

    Raises:
        RuntimeError: the file is damaged, or holds something else
        ValueError: there is no such file
    """
    if is_path(f) and not os.path.isfile(f):
        raise ValueError(f"The provided filename {f} does not exist")
    with reading(f) as stream:
        from flambeau.jit.torchscript.archive import is_archive, load_archive

        if is_archive(stream):
            return load_archive(stream, map_location, _extra_files)
    traced = _load_traced(f, _extra_files)
    if traced is not None:
        return traced
    found = _load_module(f, map_location)
    if type(found) is not dict or not builtins.isinstance(found.get("module"), Module):
        raise RuntimeError("the file was not written by jit.save: use torch.load")
    _put_in(_extra_files, found["files"])
    return mark(found["module"])


def _put_in(wanted: dict[str, Any] | None, files: dict[str, Any]) -> None:
    """Put the bytes of files in for the names in a dictionary."""
    for name in wanted or ():
        if wanted is not None and name in files:
            content = files[name]
            wanted[name] = content.encode() if builtins.isinstance(content, str) else content


def _load_traced(f: Any, extra_files: dict[str, Any] | None) -> Any:
    """The trace in a file, or nothing if something else is in it."""
    if hasattr(f, "seek"):
        f.seek(0)
    try:
        saved = _load(f, weights_only=True)
    except pickle.UnpicklingError:  # it names a class
        return None
    from flambeau.export._saving import is_program, loaded_program
    from flambeau.jit._trace import TracedModule

    if not is_program(saved):
        return None
    about = {"jit.name": "", "jit.training": "", **(extra_files or {})}
    program = loaded_program(saved, about)
    _put_in(extra_files, about)
    return TracedModule(program, None, about["jit.name"], bool(about["jit.training"]))


def _load_module(f: Any, map_location: Any) -> Any:
    """What ``save`` has written for a module that is no trace."""
    if hasattr(f, "seek"):
        f.seek(0)
    try:
        with safe_globals([dict, *_classes(), *_activations()]):
            return _load(f, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise RuntimeError(
            f"jit.load builds traces, and modules whose classes have been imported: import them before. What the module in this file holds "
            f"besides has to be allowed; if you trust the whole file, use torch.load(file, weights_only=False)['module']. {error}"
        ) from error


def _classes(cls: type = Module) -> list[type]:
    """The classes of modules that a file may build. Not among them are programs, whose code is made of what they hold, and what talks to others."""
    program = getattr(sys.modules.get("flambeau.fx.graph_module"), "GraphModule", ())
    found = [
        each
        for each in type.__subclasses__(cls)
        if not issubclass(each, program) and not each.__module__.startswith("flambeau.distributed")
    ]
    return [*found, *[inner for each in found for inner in _classes(each)]]


def _activations() -> list[Any]:
    """Functions that layers hold as attributes."""
    from flambeau.nn import functional

    return [functional.gelu, functional.relu]


# -- what runs as it is ----------------------------------------------------------------------------------------------


def _frozen(mod: Any) -> Module:
    from flambeau.jit._trace import frozen

    return frozen(mod)


def freeze(mod: Module, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Module:
    """A trace with its parameters as constants; another module itself. It must be in evaluation mode."""
    if mod.training:
        raise RuntimeError(
            f"only modules in eval mode are frozen, and this {type(mod).__name__} is in training mode: call its eval() before"
        )
    return _frozen(mod) if _is_trace(mod) else mod


def optimize_for_inference(mod: Module, other_methods: Any = None) -> Module:
    """As ``freeze``, for a module in evaluation mode or in training: what it records is optimised when it is compiled."""
    return _frozen(mod) if _is_trace(mod) else mod


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


def export_opnames(m: Any) -> list[str]:
    """The operators that a trace calls, ``aten::linear`` and so on.

    Raises:
        RuntimeError: it is no trace
    """
    if not _is_trace(m):
        raise RuntimeError(f"only a trace says what it calls, not a {type(m).__name__}: use jit.trace")
    return sorted({
        f"{node.target.overloadpacket._namespace}::{node.target.__name__.removesuffix('.default')}"
        for node in m.graph.nodes
        if hasattr(node.target, "overloadpacket")
    })  # fmt: skip


class Attribute:
    """A value with the type that TorchScript is to give it."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value, self.type = value, type


_TRACING = ("TracerWarning", "TracingCheckError", "trace")


def __getattr__(name: str) -> Any:
    if name in _TRACING:
        from flambeau.jit import _trace

        return getattr(_trace, name)
    raise AttributeError(
        f"module 'flambeau.jit' has no attribute {name!r}: there is no TorchScript in Flambeau: "
        "jit.script(f) is f, which is compiled when it is called"
    )

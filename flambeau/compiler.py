"""``compile`` and its relatives. Everything that runs is compiled already, so that functions stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "nested_compile_region",
    "reset",
    "set_stance",
    "substitute_in_graph",
    "wrap_numpy",
]

_MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", "lite")
_BACKENDS = ("inductor", "eager", "aot_eager", "aot_eager_decomp_partition", "aot_ts", "cudagraphs", "onnxrt", "openxla", "ts", "tvm")
"""The names of backends that PyTorch knows; whichever is asked for, it is this framework that compiles."""


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable | None = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: Any = None,
) -> Callable:
    """The function itself, or a module that calls the module: what they record is compiled as one program in any case.

    Args:
        model: a module or function; without one, a decorator is returned
        backend: a function is called as ``backend(graph_module, example_inputs)`` with the graph of each kind of call, and what it returns, which
            takes the graph's inputs, is called in its place; a function or module that is no single graph is called as it is, with a warning
        fullgraph: make that an error
        mode, options: given to a backend that is a function
        the others: accepted, and change nothing

    Raises:
        RuntimeError: the mode or the backend is unknown, or ``mode`` and ``options`` are both given.
        TypeError: a backend returns nothing that can be called.

    Example::

        >>> @flambeau.compile(mode="max-autotune")
        ... def double(x):
        ...     return x * 2
        >>> double(flambeau.ones(1))
        tensor([2.])
    """
    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified at the same time.")
    if mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(filter(None, _MODES))}")
    if isinstance(backend, str) and backend not in _BACKENDS:
        raise RuntimeError(f"Invalid backend: {backend!r}, should be one of: {', '.join(_BACKENDS)}")
    if model is None:
        return partial(compile, fullgraph=fullgraph, backend=backend, mode=mode, options=options, disable=disable)
    if not callable(model):
        raise AssertionError(f"compile() takes a module or a function, not {model!r}")
    is_module = hasattr(model, "register_forward_hook")
    if disable or not (is_module or callable(backend)):
        return model
    backed = None
    if callable(backend):
        from flambeau._dynamo.backends import Backed  # which is made of ``export``

        backed = Backed(model, backend, {name: each for name, each in (("mode", mode), ("options", options)) if each}, fullgraph)
        if not is_module:
            return backed.function()
    from flambeau._dynamo import OptimizedModule  # which is made of ``nn``

    return OptimizedModule(model, backed)


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Callable:
    """The function itself."""
    return (lambda function: function) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """The function itself."""
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def nested_compile_region(fn: Callable | None = None, **options: Any) -> Callable:
    """A decorator that returns the function itself: what is called twice is compiled once in any case."""
    return (lambda function: function) if fn is None else fn


def wrap_numpy(fn: Callable) -> Callable:
    """A function of arrays as one of tensors: it is given the arrays of the tensors, and its arrays are returned as tensors.

    Example::

        >>> import numpy
        >>> flambeau.compiler.wrap_numpy(numpy.flip)(flambeau.arange(3))
        tensor([2, 1, 0])
    """
    import numpy as np

    from flambeau import Tensor, as_tensor
    from flambeau.utils._pytree import tree_map_only

    @wraps(fn)
    def of_tensors(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.numpy(force=True), (args, kwargs))
        return tree_map_only(np.ndarray, lambda array: as_tensor(np.ascontiguousarray(array)), fn(*args, **kwargs))

    return of_tensors


def reset() -> None:
    """Forget what was compiled for functions given to ``compile``: nothing was."""


def cudagraph_mark_step_begin() -> None:
    """Say that a new iteration begins; there are no CUDA graphs that would need to know."""


def is_compiling() -> bool:
    """Whether a function is being traced: never, functions are simply called."""
    return False


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """Whether a module is being exported, or traced by ``torch.jit.trace``."""
    from flambeau._tensor.overriding import STATE

    return any(type(mode).__name__ == "Tracing" for mode in STATE.modes)


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """The names of compilers that ``compile`` takes for ``backend``; it is always Flambeau's own."""
    return ["inductor"]


class set_stance:
    """Say what ``compile`` does from now on, or in a ``with`` block: it returns what it is given in any case."""

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend: Any = None) -> None:
        self.stance = stance

    def __call__(self, function: Callable) -> Callable:
        return function

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


def substitute_in_graph(original_fn: Callable, *args: Any, **options: Any) -> Callable:
    """A decorator that returns the function itself: nothing is traced that it could stand in for."""
    return lambda function: function

"""Backends that are functions: they are given the graph of what a function computes, and what they return is called in its place.

The graph is found by running the function (``export``), once for each kind of call; it holds PyTorch's operators, and takes parameters,
buffers and constants in front of the arguments, as PyTorch's does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau._dynamo.exc import Unsupported, UserError
from flambeau._ops.origin import warn
from flambeau.export._export import exported
from flambeau.export._inputs import flat_arguments
from flambeau.export.exported_program import ExportedProgram
from flambeau.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from flambeau.nn import Module
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["Backed"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), flambeau.dtype)
"""What is part of a graph as it is, and told apart by its value."""


class _Made(NamedTuple):
    """What a backend made of a graph, and what the graph takes besides the arguments."""

    run: Callable
    state: list[Tensor]
    program: ExportedProgram


class Backed:
    """A function, called as what a backend makes of its graph.

    There is a graph for each kind of call, which sizes, dtypes, all that is no tensor, the gradient mode, and the tensors and settings that a
    module or the function's variables hold tell apart.

    Args:
        function: a function or a module
        backend: called as ``backend(graph_module, example_inputs, **options)``; what it returns takes these inputs and gives a tuple
        fullgraph: refuse what is no single graph, instead of calling the function as it is, with a warning
    """

    def __init__(self, function: Callable, backend: Callable, options: dict[str, Any], fullgraph: bool) -> None:
        self._function, self._backend, self._options, self._fullgraph = function, backend, options, fullgraph
        self._known: dict[tuple, _Made | None] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives.

        Raises:
            Unsupported: it is no single graph, and has to be
        """
        leaves, spec = tree_flatten((args, kwargs))
        key = (repr(spec), flambeau.is_grad_enabled(), *[_kind(leaf) for leaf in leaves], *_held(self._function))
        if key not in self._known:
            self._known[key] = self._make(args, kwargs)
        made = self._known[key]
        if made is None:
            return self._function(*args, **kwargs)
        given = flat_arguments(made.program.signature, made.program.in_spec, args, kwargs)
        return tree_unflatten(list(made.run(*made.state, *given)), made.program.out_spec)

    def function(self) -> Callable:
        """A function that calls this, and may be a class's method."""

        @wraps(self._function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return self(*args, **kwargs)

        return called

    def _make(self, args: tuple, kwargs: dict[str, Any]) -> _Made | None:
        """What the backend makes of the graph of a call; nothing, if there is none."""
        name = getattr(self._function, "__name__", type(self._function).__name__)
        try:
            program = exported(self._function if isinstance(self._function, Module) else _Called(self._function), args, kwargs, None)
        except (UserError, GuardOnDataDependentSymNode, NotImplementedError, ValueError) as error:
            if self._fullgraph:
                raise Unsupported(f"compile(fullgraph=True): {name} is no single graph: {error}") from error
            warn(f"compile(): {name} is no single graph, so that it is called as it is, and the backend is not asked: {error}")
            return None
        state = {**program.state_dict, **program.constants}
        signature = program.graph_signature
        paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        held = [state[paths[node.name]] for node in program.graph.nodes if node.op == "placeholder" and node.name in paths]
        given = flat_arguments(program.signature, program.in_spec, args, kwargs)
        run = self._backend(program.graph_module, [*held, *given], **self._options)
        if not callable(run):
            raise TypeError(f"the backend of compile() returns a function that takes the place of the graph's, not {run!r}")
        return _Made(run, held, program)


class _Called(Module):
    """A module that calls a function."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.forward = function


class _Same:
    """Something that is like nothing but itself; it lives on, so that nothing else gets its identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _kind(value: Any) -> Any:
    """What tells an argument from another that needs a graph of its own."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.requires_grad
    if isinstance(value, Module):
        return tuple(_held(value))
    return (type(value), value) if isinstance(value, _PLAIN) else _Same(value)


def _held(function: Any) -> Iterator[Any]:
    """What tells the states of a module apart, or of the variables that a function refers to."""
    if isinstance(function, Module):
        for module in function.modules():
            yield from ((name, value) for name, value in vars(module).items() if isinstance(value, _PLAIN))
            yield from map(_Same, (*module._parameters.values(), *module._buffers.values()))
        return
    function = inspect.unwrap(function)
    if not inspect.isfunction(function):
        return
    variables = inspect.getclosurevars(function)
    for name, value in {**variables.globals, **variables.nonlocals}.items():
        if isinstance(value, Module):
            yield from _held(value)
        else:
            yield name, value if isinstance(value, _PLAIN) else _Same(value)

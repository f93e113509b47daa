"""Traces: programs of what a function did with examples, which need neither its code nor its class.

They are made as `torch.export` makes programs, but as PyTorch's traces they never refuse: what a function asks of its tensors' numbers is
answered, with a warning, and becomes part of the program; and a trace takes arguments of any size.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._dynamo.exc import UserError
from flambeau.export._export import traced_program
from flambeau.export._module import ExportedModule
from flambeau.export._tracing import TracerWarning
from flambeau.export.dynamic_shapes import signature_of_forward
from flambeau.export.exported_program import ExportedProgram
from flambeau.export.graph_signature import ExportGraphSignature, InputKind, InputSpec
from flambeau.jit._script import mark
from flambeau.nn import Module
from flambeau.testing import assert_close
from flambeau.utils._pytree import tree_leaves

__all__ = ["TracedFunction", "TracedModule", "TracerWarning", "TracingCheckError", "frozen", "trace"]


class TracingCheckError(Exception):
    """A trace gives something else than what was traced."""


class TracedModule(ExportedModule):
    """A module that `jit.trace` has returned: its `graph` and its `code` say what it does.

    It takes tensors of any size; that it was traced with others is on the user.
    """

    def __init__(self, program: ExportedProgram, state: dict[str, Any] | None = None, name: str = "", training: bool = False) -> None:
        super().__init__(program, state, check_guards=False)
        self.__dict__["original_name"] = name
        self.training = training
        mark(self)

    def _like(self, state: dict[str, Any]) -> TracedModule:
        return TracedModule(self._program, state, self.original_name, self.training)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the trace gives.

        Raises:
            RuntimeError: there are more or fewer arguments than it was traced with
        """
        try:
            return ExportedModule.forward(self, *args, **kwargs)
        except ValueError as error:
            if "exported with" in str(error):
                raise RuntimeError(str(error).replace("exported", "traced")) from None
            raise

    def train(self, mode: bool = True) -> Any:
        """Set the mark only: what the module does in training was decided when it was traced."""
        return Module.train(self, mode)

    def eval(self) -> Any:
        """Set the mark only."""
        return Module.train(self, False)

    @property
    def inlined_graph(self) -> Any:
        """The graph, which is flat in any case."""
        return self.graph

    def program(self) -> ExportedProgram:
        """The program with the parameters as they are now."""
        made, state = copy.copy(self._program), self._state()
        made.state_dict = {name: state[name] for name in self._program.state_dict}
        made.constants = {name: state[name] for name in self._program.constants}
        return made


class TracedFunction:
    """A function that `jit.trace` has returned.

    Attributes:
        graph, code: what it does
    """

    def __init__(self, module: TracedModule) -> None:
        self._module = module
        self.__name__ = self.name = module.original_name
        mark(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._module(*args, **kwargs)

    @property
    def graph(self) -> Any:
        return self._module.graph

    inlined_graph = graph

    @property
    def code(self) -> str:
        return self._module.code

    def save(self, f: Any, **options: Any) -> None:
        """Save it for `jit.load`."""
        from flambeau import jit

        jit.save(self, f, **options)


class _Function(Module):
    """A function as a module."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.forward = function


def trace(
    func: Callable, example_inputs: Any = None, optimize: Any = None, check_trace: bool = True, check_inputs: Any = None,
    check_tolerance: float = 1e-5, strict: bool = True, example_kwarg_inputs: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """What a module or a function does with examples, as a program that needs neither its code nor its class.

    Python's control flow is that of the examples. Sizes are free where the program lets them be.

    Args:
        func: a module, or a function of tensors, tuples, lists and dictionaries of tensors
        example_inputs: examples of its arguments: a tuple, or one tensor
        check_trace: compare the trace's results with those of `func`
        check_inputs: further arguments to compare the results for, each a tuple
        check_tolerance: by how much results may differ
        strict: refuse results in dictionaries
        example_kwarg_inputs: examples of its keyword arguments
        optimize: for PyTorch's sake

    Returns:
        A `TracedModule` or `TracedFunction`. A function that does what no operator does (an extension, or mixed precision) is returned
        itself, with a `TracerWarning`.

    Raises:
        RuntimeError: it returns something else than tensors in tuples and lists
        TypeError: it does not take the examples
        TracingCheckError: the trace gives something else

    Example:
        >>> import flambeau
        >>> traced = flambeau.jit.trace(flambeau.nn.Linear(4, 3), flambeau.ones(2, 4))
        >>> traced(flambeau.ones(7, 4)).shape
        torch.Size([7, 3])
    """
    if isinstance(func, (TracedModule, TracedFunction)):
        return func
    if not callable(func):
        raise RuntimeError(f"a module or a function is traced, not a {type(func).__name__}")
    args = _arguments(example_inputs)
    kwargs = dict(example_kwarg_inputs or {})
    module = func if isinstance(func, Module) else _Function(func)
    name = type(func).__name__ if isinstance(func, Module) else getattr(func, "__name__", type(func).__name__)
    signature_of_forward(module).bind(*args, **kwargs)
    try:
        program = traced_program(module, args, kwargs)
    except (UserError, NotImplementedError, ValueError) as error:
        warnings.warn(f"{name} is not traced and returned as it is: {error}", TracerWarning, stacklevel=2)
        return mark(func)
    _check_results(program, strict)
    traced = TracedModule(program, None, name, module.training)
    if check_trace:
        for given in (args, *map(_arguments, check_inputs or ())):
            _compare(module, traced, given, kwargs, check_tolerance, name)
    return traced if isinstance(func, Module) else TracedFunction(traced)


def _arguments(examples: Any) -> tuple:
    if examples is None:
        return ()
    return tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


def _check_results(program: ExportedProgram, strict: bool) -> None:
    if strict and any(kind is dict for kind in _containers(program.out_spec)):
        raise RuntimeError(
            "the traced function returns a dictionary, whose keys would always be those of the example: return a tuple, or trace with strict=False"
        )
    if not all(isinstance(output, str) for output in program.graph_signature.user_outputs):
        raise RuntimeError("only tensors, and tuples, lists and dictionaries of tensors, are returned by traced functions")


def _containers(spec: Any) -> list[Any]:
    return [spec.type, *[kind for child in spec.children_specs for kind in _containers(child)]]


def _compare(module: Module, traced: TracedModule, args: tuple, kwargs: dict[str, Any], tolerance: float, name: str) -> None:
    """Compare a trace with what was traced.

    Raises:
        TracingCheckError: they differ
    """
    state, generator = {key: value.detach().clone() for key, value in module.named_buffers()}, flambeau.get_rng_state()
    results = []
    for each in (module, traced):
        flambeau.set_rng_state(generator)
        copies = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in args]
        with flambeau.no_grad():
            results.append([leaf for leaf in tree_leaves(each(*copies, **kwargs)) if isinstance(leaf, Tensor)])
            for key, buffer in module.named_buffers():
                buffer.copy_(state[key])
    flambeau.set_rng_state(generator)
    for expected, got in zip(*results, strict=True):
        try:
            assert_close(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
        except AssertionError as error:
            raise TracingCheckError(f"the trace of {name} gives something else than {name} itself: {error}") from error


def frozen(module: TracedModule) -> TracedModule:
    """A trace whose parameters and buffers are constants."""
    program = module.program()
    signature = program.graph_signature
    moved = (InputKind.PARAMETER, InputKind.BUFFER)
    inputs = [InputSpec(InputKind.CONSTANT_TENSOR, spec.arg, spec.target) if spec.kind in moved else spec for spec in signature.input_specs]
    program.graph_signature = ExportGraphSignature(inputs, list(signature.output_specs))
    program.constants = {name: value.detach().clone() for name, value in {**program.state_dict, **program.constants}.items()}
    program.state_dict = {}
    return TracedModule(program, None, module.original_name, False)

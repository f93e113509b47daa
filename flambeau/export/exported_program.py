"""Exported programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flambeau import Tensor
from flambeau.export._inputs import InputCheck, signature_of
from flambeau.export._module import ExportedModule
from flambeau.export.graph_signature import ExportGraphSignature
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.nn import Module, Parameter
from flambeau.utils._pytree import TreeSpec

__all__ = ["CallSpec", "ExportedProgram", "ValueRanges"]


@dataclass(frozen=True)
class ValueRanges:
    """The values that a size may have."""

    lower: int
    upper: float

    def __repr__(self) -> str:
        return f"VR[{self.lower}, {'int_oo' if self.upper == float('inf') else self.upper}]"


@dataclass(frozen=True)
class CallSpec:
    """How arguments and results come apart and together."""

    in_spec: TreeSpec
    out_spec: TreeSpec


class ExportedProgram:
    """A program as a graph: what `torch.export.export` returns. Call what `module()` returns.

    Attributes:
        graph_module: of the graph; parameters, buffers and constants are inputs of it, in front of the user's, and results are a flat tuple
        graph_signature: which input is what
        state_dict: parameters and buffers by their paths; they are the exported module's own
        constants: tensors that are part of the program, and buffers that are not saved
        range_constraints: what free sizes may be, by their names
        example_inputs: what it was exported with
    """

    def __init__(
        self, graph: Graph, graph_signature: ExportGraphSignature, state_dict: dict[str, Tensor], constants: dict[str, Tensor],
        ranges: dict[str, tuple[int, float]], parameters: list[tuple[str, int]], input_checks: list[InputCheck], in_spec: TreeSpec, out_spec: TreeSpec,
        example_inputs: tuple[tuple, dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self.graph_module = GraphModule(Module(), graph, "GraphModule")
        self.graph_signature = graph_signature
        self.state_dict = state_dict
        self.constants = constants
        self.ranges = ranges
        self.parameters_of_call = parameters
        self.input_checks = input_checks
        self.in_spec = in_spec
        self.out_spec = out_spec
        self.example_inputs = example_inputs

    @property
    def graph(self) -> Graph:
        """The nodes."""
        return self.graph_module.graph

    @cached_property
    def signature(self) -> inspect.Signature:
        """The arguments that the program takes."""
        return signature_of(self.parameters_of_call)

    @cached_property
    def plain_arguments(self) -> int:
        """How many arguments there are, if all of them can be given by position and are no containers; else -1."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        plain = all(kind in kinds for _, kind in self.parameters_of_call) and all(child.is_leaf() for child in self.in_spec.children_specs)
        return len(self.parameters_of_call) if plain else -1

    @property
    def call_spec(self) -> CallSpec:
        """How arguments and results come apart and together."""
        return CallSpec(self.in_spec, self.out_spec)

    @property
    def range_constraints(self) -> dict[str, ValueRanges]:
        return {name: ValueRanges(*limits) for name, limits in self.ranges.items()}

    @property
    def tensor_constants(self) -> dict[str, Tensor]:
        """As `constants`."""
        return self.constants

    @property
    def dialect(self) -> str:
        """Which operators there may be: any."""
        return "TRAINING"

    # -- state -----------------------------------------------------------------------------------------------------------

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their paths."""
        for name in self.graph_signature.parameters:
            yield name, self.state_dict[name]

    def parameters(self) -> Iterator[Parameter]:
        """The parameters."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their paths."""
        for name in self.graph_signature.buffers:
            yield name, self.constants[name] if name in self.graph_signature.non_persistent_buffers else self.state_dict[name]

    def buffers(self) -> Iterator[Tensor]:
        """The buffers."""
        for _, buffer in self.named_buffers():
            yield buffer

    # -- use -------------------------------------------------------------------------------------------------------------

    def module(self, check_guards: bool = True) -> ExportedModule:
        """A module that runs the program, with the program's own parameters and buffers; gradients flow to them.

        Args:
            check_guards: compare sizes, dtypes and values of the arguments with what the program was made for
        """
        return ExportedModule(self, check_guards=check_guards)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("an ExportedProgram is not called itself: call exported_program.module()")

    def run_decompositions(
        self, decomp_table: dict[Any, Callable] | None = None, decompose_custom_triton_ops: bool = False
    ) -> ExportedProgram:
        """A program with some operators replaced by what they are made of.

        Args:
            decomp_table: functions by the operators that they compute, such as `torch.ops.aten.linear.default`; without it
                `default_decompositions()`

        Raises:
            UserError: a function does something that no operator does
        """
        from flambeau.export.decomposition import decomposed

        return decomposed(self, decomp_table)

    def validate(self) -> None:
        """Check that the graph can be run.

        Raises:
            RuntimeError: it cannot
        """
        self.graph.lint()

    def __str__(self) -> str:
        code = self.graph_module.print_readable(print_output=False)
        indented = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
        signature = "\n".join(f"    {line}".rstrip() for line in str(self.graph_signature).splitlines())
        return f"ExportedProgram:\n{indented}\n\nGraph signature:\n{signature}\n\nRange constraints: {self.range_constraints}\n"

    __repr__ = __str__

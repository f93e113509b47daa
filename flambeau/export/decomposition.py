"""Replacing operators in programs by what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor, ops
from flambeau._dynamo.exc import UserError
from flambeau.export.dynamic_shapes import Dim, FlatShapes
from flambeau.fx.interpreter import Interpreter

if TYPE_CHECKING:
    from flambeau.export.exported_program import ExportedProgram

__all__ = ["decomposed", "default_decompositions"]


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    turned = weight.permute(1, 0)
    if bias is None:
        return flambeau.matmul(input, turned)
    return flambeau.addmm(bias, input, turned) if input.dim() == 2 else flambeau.matmul(input, turned) + bias


def default_decompositions() -> dict[Any, Callable]:
    """The operators that `run_decompositions()` replaces without a table, and what computes them."""
    aten = ops.aten
    return {
        aten.linear.default: _linear,
        aten.square.default: lambda input: input * input,
        aten.t.default: lambda input: input.permute(*reversed(range(input.dim()))),
    }


class _Decomposing(Interpreter):
    """Runs a graph with other functions for some targets."""

    def __init__(self, module: Any, table: dict[Any, Callable]) -> None:
        super().__init__(module)
        self.table = table

    def call_function(self, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.table.get(target, target)(*args, **kwargs)


def decomposed(program: ExportedProgram, table: dict[Any, Callable] | None) -> ExportedProgram:
    """The program, exported again with some operators computed by functions.

    Raises:
        UserError: it was loaded from a file without examples of its arguments
    """
    from flambeau.export._export import export

    if program.example_inputs is None:
        raise UserError("a program that was loaded has no examples to be traced with: decompose it before it is saved")
    module = program.module(check_guards=False)
    interpreter = _Decomposing(module, default_decompositions() if table is None else table)
    module.__dict__["_run"] = lambda self, *leaves: interpreter.run(*leaves)
    named = {name: Dim(name, min=low, max=None if high == float("inf") else int(high)) for name, (low, high) in program.ranges.items()}
    shapes = [
        None if check.shape is None else [size if isinstance(size, int) else size[1] * named[size[0]] + size[2] for size in check.shape]
        for check in program.input_checks
    ]
    args, kwargs = program.example_inputs
    made = export(module, args, kwargs, dynamic_shapes=FlatShapes(shapes))
    made.state_dict = program.state_dict
    return made

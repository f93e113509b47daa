"""Choice between elements: where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import common_dtype, into, number
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_where(operands: tuple, statics: tuple) -> Layout:
    tensors = [operand for operand in operands if not isinstance(operand, type)]
    return lay.elementwise(lay.broadcast_shapes(*[tensor.shape for tensor in tensors]), common_dtype(operands[1:]), tensors)


def _lower_where(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    condition, then, otherwise = operands
    dtype = layouts[0].dtype
    return graph.map("where", graph.cast(condition, dt.bool), graph.cast(then, dtype), graph.cast(otherwise, dtype))


WHERE = Operator("where", ("condition", "input", "other"), infer=_infer_where, lower=_lower_where)
WHERE.gradient(
    input=lambda grad, condition: where(condition, grad, 0.0),
    other=lambda grad, condition: where(condition, 0.0, grad),
)


def where(condition: Tensor, input: Tensor | float | None = None, other: Tensor | float | None = None, *, out: Tensor | None = None) -> Any:
    """``input`` where the condition holds, else ``other``; with the condition alone, the indices where it holds.

    Raises:
        RuntimeError: the condition is not a bool tensor.
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition.layout.dtype not in (dt.bool, dt.uint8):
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.layout.dtype!r}")
    result = WHERE(
        condition, input if isinstance(input, TensorBase) else number(input), other if isinstance(other, TensorBase) else number(other)
    )
    return into(out, result)


FUNCTIONS.where = where


def where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The elements where the condition holds, else ``other``."""
    return where(condition, self, other)


PUBLIC = ("where",)
METHODS = ()

"""softmax, log_softmax and logsumexp: composites of a maximum, a sum and elementwise work, fused by the compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer(operands: tuple, statics: tuple) -> Layout:
    source = operands[0]
    if source.dtype.category < dt.FLOAT or source.dtype.is_complex:
        raise NotImplementedError(f'"softmax_lastdim_kernel_impl" not implemented for {source.dtype!r}')
    return lay.contiguous(source.shape, source.dtype)  # as PyTorch's is, whatever the order of the input


def _shifted(graph: Graph, x: Node, axis: int) -> Node:
    """The elements less their maximum along an axis."""
    return x - x.max((axis,), keepdim=True)


def _lower_softmax(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axis = statics[0]
    x = graph.wide(operands[0])
    if not x.ndim:
        return graph.cast(graph.map("exp", x - x), layouts[0].dtype)  # NaN of what is not finite
    powers = graph.map("exp", _shifted(graph, x, axis))
    return graph.cast(_divided(graph, powers, powers.sum((axis,), keepdim=True)), layouts[0].dtype)


def _divided(graph: Graph, x: Node, total: Node) -> Node:
    """``x / total`` for a total of many: one division, and for each element its quotient, corrected by what that leaves over.

    A processor divides 16 numbers in the time of 32 multiply-adds.
    """
    inverse = 1.0 / total
    quotient = x * inverse
    rest = graph.map("fma", -quotient, total, x)
    return graph.map("fma", rest, inverse, quotient)


def _lower_log_softmax(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axis = statics[0]
    x = graph.wide(operands[0])
    if not x.ndim:
        return graph.cast(x - x, layouts[0].dtype)
    shifted = _shifted(graph, x, axis)
    return graph.cast(shifted - graph.map("log", graph.map("exp", shifted).sum((axis,), keepdim=True)), layouts[0].dtype)


SOFTMAX = Operator("softmax", ("input",), ("dim",), infer=_infer, lower=_lower_softmax)
LOG_SOFTMAX = Operator("log_softmax", ("input",), ("dim",), infer=_infer, lower=_lower_log_softmax)


def _infer_backward(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[1].shape, operands[1].dtype)


def _lower_softmax_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    grad, result = (graph.wide(operand) for operand in operands)
    if not grad.ndim:
        return graph.constant(0.0, layouts[0].dtype)
    return graph.cast((grad - (grad * result).sum((statics[0],), keepdim=True)) * result, layouts[0].dtype)


def _lower_log_softmax_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    grad, result = (graph.wide(operand) for operand in operands)
    if not grad.ndim:
        return graph.constant(0.0, layouts[0].dtype)
    return graph.cast(grad - graph.map("exp", result) * grad.sum((statics[0],), keepdim=True), layouts[0].dtype)


SOFTMAX_BACKWARD = Operator("_softmax_backward", ("grad_output", "output"), ("dim",), infer=_infer_backward, lower=_lower_softmax_backward)
LOG_SOFTMAX_BACKWARD = Operator(
    "_log_softmax_backward", ("grad_output", "output"), ("dim",), infer=_infer_backward, lower=_lower_log_softmax_backward
)

SOFTMAX.gradient(input=lambda grad, result, dim: SOFTMAX_BACKWARD(grad, result, statics=(dim,)))
LOG_SOFTMAX.gradient(input=lambda grad, result, dim: LOG_SOFTMAX_BACKWARD(grad, result, statics=(dim,)))


def _dot(a: Tensor, b: Tensor, dim: int) -> Tensor:
    return (a * b).sum(dim, keepdim=True) if a.layout.ndim else a * b


SOFTMAX_BACKWARD.gradient(
    grad_output=lambda grad, output, dim: SOFTMAX_BACKWARD(grad, output, statics=(dim,)),
    output=lambda grad, grad_output, output, dim: (
        grad * grad_output - grad * _dot(grad_output, output, dim) - grad_output * _dot(grad, output, dim)
    ),
)
LOG_SOFTMAX_BACKWARD.gradient(
    grad_output=lambda grad, output, dim: grad - _dot(grad, output.exp(), dim),
    output=lambda grad, grad_output, output, dim: (
        -(grad * output.exp()) * (grad_output.sum(dim, keepdim=True) if grad.layout.ndim else grad_output)
    ),
)


def _prepared(input: Tensor, dim: int, dtype: DType | None) -> tuple[Tensor, int]:
    if dtype is not None:
        input = input.to(dtype)
    return input, lay.wrap_axis(dim, input.layout.ndim)


def softmax(input: Tensor, dim: Any = None, dtype: DType | None = None, *, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """``exp(input) / sum(exp(input))`` along ``dim``, computed without overflow.

    Example::

        >>> flambeau.softmax(flambeau.tensor([0., 0.]), 0)
        tensor([0.5000, 0.5000])
    """
    dim = dim if axis is None else axis
    input, axis = _prepared(input, dim, dtype)
    return into(out, SOFTMAX(input, statics=(axis,)))


def log_softmax(
    input: Tensor, dim: Any = None, dtype: DType | None = None, *, out: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """The logarithm of ``softmax``, computed without overflow or loss of digits."""
    dim = dim if axis is None else axis
    input, axis = _prepared(input, dim, dtype)
    return into(out, LOG_SOFTMAX(input, statics=(axis,)))


def _from_output(operator: Operator, grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    if grad_output.dtype is not output.dtype or grad_output.shape != output.shape:
        raise RuntimeError(
            f"grad_output is {grad_output.dtype} of shape {tuple(grad_output.shape)}, and output {output.dtype} of shape {tuple(output.shape)}: "
            "they must be the same"
        )
    return operator(grad_output, output, statics=(lay.wrap_axis(dim, output.layout.ndim),)).to(input_dtype)


def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    """The gradient of the input of ``softmax``, of the gradient of its output and that output, for functions that write their own backward pass.

    Raises:
        RuntimeError: the two differ in dtype or shape
    """
    return _from_output(SOFTMAX_BACKWARD, grad_output, output, dim, input_dtype)


def _log_softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    """The gradient of the input of ``log_softmax``, of the gradient of its output and that output.

    Raises:
        RuntimeError: the two differ in dtype or shape
    """
    return _from_output(LOG_SOFTMAX_BACKWARD, grad_output, output, dim, input_dtype)


METHODS = ("log_softmax", "softmax")
PUBLIC = (*METHODS, "_log_softmax_backward_data", "_softmax_backward_data")

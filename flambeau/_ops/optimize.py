"""Steps of optimizers: one record for each parameter, which overwrites the parameter and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops.operator import Operator, check_writable, write
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph, Node
    from flambeau._tensor.tensor import Tensor


def _infer_step(count: int) -> object:
    """The first ``count`` operands, overwritten."""

    def infer(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
        return tuple(lay.like(operand, operand.dtype) for operand in operands[:count])

    return infer


def _overwrite(operator: Operator, targets: tuple[Tensor, ...], *others: object) -> None:
    for target in targets:
        check_writable(target, operator.name)
    results = operator(*targets, *others)
    for target, result in zip(targets, results, strict=True):
        write(target, result)


def _lower_adam(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    """Each operator of the loop that PyTorch documents rounds once, here as there."""
    parameter, average, square = operands[:3]
    dtype = parameter.dtype
    keep = lambda node: graph.wide(graph.cast(node, dtype))
    gradient, shrink, weight1, beta2, weight2, root, eps, size = (graph.cast(operand, dtype.compute) for operand in operands[3:])
    parameter, average, square = (graph.wide(operand) for operand in (parameter, average, square))
    parameter = keep(parameter * shrink)
    near = weight1 < 0.5
    near = near.expand(average.shape)
    difference = gradient - average
    average = keep(graph.where(near, average + weight1 * difference, gradient - difference * (1.0 - weight1)))
    square = keep(square * beta2)
    square = keep(square + weight2 * gradient * gradient)
    denominator = keep(keep(keep(graph.map("sqrt", square)) / root) + eps)
    parameter = parameter + size * average / denominator
    return tuple(graph.cast(node, layout.dtype) for node, layout in zip((parameter, average, square), layouts, strict=True))


ADAM = Operator(
    "_adam_step", ("parameter", "exp_avg", "exp_avg_sq", "grad", "shrink", "weight1", "beta2", "weight2", "root", "eps", "size"),
    infer=_infer_step(3), lower=_lower_adam,
)  # fmt: skip


def adam_(
    parameter: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    grad: Tensor,
    shrink: float,
    weight1: float,
    beta2: float,
    weight2: float,
    root: float,
    eps: float,
    size: float,
) -> None:
    """One step of Adam: the parameter shrinks by ``shrink``, the averages move by ``weight1`` and ``weight2``, and the parameter by
    ``size * exp_avg / (sqrt(exp_avg_sq) / root + eps)``.

    Source: Kingma and Ba, arXiv:1412.6980; Loshchilov and Hutter, arXiv:1711.05101.
    """
    _overwrite(ADAM, (parameter, exp_avg, exp_avg_sq), grad, shrink, weight1, beta2, weight2, root, eps, size)


PUBLIC = ()
METHODS = ()

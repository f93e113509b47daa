"""Steps of optimizers: one record for any number of parameters, which overwrites them and their state.

A rule says what a step does to one parameter. It is written over the lowering language, and each operation of the loop that PyTorch
documents rounds to the parameter's dtype, here as there: ``keep`` marks where one ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flambeau._ops.functions import nearer_end
from flambeau._ops.operator import Operator
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


class Step:
    """The step of an optimizer.

    Args:
        name: the operator's name
        numbers: the names of its settings that are run-time numbers
        rule: ``rule(graph, keep, numbers, flags, gradient, parameter, *state) -> (parameter, *state)``, all in the dtype that is computed in
    """

    def __init__(self, name: str, numbers: Sequence[str], rule: Callable[..., tuple[Node, ...]]) -> None:
        self.rule = rule
        self.numbers = tuple(numbers)
        self.operator = Operator(name, (*numbers, "tensors..."), ("width", "flags"), infer=self._infer, lower=self._lower)

    def __call__(self, rows: Sequence[tuple[Tensor, ...]], numbers: tuple[float, ...], flags: tuple[bool, ...] = ()) -> bool:
        """Take the step for some rows ``(gradient, parameter, *state)`` of equal length.

        Returns:
            Whether it was taken; it is not if two of the tensors share a storage.
        """
        targets = [tensor for row in rows for tensor in row[1:]]
        floats = tuple(map(float, numbers))  # a learning rate may be an integer or NumPy's
        return self.operator.overwrite(targets, floats, list(chain.from_iterable(rows)), statics=(len(rows[0]), flags))

    def _rows(self, operands: Sequence[Any], width: int) -> list[Any]:
        tensors = operands[len(self.numbers) :]
        return [tensors[start : start + width] for start in range(0, len(tensors), width)]

    def _infer(self, operands: tuple, statics: tuple) -> tuple[Layout, ...]:
        return tuple([lay.like(each, each.dtype) for row in self._rows(operands, statics[0]) for each in row[1:]])

    def _lower(self, graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
        width, flags = statics
        results: list[Node] = []
        for row in self._rows(operands, width):
            dtype = row[1].dtype
            keep = lambda node, dtype=dtype: graph.wide(graph.cast(node, dtype))
            numbers = SimpleNamespace(**{name: graph.cast(node, dtype.compute) for name, node in zip(self.numbers, operands, strict=False)})
            results += self.rule(graph, keep, numbers, flags, *[graph.cast(node, dtype.compute) for node in row])
        return tuple(graph.cast(node, layout.dtype) for node, layout in zip(results, layouts, strict=True))


def _add(graph: Graph, keep: Any, x: Node, other: Node, alpha: Node) -> Node:
    """``x.add(other, alpha=alpha)``, rounded once; in half precision alpha is rounded to it first."""
    return keep(graph.map("fma", keep(alpha), other, x))


def _descent(graph: Graph, keep: Any, numbers: Any, flags: tuple, gradient: Node, parameter: Node) -> Node:
    """The gradient of what is minimised: ``flags`` begin with whether the objective is maximised, and whether weights decay (L2)."""
    if flags[0]:
        gradient = -gradient
    return _add(graph, keep, gradient, parameter, numbers.decay) if flags[1] else gradient


def _lerp(graph: Graph, keep: Any, start: Node, end: Node, weight: Node) -> Node:
    return keep(nearer_end(graph, start, end, weight))


def _sgd(graph: Graph, keep: Any, n: Any, flags: tuple, gradient: Node, parameter: Node, *state: Node) -> tuple[Node, ...]:
    gradient = _descent(graph, keep, n, flags, gradient, parameter)
    if state:
        momentum = keep(state[0] * n.momentum)
        momentum = _add(graph, keep, momentum, gradient, n.weight) if flags[3] else keep(momentum + gradient)
        gradient = _add(graph, keep, gradient, momentum, n.momentum) if flags[2] else momentum
        state = (momentum,)
    return _add(graph, keep, parameter, gradient, n.size), *state


def _adam(
    graph: Graph, keep: Any, n: Any, flags: tuple, gradient: Node, parameter: Node, average: Node, square: Node, *largest: Node
) -> tuple[Node, ...]:
    gradient = _descent(graph, keep, n, flags, gradient, parameter)
    parameter = keep(parameter * n.shrink)
    average = _lerp(graph, keep, average, gradient, n.weight1)
    square = keep(graph.map("fma", n.weight2 * gradient, gradient, keep(square * n.beta2)))
    if largest:
        largest = (graph.map("maximum", largest[0], square),)
    root = keep(keep(graph.map("sqrt", largest[0] if largest else square)) / n.root)
    return parameter + n.size * average / keep(root + n.eps), average, square, *largest


def _rmsprop(
    graph: Graph, keep: Any, n: Any, flags: tuple, gradient: Node, parameter: Node, square: Node, *state: Node
) -> tuple[Node, ...]:
    """State after the squares: the momentum (if ``flags[2]``), the average of gradients (if ``flags[3]``)."""
    gradient = _descent(graph, keep, n, flags, gradient, parameter)
    square = keep(graph.map("fma", n.weight * gradient, gradient, keep(square * n.alpha)))
    variance, kept = square, list(state)
    if flags[3]:
        kept[-1] = mean = _lerp(graph, keep, state[-1], gradient, n.weight)
        variance = keep(graph.map("fma", -1.0 * mean, mean, square))
    denominator = keep(keep(graph.map("sqrt", variance)) + keep(n.eps))
    if flags[2]:
        kept[0] = momentum = keep(keep(state[0] * n.momentum) + gradient / denominator)
        return _add(graph, keep, parameter, momentum, n.size), square, *kept
    return parameter + n.size * gradient / denominator, square, *kept


def _adagrad(graph: Graph, keep: Any, n: Any, flags: tuple, gradient: Node, parameter: Node, total: Node) -> tuple[Node, ...]:
    gradient = _descent(graph, keep, n, flags, gradient, parameter)
    total = keep(graph.map("fma", gradient, gradient, total))
    return parameter + n.size * gradient / keep(keep(graph.map("sqrt", total)) + keep(n.eps)), total


SGD = Step("_sgd_step", ("decay", "momentum", "weight", "size"), _sgd)
"""Flags: maximize, weight decay, Nesterov, dampening."""
ADAM = Step("_adam_step", ("decay", "shrink", "weight1", "beta2", "weight2", "root", "eps", "size"), _adam)
RMSPROP = Step("_rmsprop_step", ("decay", "alpha", "weight", "momentum", "eps", "size"), _rmsprop)
ADAGRAD = Step("_adagrad_step", ("decay", "eps", "size"), _adagrad)

PUBLIC = ()
METHODS = ()

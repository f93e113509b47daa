"""Recurrent layers: all steps of one layer in one direction.

Sequences of different lengths come as packed data: the rows of the first step, then those of the second, and so on, sorted by length, so that
step t has ``sizes[t]`` rows and ``sizes`` never grows. A padded batch is the case in which all are equal.

What a step computes is written down in ``_codegen/steps.py``. There are two ways to follow it: one operator for all steps, and a loop of
public functions over tensors, for what the operator does not know (projections, operands of several dtypes) and for second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flambeau._codegen.steps import STEPS as RULES
from flambeau._ops.activation import relu
from flambeau._ops.elementwise import sigmoid, tanh
from flambeau._ops.joining import cat, chunk, split, stack
from flambeau._ops.matrix import linear, matmul
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

State = tuple["Tensor", ...]
Sizes = tuple[int, ...]

# -- a loop over tensors -------------------------------------------------------------------------------------------------

_CALLS: dict[str, Callable] = {"sigmoid": sigmoid, "tanh": tanh, "relu": relu}


def _call(name: str, x: Tensor) -> Tensor:
    return _CALLS[name](x)


def one_step(mode: str, inputs: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None = None) -> State:
    """The state after one step.

    Args:
        mode: ``"RNN_TANH"``, ``"RNN_RELU"``, ``"GRU"`` or ``"LSTM"``
        inputs: (N, gates · hidden_size), what of the gates depends on the input
        state: (N, size) each, the output before and for an LSTM the cell
        weight, bias: W_hh and b_hh
        projection: W_hr of an LSTM, which its output is multiplied by
    """
    rule = RULES[mode]
    hidden, *cells = state
    products = linear(hidden, weight, bias)
    if rule.sums:
        hidden, cells, _ = rule.forward(_call, chunk(inputs + products, rule.gates, 1), None, hidden, cells)
    else:
        hidden, cells, _ = rule.forward(_call, chunk(inputs, rule.gates, 1), chunk(products, rule.gates, 1), hidden, cells)
    return hidden if projection is None else linear(hidden, projection), *cells


def _forwards(step: Callable, inputs: Sequence[Tensor], state: State, sizes: Sizes) -> tuple[list[Tensor], State]:
    """Steps from first to last; sequences that have ended leave the batch with their state."""
    outputs: list[Tensor] = []
    ended: list[State] = []
    size = sizes[0]
    for given, now in zip(inputs, sizes):
        if now < size:
            ended.append(tuple(tensor[now:] for tensor in state))
            state, size = tuple(tensor[:now] for tensor in state), now
        state = step(given, state)
        outputs.append(state[0])
    if ended:
        state = tuple(cat(parts) for parts in zip(state, *reversed(ended)))
    return outputs, state


def _backwards(step: Callable, inputs: Sequence[Tensor], state: State, sizes: Sizes) -> tuple[list[Tensor], State]:
    """Steps from last to first; sequences join the batch at their end, with their initial state."""
    outputs: list[Tensor] = []
    size = sizes[-1]
    initial, state = state, tuple(tensor[:size] for tensor in state) if size < sizes[0] else state
    for given, now in zip(reversed(inputs), reversed(sizes)):
        if now > size:
            state, size = tuple(cat((tensor, start[size:now])) for tensor, start in zip(state, initial)), now
        state = step(given, state)
        outputs.append(state[0])
    return outputs[::-1], state


def _loop(
    mode: str, inputs: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None, sizes: Sizes, reverse: bool
) -> tuple[Tensor, State]:
    follow = _backwards if reverse else _forwards
    step = lambda given, state: one_step(mode, given, state, weight, bias, projection)
    outputs, state = follow(step, split(inputs, list(sizes)), state, sizes)
    return cat(outputs), state


# -- one operator --------------------------------------------------------------------------------------------------------

_STATICS = ("mode", "reverse", "sizes")


def _infer(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    inputs, _, state = operands[:3]
    rows, units, dtype = inputs.shape[0], state.shape[2], inputs.dtype
    saved = lay.contiguous((RULES[statics[0]].saves + 1, rows, units), dtype)
    return saved, lay.contiguous((rows, units), dtype), lay.contiguous(state.shape, dtype)


def _lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    from flambeau._compiler.recurrence import recur

    inputs, weight, state, *bias = operands
    mode, reverse, sizes = statics
    return recur(graph, mode, False, reverse, sizes, weight, (inputs, state, *bias))


def _infer_backward(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    grad_outputs, weight, grad_state, _ = operands
    gates = lay.contiguous((grad_outputs.shape[0], weight.shape[0]), grad_outputs.dtype)
    return *[gates] * (1 if RULES[statics[0]].sums else 2), lay.contiguous(grad_state.shape, grad_state.dtype)


def _lower_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    from flambeau._compiler.recurrence import recur

    grad_outputs, weight, grad_state, saved = operands
    mode, reverse, sizes = statics
    return recur(graph, mode, True, not reverse, sizes, weight, (grad_outputs, grad_state, saved))


RECURRENCE = Operator("_recurrence", ("inputs", "weight", "state", "bias"), _STATICS, infer=_infer, lower=_lower)
RECURRENCE_BACKWARD = Operator(
    "_recurrence_backward", ("grad_outputs", "weight", "grad_state", "saved"), _STATICS, infer=_infer_backward, lower=_lower_backward
)


def _gradient(operand: str) -> Callable:
    """The formula for one operand. The steps go backwards once: the graph makes equal records once."""

    def formula(
        grad1: Tensor, grad2: Tensor, result0: Tensor, inputs: Tensor, weight: Tensor, state: Tensor, bias: Tensor | None, mode: str,
        reverse: bool, sizes: Sizes,
    ) -> Tensor:  # fmt: skip
        if LOCAL.tape.grad:
            return _gradient_of_loop(operand, (grad1, grad2), (inputs, weight, state, bias), mode, reverse, sizes)
        gates, *others = RECURRENCE_BACKWARD(grad1, weight, grad2, result0, statics=(mode, reverse, sizes))
        if operand == "inputs":
            return gates
        if operand == "state":
            return others[-1]
        products = gates if len(others) == 1 else others[0]
        return products.sum(0) if operand == "bias" else matmul(products.transpose(0, 1), result0[-1])

    return formula


def _gradient_of_loop(operand: str, grads: State, operands: tuple, mode: str, reverse: bool, sizes: Sizes) -> Tensor:
    """The gradient as a function that can be differentiated: that of the steps, computed again from tensors."""
    fresh = [each.view_as(each) if each is not None else None for each in operands]  # nothing that they depend on is looked at
    names = ("inputs", "weight", "state", "bias")
    wanted = fresh[names.index(operand)]
    inputs, weight, state, bias = fresh
    outputs, state = _loop(mode, inputs, state.unbind(0), weight, bias, None, sizes, reverse)
    (found,) = FUNCTIONS.gradients((outputs, stack(state)), (wanted,), grads, create_graph=True)
    return found


RECURRENCE.gradient(**{operand: _gradient(operand) for operand in RECURRENCE.operands})


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return FUNCTIONS.zeros(lay.contiguous(shape, like.layout.dtype))


def recurrence(
    mode: str,
    inputs: Tensor,
    state: State | None,
    weight: Tensor,
    bias: Tensor | None,
    projection: Tensor | None,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Tensor, State]:
    """The outputs of all steps (rows, size) and the state after the last one; see ``one_step`` for the arguments.

    Args:
        inputs: (rows, gates · hidden_size), the rows of all steps
        state: zeros if it is ``None``
        sizes: how many sequences have a step t
        reverse: begin with the last step
    """
    dtype = inputs.layout.dtype
    operands = [each for each in (inputs, weight, *(state or ()), bias) if each is not None]
    alike = dtype.category == dt.FLOAT and all(each.layout.dtype is dtype for each in operands)
    sequences, parts = sizes[0], 1 + RULES[mode].cells
    if projection is not None or not alike or not inputs.layout.numel:
        if state is None:
            widths = [weight.layout.shape[1], weight.layout.shape[0] // RULES[mode].gates]
            state = tuple(_zeros(weight, sequences, width) for width in widths[:parts])
        return _loop(mode, inputs, state, weight, bias, projection, sizes, reverse)
    first = _zeros(weight, parts, sequences, weight.layout.shape[1]) if state is None else stack(state)
    given = (inputs, weight, first) if bias is None else (inputs, weight, first, bias)
    _, outputs, last = RECURRENCE(*given, statics=(mode, reverse, sizes))
    return outputs, last.unbind(0)


PUBLIC: tuple[str, ...] = ()
METHODS: tuple[str, ...] = ()

"""What one step of a recurrent network computes for one hidden unit, and its gradient.

A rule is written once and used on numbers of every kind: registers of a kernel, nodes of a graph, and tensors. They have ``+``, ``-`` and
``*``; other functions are reached through ``call(name, *numbers)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Number = Any
Numbers = Sequence[Number]
Call = Callable[..., Number]
"""``call("sigmoid", x)``, ``call("tanh", x)``, ``call("relu", x)``, and ``call("gate", x, y)``: ``x`` where ``y > 0``, else 0."""


class Step(NamedTuple):
    """One step of a kind of network.

    Attributes:
        name: PyTorch's
        gates: how many sums of products each unit has
        cells: how many numbers each unit keeps beside its output
        saves: how many numbers the gradient needs beside the output before the step
        sums: whether what comes from the input and what comes from the output before are only ever added
        forward: ``forward(call, inputs, products, hidden, cells) -> (hidden, cells, saved)``: a number for each gate that depends on the
            input, and one that depends on the output before; ``products`` is ``None`` if they have been added already
        backward: ``backward(call, grad, grad_cells, saved, hidden) -> (grad_inputs, grad_products, grad_hidden, grad_cells)``:
            ``hidden`` is the output before the step, and ``grad_hidden`` (if not ``None``) what reaches it but for the products
    """

    name: str
    gates: int
    cells: int
    saves: int
    sums: bool
    forward: Callable[..., tuple[Number, Numbers, Numbers]]
    backward: Callable[..., tuple[Numbers, Numbers, Number | None, Numbers]]


def _added(inputs: Numbers, products: Numbers | None) -> Numbers:
    return inputs if products is None else [x + y for x, y in zip(inputs, products, strict=True)]


def _tanh(call: Call, inputs: Numbers, products: Numbers | None, hidden: Number, cells: Numbers) -> tuple[Number, Numbers, Numbers]:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    result = call("tanh", _added(inputs, products)[0])
    return result, (), (result,)


def _tanh_backward(
    call: Call, grad: Number, grad_cells: Numbers, saved: Numbers, hidden: Number
) -> tuple[Numbers, Numbers, Number | None, Numbers]:
    grads = (grad * (1.0 - saved[0] * saved[0]),)
    return grads, grads, None, ()


def _relu(call: Call, inputs: Numbers, products: Numbers | None, hidden: Number, cells: Numbers) -> tuple[Number, Numbers, Numbers]:
    """h' = max(0, W_ih x + b_ih + W_hh h + b_hh)."""
    result = call("relu", _added(inputs, products)[0])
    return result, (), (result,)


def _relu_backward(
    call: Call, grad: Number, grad_cells: Numbers, saved: Numbers, hidden: Number
) -> tuple[Numbers, Numbers, Number | None, Numbers]:
    grads = (call("gate", grad, saved[0]),)
    return grads, grads, None, ()


def _gru(call: Call, inputs: Numbers, products: Numbers, hidden: Number, cells: Numbers) -> tuple[Number, Numbers, Numbers]:
    """h' = (1 - z) n + z h, with r, z = σ(…) and n = tanh(W_in x + b_in + r (W_hn h + b_hn))."""
    reset, update = call("sigmoid", inputs[0] + products[0]), call("sigmoid", inputs[1] + products[1])
    new = call("tanh", inputs[2] + reset * products[2])
    return (hidden - new) * update + new, (), (reset, update, new, products[2])


def _gru_backward(
    call: Call, grad: Number, grad_cells: Numbers, saved: Numbers, hidden: Number
) -> tuple[Numbers, Numbers, Number | None, Numbers]:
    reset, update, new, product = saved
    of_new = grad * (1.0 - update) * (1.0 - new * new)
    of_update = grad * (hidden - new) * update * (1.0 - update)
    of_reset = of_new * product * reset * (1.0 - reset)
    return (of_reset, of_update, of_new), (of_reset, of_update, of_new * reset), grad * update, ()


def _lstm(call: Call, inputs: Numbers, products: Numbers | None, hidden: Number, cells: Numbers) -> tuple[Number, Numbers, Numbers]:
    """c' = f c + i g and h' = o tanh(c'), with i, f, o = σ(…) and g = tanh(…)."""
    i, f, g, o = _added(inputs, products)
    i, f, g, o = call("sigmoid", i), call("sigmoid", f), call("tanh", g), call("sigmoid", o)
    cell = f * cells[0] + i * g
    return o * call("tanh", cell), (cell,), (i, f, g, o, cells[0])


def _lstm_backward(
    call: Call, grad: Number, grad_cells: Numbers, saved: Numbers, hidden: Number
) -> tuple[Numbers, Numbers, Number | None, Numbers]:
    i, f, g, o, before = saved
    bent = call("tanh", f * before + i * g)
    grad_cell = grad_cells[0] + grad * o * (1.0 - bent * bent)
    grads = (
        grad_cell * g * i * (1.0 - i),
        grad_cell * before * f * (1.0 - f),
        grad_cell * i * (1.0 - g * g),
        grad * bent * o * (1.0 - o),
    )
    return grads, grads, None, (grad_cell * f,)


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("RNN_TANH", 1, 0, 1, True, _tanh, _tanh_backward),
        Step("RNN_RELU", 1, 0, 1, True, _relu, _relu_backward),
        Step("GRU", 3, 0, 4, False, _gru, _gru_backward),
        Step("LSTM", 4, 1, 5, True, _lstm, _lstm_backward),
    )
}

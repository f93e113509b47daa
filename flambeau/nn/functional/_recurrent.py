"""Recurrent networks: what one step computes, and how steps follow one another.

Sequences of different lengths come as packed data: the rows of the first step, then those of the second, and so on, sorted by
length, so that step t has ``batch_sizes[t]`` rows and ``batch_sizes`` never grows. A padded batch is the case in which all are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import flambeau
from flambeau._ops import nn as ops
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._dropout import dropout

State = tuple[Tensor, ...]


def tanh_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh); ``gates`` is what depends on x."""
    return (flambeau.tanh(gates + ops.linear(state[0], weight, bias)),)


def relu_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = max(0, W_ih x + b_ih + W_hh h + b_hh)."""
    return (flambeau.relu(gates + ops.linear(state[0], weight, bias)),)


def gru_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = (1 - z) n + z h, with r, z = σ(…) and n = tanh(W_in x + b_in + r (W_hn h + b_hn))."""
    hidden = state[0]
    xr, xz, xn = gates.chunk(3, 1)
    hr, hz, hn = ops.linear(hidden, weight, bias).chunk(3, 1)
    reset, update = flambeau.sigmoid(xr + hr), flambeau.sigmoid(xz + hz)
    new = flambeau.tanh(xn + reset * hn)
    return ((hidden - new) * update + new,)


def lstm_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None = None) -> State:
    """c' = f c + i g and h' = o tanh(c'), with i, f, o = σ(…) and g = tanh(…); h' times ``projection`` if there is one."""
    hidden, cell = state
    i, f, g, o = (gates + ops.linear(hidden, weight, bias)).chunk(4, 1)
    cell = flambeau.sigmoid(f) * cell + flambeau.sigmoid(i) * flambeau.tanh(g)
    hidden = flambeau.sigmoid(o) * flambeau.tanh(cell)
    return (hidden if projection is None else ops.linear(hidden, projection)), cell


STEPS: dict[str, Callable[..., State]] = {
    "RNN_TANH": tanh_step,
    "RNN_RELU": relu_step,
    "GRU": gru_step,
    "LSTM": lstm_step,
}


def _forwards(step: Callable, gates: Sequence[Tensor], state: State, batch_sizes: Sequence[int]) -> tuple[list[Tensor], State]:
    """Steps from first to last; sequences that have ended leave the batch with their state."""
    outputs: list[Tensor] = []
    ended: list[State] = []
    size = batch_sizes[0]
    for gate, now in zip(gates, batch_sizes):
        if now < size:
            ended.append(tuple(tensor[now:] for tensor in state))
            state, size = tuple(tensor[:now] for tensor in state), now
        state = step(gate, state)
        outputs.append(state[0])
    if ended:
        state = tuple(flambeau.cat(parts) for parts in zip(state, *reversed(ended)))
    return outputs, state


def _backwards(step: Callable, gates: Sequence[Tensor], state: State, batch_sizes: Sequence[int]) -> tuple[list[Tensor], State]:
    """Steps from last to first; sequences join the batch at their end, with their initial state."""
    outputs: list[Tensor] = []
    size = batch_sizes[-1]
    initial, state = state, tuple(tensor[:size] for tensor in state) if size < batch_sizes[0] else state
    for gate, now in zip(reversed(gates), reversed(batch_sizes)):
        if now > size:
            state, size = tuple(flambeau.cat((tensor, start[size:now])) for tensor, start in zip(state, initial)), now
        state = step(gate, state)
        outputs.append(state[0])
    return outputs[::-1], state


def run(
    mode: str,
    data: Tensor,
    batch_sizes: Sequence[int],
    state: State,
    weights: Sequence[Sequence[Tensor]],
    bias: bool,
    bidirectional: bool,
    dropout_p: float,
) -> tuple[Tensor, State]:
    """Runs all layers.

    Args:
        mode: a key of ``STEPS``.
        data: packed inputs, (sum of ``batch_sizes``, input_size).
        batch_sizes: how many sequences have a t-th element.
        state: (layers · directions, N, hidden_size), the hidden and, for an LSTM, the cell state.
        weights: for each layer and direction W_ih, W_hh, with ``bias`` b_ih, b_hh, and with projections W_hr.
        bias: whether there are biases.
        bidirectional: whether each layer runs in both directions.
        dropout_p: the probability with which the input of all layers but the first is dropped.

    Returns:
        The packed outputs of the last layer, and the final state.
    """
    directions = (_forwards, _backwards) if bidirectional else (_forwards,)
    sizes = list(batch_sizes)
    finals: list[State] = []
    layers = len(weights) // len(directions)
    for layer in range(layers):
        outputs = []
        for way, follow in enumerate(directions):
            position = layer * len(directions) + way
            step, gates = _bind(STEPS[mode], data, weights[position], bias)
            parts, final = follow(step, gates.split(sizes), tuple(tensor[position] for tensor in state), sizes)
            outputs.append(flambeau.cat(parts))
            finals.append(final)
        data = outputs[0] if len(outputs) == 1 else flambeau.cat(outputs, 1)
        if dropout_p > 0.0 and layer < layers - 1:
            data = dropout(data, dropout_p)
    return data, tuple(flambeau.stack(parts) for parts in zip(*finals))


def _bind(step: Callable, data: Tensor, weights: Sequence[Tensor], bias: bool) -> tuple[Callable, Tensor]:
    """The step with its weights, and the part of the gates that depends on the inputs: one product for all steps."""
    own = list(weights)
    w_ih, w_hh = own[:2]
    b_ih, b_hh = own[2:4] if bias else (None, None)
    extra: Iterable[Tensor] = own[4 if bias else 2 :]
    return lambda gate, state: step(gate, state, w_hh, b_hh, *extra), ops.linear(data, w_ih, b_ih)

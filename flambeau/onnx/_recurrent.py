"""Recurrent layers, in ONNX: one operator for each layer of a stack, in both directions if there are two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._moving import sliced
from flambeau.onnx._registry import HANDLERS, handler

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where PyTorch has the gates that ONNX wants: input, output, forget, cell; update, reset, hidden."""


@handler("lstm")
def _lstm(g: Builder, like: Any, input: Value, hx: Sequence[Value], params: Sequence[Value], *options: Any) -> list[Value]:
    return _stack(g, "LSTM", input, list(hx), params, *options)


@handler("gru")
def _gru(g: Builder, like: Any, input: Value, hx: Value, params: Sequence[Value], *options: Any) -> list[Value]:
    return _stack(g, "GRU", input, [hx], params, *options)


@handler("rnn_tanh")
def _rnn_tanh(g: Builder, like: Any, input: Value, hx: Value, params: Sequence[Value], *options: Any) -> list[Value]:
    return _stack(g, "RNN", input, [hx], params, *options)


@handler("rnn_relu")
def _rnn_relu(g: Builder, like: Any, input: Value, hx: Value, params: Sequence[Value], *options: Any) -> list[Value]:
    return _stack(g, "RNN", input, [hx], params, *options, activation="Relu")


def _stack(
    g: Builder, op: str, input: Value, state: list[Value], params: Sequence[Value], has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool, activation: str | None = None,
) -> list[Value]:  # fmt: skip
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    if each != (4 if has_biases else 2):
        raise NotImplementedError("ONNX's LSTM has no projections (proj_size)")
    x = g.transpose(input, [1, 0, 2]) if batch_first else input
    finals: list[list[Value]] = []
    for layer in range(num_layers):
        place = layer * directions
        weights = [params[each * number : each * (number + 1)] for number in range(place, place + directions)]
        before = [_of_layer(g, part, place, directions, num_layers) for part in state]
        x, final = _layer(g, op, x, before, weights, activation)
        finals.append(final)
        if train and dropout and layer < num_layers - 1:
            x = g("Dropout", x, g.number(dropout, flambeau.float32), g.number(True, flambeau.bool), shape=x.shape)
    joined = [
        parts[0] if num_layers == 1 else g("Concat", *parts, shape=(num_layers * directions, *parts[0].shape[1:]), axis=0)
        for parts in zip(*finals)
    ]
    return [g.transpose(x, [1, 0, 2]) if batch_first else x, *joined]


def _of_layer(g: Builder, state: Value, place: int, directions: int, layers: int) -> Value | None:
    """A layer's part of the state that the layers start with; zeros are what ONNX starts with."""
    if state.fill == 0:
        return None
    return state if layers == 1 else sliced(g, state, 0, place, place + directions)


def _layer(
    g: Builder, op: str, x: Value, state: list[Value | None], weights: Sequence[Sequence[Value]], activation: str | None
) -> tuple[Value, list[Value]]:
    """One layer: what it gives for each step, and the last state."""
    directions = len(weights)
    gates = GATES[op]
    w, r = (_joined(g, letter, [direction[number] for direction in weights], gates) for number, letter in enumerate("WR"))
    b = _biases(g, [direction[2:4] for direction in weights], gates) if len(weights[0]) > 2 else None
    length, batch, hidden = x.shape[0], x.shape[1], r.shape[2]
    likes = [Value((length, directions, batch, hidden), x.dtype)] + [Value((directions, batch, hidden), x.dtype)] * len(state)
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if directions == 2 else None}
    if op == "GRU":
        attributes["linear_before_reset"] = 1
    if activation:
        attributes["activations"] = [activation] * directions
    result, *final = g(op, x, w, r, b, None, *state, like=likes, **attributes)
    if directions == 1:
        return g("Squeeze", result, g.axes(1), shape=(length, batch, hidden)), final
    turned = g.transpose(result, [0, 2, 1, 3])
    return g("Reshape", turned, g.integers(0, 0, -1, name="shape"), shape=(length, batch, 2 * hidden)), final


def _joined(g: Builder, letter: str, weights: list[Value], gates: tuple[int, ...]) -> Value:
    """The matrices of both directions, their gates in ONNX's order."""
    name = weights[0].name.replace("weight_ih", "W").replace("weight_hh", "R") or letter
    return _combined(g, name, [weights], gates)


def _biases(g: Builder, biases: list[Sequence[Value]], gates: tuple[int, ...]) -> Value:
    """The biases of input and state, one behind the other, of both directions."""
    name = biases[0][0].name.replace("bias_ih", "B") or "B"
    return _combined(g, name, [[pair[0] for pair in biases], [pair[1] for pair in biases]], gates)


def _combined(g: Builder, name: str, parts: list[list[Value]], gates: tuple[int, ...]) -> Value:
    """Parts with a row for each direction, side by side: a constant, if all of them are."""
    everything = [each for part in parts for each in part]
    if all(each.constant is not None for each in everything):
        make = lambda: flambeau.cat([flambeau.stack([_ordered(each.constant, gates) for each in part]) for part in parts], 1)
        return g.derived(name, everything, make)
    size = parts[0][0].shape[0] // len(gates)
    rows = []
    for part in parts:
        turned = []
        for each in part:
            pieces = [sliced(g, each, 0, gate * size, (gate + 1) * size) for gate in gates]
            whole = pieces[0] if len(pieces) == 1 else g("Concat", *pieces, shape=each.shape, axis=0)
            turned.append(g.unsqueeze(whole, 0))
        rows.append(turned[0] if len(turned) == 1 else g("Concat", *turned, shape=(len(turned), *part[0].shape), axis=0))
    if len(rows) == 1:
        return rows[0]
    return g("Concat", *rows, shape=(rows[0].shape[0], 2 * rows[0].shape[1]), axis=1)


def _ordered(weight: Tensor, gates: tuple[int, ...]) -> Tensor:
    parts = weight.detach().chunk(len(gates))
    return flambeau.cat([parts[gate] for gate in gates])


# -- single steps ----------------------------------------------------------------------------------------------------------


def _cell(op: str, activation: str | None = None) -> Any:
    """A step is a sequence of one."""

    def step(g: Builder, like: Any, input: Value, hx: Any, w_ih: Value, w_hh: Value, *biases: Value) -> Any:
        state = [None if part.fill == 0 else g.unsqueeze(part, 0) for part in (hx if isinstance(hx, (list, tuple)) else [hx])]
        _, final = _layer(g, op, g.unsqueeze(input, 0), state, [[w_ih, w_hh, *biases]], activation)
        results = [g("Squeeze", part, g.axes(0), shape=part.shape[1:]) for part in final]
        return results if isinstance(like, (list, tuple)) else results[0]

    return step


HANDLERS |= {"gru_cell": _cell("GRU"), "lstm_cell": _cell("LSTM"), "rnn_relu_cell": _cell("RNN", "Relu"), "rnn_tanh_cell": _cell("RNN")}

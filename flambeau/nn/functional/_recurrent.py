"""Recurrent networks: layers above each other, in one or both directions."""

from __future__ import annotations

from collections.abc import Sequence

import flambeau
from flambeau._ops import nn as ops
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._dropout import dropout

State = tuple[Tensor, ...]


def run(
    mode: str,
    data: Tensor,
    batch_sizes: Sequence[int],
    state: State | None,
    weights: Sequence[Sequence[Tensor]],
    bias: bool,
    bidirectional: bool,
    dropout_p: float,
) -> tuple[Tensor, State]:
    """Runs all layers.

    Args:
        mode: ``"RNN_TANH"``, ``"RNN_RELU"``, ``"GRU"`` or ``"LSTM"``.
        data: packed inputs, (sum of ``batch_sizes``, input_size).
        batch_sizes: how many sequences have a t-th element.
        state: (layers · directions, N, hidden_size), the hidden and, for an LSTM, the cell state; zeros if it is ``None``.
        weights: for each layer and direction W_ih, W_hh, with ``bias`` b_ih, b_hh, and with projections W_hr.
        bias: whether there are biases.
        bidirectional: whether each layer runs in both directions.
        dropout_p: the probability with which the input of all layers but the first is dropped.

    Returns:
        The packed outputs of the last layer, and the final state.
    """
    directions = (False, True) if bidirectional else (False,)
    sizes = tuple(batch_sizes)
    finals: list[State] = []
    layers = len(weights) // len(directions)
    firsts = None if state is None else list(zip(*[tensor.unbind(0) for tensor in state]))
    for layer in range(layers):
        outputs = []
        for reverse in directions:
            position = layer * len(directions) + reverse
            w_ih, w_hh, *others = weights[position]
            b_ih, b_hh = others[:2] if bias else (None, None)
            projection = others[-1] if len(others) % 2 else None
            gates = ops.linear(data, w_ih, b_ih)  # one product for all steps
            first = None if firsts is None else firsts[position]
            output, final = ops.recurrence(mode, gates, first, w_hh, b_hh, projection, sizes, reverse)
            outputs.append(output)
            finals.append(final)
        data = outputs[0] if len(outputs) == 1 else flambeau.cat(outputs, 1)
        if dropout_p > 0.0 and layer < layers - 1:
            data = dropout(data, dropout_p)
    return data, tuple(flambeau.stack(parts) for parts in zip(*finals))

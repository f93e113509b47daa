"""Recurrent layers and cells as operators: the numbers of the modules, and PyTorch's arguments and results."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.ops import aten

MODES = {
    "gru": (nn.GRU(3, 4), nn.GRUCell(3, 4)),
    "lstm": (nn.LSTM(3, 4), nn.LSTMCell(3, 4)),
    "rnn_relu": (nn.RNN(3, 4, nonlinearity="relu"), nn.RNNCell(3, 4, nonlinearity="relu")),
    "rnn_tanh": (nn.RNN(3, 4), nn.RNNCell(3, 4)),
}


@pytest.mark.parametrize("name", MODES)
def test_the_numbers_of_the_modules(name):
    layer, cell = MODES[name]
    x, hidden = torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    state = [hidden, 2 * hidden] if name == "lstm" else hidden
    output, *final = getattr(aten, name).input(x, state, list(layer.parameters()), True, 1, 0.0, False, False, False)
    expected, last = layer(x, tuple(state) if name == "lstm" else state)
    assert torch.equal(output, expected) and len(final) == (2 if name == "lstm" else 1)
    assert all(map(torch.equal, final, last if name == "lstm" else [last]))

    state = [hidden[0], 2 * hidden[0]] if name == "lstm" else hidden[0]
    found = getattr(aten, f"{name}_cell").default(x[0], state, *cell.parameters())
    expected = cell(x[0], tuple(state) if name == "lstm" else state)
    assert all(map(torch.equal, found, expected)) if name == "lstm" else torch.equal(found, expected)

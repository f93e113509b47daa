"""``torch.ao.nn.quantized.dynamic``: layers with quantized weights, whose inputs are quantized when they come."""

from __future__ import annotations

from flambeau.ao.nn.quantized.dynamic.modules import GRU, LSTM, GRUCell, Linear, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell", "Linear", "RNNCell"]

"""Layers with quantized weights, whose inputs are quantized when they come."""

from __future__ import annotations

from flambeau.ao.nn.quantized.dynamic.modules.linear import Linear as Linear
from flambeau.ao.nn.quantized.dynamic.modules.rnn import GRU as GRU
from flambeau.ao.nn.quantized.dynamic.modules.rnn import LSTM as LSTM
from flambeau.ao.nn.quantized.dynamic.modules.rnn import GRUCell as GRUCell
from flambeau.ao.nn.quantized.dynamic.modules.rnn import LSTMCell as LSTMCell
from flambeau.ao.nn.quantized.dynamic.modules.rnn import RNNCell as RNNCell

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell", "Linear", "RNNCell"]

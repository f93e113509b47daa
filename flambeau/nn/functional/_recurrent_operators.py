"""Recurrent layers and cells as functions of all that they need: PyTorch's operators `aten.lstm.input`, `aten.gru_cell.default` and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau._ops import nn as ops
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._recurrent import run

__all__ = ["CELLS", "LAYERS", "PACKED"]


def _tensors(hx: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _layers(mode: str) -> Callable[..., tuple[Tensor, ...]]:
    def layers(
        input: Tensor, hx: Tensor | Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool = False,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Output and final state: (N, L, input_size) to (N, L, directions · hidden_size) if `batch_first`, else with L first.

        Args:
            hx: the initial state, of an LSTM both tensors of it; an empty list for zeros
            params: of each layer and direction W_ih, W_hh, and the biases, if there are some; a projection behind them
        """
        weights = _by_layer(params, num_layers * (2 if bidirectional else 1))
        steps = input.transpose(0, 1) if batch_first else input
        length, batch = steps.shape[:2]
        state = _tensors(hx) or None
        drop = dropout if train else 0.0
        data, final = run(mode, steps.reshape(length * batch, -1), [batch] * length, state, weights, has_biases, bidirectional, drop)
        output = data.view(length, batch, -1)
        return (output.transpose(0, 1) if batch_first else output, *final)

    return layers


def _packed_layers(mode: str) -> Callable[..., tuple[Tensor, ...]]:
    def layers(
        data: Tensor, batch_sizes: Tensor, hx: Tensor | Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
        train: bool, bidirectional: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """As the layers of batches, for a packed sequence: its data, (positions, input_size), and how many sequences each step has."""
        state = _tensors(hx) or None
        weights = _by_layer(params, num_layers * (2 if bidirectional else 1))
        drop = dropout if train else 0.0
        output, final = run(mode, data, batch_sizes.tolist(), state, weights, has_biases, bidirectional, drop)
        return (output, *final)

    return layers


def _by_layer(params: Sequence[Tensor], count: int) -> list[Sequence[Tensor]]:
    """The weights of each layer and direction."""
    each = len(params) // count
    return [params[position * each : (position + 1) * each] for position in range(count)]


def _cell(mode: str) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    def cell(
        input: Tensor, hx: Tensor | Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """The next state: (N, input_size) and (N, hidden_size) to (N, hidden_size); of an LSTM both tensors of it."""
        state = ops.one_step(mode, ops.linear(input, w_ih, b_ih), _tensors(hx), w_hh, b_hh)
        return tuple(state) if mode == "LSTM" else state[0]

    return cell


LAYERS = {"gru": _layers("GRU"), "lstm": _layers("LSTM"), "rnn_relu": _layers("RNN_RELU"), "rnn_tanh": _layers("RNN_TANH")}
"""Layers by the names of their operators. All of them give a tuple: the output, and the tensors of the state."""

PACKED = {
    "gru": _packed_layers("GRU"), "lstm": _packed_layers("LSTM"), "rnn_relu": _packed_layers("RNN_RELU"), "rnn_tanh": _packed_layers("RNN_TANH"),
}  # fmt: skip
"""Layers of packed sequences, by the same names."""

CELLS = {"gru_cell": _cell("GRU"), "lstm_cell": _cell("LSTM"), "rnn_relu_cell": _cell("RNN_RELU"), "rnn_tanh_cell": _cell("RNN_TANH")}
"""Cells by the names of their operators. They give the state: a tensor, and the LSTM's two."""

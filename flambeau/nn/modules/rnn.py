"""Recurrent layers, and the cells that compute one step."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import flambeau
from flambeau._ops.autocast import low
from flambeau._ops.nn import one_step
from flambeau._tensor.tensor import Tensor
from flambeau.nn import init
from flambeau.nn.functional._linear import linear
from flambeau.nn.functional._recurrent import run
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What :class:`RNN`, :class:`LSTM` and :class:`GRU` share: their weights, and how a batch goes through the layers.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: the weights of the first layer, then those of ``l1`` and so on; those of
            the direction from the end have ``_reverse`` behind. All are drawn from U(-k, k) with k = 1/√hidden_size.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_sizes(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}; use one of {', '.join(_GATES)}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        rows = _GATES[mode] * hidden_size
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                columns = input_size if layer == 0 else self._output_size * self._directions
                shapes = {"weight_ih": (rows, columns), "weight_hh": (rows, self._output_size)}
                if bias:
                    shapes.update(bias_ih=(rows,), bias_hh=(rows,))
                if proj_size > 0:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, Parameter(flambeau.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(names))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        """The size of a hidden state as it leaves a layer."""
        return self.proj_size if self.proj_size > 0 else self.hidden_size

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Does nothing: weights need not lie side by side in memory."""

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, plain in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != plain:
                text += f", {name}={getattr(self, name)}"
        return text

    def _state_sizes(self) -> tuple[int, ...]:
        """The sizes of the tensors that make up the state."""
        return (self._output_size,)

    def _check_input(self, input: Tensor, dims: int) -> None:
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        if input.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}")

    def _initial_state(self, state: tuple[Tensor, ...] | None, batch: int, batched: bool) -> tuple[Tensor, ...] | None:
        """The checked state with which the layers begin, each of its tensors (layers · directions, N, size)."""
        sizes = self._state_sizes()
        layers = self.num_layers * self._directions
        if state is None:
            return None
        dims = 3 if batched else 2
        if any(tensor.dim() != dims for tensor in state):
            found = f"({state[0].dim()}-D, {state[1].dim()}-D) tensors" if len(state) == 2 else f"{state[0].dim()}-D tensor"
            what = "hx and cx" if len(state) == 2 else "hx"
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(f"For {kind} input, {what} should also be {dims}-D but got {found}")
        if not batched:
            state = tuple(tensor.unsqueeze(1) for tensor in state)
        for i, (tensor, size) in enumerate(zip(state, sizes)):
            if tuple(tensor.shape) != (layers, batch, size):
                name = f"hidden[{i}]" if len(sizes) == 2 else "hidden"
                raise RuntimeError(f"Expected {name} size {(layers, batch, size)}, got {list(tensor.shape)}")
        return state

    def _run(self, input: Any, state: tuple[Tensor, ...] | None) -> tuple[Any, tuple[Tensor, ...]]:
        """Output and final state for a padded batch, a single sequence or a packed one."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, state)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        self._check_input(input, 3)
        length, batch = input.shape[:2]
        if length == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        state = self._initial_state(state, batch, batched)
        output, state = self._layers(
            input.reshape(length * batch, -1), [batch] * length, state, casts=self.mode == "LSTM" and not self.proj_size
        )
        output = output.view(length, batch, -1)
        if not batched:
            return output.squeeze(1), tuple(tensor.squeeze(1) for tensor in state)
        return (output.transpose(0, 1) if self.batch_first else output), state

    def _run_packed(self, packed: PackedSequence, state: tuple[Tensor, ...] | None) -> tuple[Any, tuple[Tensor, ...]]:
        self._check_input(packed.data, 2)
        sizes = packed.batch_sizes.tolist()
        if state is not None and packed.sorted_indices is not None:
            state = tuple(tensor.index_select(1, packed.sorted_indices) for tensor in state)
        state = self._initial_state(state, sizes[0], True)
        data, state = self._layers(packed.data, sizes, state)
        if packed.unsorted_indices is not None:
            state = tuple(tensor.index_select(1, packed.unsorted_indices) for tensor in state)
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), state

    def _layers(
        self, data: Tensor, sizes: list[int], state: tuple[Tensor, ...] | None, casts: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output and final state; with ``casts`` all of it is computed in the dtype of a region of automatic casts."""
        dropout, weights = self.dropout if self.training else 0.0, self.all_weights
        if casts:
            (data,), weights = low(data), [list(low(*each)) for each in weights]
            state = None if state is None else low(*state)
        return run(self.mode, data, sizes, state, weights, self.bias, self.bidirectional, dropout)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, state = self._run(input, None if hx is None else (hx,))
        return output, state[0]


def _check_sizes(input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float, proj_size: int) -> None:
    """Checks the arguments of a recurrent layer."""
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:
        raise ValueError(
            f"dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, "
            f"but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value, kind in (
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
        ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero, got {value}")
    if proj_size < 0:
        raise ValueError(f"proj_size should be a positive integer or zero to disable projections, got {proj_size}")
    if proj_size >= hidden_size:
        raise ValueError(f"proj_size (={proj_size}) has to be smaller than hidden_size (={hidden_size})")


class RNN(RNNBase):
    """A recurrent network: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), in several layers (Elman 1990).

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        num_layers: how many layers; each takes the outputs of the one before.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are biases.
        batch_first: whether the batch is the first dimension of input and output, instead of time.
        dropout: the probability with which the input of all layers but the first is dropped in training.
        bidirectional: whether each layer runs from both ends; the two outputs are joined.
        device: where the parameters lie.
        dtype: their dtype.
        proj_size: what only :class:`LSTM` has: a ValueError if given.

    Shape:
        input (L, N, input_size), (L, input_size) or packed; state (layers · directions, N, hidden_size), zeros if left out; output
        (L, N, directions · hidden_size), and the final state.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int | None = None,
    ) -> None:
        if proj_size is not None:
            raise ValueError(f"proj_size argument is only supported for LSTM, not for {type(self).__name__}")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078).

    h_t = (1 - z_t) n_t + z_t h_{t-1} with gates r_t, z_t = σ(W_i x_t + b_i + W_h h_{t-1} + b_h) and
    n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn)). The weights hold the gates r, z, n one below the other.

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        num_layers: how many layers.
        bias: whether there are biases.
        batch_first: whether the batch is the first dimension of input and output, instead of time.
        dropout: the probability with which the input of all layers but the first is dropped in training.
        bidirectional: whether each layer runs from both ends.
        device: where the parameters lie.
        dtype: their dtype.
        proj_size: what only :class:`LSTM` has: a ValueError if given.

    Shape:
        see :class:`RNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int | None = None,
    ) -> None:
        if proj_size is not None:
            raise ValueError(f"proj_size argument is only supported for LSTM, not for {type(self).__name__}")
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997).

    c_t = f_t c_{t-1} + i_t g_t and h_t = o_t tanh(c_t) with i_t, f_t, o_t = σ(…) and g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg).
    The weights hold the gates i, f, g, o one below the other.

    Args:
        input_size: the size of x.
        hidden_size: the size of c, and of h without projections.
        num_layers: how many layers.
        bias: whether there are biases.
        batch_first: whether the batch is the first dimension of input and output, instead of time.
        dropout: the probability with which the input of all layers but the first is dropped in training.
        bidirectional: whether each layer runs from both ends.
        proj_size: if not 0, h is projected to this size (Sak et al. 2014, arXiv:1402.1128).
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        see :class:`RNN`; the state is a pair (h, c).

    Example:
        >>> output, (h, c) = flambeau.nn.LSTM(10, 20, 2)(flambeau.zeros(5, 3, 10))
        >>> output.shape, h.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def _state_sizes(self) -> tuple[int, ...]:
        return self._output_size, self.hidden_size

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        return self._run(input, hx)


class RNNCellBase(Module):
    """The weights of a cell: W_ih, W_hh, b_ih, b_hh, drawn from U(-k, k) with k = 1/√hidden_size."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(flambeau.empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(flambeau.empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(flambeau.empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode: str, input: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, tensor in enumerate(state or ()):
            if tensor.dim() not in (1, 2):
                what = f"hx[{i}]" if len(state) == 2 else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {tensor.dim()}D instead")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.size(-1)} expected {self.input_size}")
        batched = input.dim() == 2
        rows = input if batched else input.unsqueeze(0)
        if state is None:
            zeros = flambeau.zeros(rows.size(0), self.hidden_size, dtype=input.dtype, device=input.device)
            state = (zeros, zeros) if mode == "LSTM" else (zeros,)
        elif not batched:
            state = tuple(tensor.unsqueeze(0) for tensor in state)
        for tensor in state:
            if tuple(tensor.shape) != (rows.size(0), self.hidden_size):
                raise RuntimeError(
                    f"{name}: hidden of shape {tuple(tensor.shape)} does not fit input of shape {tuple(input.shape)}: expected "
                    f"{(rows.size(0), self.hidden_size)}"
                )
        gates = linear(rows, self.weight_ih, self.bias_ih)
        state = one_step(mode, gates, state, self.weight_hh, self.bias_hh)
        return state if batched else tuple(tensor.squeeze(0) for tensor in state)


class RNNCell(RNNCellBase):
    """One step of an :class:`RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        bias: whether there are biases.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        (N, input_size) and (N, hidden_size) to (N, hidden_size), all with or without N.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of an :class:`LSTM`; the state is a pair (h, c), of zeros if it is not given.

    Args:
        input_size: the size of x.
        hidden_size: the size of h and c.
        bias: whether there are biases.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        (N, input_size) and a pair of (N, hidden_size) to a pair of (N, hidden_size), all with or without N.

    Example:
        >>> h, c = flambeau.nn.LSTMCell(10, 20)(flambeau.zeros(3, 10))
        >>> h.shape, c.shape
        (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step("LSTM", input, hx)


class GRUCell(RNNCellBase):
    """One step of a :class:`GRU`; the state h is zeros if it is not given.

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        bias: whether there are biases.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        (N, input_size) and (N, hidden_size) to (N, hidden_size), all with or without N.

    Example:
        >>> flambeau.nn.GRUCell(10, 20)(flambeau.zeros(3, 10)).shape
        torch.Size([3, 20])
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,))[0]

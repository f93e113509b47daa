"""Recurrent layers with weights of 8 bits, whose inputs and states are quantized when they come."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn.quantized.dynamic.modules.linear import require_qint8
from flambeau.ao.nn.quantized.modules.linear import observed
from flambeau.ao.nn.quantized.modules.utils import quantize_weight
from flambeau.ao.tensors.products import Packed, linear_dynamic

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell", "PackedParameter", "RNNBase", "RNNCell", "RNNCellBase"]


_GATES = {"LSTM": 4, "GRU": 3}
"""How many sums a unit of a layer has."""


class CellParameters:
    """The two weights and biases of a layer in one direction, quantized: of its input and of its state.

    Args:
        w_ih, w_hh: (gates * hidden, input) and (gates * hidden, hidden), int8
        b_ih, b_hh: (gates * hidden), float32
    """

    def __init__(self, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> None:
        self.ih = Packed(w_ih, b_ih)
        self.hh = Packed(w_hh, b_hh)

    def __reduce__(self) -> tuple:
        (w_ih, b_ih), (w_hh, b_hh) = self.ih.unpack(), self.hh.unpack()
        return CellParameters, (w_ih, w_hh, b_ih, b_hh)


class PackedParameter(nn.Module):
    """A module around ``CellParameters``, so that a state dictionary has them, under ``param``."""

    def __init__(self, param: CellParameters) -> None:
        super().__init__()
        self.param = param

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "param"] = self.param

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *rest: Any) -> None:
        self.param = state_dict.pop(prefix + "param")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *rest)


def _lstm_step(gates: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, 1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru_step(from_input: Tensor, from_state: Tensor, state: Tensor) -> Tensor:
    ir, iz, inn = from_input.chunk(3, 1)
    hr, hz, hn = from_state.chunk(3, 1)
    reset, update = (hr + ir).sigmoid(), (hz + iz).sigmoid()
    new = (inn + reset * hn).tanh()
    return (state - new) * update + new


class RNNBase(nn.Module):
    """What quantized recurrent layers have in common; the arguments are those of ``nn.LSTM`` and ``nn.GRU``."""

    _FLOAT_MODULE: Any = nn.RNNBase
    _version = 2

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, dtype: DType = flambeau.qint8,
    ) -> None:  # fmt: skip
        super().__init__()
        require_qint8(dtype)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.dtype = dtype
        self.version = 2
        self.training = False
        rows = _GATES[mode] * hidden_size
        parameters = []
        for layer in range(num_layers):
            for _ in range(self._directions):
                width = input_size if layer == 0 else hidden_size * self._directions
                weights = [_quantized(flambeau.randn(rows, each)) for each in (width, hidden_size)]
                biases = [flambeau.randn(rows) if bias else None for _ in range(2)]
                parameters.append(PackedParameter(CellParameters(*weights, *biases)))
        self._all_weight_values = nn.ModuleList(parameters)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _get_name(self) -> str:
        return f"DynamicQuantized{self.mode}"

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"

    def _check(self, input: Any) -> None:
        if not isinstance(input, Tensor):
            raise NotImplementedError(
                f"{self._get_name()}: a packed sequence is not implemented; pad it, torch.nn.utils.rnn.pad_packed_sequence"
            )
        if input.dim() != 3 or input.shape[2] != self.input_size:
            raise RuntimeError(
                f"{self._get_name()}: expected an input (steps, batch, {self.input_size}) of three dimensions, got {list(input.shape)}"
            )

    def _layers(self, input: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        """The outputs (steps, batch, directions * hidden) of the last layer, and the last state of each layer and direction."""
        last = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self._directions):
                number = layer * self._directions + direction
                output, state = self._run(input, states[number], self._all_weight_values[number].param, bool(direction))
                outputs.append(output)
                last.append(state)
            input = outputs[0] if len(outputs) == 1 else flambeau.cat(outputs, 2)
            if self.dropout and self.training and layer < self.num_layers - 1:
                input = nn.functional.dropout(input, self.dropout, True)
        return input, last

    def _run(self, input: Tensor, state: Any, cell: CellParameters, backwards: bool) -> tuple[Tensor, Any]:
        """One layer in one direction. The inputs of all steps are quantized together, the state at each step."""
        steps = linear_dynamic(input, cell.ih, reduce_range=True).unbind(0)
        outputs = []
        for from_input in reversed(steps) if backwards else steps:
            state = self._step(from_input, state, cell)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return flambeau.stack(outputs[::-1] if backwards else outputs), state

    def _step(self, from_input: Tensor, state: Any, cell: CellParameters) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def _begin(self, input: Tensor) -> Tensor:
        batch = input.shape[1]
        return flambeau.zeros(self.num_layers * self._directions, batch, self.hidden_size)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized layer of a float one with a ``qconfig``."""
        from flambeau.ao.quantization.qconfig import default_dynamic_qconfig

        if type(mod) not in (nn.LSTM, nn.GRU) or type(mod).__name__ != cls.__name__:
            raise AssertionError(f"{cls.__name__}.from_float is for nn.{cls.__name__}, got {type(mod).__name__}")
        if getattr(mod, "proj_size", 0):
            raise NotImplementedError("a quantized LSTM with proj_size is not implemented")
        config = getattr(mod, "qconfig", None) or default_dynamic_qconfig
        make: Any = cls
        made = make(mod.input_size, mod.hidden_size, mod.num_layers, mod.bias, mod.batch_first, mod.dropout, mod.bidirectional)
        parameters = []
        for layer in range(mod.num_layers):
            for suffix in ("", "_reverse")[: made._directions]:
                names = (
                    f"weight_ih_l{layer}{suffix}",
                    f"weight_hh_l{layer}{suffix}",
                    f"bias_ih_l{layer}{suffix}",
                    f"bias_hh_l{layer}{suffix}",
                )
                parameters.append(PackedParameter(cell_parameters([getattr(mod, name, None) for name in names], config)))
        made._all_weight_values = nn.ModuleList(parameters)
        return made


def cell_parameters(values: list[Any], config: Any) -> CellParameters:
    """Two weights and two biases, with the weights quantized by ``config.weight``."""
    w_ih, w_hh, b_ih, b_hh = values
    weights = []
    for weight in (w_ih, w_hh):
        observer = config.weight()
        require_qint8(observer.dtype)
        weights.append(quantize_weight(weight, observed(observer, weight)))
    return CellParameters(*weights, *[None if each is None else each.detach().clone() for each in (b_ih, b_hh)])


def _quantized(weight: Tensor) -> Any:
    return flambeau.quantize_per_tensor(weight, 1.0, 0, flambeau.qint8)


class LSTM(RNNBase):
    """``nn.LSTM`` with quantized weights: of float32 inputs and states.

    Example::

        >>> from flambeau.ao.nn.quantized import dynamic
        >>> output, (h, c) = dynamic.LSTM(10, 20, 2)(flambeau.randn(5, 3, 10))
        >>> output.shape, h.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    _FLOAT_MODULE: Any = nn.LSTM

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _step(self, from_input: Tensor, state: Any, cell: CellParameters) -> Any:
        return _lstm_step(linear_dynamic(state[0], cell.hh, reduce_range=True) + from_input, state)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self._check(input)
        input = input.transpose(0, 1) if self.batch_first else input
        h, c = hx if hx is not None else (self._begin(input), self._begin(input))
        output, last = self._layers(input, list(zip(h.unbind(0), c.unbind(0))))
        states = flambeau.stack([state[0] for state in last]), flambeau.stack([state[1] for state in last])
        return output.transpose(0, 1) if self.batch_first else output, states


class GRU(RNNBase):
    """``nn.GRU`` with quantized weights: of float32 inputs and states."""

    _FLOAT_MODULE: Any = nn.GRU

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("GRU", *args, **kwargs)

    def _step(self, from_input: Tensor, state: Any, cell: CellParameters) -> Any:
        return _gru_step(from_input, linear_dynamic(state, cell.hh, reduce_range=True), state)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(input)
        input = input.transpose(0, 1) if self.batch_first else input
        h = hx if hx is not None else self._begin(input)
        output, last = self._layers(input, list(h.unbind(0)))
        return output.transpose(0, 1) if self.batch_first else output, flambeau.stack(last)


class RNNCellBase(nn.Module):
    """What quantized cells have in common: one step of a recurrent layer."""

    _GATES = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DType = flambeau.qint8) -> None:
        super().__init__()
        require_qint8(dtype)
        self.input_size, self.hidden_size, self.bias, self.weight_dtype = input_size, hidden_size, bias, dtype
        rows = self._GATES * hidden_size
        weights = [_quantized(flambeau.randn(rows, each)) for each in (input_size, hidden_size)]
        self._parameters_of_cell = CellParameters(*weights, *[flambeau.zeros(rows) if bias else None for _ in range(2)])

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "_packed_weight_ih"] = self._parameters_of_cell.ih.unpack()
        destination[prefix + "_packed_weight_hh"] = self._parameters_of_cell.hh.unpack()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *rest: Any) -> None:
        (w_ih, b_ih), (w_hh, b_hh) = (state_dict.pop(prefix + name) for name in ("_packed_weight_ih", "_packed_weight_hh"))
        self._parameters_of_cell = CellParameters(w_ih, w_hh, b_ih, b_hh)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *rest)

    def _sums(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if input.dim() != 2 or input.shape[1] != self.input_size:
            raise RuntimeError(f"{self._get_name()}: expected an input (batch, {self.input_size}), got {list(input.shape)}")
        cell = self._parameters_of_cell
        return linear_dynamic(input, cell.ih, reduce_range=True), linear_dynamic(state, cell.hh, reduce_range=True)

    def _begin(self, input: Tensor) -> Tensor:
        return flambeau.zeros(input.shape[0], self.hidden_size)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized cell of a float one with a ``qconfig``."""
        from flambeau.ao.quantization.qconfig import default_dynamic_qconfig

        options = {"nonlinearity": mod.nonlinearity} if isinstance(mod, nn.RNNCell) else {}
        made = cls(mod.input_size, mod.hidden_size, mod.bias, **options)
        config = getattr(mod, "qconfig", None) or default_dynamic_qconfig
        made._parameters_of_cell = cell_parameters([mod.weight_ih, mod.weight_hh, mod.bias_ih, mod.bias_hh], config)
        return made


class LSTMCell(RNNCellBase):
    """``nn.LSTMCell`` with quantized weights."""

    _GATES = 4

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        state = hx if hx is not None else (self._begin(input), self._begin(input))
        from_input, from_state = self._sums(input, state[0])
        return _lstm_step(from_state + from_input, state)


class GRUCell(RNNCellBase):
    """``nn.GRUCell`` with quantized weights."""

    _GATES = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        state = hx if hx is not None else self._begin(input)
        return _gru_step(*self._sums(input, state), state)


class RNNCell(RNNCellBase):
    """``nn.RNNCell`` with quantized weights."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", dtype: DType = flambeau.qint8
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {nonlinearity!r}; use 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        from_input, from_state = self._sums(input, hx if hx is not None else self._begin(input))
        total = from_state + from_input
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()

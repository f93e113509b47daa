"""Layers that call Flambeau's own functions, which no mode is told of: while a program is traced, they call the public ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flambeau
from flambeau._tensor.overriding import STATE
from flambeau.export._tracing import Tracing
from flambeau.nn import functional as F
from flambeau.nn.modules import conv, pooling, rnn
from flambeau.nn.utils.rnn import PackedSequence

__all__ = ["public_layers"]


def _convolution(self: Any, input: Any, weight: Any, bias: Any) -> Any:
    padding = self.padding
    if self.padding_mode != "zeros":
        explicit = self._explicit_padding()
        if explicit is None:
            raise NotImplementedError(f"{self!r} pads by the input's size, which cannot be exported: pad by torch.nn.functional.pad")
        input, padding = F.pad(input, list(explicit), self.padding_mode), 0
    function = conv._FORWARD[self.spatial_dims]
    return function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


def _transposed_convolution(self: Any, input: Any, output_size: Any = None) -> Any:
    if self.padding_mode != "zeros":
        raise NotImplementedError(f"{self!r} cannot be exported: only padding_mode='zeros' is an operator of PyTorch's")
    function = conv._TRANSPOSED[self.spatial_dims]
    output_padding = self._output_padding(input, output_size)
    return function(input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation)


def _max_pool(self: Any, input: Any) -> Any:
    function = getattr(F, f"max_pool{self.spatial_dims}d{'_with_indices' if self.return_indices else ''}")
    return function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


def _avg_pool(self: Any, input: Any) -> Any:
    function = getattr(F, f"avg_pool{self.spatial_dims}d")
    return function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)


def _recurrent(self: Any, input: Any, state: Any) -> Any:
    if isinstance(input, PackedSequence):
        raise NotImplementedError("packed sequences cannot be exported: their lengths are numbers in a tensor. Pad them")
    batched = input.dim() == 3
    if not batched:
        input = input.unsqueeze(0 if self.batch_first else 1)
        state = state and [each.unsqueeze(1) for each in state]
    if state is None:
        state = _zero_state(self, input)
    operator = getattr(flambeau.ops.aten, self.mode.lower()).input
    weights = [weight for layer in self.all_weights for weight in layer]
    output, *final = recorded(
        operator, input, _state(state), weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, self.batch_first
    )  # fmt: skip
    if not batched:
        return output.squeeze(0 if self.batch_first else 1), tuple([each.squeeze(1) for each in final])
    return output, tuple(final)


def _zero_state(self: Any, input: Any) -> tuple[Any, ...]:
    """The state that a recurrent layer starts with if none is given."""
    count = self.num_layers * (2 if self.bidirectional else 1)
    batch = input.size(0 if self.batch_first else 1)
    widths = (self.proj_size or self.hidden_size, self.hidden_size) if self.mode == "LSTM" else (self.hidden_size,)
    return tuple([flambeau.zeros([count, batch, width], dtype=input.dtype) for width in widths])


def _cell(self: Any, mode: str, input: Any, state: Any) -> Any:
    batched = input.dim() == 2
    rows = input if batched else input.unsqueeze(0)
    if state is None:
        zeros = flambeau.zeros(rows.size(0), self.hidden_size, dtype=input.dtype)
        state = (zeros, zeros) if mode == "LSTM" else (zeros,)
    elif not batched:
        state = tuple([each.unsqueeze(0) for each in state])
    operator = getattr(flambeau.ops.aten, f"{mode.lower()}_cell").default
    biases = (self.bias_ih, self.bias_hh) if self.bias else ()
    found = recorded(operator, rows, _state(state), self.weight_ih, self.weight_hh, *biases)
    found = (found,) if isinstance(found, flambeau.Tensor) else found
    return tuple(found) if batched else tuple([each.squeeze(0) for each in found])


def _state(state: Any) -> Any:
    """A state as operators take it: the one tensor of it, or a list of both."""
    return state[0] if len(state) == 1 else list(state)


def recorded(operator: Any, *args: Any) -> Any:
    """Call an operator that no public function is, and let the tracer know of it."""
    mode = STATE.modes[-1] if STATE.modes else None
    if not isinstance(mode, Tracing):
        return operator(*args)
    return mode.call_operator(operator, args)


_METHODS: tuple[tuple[type, str, Callable], ...] = (
    (conv._Conv, "_conv_forward", _convolution),
    (conv._ConvTransposeNd, "forward", _transposed_convolution),
    (pooling._MaxPoolNd, "forward", _max_pool),
    (pooling._AvgPoolNd, "forward", _avg_pool),
    (rnn.RNNBase, "_run", _recurrent),
    (rnn.RNNCellBase, "_step", _cell),
)


_own = [(cls, name, cls.__dict__[name]) for cls, name, _ in _METHODS]
_lock = threading.Lock()
_contexts = 0


@contextmanager
def public_layers() -> Iterator[None]:
    """A context in which these layers call public functions, with the same results, in all threads; several may overlap."""
    _enter(1)
    try:
        yield
    finally:
        _enter(-1)


def _enter(step: int) -> None:
    global _contexts
    with _lock:
        _contexts += step
        for cls, name, method in _METHODS if _contexts else _own:
            setattr(cls, name, method)

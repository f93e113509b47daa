"""PyTorch's operators that nothing else here is called: those that networks are made of below autograd, and their gradients.

They are what modes and classes with a ``__torch_dispatch__`` are told of (``table.py``, ``gradients.py``). Gradients are those of our own operators,
by the same formulas, so that they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._ops import activation, pooling, views
from flambeau._ops.normalization import NORM_INPUT, NORM_WEIGHT
from flambeau._ops.registry import OPERATORS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

Ints = Any


def _formula(name: str, operand: str) -> Callable:
    """The formula of the gradient of an operator's operand."""
    return OPERATORS[name]._formulas[operand][0]


# -- softmax, losses -----------------------------------------------------------------------------------------------------


def _softmax(function: Callable) -> Callable:
    return lambda self, dim, half_to_float: function(self, dim, dtype=dt.float32 if half_to_float else None)


def nll_loss_forward(self: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> tuple:
    """The loss, and the sum of the weights that it was divided by."""
    operands = (self, target) if weight is None else (self, target, weight)
    return OPERATORS["nll_loss"](*operands, statics=(reduction, ignore_index))


def nll_loss_backward(
    grad_output: Any, self: Any, target: Any, weight: Any, reduction: int, ignore_index: int, total_weight: Any
) -> Any:  # fmt: skip
    return _formula("nll_loss", "input")(grad_output, target, weight, total_weight, self.layout.shape, reduction, ignore_index)


# -- activations -----------------------------------------------------------------------------------------------------------


def threshold_backward(grad_output: Any, self: Any, threshold: float) -> Any:
    if threshold == 0:
        return OPERATORS["_relu_backward"](grad_output, self)
    return _formula("threshold", "input")(grad_output, self, threshold)


def leaky_relu_backward(grad_output: Any, self: Any, negative_slope: float, self_is_result: bool) -> Any:
    return _formula("leaky_relu", "input")(grad_output, self, negative_slope)


def gelu_backward(grad_output: Any, self: Any, *, approximate: str = "none") -> Any:
    return _formula("gelu", "input")(grad_output, self, approximate)


# -- convolutions, pooling -----------------------------------------------------------------------------------------------------


def convolution_backward(
    grad_output: Any, input: Any, weight: Any, bias_sizes: Any, stride: Ints, padding: Ints, dilation: Ints, transposed: bool,
    output_padding: Ints, groups: int, output_mask: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The gradients of a convolution by its input, its weight and its bias, as far as they are wanted."""
    name = "conv_transpose" if transposed else "convolution"
    window = (tuple(stride), tuple(padding), tuple(dilation), groups)
    by_input = _formula(name, "input")(grad_output, weight, input.layout.shape, *window) if output_mask[0] else None
    by_weight = _formula(name, "weight")(grad_output, input, weight.layout.shape, *window) if output_mask[1] else None
    return by_input, by_weight, _formula(name, "bias")(grad_output) if output_mask[2] else None


def _max_pool(rank: int) -> Callable:
    def max_pool_with_indices(
        self: Any, kernel_size: Ints, stride: Ints = (), padding: Ints = (0,), dilation: Ints = (1,), ceil_mode: bool = False
    ) -> tuple:
        kernel, *window = (_repeated(each, rank) for each in (kernel_size, stride or kernel_size, padding, dilation))
        return tuple(pooling.max_pool(self, kernel, *window, ceil_mode))

    return max_pool_with_indices


def _max_pool_backward(
    grad_output: Any, self: Any, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool, indices: Any
) -> Any:
    return pooling._scattered(grad_output, self.layout, indices, grad_output.layout.shape[-len(kernel_size) :])


def _avg_pool_backward(
    grad_output: Any,
    self: Any,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Any,
) -> Any:
    rank = len(kernel_size)
    kernel, steps, sides = (_repeated(each, rank) for each in (kernel_size, stride or kernel_size, padding))
    sizes = grad_output.layout.shape[-rank:]
    return _formula("avg_pool", "input")(grad_output, self.layout.shape, kernel, steps, sides, sizes, count_include_pad, divisor_override)


def _repeated(sizes: Ints, rank: int) -> tuple[int, ...]:
    return tuple(sizes) * rank if len(sizes) == 1 else tuple(sizes)


# -- norms ------------------------------------------------------------------------------------------------------------------


def native_layer_norm_backward(
    grad_out: Any, input: Any, normalized_shape: Ints, mean: Any, rstd: Any, weight: Any, bias: Any, output_mask: Any
) -> tuple:
    lead = input.layout.ndim - len(normalized_shape)
    axes = tuple(range(lead, input.layout.ndim))
    statics = (input.layout.shape, axes, axes, True)
    return _norm_gradients(grad_out, input, mean, rstd, weight, statics, tuple(normalized_shape), output_mask)


def native_group_norm_backward(
    grad_out: Any, input: Any, mean: Any, rstd: Any, weight: Any, N: int, C: int, HxW: int, group: int, output_mask: Any
) -> tuple:
    shape = (N, group, C // group, *input.layout.shape[2:])
    statics = (shape, tuple(range(2, len(shape))), (1, 2), True)
    return _norm_gradients(grad_out, input, mean, rstd, weight, statics, (C,), output_mask)


def native_batch_norm_backward(
    grad_out: Any, input: Any, weight: Any, running_mean: Any, running_var: Any, save_mean: Any, save_invstd: Any, train: bool, eps: float,
    output_mask: Any,
) -> tuple:  # fmt: skip
    shape = input.layout.shape
    if train:
        statics = (shape, (0, *range(2, len(shape))), (1,), True)
        return _norm_gradients(grad_out, input, save_mean, save_invstd, weight, statics, (shape[1],), output_mask)
    column = (1, -1, *(1,) * (len(shape) - 2))
    others = (0, *range(2, len(shape)))
    compute = input.layout.dtype.compute
    rstd = (running_var.to(compute) + eps).rsqrt()
    grad = grad_out.to(compute)
    scale = rstd if weight is None else rstd * weight.to(compute)
    by_input = (grad * scale.reshape(column)).to(input.layout.dtype) if output_mask[0] else None
    normal = (input.to(compute) - running_mean.to(compute).reshape(column)) * rstd.reshape(column)
    dtype = input.layout.dtype if weight is None else weight.layout.dtype
    by_weight = (grad * normal).sum(others).to(dtype) if output_mask[1] else None
    return by_input, by_weight, grad.sum(others).to(dtype) if output_mask[2] else None


def _norm_gradients(grad: Any, input: Any, mean: Any, rstd: Any, weight: Any, statics: tuple, parameter: tuple, mask: Any) -> tuple:
    """The gradients of a norm by its input, its weight and its bias, as far as they are wanted."""
    shape, axes, *_ = statics
    left = tuple([size for axis, size in enumerate(shape) if axis not in axes])
    mean, rstd = mean.reshape(left).to(dt.float64), rstd.reshape(left).to(input.layout.dtype.compute)
    dtype = input.layout.dtype if weight is None else weight.layout.dtype
    by_input = by_weight = by_bias = None
    if mask[0]:
        by_input = NORM_INPUT(grad, input, mean, rstd, *(() if weight is None else (weight,)), statics=statics)
    if mask[1] or mask[2]:
        by_weight, by_bias = NORM_WEIGHT(grad, input, mean, rstd, statics=(*statics, parameter, dtype))
    return by_input, by_weight if mask[1] else None, by_bias if mask[2] else None


# -- the rest -----------------------------------------------------------------------------------------------------------------


def embedding_dense_backward(grad_output: Any, indices: Any, num_weights: int, padding_idx: int, scale_grad_by_freq: bool) -> Any:
    weight = lay.contiguous((num_weights, grad_output.layout.shape[-1]), grad_output.layout.dtype)
    return _formula("embedding", "weight")(grad_output, weight, indices, padding_idx, scale_grad_by_freq)


def index_put(self: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy with values written, or added, at indices; ``None`` stands for a dimension that is not indexed."""
    return index_put_(self.clone(), indices, values, accumulate)


def index_put_(self: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    if all(index is not None for index in indices):
        return self.index_put_(tuple(indices), values, accumulate)
    if not accumulate:
        self[tuple(slice(None) if index is None else index for index in indices)] = values
        return self
    axes = tuple([axis for axis, index in enumerate(indices) if index is not None])
    given = [index for index in indices if index is not None]
    return OPERATORS["index_put"].inplace(self, self, values, *given, statics=(axes, accumulate))


def copy(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """What ``copy_`` would make of the tensor."""
    return OPERATORS["copy"](self, src)


def fill(self: Any, value: Any) -> Any:
    """What ``fill_`` would make of the tensor."""
    return OPERATORS["fill"](self, value)


def slice_backward(grad_output: Any, input_sizes: Ints, dim: int, start: int, end: int, step: int) -> Any:
    return views.slice_gradient(grad_output, lay.contiguous(tuple(input_sizes), grad_output.layout.dtype), (dim, start, step))


def select_backward(grad_output: Any, input_sizes: Ints, dim: int, index: int) -> Any:
    index += input_sizes[dim] if index < 0 else 0
    return views.select_gradient(grad_output, lay.contiguous(tuple(input_sizes), grad_output.layout.dtype), (dim, index))


FUNCTIONS: dict[str, Callable] = {
    "_local_scalar_dense": lambda self: self.item(),
    "_log_softmax": _softmax(flambeau.log_softmax),
    "_softmax": _softmax(flambeau.softmax),
    "_unsafe_view": lambda self, size: self.view(size),
    "avg_pool2d_backward": _avg_pool_backward,
    "avg_pool3d_backward": _avg_pool_backward,
    "convolution_backward": convolution_backward,
    "copy": copy,
    "elu": activation.elu,
    "embedding_dense_backward": embedding_dense_backward,
    "fill": fill,
    "gelu_backward": gelu_backward,
    "index_put": index_put,
    "index_put_": index_put_,
    "leaky_relu_backward": leaky_relu_backward,
    "lift_fresh": lambda self: self,
    "max_pool2d_with_indices": _max_pool(2),
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "max_pool3d_with_indices": _max_pool(3),
    "max_pool3d_with_indices_backward": _max_pool_backward,
    "native_batch_norm_backward": native_batch_norm_backward,
    "native_group_norm_backward": native_group_norm_backward,
    "native_layer_norm_backward": native_layer_norm_backward,
    "nll_loss_backward": nll_loss_backward,
    "nll_loss_forward": nll_loss_forward,
    "select_backward": select_backward,
    "sigmoid_backward": lambda grad_output, output: _formula("sigmoid", "input")(grad_output, output),
    "silu_backward": lambda grad_output, self: _formula("silu", "input")(grad_output, self),
    "slice_backward": slice_backward,
    "tanh_backward": lambda grad_output, output: _formula("tanh", "input")(grad_output, output),
    "threshold_backward": threshold_backward,
}
"""By their names."""

"""Layers and what they are made of, in ONNX. Modules that lie deeper than their functional form have handlers by their class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._operators import HANDLERS, handler

MODULES: dict[type, Callable] = {}
"""Handlers by the class of a module; they are given the module after the result."""


def module(*classes: type) -> Callable[[Callable], Callable]:
    """Register a handler of modules."""

    def register(function: Callable) -> Callable:
        for cls in classes:
            MODULES[cls] = function
        return function

    return register


def _all(value: Any, count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value) * (count if len(value) == 1 else 1)


# -- products ----------------------------------------------------------------------------------------------------------


@handler("matmul", "mm", "bmm", "mv")
def _matmul(g: Builder, like: Tensor, input: Value, other: Value) -> Value:
    return g("MatMul", input, other, like=like)


@handler("dot")
def _dot(g: Builder, like: Tensor, input: Value, other: Value) -> Value:
    return g("ReduceSum", g("Mul", input, other, like=input.example), like=like, keepdims=0)


@handler("linear")
def _linear(g: Builder, like: Tensor, input: Value, weight: Value, bias: Value | None = None) -> Value:
    if input.dim == 2:
        return g("Gemm", input, weight, bias, like=like, transB=1)
    product = g("MatMul", input, g.transpose(weight, list(reversed(range(weight.dim)))), like=like)
    return product if bias is None else g("Add", product, bias, like=like)


@handler("addmm")
def _addmm(g: Builder, like: Tensor, input: Value, mat1: Value, mat2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    return g("Gemm", mat1, mat2, input, like=like, alpha=float(alpha), beta=float(beta))


@handler("baddbmm")
def _baddbmm(g: Builder, like: Tensor, input: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    scaled = [
        each if factor == 1 else g("Mul", each, g.number(factor, like.dtype), like=each.example)
        for each, factor in ((input, beta), (g("MatMul", batch1, batch2, like=like), alpha))
    ]
    return g("Add", *scaled, like=like)


@handler("einsum")
def _einsum(g: Builder, like: Tensor, equation: str, *operands: Any) -> Value:
    values = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    return g("Einsum", *values, like=like, equation=equation)


@handler("scaled_dot_product_attention")
def _attention(
    g: Builder, like: Tensor, query: Value, key: Value, value: Value, attn_mask: Value | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Value:  # fmt: skip
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        raise NotImplementedError("attention with shared heads is not exported; repeat the keys and values")
    order = [*range(key.dim - 2), key.dim - 1, key.dim - 2]
    scores_like = query.example @ key.example.mT
    scores = g("MatMul", query, g.transpose(key, order), like=scores_like)
    scores = g("Mul", scores, g.number(1 / math.sqrt(query.shape[-1]) if scale is None else scale, query.dtype), like=scores_like)
    if is_causal:
        attn_mask = g.constant(flambeau.ones(query.shape[-2], key.shape[-2], dtype=flambeau.bool).tril())
    if attn_mask is not None and attn_mask.dtype is flambeau.bool:
        scores = g("Where", attn_mask, scores, g.number(-math.inf, query.dtype), like=scores_like)
    elif attn_mask is not None:
        scores = g("Add", scores, attn_mask, like=scores_like)
    return g("MatMul", g("Softmax", scores, like=scores_like, axis=-1), value, like=like)


# -- convolutions ------------------------------------------------------------------------------------------------------


@module(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv_module(g: Builder, like: Tensor, layer: Any, weight: Value, bias: Value | None, input: Value) -> Value:
    padding = layer.padding
    if layer.padding_mode != "zeros":
        amounts = layer._reversed_padding_repeated_twice
        input = HANDLERS["pad"](g, nn.functional.pad(input.example, amounts, layer.padding_mode), input, amounts, layer.padding_mode)
        padding = 0
    return _conv(g, like, input, weight, bias, layer.stride, padding, layer.dilation, layer.groups)


@handler("conv1d", "conv2d", "conv3d")
def _conv(
    g: Builder,
    like: Tensor,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    count = weight.dim - 2
    strides, dilations = _all(stride, count), _all(dilation, count)
    if isinstance(padding, str):
        total = [0] * count
        if padding == "same":
            sizes = zip(input.shape[-count:], like.shape[-count:], strides, dilations, weight.shape[2:])
            total = [max((out - 1) * step + apart * (width - 1) + 1 - size, 0) for size, out, step, apart, width in sizes]
        pads = [each // 2 for each in total] + [each - each // 2 for each in total]
    else:
        pads = _all(padding, count) * 2
    lone = input.dim == count + 1
    if lone:
        input = g.reshape(input, input.example.unsqueeze(0))
    result = g(
        "Conv", input, weight, bias, like=like.unsqueeze(0) if lone else like, strides=strides, pads=pads, dilations=dilations, group=groups
    )
    return g("Squeeze", result, g.integers(0), like=like) if lone else result


@module(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transpose_module(
    g: Builder, like: Tensor, layer: Any, weight: Value, bias: Value | None, input: Value, output_size: Any = None
) -> Value:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise NotImplementedError("a transposed convolution with a padding mode, or with padding='same', has no operator in ONNX")
    count = weight.dim - 2
    strides, pads, dilations = _all(layer.stride, count), _all(layer.padding, count), _all(layer.dilation, count)
    extra = [
        out - ((size - 1) * step - 2 * pad + apart * (width - 1) + 1)
        for out, size, step, pad, apart, width in zip(like.shape[-count:], input.shape[-count:], strides, pads, dilations, weight.shape[2:])
    ]
    return g(
        "ConvTranspose",
        input,
        weight,
        bias,
        like=like,
        strides=strides,
        pads=pads * 2,
        dilations=dilations,
        group=layer.groups,
        output_padding=extra,
    )


# -- pooling -----------------------------------------------------------------------------------------------------------


@module(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def _max_pool_module(g: Builder, like: Any, layer: Any, input: Value) -> Value:
    if layer.return_indices:
        raise NotImplementedError("max pooling with indices is not exported: ONNX counts them otherwise")
    return _max_pool(g, like, input, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)


@handler("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    g: Builder, like: Tensor, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:  # fmt: skip
    count = input.dim - 2
    return g(
        "MaxPool", input, like=like, kernel_shape=_all(kernel_size, count), strides=_all(kernel_size if stride in (None, ()) else stride, count),
        pads=_all(padding, count) * 2, dilations=_all(dilation, count), ceil_mode=int(ceil_mode),
    )  # fmt: skip


@module(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _avg_pool_module(g: Builder, like: Tensor, layer: Any, input: Value) -> Value:
    return _avg_pool(
        g,
        like,
        input,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.ceil_mode,
        layer.count_include_pad,
        getattr(layer, "divisor_override", None),
    )


@handler("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    g: Builder, like: Tensor, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Value:  # fmt: skip
    if divisor_override is not None:
        raise NotImplementedError("average pooling with a divisor of its own has no operator in ONNX")
    count = input.dim - 2
    return g(
        "AveragePool", input, like=like, kernel_shape=_all(kernel_size, count), strides=_all(kernel_size if stride in (None, ()) else stride, count),
        pads=_all(padding, count) * 2, ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad),
    )  # fmt: skip


def _adaptive(whole: str, part: str) -> Callable:
    def pool(g: Builder, like: Tensor, input: Value, output_size: Any, return_indices: bool = False) -> Value:
        before, behind = input.shape[2:], like.shape[2:]
        if all(size == 1 for size in behind):
            return g(whole, input, like=like)
        if any(size % target for size, target in zip(before, behind)):
            raise NotImplementedError(
                f"adaptive pooling from {list(before)} to {list(behind)} has windows of several sizes, which ONNX has not"
            )
        windows = [size // target for size, target in zip(before, behind)]
        return g(part, input, like=like, kernel_shape=windows, strides=windows)

    return pool


for _count in (1, 2, 3):
    for _kind, _ops in (("avg", ("GlobalAveragePool", "AveragePool")), ("max", ("GlobalMaxPool", "MaxPool"))):
        _pool = HANDLERS[f"adaptive_{_kind}_pool{_count}d"] = _adaptive(*_ops)
        MODULES[getattr(nn, f"Adaptive{_kind.capitalize()}Pool{_count}d")] = lambda g, like, layer, input, pool=_pool: pool(
            g, like, input, layer.output_size
        )

# -- norms -------------------------------------------------------------------------------------------------------------


@handler("batch_norm")
def _batch_norm(
    g: Builder, like: Tensor, input: Value, running_mean: Value | None, running_var: Value | None, weight: Value | None = None, bias: Value | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Value:  # fmt: skip
    if training or running_mean is None or running_var is None:
        raise NotImplementedError("batch normalisation is exported in evaluation mode, with its running statistics")
    ones, zeros = flambeau.ones(input.shape[1], dtype=like.dtype), flambeau.zeros(input.shape[1], dtype=like.dtype)
    scale, shift = weight or g.constant(ones), bias or g.constant(zeros)
    return g("BatchNormalization", input, scale, shift, running_mean, running_var, like=like, epsilon=eps)


@handler("layer_norm")
def _layer_norm(
    g: Builder,
    like: Tensor,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
) -> Value:
    scale = weight or g.constant(flambeau.ones(*normalized_shape, dtype=like.dtype))
    return g("LayerNormalization", input, scale, bias, like=like, axis=-len(normalized_shape), epsilon=eps)


@handler("group_norm")
def _group_norm(
    g: Builder, like: Tensor, input: Value, num_groups: int, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5
) -> Value:
    """Instance normalisation of the groups, then weight and bias: `GroupNormalization` itself changed between opsets."""
    grouped = input.example.reshape(input.shape[0], num_groups, -1)
    ones, zeros = flambeau.ones(num_groups, dtype=like.dtype), flambeau.zeros(num_groups, dtype=like.dtype)
    lying = g("Reshape", input, g.integers(0, num_groups, -1), like=grouped)
    result = g.reshape(g("InstanceNormalization", lying, g.constant(ones), g.constant(zeros), like=grouped, epsilon=eps), like)
    for op, each in (("Mul", weight), ("Add", bias)):
        if each is not None:
            result = g(op, result, g.reshape(each, each.example.reshape(-1, *[1] * (input.dim - 2))), like=like)
    return result


@handler("instance_norm")
def _instance_norm(
    g: Builder, like: Tensor, input: Value, running_mean: Any = None, running_var: Any = None, weight: Value | None = None, bias: Value | None = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Value:  # fmt: skip
    if not use_input_stats:
        return _batch_norm(g, like, input, running_mean, running_var, weight, bias, eps=eps)
    ones, zeros = flambeau.ones(input.shape[1], dtype=like.dtype), flambeau.zeros(input.shape[1], dtype=like.dtype)
    return g("InstanceNormalization", input, weight or g.constant(ones), bias or g.constant(zeros), like=like, epsilon=eps)


@handler("normalize")
def _normalize(g: Builder, like: Tensor, input: Value, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Value:
    length_like = input.example.norm(p, dim, keepdim=True)
    length = HANDLERS["norm"](g, length_like, input, p, dim, True)
    return g("Div", input, g("Clip", length, g.number(eps, like.dtype), like=length_like), like=like)


# -- activations -------------------------------------------------------------------------------------------------------


@handler("silu")
def _silu(g: Builder, like: Tensor, input: Value, inplace: bool = False) -> Value:
    return g("Mul", input, g("Sigmoid", input, like=like), like=like)


@handler("gelu")
def _gelu(g: Builder, like: Tensor, input: Value, approximate: str = "none") -> Value:
    number = lambda value: g.number(value, like.dtype)
    half = g("Mul", input, number(0.5), like=like)
    if approximate == "tanh":
        cube = g("Mul", g("Mul", input, input, like=like), input, like=like)
        inner = g("Add", input, g("Mul", cube, number(0.044715), like=like), like=like)
        curve = g("Tanh", g("Mul", inner, number(math.sqrt(2 / math.pi)), like=like), like=like)
    else:
        curve = g("Erf", g("Mul", input, number(math.sqrt(0.5)), like=like), like=like)
    return g("Mul", half, g("Add", curve, number(1), like=like), like=like)


@handler("leaky_relu")
def _leaky_relu(g: Builder, like: Tensor, input: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return g("LeakyRelu", input, like=like, alpha=negative_slope)


@handler("elu")
def _elu(g: Builder, like: Tensor, input: Value, alpha: float = 1.0, inplace: bool = False) -> Value:
    return g("Elu", input, like=like, alpha=alpha)


@handler("celu")
def _celu(g: Builder, like: Tensor, input: Value, alpha: float = 1.0, inplace: bool = False) -> Value:
    return g("Celu", input, like=like, alpha=alpha)


@handler("selu")
def _selu(g: Builder, like: Tensor, input: Value, inplace: bool = False) -> Value:
    return g("Selu", input, like=like)


@handler("prelu")
def _prelu(g: Builder, like: Tensor, input: Value, weight: Value) -> Value:
    slope = g.reshape(weight, weight.example.reshape(-1, *[1] * (input.dim - 2))) if input.dim > 2 and weight.shape != (1,) else weight
    return g("PRelu", input, slope, like=like)


@handler("hardsigmoid")
def _hardsigmoid(g: Builder, like: Tensor, input: Value, inplace: bool = False) -> Value:
    return g("HardSigmoid", input, like=like, alpha=1 / 6, beta=0.5)


@handler("softplus")
def _softplus(g: Builder, like: Tensor, input: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if beta == 1:
        return g("Softplus", input, like=like)
    scaled = g("Mul", input, g.number(beta, like.dtype), like=like)
    return g("Div", g("Softplus", scaled, like=like), g.number(beta, like.dtype), like=like)


@handler("logsigmoid")
def _logsigmoid(g: Builder, like: Tensor, input: Value) -> Value:
    return g("Log", g("Sigmoid", input, like=like), like=like)


@handler("glu")
def _glu(g: Builder, like: Tensor, input: Value, dim: int = -1) -> Value:
    axis = dim % input.dim
    first, second = g("Split", input, g.integers(like.shape[axis], like.shape[axis]), like=[like, like], axis=axis)
    return g("Mul", first, g("Sigmoid", second, like=like), like=like)


# -- images ------------------------------------------------------------------------------------------------------------


@handler("interpolate", "upsample")
def _interpolate(
    g: Builder, like: Tensor, input: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None, *others: Any,
    **options: Any,
) -> Value:  # fmt: skip
    if mode not in ("nearest", "linear", "bilinear", "trilinear", "bicubic"):
        raise NotImplementedError(f"interpolation of mode {mode!r} has no operator in ONNX")
    nearest = mode == "nearest"
    position = "asymmetric" if nearest else "align_corners" if align_corners else "half_pixel"
    return g(
        "Resize", input, None, None, g.integers(*like.shape), like=like, mode="nearest" if nearest else "cubic" if mode == "bicubic" else "linear",
        coordinate_transformation_mode=position, nearest_mode="floor" if nearest else None, cubic_coeff_a=-0.75 if mode == "bicubic" else None,
    )  # fmt: skip

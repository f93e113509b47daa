"""Products, convolutions, pooling and norms, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau.onnx._creation import filled
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._reductions import reduce
from flambeau.onnx._registry import HANDLERS, handler


def each(value: Any, count: int) -> list[int]:
    """An argument for each spatial dimension."""
    return [value] * count if isinstance(value, int) else list(value) * (count if len(value) == 1 else 1)


# -- products ----------------------------------------------------------------------------------------------------------


@handler("matmul", "mm", "bmm", "mv", "dot", "linalg_matmul", "vdot")
def _matmul(g: Builder, like: Any, input: Value, other: Value) -> Value:
    return g("MatMul", input, other, like=like)


@handler("outer", "ger")
def _outer(g: Builder, like: Any, input: Value, vec2: Value) -> Value:
    return g("Mul", g.unsqueeze(g.value(input, like.dtype), 1), g.value(vec2, like.dtype))


@handler("det", "linalg_det")
def _det(g: Builder, like: Any, input: Value) -> Value:
    return g("Det", input, like=like)


@handler("linear")
def _linear(g: Builder, like: Any, input: Value, weight: Value, bias: Value | None = None) -> Value:
    if input.dim == 2 and weight.dim == 2:
        return g("Gemm", input, weight, bias, like=like, transB=1)
    product = g("MatMul", input, g.transpose(weight, list(reversed(range(weight.dim)))), like=like)
    return product if bias is None else g("Add", product, bias)


@handler("addmm")
def _addmm(g: Builder, like: Any, input: Value, mat1: Value, mat2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    if not like.dtype.is_floating_point:
        return _added(g, like, input, g("MatMul", mat1, mat2, like=like), beta, alpha)
    return g("Gemm", mat1, mat2, input, like=like, alpha=float(alpha), beta=float(beta))


@handler("addmv", "baddbmm")
def _baddbmm(g: Builder, like: Any, input: Value, batch1: Value, batch2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    return _added(g, like, input, g("MatMul", batch1, batch2, like=like), beta, alpha)


@handler("addbmm")
def _addbmm(g: Builder, like: Any, input: Value, batch1: Value, batch2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    product = g("MatMul", batch1, batch2, shape=(batch1.shape[0], *like.shape))
    return _added(g, like, input, reduce(g, "ReduceSum", product, 0, False), beta, alpha)


@handler("addr")
def _addr(g: Builder, like: Any, input: Value, vec1: Value, vec2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    return _added(g, like, input, _outer(g, like, vec1, vec2), beta, alpha)


def _added(g: Builder, like: Any, input: Value, product: Value, beta: Any, alpha: Any) -> Value:
    scaled = [
        value if factor == 1 else g("Mul", value, g.value(factor, like.dtype))
        for value, factor in ((g.value(input, like.dtype), beta), (product, alpha))
        if factor != 0
    ]
    return g("Add", *scaled) if len(scaled) == 2 else g.expand(scaled[0], like)


@handler("einsum")
def _einsum(g: Builder, like: Any, equation: str, *operands: Any) -> Value:
    values = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    return g("Einsum", *values, like=like, equation=equation.replace(" ", ""))


@handler("scaled_dot_product_attention")
def _attention(
    g: Builder, like: Any, query: Value, key: Value, value: Value, attn_mask: Value | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Value:  # fmt: skip
    if dropout_p:
        raise NotImplementedError("attention with dropout is not exported: export the module in evaluation mode")
    if enable_gqa:
        key, value = (_shared_heads(g, each, query.shape[-3]) for each in (key, value))
    width = query.shape[-1]
    if scale is None and not isinstance(width, int):
        raise NotImplementedError("attention whose number of features is not known is exported with a scale only")
    turned = g.transpose(key, [*range(key.dim - 2), key.dim - 1, key.dim - 2])
    scores = g("MatMul", query, turned, shape=(*like.shape[:-2], query.shape[-2], key.shape[-2]))
    scores = g("Mul", scores, g.number(1 / math.sqrt(width) if scale is None else scale, query.dtype))
    if is_causal:
        attn_mask = _causal(g, query, key)
    if attn_mask is not None and attn_mask.dtype is flambeau.bool:
        scores = g("Where", attn_mask, scores, g.number(-math.inf, query.dtype), dtype=query.dtype)
    elif attn_mask is not None:
        scores = g("Add", scores, attn_mask)
    return g("MatMul", g("Softmax", scores, axis=-1), value, like=like)


def _causal(g: Builder, query: Value, key: Value) -> Value:
    shape = (query.shape[-2], key.shape[-2])
    if all(isinstance(size, int) for size in shape):
        return g.constant(flambeau.ones(shape, dtype=flambeau.bool).tril())
    ones = filled(g, Value(shape, flambeau.float32), [g.size(query, -2), g.size(key, -2)], 1)
    return g.value(g("Trilu", ones, shape=shape, upper=0), flambeau.bool)


def _shared_heads(g: Builder, x: Value, heads: Any) -> Value:
    """Each head as often as queries share it."""
    times = heads // x.shape[-3]
    if times == 1:
        return x
    *lead, own, length, width = x.shape
    lying = g.unsqueeze(x, x.dim - 2)
    counts = g.integers(*[1] * len(lead), 1, times, 1, 1)
    repeated = g("Tile", lying, counts, shape=(*lead, own, times, length, width))
    return g.reshape(repeated, Value((*lead, heads, length, width), x.dtype))


# -- convolutions ------------------------------------------------------------------------------------------------------


@handler("conv1d", "conv2d", "conv3d")
def conv(
    g: Builder, like: Any, input: Value, weight: Value, bias: Value | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Value:  # fmt: skip
    count = weight.dim - 2
    strides, dilations = each(stride, count), each(dilation, count)
    kernel = [_known(size) for size in weight.shape[2:]]
    if isinstance(padding, str):
        total = [apart * (width - 1) if padding == "same" else 0 for apart, width in zip(dilations, kernel)]
        pads = [amount // 2 for amount in total] + [amount - amount // 2 for amount in total]
    else:
        pads = each(padding, count) * 2
    convolve = lambda x, result: g(
        "Conv", x, weight, bias, like=result, kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations, group=groups
    )
    return _batched(g, like, input, count + 2, convolve)


def _known(size: Any) -> int:
    if not isinstance(size, int):
        raise NotImplementedError("a kernel whose size is not known is not exported")
    return size


def _batched(g: Builder, like: Any, input: Value, dim: int, function: Callable[[Value, Any], Any]) -> Any:
    """A function of a batch, for one that may be left out."""
    if input.dim == dim:
        return function(input, like)
    wrap = lambda result: Value((1, *result.shape), result.dtype)
    several = isinstance(like, (list, tuple))
    found = function(g.unsqueeze(input, 0), [wrap(result) for result in like] if several else wrap(like))
    results = [g("Squeeze", result, g.axes(0), shape=result.shape[1:]) for result in (found if several else [found])]
    return results if several else results[0]


@handler("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(
    g: Builder, like: Any, input: Value, weight: Value, bias: Value | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1,
) -> Value:  # fmt: skip
    count = weight.dim - 2
    attributes: dict[str, Any] = {
        "kernel_shape": [_known(size) for size in weight.shape[2:]], "strides": each(stride, count), "pads": each(padding, count) * 2,
        "dilations": each(dilation, count), "group": groups, "output_padding": each(output_padding, count),
    }  # fmt: skip
    return _batched(g, like, input, count + 2, lambda x, result: g("ConvTranspose", x, weight, bias, like=result, **attributes))


@handler("convolution", "_convolution")
def _convolution(
    g: Builder, like: Any, input: Value, weight: Value, bias: Value | None, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any,
    groups: int, *others: Any,
) -> Value:  # fmt: skip
    if transposed:
        return conv_transpose(g, like, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(g, like, input, weight, bias, stride, padding, dilation, groups)


# -- pooling -----------------------------------------------------------------------------------------------------------


def _windows(kernel_size: Any, stride: Any, padding: Any, count: int) -> dict[str, list[int]]:
    kernel = each(kernel_size, count)
    strides = kernel if stride in (None, (), []) else each(stride, count)
    return {"kernel_shape": kernel, "strides": strides, "pads": each(padding, count) * 2}


def _max_pool(count: int) -> Callable:
    def pool(
        g: Builder,
        like: Any,
        input: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        attributes: dict[str, Any] = _windows(kernel_size, stride, padding, count)
        attributes |= {"dilations": each(dilation, count), "ceil_mode": int(ceil_mode)}
        results = _batched(g, like, input, count + 2, lambda x, result: g("MaxPool", x, like=result, **attributes))
        return [results[0], _in_plane(g, results[1], input, count)] if isinstance(results, list) else results

    return pool


def _in_plane(g: Builder, places: Value, input: Value, count: int) -> Value:
    """ONNX counts places from the first plane on, PyTorch in each plane."""
    sizes = [g.size(input, axis) for axis in range(input.dim - count, input.dim)]
    plane: Any = sizes[0]
    for size in sizes[1:]:
        plane = plane * size if isinstance(plane, int) and isinstance(size, int) else g.compute("Mul", plane, size)
    return g("Mod", places, g.value(plane, flambeau.int64))


def _avg_pool(count: int) -> Callable:
    def pool(
        g: Builder, like: Any, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:  # fmt: skip
        attributes: dict[str, Any] = _windows(kernel_size, stride, padding, count)
        size = math.prod(attributes["kernel_shape"])
        attributes |= {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad or bool(divisor_override))}
        result = _batched(g, like, input, count + 2, lambda x, result: g("AveragePool", x, like=result, **attributes))
        return g("Mul", result, g.number(size / divisor_override, like.dtype)) if divisor_override else result

    return pool


def _adaptive(count: int, average: bool) -> Callable:
    def pool(g: Builder, like: Any, input: Value, output_size: Any, return_indices: bool = False) -> Any:
        if isinstance(like, (list, tuple)):
            raise NotImplementedError("adaptive pooling with indices has no operator in ONNX")
        targets = list(like.shape[-count:])
        return _batched(g, like, input, count + 2, lambda x, result: _adapted(g, result, x, targets, average))

    return pool


def _adapted(g: Builder, like: Any, x: Value, targets: list[Any], average: bool) -> Value:
    sizes = x.shape[2:]
    if all(target == 1 for target in targets):
        return g("GlobalAveragePool" if average else "GlobalMaxPool", x, like=like)
    pairs = [(size, target) for size, target in zip(sizes, targets)]
    if not all(isinstance(size, int) and isinstance(target, int) for size, target in pairs if size != target):
        raise NotImplementedError(f"adaptive pooling from {list(sizes)} to {targets}: its windows are not known")
    if all(size == target or size % target == 0 for size, target in pairs):
        windows = [1 if size == target else size // target for size, target in pairs]
        if all(window == 1 for window in windows):
            return x
        return g("AveragePool" if average else "MaxPool", x, like=like, kernel_shape=windows, strides=windows)
    for axis, (size, target) in enumerate(pairs, 2):  # windows of several sizes, one dimension after the other
        if size != target:
            x = _averaged(g, x, axis, target) if average else _largest(g, x, axis, target)
    return x


def _bounds(size: int, target: int) -> list[tuple[int, int]]:
    return [(place * size // target, -(-(place + 1) * size // target)) for place in range(target)]


def _averaged(g: Builder, x: Value, axis: int, target: int) -> Value:
    """A product with a matrix whose rows average windows."""
    size = x.shape[axis]
    matrix = flambeau.zeros(target, size, dtype=x.dtype)
    for row, (start, end) in enumerate(_bounds(size, target)):
        matrix[row, start:end] = 1 / (end - start)
    last = x.dim - 1
    order = [*[each for each in range(x.dim) if each != axis], axis]
    turned = g.transpose(x, order)
    shape = (*turned.shape[:-1], target)
    found = g("MatMul", turned, g.constant(matrix.t().contiguous()), shape=shape)
    return g.transpose(found, [order.index(each) for each in range(last + 1)])


def _largest(g: Builder, x: Value, axis: int, target: int) -> Value:
    """The largest of windows, of which short ones have their last element twice."""
    bounds = _bounds(x.shape[axis], target)
    width = max(end - start for start, end in bounds)
    places = flambeau.tensor([[min(start + step, end - 1) for step in range(width)] for start, end in bounds])
    windows = g("Gather", x, g.constant(places), shape=(*x.shape[:axis], target, width, *x.shape[axis + 1 :]), dtype=x.dtype, axis=axis)
    return reduce(g, "ReduceMax", windows, axis + 1, False)


for _count in (1, 2, 3):
    HANDLERS[f"max_pool{_count}d"] = HANDLERS[f"max_pool{_count}d_with_indices"] = _max_pool(_count)
    HANDLERS[f"avg_pool{_count}d"] = _avg_pool(_count)
    HANDLERS[f"adaptive_avg_pool{_count}d"] = HANDLERS[f"_adaptive_avg_pool{_count}d"] = _adaptive(_count, True)
    HANDLERS[f"adaptive_max_pool{_count}d"] = _adaptive(_count, False)


@handler("nn.functional.local_response_norm")
def _local_response_norm(g: Builder, like: Any, input: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Value:
    """ONNX's windows are PyTorch's for odd sizes, where even ones lie one channel further in front; runtimes have it for images only."""
    if size % 2 and input.dim == 4:
        return g("LRN", input, like=like, size=size, alpha=float(alpha), beta=float(beta), bias=float(k))
    lying = g(
        "Reshape",
        g.unsqueeze(g("Mul", input, input), 1),
        g.integers(0, 0, 0, -1, name="shape"),
        shape=(input.shape[0], 1, input.shape[1], "?"),
    )
    pads = [size // 2, 0, (size - 1) // 2, 0]
    means = g("AveragePool", lying, like=lying, kernel_shape=[size, 1], strides=[1, 1], pads=pads, count_include_pad=1)
    scale = g("Add", g("Mul", means, g.number(alpha, like.dtype)), g.number(k, like.dtype))
    shaped = g("Reshape", g("Pow", scale, g.number(beta, like.dtype)), g.sizes(input), like=like)
    return g("Div", input, shaped)


# -- norms -------------------------------------------------------------------------------------------------------------


@handler("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(
    g: Builder, like: Any, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None, running_var: Value | None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *others: Any,
) -> Value:  # fmt: skip
    if training or running_mean is None or running_var is None:
        return _normalized(g, input, [axis for axis in range(input.dim) if axis != 1], weight, bias, eps)
    scale, shift = _scale_and_shift(g, weight, bias, input.shape[1], like.dtype)
    return g("BatchNormalization", input, scale, shift, running_mean, running_var, like=like, epsilon=eps)


def _scale_and_shift(g: Builder, weight: Value | None, bias: Value | None, count: Any, dtype: flambeau.dtype) -> tuple[Value, Value]:
    ones, zeros = flambeau.ones(count, dtype=dtype), flambeau.zeros(count, dtype=dtype)
    return weight or g.constant(ones), bias or g.constant(zeros)


def _normalized(g: Builder, x: Value, dims: list[int], weight: Value | None, bias: Value | None, eps: float) -> Value:
    """With the mean and the variance of some dimensions taken out, then weight and bias of each channel."""
    centred = g("Sub", x, reduce(g, "ReduceMean", x, dims, True))
    variance = reduce(g, "ReduceMean", g("Mul", centred, centred), dims, True)
    result = g("Div", centred, g("Sqrt", g("Add", variance, g.number(eps, x.dtype))))
    return _affine(g, result, weight, bias)


def _affine(g: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    for op, channels in (("Mul", weight), ("Add", bias)):
        if channels is not None:
            x = g(op, x, g.unsqueeze(channels, *range(1, x.dim - 1)))
    return x


@handler("layer_norm")
def _layer_norm(
    g: Builder, like: Any, input: Value, normalized_shape: Sequence[int], weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5, *others: Any
) -> Value:  # fmt: skip
    sizes = input.shape[-len(normalized_shape) :]
    if weight is None and not all(isinstance(size, int) for size in sizes):
        weight = g.number(1, like.dtype)
    scale = weight or g.constant(flambeau.ones(*sizes, dtype=like.dtype))
    return g("LayerNormalization", input, scale, bias, like=like, axis=-len(normalized_shape), epsilon=eps)


@handler("rms_norm")
def _rms_norm(
    g: Builder, like: Any, input: Value, normalized_shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    epsilon = flambeau.finfo(input.dtype).eps if eps is None else eps
    if g.version >= 23:
        scale = weight or g.constant(flambeau.ones(*input.shape[-len(normalized_shape) :], dtype=like.dtype))
        return g("RMSNormalization", input, scale, like=like, axis=-len(normalized_shape), epsilon=epsilon)
    dims = list(range(input.dim - len(normalized_shape), input.dim))
    mean = reduce(g, "ReduceMean", g("Mul", input, input), dims, True)
    result = g("Div", input, g("Sqrt", g("Add", mean, g.number(epsilon, like.dtype))))
    return result if weight is None else g("Mul", result, weight)


@handler("group_norm")
def _group_norm(
    g: Builder, like: Any, input: Value, num_groups: int, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5, *others: Any
) -> Value:  # fmt: skip
    """Before version 21, whose weights are of channels: instance normalisation of the groups, then weight and bias."""
    if g.version >= 21:
        scale, shift = _scale_and_shift(g, weight, bias, input.shape[1], like.dtype)
        return g("GroupNormalization", input, scale, shift, like=like, num_groups=num_groups, epsilon=eps)
    scale, shift = _scale_and_shift(g, None, None, num_groups, like.dtype)
    lying = g("Reshape", input, g.integers(0, num_groups, -1, name="shape"), shape=(input.shape[0], num_groups, "?"))
    result = g("InstanceNormalization", lying, scale, shift, like=lying, epsilon=eps)
    whole = g("Reshape", result, g.sizes(input), like=like)
    return _affine(g, whole, weight, bias)


@handler("instance_norm")
def _instance_norm(
    g: Builder, like: Any, input: Value, weight: Value | None, bias: Value | None, running_mean: Any, running_var: Any, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5, *others: Any,
) -> Value:  # fmt: skip
    if not use_input_stats:
        return _batch_norm(g, like, input, weight, bias, running_mean, running_var, eps=eps)
    scale, shift = _scale_and_shift(g, weight, bias, input.shape[1], like.dtype)
    return g("InstanceNormalization", input, scale, shift, like=like, epsilon=eps)

"""Rules for products and what is made of them: matrices, convolutions, norms, attention.

Where only one operand differs from sample to sample, the samples are more rows (or columns, channels, images) of one large product.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops.batching.call import Call, with_ones
from flambeau._ops.matrix import BMM, LINEAR, matmul
from flambeau._ops.views import expand, permute, reshape, transpose, unsqueeze
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def moved(tensor: Tensor, source: int, target: int) -> Tensor:
    """The view with one dimension somewhere else."""
    order = list(range(tensor.layout.ndim))
    order.insert(target, order.pop(source))
    return permute(tensor, *order)


def fold(samples: Tensor, axis: int) -> Tensor:
    """``(B, *shape)`` with the samples as the outer part of dimension ``axis`` of one sample."""
    shape = samples.layout.shape
    front = moved(samples, 0, axis)
    return reshape(front, *shape[1 : axis + 1], shape[0] * shape[axis + 1], *shape[axis + 2 :])


def unfold(folded: Tensor, axis: int, size: int) -> Tensor:
    """What ``fold`` has folded."""
    shape = folded.layout.shape
    return moved(reshape(folded, *shape[:axis], size, shape[axis] // size, *shape[axis + 1 :]), axis, 0)


# -- matrices ------------------------------------------------------------------------------------------------------------


def _rows(samples: Tensor) -> Tensor | None:
    """``(B, n, k)`` as ``(B * n, k)``, if that needs no copy."""
    size, rows, width = samples.layout.shape
    return None if lay.view_strides(samples.layout, (size * rows, width)) is None else reshape(samples, size * rows, width)


def bmm(call: Call) -> Tensor:
    a, b = call.values
    if call.ndim(0) == 2 and call.held[0] is not call.held[1]:
        rows = _rows(a) if call.held[0] else _rows(transpose(b, 1, 2))
        if rows is not None:
            other = b if call.held[0] else transpose(a, 0, 1)
            result = reshape(
                BMM(rows, other), call.size, (a if call.held[0] else transpose(b, 1, 2)).layout.shape[1], other.layout.shape[1]
            )
            return result if call.held[0] else transpose(result, 1, 2)
    return call(call.all(0), call.all(1))


def by_vector(call: Call) -> Tensor:
    """Of ``mv`` and ``dot``: samples of vectors are rows of a matrix, and samples of matrices more rows, or a batch."""
    input, vec = call.values
    if not call.held[1]:
        return matmul(input, vec)
    if not call.held[0]:
        return matmul(vec, input if call.ndim(0) == 1 else transpose(input, 0, 1))
    rows = input if call.ndim(0) == 2 else unsqueeze(input, 1)
    return reshape(BMM(rows, unsqueeze(vec, 2)), call.size, *call.layouts[0].shape)


def sum_of_products(call: Call) -> Tensor:
    added = [call.aligned(3, call.ndim(0)), call.values[4]] if len(call.values) > 3 else []
    return call(call.all(0), call.all(1), call.values[2], *added)


def linear(call: Call) -> Tensor:
    input, weight, *bias = call.values
    lead = call.operands[0].layout.shape[:-1]
    if not call.held[1]:
        if not bias or not call.held[2]:
            return call(*call.values)
        return LINEAR(input, weight) + with_ones(bias[0], len(lead) + 1)
    features, width = weight.layout.shape[1:]
    if not call.held[0]:
        wide = LINEAR(input, reshape(weight, call.size * features, width))
        result = moved(reshape(wide, *lead, call.size, features), len(lead), 0)
    else:
        product = BMM(reshape(input, call.size, prod(lead), width), transpose(weight, 1, 2))
        result = reshape(product, call.size, *lead, features)
    return result + call.aligned(2, len(lead) + 1) if bias else result


# -- convolutions --------------------------------------------------------------------------------------------------------


def convolution(call: Call) -> Tensor:
    """More images where the weight is the same for all samples, more channels of the result where the input is, else more groups."""
    input, weight, *bias = call.values
    size, spatial = call.size, (1,) * len(call.stride)
    if not call.held[1]:
        own = bias if bias and not call.held[2] else []
        if call.held[0]:
            result = unfold(call(fold(input, 0), weight, *own, statics=call.statics), 0, size)
        else:
            result = call(input, weight, statics=call.statics)
        return result if own or not bias else result + reshape(bias[0], size, 1, -1, *spatial)
    if not call.held[0] and call.groups == 1:
        axis = 1 if call.op.name == "conv_transpose" else 0
        result = call(input, fold(weight, axis), statics=call.statics)
    else:
        statics = call.changed(groups=call.groups * size)
        result = call(fold(call.all(0), 1), fold(weight, 0), statics=statics)
    result = unfold(result, 1, size)
    return result + reshape(call.all(2), size, 1, -1, *spatial) if bias else result


def convolution_weight(call: Call) -> Tensor:
    grad, input = call.values
    if call.groups == 1 and not call.held[1]:
        return unfold(call(fold(grad, 1), input, statics=call.statics), 0, call.size)
    if call.groups == 1 and not call.held[0]:
        return unfold(call(grad, fold(input, 1), statics=call.statics), 1, call.size)
    statics = call.changed(groups=call.groups * call.size)
    return unfold(call(fold(call.all(0), 1), fold(call.all(1), 1), statics=statics), 0, call.size)


# -- norms ---------------------------------------------------------------------------------------------------------------


def norm(call: Call) -> Any:
    """One more axis, which is no axis of the statistics; weight and bias have it if they differ."""
    input, eps, *affine = call.values
    own = any(call.held[2:])
    parameters = [call.all(position) for position in range(2, 2 + len(affine))] if own else affine
    return call(call.all(0), eps, *parameters, statics=_norm_statics(call, own))


def norm_input(call: Call) -> Any:
    own = any(call.held[4:])
    operands = [call.all(position) for position in range(4)]
    return call(*operands, *([call.all(4)] if own else call.values[4:]), statics=_norm_statics(call, own))


def norm_weight(call: Call) -> Any:
    statics = (*_norm_statics(call, True)[:4], (call.size, *call.parameter), call.dtype)
    return call(*[call.all(position) for position in range(4)], statics=statics)


def _norm_statics(call: Call, own: bool) -> tuple:
    axes, affine = (tuple([axis + 1 for axis in each]) for each in (call.axes, call.affine))
    return call.changed(shape=(call.size, *call.shape), axes=axes, affine=(0, *affine) if own else affine)


# -- attention -----------------------------------------------------------------------------------------------------------


def attention(call: Call) -> Any:
    """More sequences; the statistics have a dimension before those."""
    if call.ndim(0) != 4:
        return None
    operands = [*[fold(call.all(position), 0) for position in range(3)], *_mask(call, 3)]
    output, statistics = call(*operands, statics=call.statics)
    return unfold(output, 0, call.size), unfold(statistics, 1, call.size)


def attention_backward(call: Call) -> Any:
    if call.ndim(0) != 4:
        return None
    operands = [fold(call.all(position), 1 if position == 5 else 0) for position in range(6)]
    results = call(*operands, *_mask(call, 6), statics=call.statics)
    return tuple([unfold(each, 0, call.size) for each in results])


def _mask(call: Call, position: int) -> list[Any]:
    """The mask, if there is one, for the sequences of all samples."""
    if len(call.values) <= position:
        return []
    mask = with_ones(call.all(position), 4)
    return [fold(expand(mask, call.size, call.operands[0].layout.shape[0], *mask.layout.shape[2:]), 0)]


# -- recurrent networks ----------------------------------------------------------------------------------------------------


def recurrence(call: Call) -> Any:
    """More sequences, where all have the same length and the weights are the same."""
    if any(call.held[position] for position in range(len(call.values)) if position not in (0, 2)) or len(set(call.sizes)) > 1:
        return None
    results = call(_steps(call, 0), call.values[1], fold(call.all(2), 1), *call.values[3:], statics=_more_sequences(call))
    return tuple([_unstepped(call, each, layout) for each, layout in zip(results, call.layouts, strict=True)])


def recurrence_backward(call: Call) -> Any:
    if call.held[1] or len(set(call.sizes)) > 1:
        return None
    saved = _sequences(call, 3)
    results = call(_steps(call, 0), call.values[1], fold(call.all(2), 1), saved, statics=_more_sequences(call))
    return tuple([_unstepped(call, each, layout) for each, layout in zip(results, call.layouts, strict=True)])


def _more_sequences(call: Call) -> tuple:
    return call.changed(sizes=tuple([count * call.size for count in call.sizes]))


def _steps(call: Call, position: int) -> Tensor:
    """``(B, steps * N, width)`` as ``(steps * B * N, width)``."""
    samples = call.all(position)
    width = samples.layout.shape[-1]
    return reshape(moved(reshape(samples, call.size, len(call.sizes), call.sizes[0], width), 0, 1), -1, width)


def _sequences(call: Call, position: int) -> Tensor:
    """As ``_steps``, with a dimension before the steps."""
    samples = call.all(position)
    parts, width = samples.layout.shape[1], samples.layout.shape[-1]
    split = reshape(samples, call.size, parts, len(call.sizes), call.sizes[0], width)
    return reshape(moved(split, 0, 2), parts, -1, width)


def _unstepped(call: Call, result: Tensor, layout: lay.Layout) -> Tensor:
    """A result with the dimension of samples in front: of rows of all steps, of parts of them, or of states."""
    count, steps = call.sizes[0], len(call.sizes)
    rows, width = layout.shape[-2:]
    lead = layout.shape[:-2]
    if rows == count * steps:
        return reshape(moved(reshape(result, *lead, steps, call.size, count, width), len(lead) + 1, 0), call.size, *layout.shape)
    return unfold(result, len(lead), call.size)


RULES = {
    "addmm": sum_of_products, "baddbmm": sum_of_products, "bmm": bmm, "conv_transpose": convolution, "convolution": convolution, "convolution_weight": convolution_weight, "dot": by_vector, "linear": linear, "mv": by_vector, "native_norm": norm,
    "scaled_dot_product_attention": attention, "_norm_input_backward": norm_input, "_norm_weight_backward": norm_weight, "_recurrence": recurrence,
    "_recurrence_backward": recurrence_backward, "_scaled_dot_product_attention_backward": attention_backward,
}  # fmt: skip

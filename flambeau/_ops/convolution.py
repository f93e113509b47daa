"""Convolutions of any number of dimensions: forward, its two adjoints, and so every gradient of every one of them.

With ``o`` a position of the output, ``k`` a place in the kernel and ``i = o * stride + k * dilation - padding`` a position of the input,
three sums over the same triples ``(o, k, i)``, each linear in both operands:

- ``CONV``          ``out[n, c, o] = sum over d, k of  weight[c, d, k] * input[n, d, i]``
- ``CONV_INPUT``    ``out[n, d, i] = sum over c, k of  weight[c, d, k] * input[n, c, o]`` (transposed convolution)
- ``CONV_WEIGHT``   ``out[c, d, k] = sum over n, o of  grad[n, c, o] * input[n, d, i]``

The gradient of each is the other two, so that they can be differentiated as often as one likes.

``CONV_INPUT`` is computed for each phase of the result (``(i + padding) mod stride``) by itself: the kernel places that reach a phase form
a smaller dense kernel, so no multiplication by an inserted zero is made.

Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.Conv2d.html; V. Dumoulin and F. Visin, "A guide to convolution arithmetic
for deep learning", arXiv:1603.07285.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import TYPE_CHECKING

from flambeau._ops.copying import channels_last, channels_last_3d, contiguous_format
from flambeau._ops.elementwise import conj
from flambeau._ops.operator import Operator
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph, Node
    from flambeau._tensor.tensor import Tensor

Ints = tuple[int, ...]

STATICS = ("stride", "padding", "dilation", "groups", "sizes")
"""``sizes`` are the spatial sizes of the result; of ``CONV_WEIGHT`` those of the kernel."""

# -- shapes ----------------------------------------------------------------------------------------------------------


def output_sizes(sizes: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Ints:
    """``floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1`` for each dimension."""
    return tuple(
        (size + 2 * pad - spread * (places - 1) - 1) // step + 1
        for size, places, step, pad, spread in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )


def transposed_sizes(sizes: Ints, kernel: Ints, stride: Ints, padding: Ints, output_padding: Ints, dilation: Ints) -> Ints:
    """``(size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1`` for each dimension."""
    return tuple(
        (size - 1) * step - 2 * pad + spread * (places - 1) + extra + 1
        for size, places, step, pad, extra, spread in zip(sizes, kernel, stride, padding, output_padding, dilation, strict=True)
    )


def _format(*operands: Layout) -> object:
    """channels_last if the input or the weight asks for it, else contiguous."""
    for operand in operands:
        preferred = {4: channels_last, 5: channels_last_3d}.get(operand.ndim)
        if preferred is not None and preferred.matches(operand) and not operand.contiguous:
            return preferred
    return contiguous_format


def _letters(rank: int) -> str:
    return "DHW"[3 - rank :]


def _check(
    name: str,
    input: Layout,
    weight: Layout,
    bias: Layout | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    transposed: bool,
) -> None:
    """Check everything that the shapes of a convolution must satisfy, but for the size of the output."""
    rank = weight.ndim - 2
    if input.ndim != weight.ndim:
        raise RuntimeError(
            f"{name}: expected an input of {weight.ndim} dimensions (N, C, {', '.join(_letters(rank))}) for a weight of shape {weight.shape}, "
            f"but got an input of shape {input.shape}"
        )
    for what, values, least in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)):
        if len(values) != rank:
            raise RuntimeError(f"{name}: {what} must have {rank} elements, one for each spatial dimension, but got {values}")
        if any(value < least for value in values):
            raise RuntimeError(f"{name}: {what} must be at least {least}, but got {values} (non-positive {what} is not supported)")
    if groups <= 0:
        raise RuntimeError(f"{name}: groups must be positive, but got {groups}")
    dtypes = [operand.dtype for operand in (input, weight, bias) if operand is not None]
    if any(dtype is not dtypes[0] for dtype in dtypes):
        raise RuntimeError(
            f"{name}: Input type ({input.dtype!r}), weight type ({weight.dtype!r}) and bias type should be the same, but got {dtypes}"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"{name}: the first dimension of weight {weight.shape} (={weight.shape[0]}) must be divisible by groups (={groups})"
        )
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    if input.shape[1] != channels:
        takes = f"{channels}" if transposed or groups == 1 else f"{weight.shape[1]} * groups (={groups}) = {channels}"
        raise RuntimeError(
            f"{name}: input of shape {input.shape} has {input.shape[1]} channels, but weight of shape {weight.shape} takes {takes}"
        )
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (outputs,):
        raise RuntimeError(f"{name}: bias of shape {bias.shape} must have shape ({outputs},), a number for each output channel")


def _check_output(name: str, sizes: Ints, outputs: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> None:
    for axis, output in enumerate(outputs):
        if output <= 0:
            letter = _letters(len(outputs))[axis]
            size, places, step, pad, spread = sizes[axis], kernel[axis], stride[axis], padding[axis], dilation[axis]
            raise RuntimeError(
                f"{name}: the output would be empty: {letter}_out = floor(({letter} + 2*padding - dilation*(kernel - 1) - 1) / stride) + 1 = "
                f"floor(({size} + 2*{pad} - {spread}*({places} - 1) - 1) / {step}) + 1 = {output}; "
                f"an input {letter} of at least {max(spread * (places - 1) + 1 - 2 * pad, 1)} fits. (Kernel size can't be greater than actual input size)"
            )


def _infer_conv(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    sizes = statics[4]
    return _format(input, weight).layout(lay.contiguous((input.shape[0], weight.shape[0], *sizes), input.dtype))  # type: ignore[attr-defined]


def _infer_input(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    groups, sizes = statics[3:]
    return _format(input, weight).layout(lay.contiguous((input.shape[0], weight.shape[1] * groups, *sizes), input.dtype))  # type: ignore[attr-defined]


def _infer_weight(operands: tuple, statics: tuple) -> Layout:
    grad, input = operands
    groups, sizes = statics[3:]
    return _format(grad, input).layout(lay.contiguous((grad.shape[1], input.shape[1] // groups, *sizes), input.dtype))  # type: ignore[attr-defined]


# -- lowering --------------------------------------------------------------------------------------------------------


def _innermost(layout: Layout) -> bool:
    """Whether a result has its channels innermost in memory."""
    return not layout.contiguous


def _with_bias(graph: Graph, result: Node, operands: list[Node], layout: Layout) -> Node:
    """Add the bias (in the compute dtype) and round."""
    if len(operands) == 3:
        bias = graph.wide(operands[2])
        for _ in range(layout.ndim - 2):
            bias = bias.unsqueeze(bias.ndim)
        result = result + bias
    return graph.cast(result, layout.dtype)


def _dtype(operands: list[Node], layout: Layout) -> object:
    """What the sum of products is rounded to: the result's dtype, unless a bias is still to be added."""
    return layout.dtype.compute if len(operands) == 3 else layout.dtype


def _correlate(graph: Graph, windows: Node, weight: Node, rank: int, groups: int, innermost: bool, dtype: object) -> Node:
    """``(N, C_out, *o)`` from windows ``(N, C_in, *o, *k)`` and a weight ``(C_out, C_in / groups, *k)``."""
    batch, _, *outputs = windows.shape[: 2 + rank]
    channels = weight.shape[0]
    x = windows.split_axis(1, groups)  # N, g, d, *o, *k
    w = weight.split_axis(0, groups)  # g, c, d, *k
    place, kernel = range(3, 3 + rank), range(3 + rank, 3 + 2 * rank)
    if innermost:  # the lanes are channels
        a = x.permute([1, 0, *place, 2, *kernel])
        b = w.permute([0, *range(2, 3 + rank), 1])
        order = [*range(1, 2 + rank), 0, 2 + rank]
        result = graph.contract(a, b, batch=1, m=1 + rank, k=1 + rank, dtype=dtype, order=order)  # g, N, *o, c
        return result.permute([1, 0, 2 + rank, *range(2, 2 + rank)]).reshape((batch, channels, *outputs))
    b = x.permute([1, 2, *kernel, 0, *place])
    result = graph.contract(w, b, batch=1, n=1 + rank, k=1 + rank, dtype=dtype, order=[2, 0, 1, *range(3, 3 + rank)])  # g, c, N, *o
    return result.permute([2, 0, 1, *range(3, 3 + rank)]).reshape((batch, channels, *outputs))


def _lower_conv(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    input, weight = operands[:2]
    rank = len(stride)
    windows = graph.windows(input, range(2, 2 + rank), weight.shape[2:], stride, padding, dilation, sizes)
    result = _correlate(graph, windows, weight, rank, groups, _innermost(layouts[0]), _dtype(operands, layouts[0]))
    return _with_bias(graph, result, operands, layouts[0])


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[int, int, int, int, int, int]]:
    """How one dimension of a transposed convolution falls into phases.

    For each: the first position and how many (every ``stride``-th), the first kernel place and how many (every ``stride / gcd``-th), and the input
    position that the first of both pairs with; it falls by ``dilation / gcd`` with each further kernel place.
    """
    common = gcd(stride, dilation)
    found = []
    for first in range(min(stride, size)):
        count = -(-(size - first) // stride)
        start = next((place for place in range(min(kernel, stride // common)) if (first + padding - place * dilation) % stride == 0), None)
        places = 0 if start is None else -(-(kernel - start) // (stride // common))
        found.append(
            (first, count, start or 0, places, 0 if start is None else (first + padding - start * dilation) // stride, dilation // common)
        )
    return found


def _lower_input(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    input, weight = operands[:2]
    layout = layouts[0]
    rank = len(stride)
    per_group = weight.shape[1]
    w = weight.split_axis(0, groups).transpose(1, 2)  # g, d, c, *k
    dimensions = [_phases(*each) for each in zip(sizes, weight.shape[2:], stride, padding, dilation, strict=True)]
    dtype = _dtype(operands, layout)
    parts = []
    for phase in product(*dimensions):
        places = tuple(each[3] for each in phase)
        counts = tuple(each[1] for each in phase)
        if 0 in places:
            parts.append(graph.constant(0, dtype, (input.shape[0], groups * per_group, *counts)))  # type: ignore[arg-type]
            continue
        kernel = w
        for axis, (each, step, spread) in enumerate(zip(phase, stride, dilation, strict=True)):
            kernel = kernel.slice(3 + axis, each[2], each[3], step // gcd(step, spread))
        windows = graph.windows(
            input, range(2, 2 + rank), places, (1,) * rank, tuple(-each[4] for each in phase), tuple(-each[5] for each in phase), counts
        )
        kernel = kernel.joined(0, 1)
        parts.append(_correlate(graph, windows, kernel, rank, groups, _innermost(layout), dtype))
    if len(parts) == 1:
        return _with_bias(graph, parts[0], operands, layout)
    whole = graph.empty(parts[0].dtype, layout.shape, layout.strides)
    for phase, part in zip(product(*dimensions), parts, strict=True):
        shown = whole.layout
        for axis, (each, step) in enumerate(zip(phase, stride, strict=True)):
            shown = lay.slice_axis(shown, 2 + axis, each[0], each[1], step)
        whole = graph.update(whole, shown, part)
    return _with_bias(graph, whole, operands, layout)


def _lower_weight(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    grad, input = operands
    rank = len(stride)
    windows = graph.windows(input, range(2, 2 + rank), sizes, stride, padding, dilation, grad.shape[2:])
    a = grad.split_axis(1, groups).permute([1, 2, 0, *range(3, 3 + rank)])  # g, c, N, *o
    b = windows.split_axis(1, groups).permute([1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank)])  # g, N, *o, d, *k
    result = graph.contract(a, b, batch=1, n=1 + rank, k=1 + rank, dtype=layouts[0].dtype)  # g, c, d, *k
    return result.joined(0, 1)


CONV = Operator("convolution", ("input", "weight", "bias"), STATICS, infer=_infer_conv, lower=_lower_conv, grad_name="ConvolutionBackward0")
CONV_INPUT = Operator(
    "conv_transpose", ("input", "weight", "bias"), STATICS, infer=_infer_input, lower=_lower_input, grad_name="ConvolutionBackward0"
)
CONV_WEIGHT = Operator("convolution_weight", ("grad_output", "input"), STATICS, infer=_infer_weight, lower=_lower_weight)


def _bias_gradient(grad: Tensor) -> Tensor:
    return grad.sum((0, *range(2, grad.layout.ndim)))


CONV.gradient(
    input=lambda grad, weight, input_shape, stride, padding, dilation, groups: CONV_INPUT(
        grad, conj(weight), statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
    weight=lambda grad, input, weight_shape, stride, padding, dilation, groups: CONV_WEIGHT(
        grad, conj(input), statics=(stride, padding, dilation, groups, weight_shape[2:])
    ),
    bias=_bias_gradient,
)
CONV_INPUT.gradient(
    input=lambda grad, weight, input_shape, stride, padding, dilation, groups: CONV(
        grad, conj(weight), statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
    weight=lambda grad, input, weight_shape, stride, padding, dilation, groups: CONV_WEIGHT(
        conj(input), grad, statics=(stride, padding, dilation, groups, weight_shape[2:])
    ),
    bias=_bias_gradient,
)
CONV_WEIGHT.gradient(
    grad_output=lambda grad, input, grad_output_shape, stride, padding, dilation, groups: CONV(
        conj(input), grad, statics=(stride, padding, dilation, groups, grad_output_shape[2:])
    ),
    input=lambda grad, grad_output, input_shape, stride, padding, dilation, groups: CONV_INPUT(
        conj(grad_output), grad, statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
)


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """A batched convolution (or, if ``transposed``, its adjoint) of as many dimensions as ``weight`` has kernel dimensions.

    Shapes: input ``(N, C_in, *)``; weight ``(C_out, C_in / groups, *kernel)``, transposed ``(C_in, C_out / groups, *kernel)``; bias ``(C_out)``.

    Raises:
        RuntimeError: shapes do not fit, or the output would be empty; the message has the formula with the numbers put in.
    """
    stride, padding, dilation, output_padding = tuple(stride), tuple(padding), tuple(dilation), tuple(output_padding)
    x, w = input.layout, weight.layout
    name = f"conv{'_transpose' if transposed else ''}{w.ndim - 2}d"
    _check(name, x, w, None if bias is None else bias.layout, stride, padding, dilation, groups, transposed)
    if transposed:
        sizes = transposed_sizes(x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation)
        for extra, step, spread in zip(output_padding, stride, dilation, strict=True):
            if not 0 <= extra < max(step, spread):
                raise RuntimeError(
                    f"{name}: output padding must be smaller than either stride or dilation, but got output_padding {output_padding}, stride {stride}, dilation {dilation}"
                )
        if any(size <= 0 for size in sizes):
            raise RuntimeError(f"{name}: the output would be empty: an input of shape {x.shape} gives the spatial sizes {sizes}")
    else:
        sizes = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
        _check_output(name, x.shape[2:], sizes, w.shape[2:], stride, padding, dilation)
    operands = (input, weight) if bias is None else (input, weight, bias)
    return (CONV_INPUT if transposed else CONV)(*operands, statics=(stride, padding, dilation, groups, sizes))


PUBLIC = ("convolution",)
METHODS = ()

"""Rounding to a grid of evenly spaced numbers: quantized tensors' integers, and values that are rounded but stay what they are.

With ``f`` the factor (1 / scale, rounded to float32) and ``z`` the zero point an element is ``q = round(x * f + z)``, ties to even, held
between ``low`` and ``high``; ``(q - z) * scale`` is what it stands for. PyTorch's kernels differ in when they round, and so does this: the
integers of a whole tensor are made with one fused multiply-add (``FUSED``), those of channels with a product and a sum (``SUM``), and those of
a sum of products, and fake quantization, round the product before they add the zero point (``PRODUCT``).

- ``QUANTIZE``       float to integer
- ``DEQUANTIZE``     integer to float
- ``CHOOSE``         the scale and the zero point for some numbers
- ``STEPS``          float to integer minus zero point, with those that ``CHOOSE`` has for it; ``BYTES`` the integer itself
- ``FAKE_QUANTIZE``  both one after the other; its gradient is that of the identity where ``q`` was in range, and 0 elsewhere

Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv:1712.05877.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.operator import Operator
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


# -- float to integer ------------------------------------------------------------------------------------------------


FUSED, SUM, PRODUCT = range(3)
"""What is rounded to an integer: a fused multiply-add, a product plus a sum, or the product alone."""


def _infer_quantize(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[0], statics[0])


def _lower_quantize(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, factor, zero_point = [graph.cast(operand, dt.float32) for operand in operands]
    dtype, low, high, order = statics
    if order == PRODUCT:
        found = graph.map("round", input * factor) + zero_point
    else:
        found = graph.map("round", graph.map("fma", input, factor, zero_point) if order == FUSED else input * factor + zero_point)
    if dtype is dt.int32:  # float32 has not its bounds
        found = graph.cast(found, dt.float64)
        return graph.cast(graph.where(found >= float(low), graph.map("minimum", found, float(high)), float(low)), dtype)  # NaN: low
    return graph.cast(graph.where(found <= float(high), graph.map("maximum", found, float(low)), float(high)), dtype)  # NaN: high


QUANTIZE = Operator(
    "_quantize", ("input", "factor", "zero_point"), ("dtype", "low", "high", "order"), infer=_infer_quantize, lower=_lower_quantize
)


# -- integer to float ------------------------------------------------------------------------------------------------


def _infer_dequantize(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[0], dt.float32)


def _lower_dequantize(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, scale, zero_point = operands
    if zero_point.dtype.category == dt.FLOAT:
        return (graph.cast(input, dt.float32) - graph.cast(zero_point, dt.float32)) * graph.cast(scale, dt.float32)
    return graph.cast(graph.cast(input, dt.int32) - graph.cast(zero_point, dt.int32), dt.float32) * graph.cast(scale, dt.float32)


DEQUANTIZE = Operator("_dequantize", ("input", "scale", "zero_point"), infer=_infer_dequantize, lower=_lower_dequantize)


def _infer_scale(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[0], dt.float32)


def _lower_scale(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.map("fma", *[graph.cast(operand, dt.float32) for operand in operands])


SCALE_SUMS = Operator("_scale_sums", ("input", "scale", "bias"), infer=_infer_scale, lower=_lower_scale)
"""``input * scale + bias`` with one rounding: what sums of products of integers stand for."""


# -- the grid for some numbers ---------------------------------------------------------------------------------------


def _infer_choose(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    shape = operands[0].shape
    return lay.contiguous(shape, dt.float64), lay.contiguous(shape, dt.int32)


_SMALLEST = 6.0999998822808266e-05
"""6.1e-5 in float32. A scale below this is raised to it, and the range with it: its reciprocal would be too large for float16."""


def _single(graph: Graph, number: Node) -> Node:
    """Rounded to float32, as PyTorch holds it."""
    return graph.cast(graph.cast(number, dt.float32), dt.float64)


def _chosen(graph: Graph, least: Node, most: Node, statics: tuple) -> tuple[Node, Node]:
    """The scale and the zero point, float64, for the integers ``statics`` to reach from ``least`` to ``most``, and 0 to be one of the numbers."""
    low, high, symmetric = float(statics[0]), float(statics[1]), statics[2]
    zero = graph.constant(0.0, dt.float64)
    least = graph.map("minimum", graph.cast(least, dt.float64), zero)
    most = graph.map("maximum", graph.cast(most, dt.float64), zero)
    both = (least < 0.0) & (most > 0.0)
    if symmetric:  # the larger side says how long both are
        below, above = -float((statics[1] - statics[0]) // 2 + 1), float((statics[1] - statics[0]) // 2)
        step = graph.map("maximum", graph.map("abs", least / below), graph.map("abs", most / above))
        step = _single(graph, step)
        least, most = graph.where(both, _single(graph, step * below), least), graph.where(both, _single(graph, step * above), most)
    scale = (most - least) / (high - low)
    single = graph.cast(scale, dt.float32)
    scale = graph.where(single.equals(0.0) | graph.map("isinf", 1.0 / single), 0.1, scale)
    grown = graph.where(scale < _SMALLEST, _SMALLEST / scale, 1.0)
    scale = graph.map("maximum", scale, graph.constant(_SMALLEST, dt.float64))
    first, last = least * grown / scale, most * grown / scale  # the ends of the range in steps
    closer = (abs(low) + graph.map("abs", first)) < (abs(high) + graph.map("abs", last))  # the end that loses fewer digits
    exact = graph.where(closer, low - first, high - last)
    if symmetric:
        exact = graph.where(both, (low + high) / 2, exact)
    held = graph.map("minimum", graph.map("maximum", exact, low), high)
    return scale, graph.map("round", held)


def _lower_choose(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    scale, zero_point = _chosen(graph, *operands, statics)
    return scale, graph.cast(zero_point, dt.int32)


CHOOSE = Operator("_choose_qparams", ("least", "most"), ("low", "high", "symmetric"), infer=_infer_choose, lower=_lower_choose)
"""Scale and zero point for the integers from ``low`` to ``high`` to reach from ``least`` to ``most``, and 0 to be one of the numbers."""


def _infer_steps(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    return lay.like(operands[0], dt.float32), lay.contiguous((), dt.float32)


def _held(graph: Graph, input: Node, statics: tuple) -> tuple[Node, Node, Node]:
    """An input's integers, the zero point and the scale that ``CHOOSE`` has for it, all float32."""
    input = graph.cast(input, dt.float32)
    axes = range(input.ndim)
    least, most = graph.reduce("min", input, axes), graph.reduce("max", input, axes)
    scale, zero_point = (graph.cast(each, dt.float32) for each in _chosen(graph, least, most, (*statics, False)))
    found = graph.map("round", graph.map("fma", input, (1.0 / scale).expand(input.shape), zero_point.expand(input.shape)))
    return graph.map("minimum", graph.map("maximum", found, 0.0), 255.0), zero_point, scale


def _lower_steps(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    held, zero_point, scale = _held(graph, operands[0], statics)
    return held - zero_point.expand(held.shape), scale


STEPS = Operator("_dynamic_steps", ("input",), ("low", "high"), infer=_infer_steps, lower=_lower_steps)
"""``CHOOSE`` for an input, and its integers (of 8 bits without a sign) minus the zero point, float32; and the scale, float32."""


def _infer_bytes(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    return lay.like(operands[0], dt.uint8), lay.contiguous((), dt.int32), lay.contiguous((), dt.float32)


def _lower_bytes(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    held, zero_point, scale = _held(graph, operands[0], statics)
    return graph.cast(held, dt.uint8), graph.cast(zero_point, dt.int32), scale


BYTES = Operator("_dynamic_bytes", ("input",), ("low", "high"), infer=_infer_bytes, lower=_lower_bytes)
"""The integers of ``STEPS`` as they are, uint8; the zero point, int32; and the scale, float32."""


# -- both ------------------------------------------------------------------------------------------------------------


def _infer_fake(operands: tuple, statics: tuple) -> Layout:
    input = operands[0]
    if input.dtype.category != dt.FLOAT:
        raise NotImplementedError(f"fake quantization is of floating-point tensors, got {input.dtype!r}")
    return lay.like(input, input.dtype)


def _grid(graph: Graph, operands: list[Node], low: int, high: int) -> tuple[Node, Node]:
    """The numbers of the elements on the grid, as they are and held in range (NaN: low)."""
    input, scale, zero_point = operands
    dtype = input.dtype.compute
    scaled = graph.cast(input, dtype) * graph.cast(1.0 / graph.cast(scale, dt.float32), dtype)
    zero = graph.cast(zero_point, dtype)
    found = graph.map("round", scaled + zero) if zero_point.dtype.category == dt.FLOAT else graph.map("round", scaled) + zero
    return found, graph.where(found >= float(low), graph.map("minimum", found, float(high)), float(low))


def _lower_fake(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    _, held = _grid(graph, operands, *statics)
    dtype = dt.float64 if operands[2].dtype.category == dt.FLOAT else held.dtype
    scale, zero_point = graph.cast(graph.cast(operands[1], dt.float32), dtype), graph.cast(operands[2], dtype)
    return graph.cast((graph.cast(held, dtype) - zero_point) * scale, layouts[0].dtype)


def _infer_gate(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[1], operands[0].dtype)


def _lower_gate(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    grad, *grid = operands
    low, high = statics
    found, _ = _grid(graph, grid, low, high)
    return graph.where((found >= float(low)) & (found <= float(high)), grad, graph.constant(0, grad.dtype))


FAKE_QUANTIZE = Operator(
    "fake_quantize",
    ("input", "scale", "zero_point"),
    ("low", "high"),
    infer=_infer_fake,
    lower=_lower_fake,
    grad_name="FakeQuantizePerTensorAffineCachemaskBackward0",
)
IN_RANGE = Operator(
    "_fake_quantize_backward", ("grad_output", "input", "scale", "zero_point"), ("low", "high"), infer=_infer_gate, lower=_lower_gate
)


def _gate(grad: Tensor, input: Tensor, scale: Any, zero_point: Any, low: int, high: int) -> Tensor:
    """The gradient where the element was in range."""
    return IN_RANGE(grad, input, scale, zero_point, statics=(low, high))


FAKE_QUANTIZE.gradient(input=_gate)
IN_RANGE.gradient(grad_output=_gate)


def _check_range(low: int, high: int) -> None:
    if low > high:
        raise RuntimeError(f"quant_min (={low}) must be less than or equal to quant_max (={high})")


def fake_quantize_per_tensor_affine(input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Tensor:
    """Round to the ``quant_max - quant_min + 1`` numbers that integers of this range stand for.

    ``(clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale``, ties to even. The gradient passes where no
    clamping took place.

    Args:
        scale, zero_point: a number each, or a tensor with one element
        quant_min, quant_max: the range of the integers

    Raises:
        RuntimeError: the range is empty, or the zero point (a number) lies outside of it.

    Example::

        >>> flambeau.fake_quantize_per_tensor_affine(flambeau.tensor([0.04, 0.06, 9.0]), 0.1, 0, 0, 15)
        tensor([0.0000, 0.1000, 1.5000])
    """
    _check_range(quant_min, quant_max)
    if isinstance(zero_point, TensorBase):
        scale, zero_point = (each.reshape(()) if isinstance(each, TensorBase) else each for each in (scale, zero_point))
    elif not quant_min <= zero_point <= quant_max:
        raise RuntimeError(f"zero_point (={zero_point}) must be between quant_min (={quant_min}) and quant_max (={quant_max})")
    scale = scale.detach().reshape(()) if isinstance(scale, TensorBase) else float(scale)
    return FAKE_QUANTIZE(input, scale, zero_point, statics=(quant_min, quant_max))


def fake_quantize_per_channel_affine(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int) -> Tensor:
    """``fake_quantize_per_tensor_affine`` with a scale and a zero point for each index of a dimension.

    Args:
        scale: (channels), float32
        zero_point: (channels), int32, or floating point: then it is added before rounding
        axis: the dimension of the channels

    Raises:
        RuntimeError: the range is empty, or the parameters do not fit the dimension.
    """
    _check_range(quant_min, quant_max)
    if zero_point.layout.dtype not in (dt.int32, dt.float32, dt.float16):
        raise RuntimeError(f"zero_point must be int32, float32 or float16, found {zero_point.layout.dtype!r}")
    axis = lay.wrap_axis(axis, input.layout.ndim)
    channels = input.layout.shape[axis]
    if scale.layout.shape != (channels,) or zero_point.layout.shape != (channels,):
        raise RuntimeError(
            f"scale of shape {list(scale.layout.shape)} and zero_point of shape {list(zero_point.layout.shape)} must have one element for each "
            f"of the {channels} indices of dimension {axis}"
        )
    shape = along(axis, input.layout.ndim)
    return FAKE_QUANTIZE(input, scale.detach().reshape(shape), zero_point.detach().reshape(shape), statics=(quant_min, quant_max))


def along(axis: int, ndim: int) -> tuple[int, ...]:
    """The shape with which a vector lies along a dimension, and is broadcast along the others."""
    return tuple([-1 if each == axis else 1 for each in range(ndim)])


PUBLIC = ("fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine")
METHODS = ()

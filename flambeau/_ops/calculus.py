"""Parts of numbers, polar form, finite differences, and other functions that are few operators each."""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import elementwise as basic
from flambeau._ops import return_types
from flambeau._ops.arguments import in_place, int_tuple, into, number
from flambeau._ops.autocast import in_float32
from flambeau._ops.copying import FILL
from flambeau._ops.creation import empty_strided, from_array
from flambeau._ops.functions import complex
from flambeau._ops.indexing import nonzero
from flambeau._ops.joining import cat
from flambeau._ops.linalg.norms import vector_norm
from flambeau._ops.operator import Operator
from flambeau._ops.positions import require_tensor
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- parts of numbers ------------------------------------------------------------------------------------------------


def _infer_frexp(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    if not source.dtype.is_floating_point:
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, but got {source.dtype!r}")
    return lay.elementwise(source.shape, source.dtype, [source]), lay.elementwise(source.shape, dt.int32, [source])


def _lower_frexp(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    x = graph.wide(operands[0])
    return graph.cast(graph.map("frexp_fraction", x), layouts[0].dtype), graph.cast(graph.map("frexp_exponent", x), dt.int32)


FREXP = Operator("frexp", ("input",), infer=_infer_frexp, lower=_lower_frexp)
FREXP.gradient(input=lambda grad0, result1: grad0 / (2.0**result1).to(grad0.layout.dtype))


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """Mantissa and exponent: ``input = mantissa * 2**exponent`` with ``0.5 <= |mantissa| < 1`` (0 for 0)."""
    require_tensor("frexp", "input", input)
    return return_types.several(return_types.frexp, out, *FREXP(input))


@in_float32
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Complex numbers from absolute values and angles: ``abs * (cos(angle) + i sin(angle))``."""
    require_tensor("polar", "abs", abs)
    for name, each in (("abs", abs), ("angle", angle)):
        if not isinstance(each, TensorBase):
            raise TypeError(f"polar(): argument '{name}' must be Tensor, not {each.__class__.__name__}")
    for each in (abs, angle):
        if each.layout.dtype not in (dt.float32, dt.float64):
            raise RuntimeError(
                f"Expected both inputs to be Float or Double tensors but got {abs.layout.dtype!r} and {angle.layout.dtype!r}"
            )
    if abs.layout.dtype is not angle.layout.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {abs.layout.dtype!r} but got scalar type {angle.layout.dtype!r} for second argument"
        )
    return complex(abs * basic.cos(angle), abs * basic.sin(angle), out=out)


# -- finite differences ----------------------------------------------------------------------------------------------


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The derivative along each dimension, by central differences inside and one-sided ones at the edges.

    ``f'(x) = (f(x + r) l^2 - f(x - l) r^2 + f(x) (r^2 - l^2)) / (l r (l + r))`` for the distances l and r to the neighbours.

    Args:
        spacing: the distance of neighbours: a number, or one for each dimension, or the coordinates of the samples (a vector each)
        dim: the dimensions, by default all
        edge_order: 1, or 2 for differences that are exact for quadratics at the edges too
    """
    require_tensor("gradient", "input", input)
    axes = (
        tuple(range(input.layout.ndim)) if dim is None else tuple(lay.wrap_axis(axis, input.layout.ndim) for axis in int_tuple(dim, "dim"))
    )
    if spacing is None:
        spacing = 1
    if isinstance(spacing, TensorBase) and spacing.layout.ndim:
        spacing = (spacing,)
    given = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(axes)
    if len(given) != len(axes):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'dim' ({len(axes)}), but got {len(given)} entries"
        )
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, but got {edge_order}")
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim appears multiple times in the list of dims: {list(axes)}")
    for axis in axes:
        if input.layout.shape[axis] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    if input.layout.dtype is dt.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    return tuple(_derivative(input, axis, distance, edge_order) for axis, distance in zip(axes, given, strict=True))


def _derivative(x: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    size = x.layout.shape[axis]
    shape = tuple(-1 if each == axis else 1 for each in range(x.layout.ndim))
    part = lambda start, length: x.narrow(axis, start, length)
    if spacing is None:
        spacing = 1
    if isinstance(spacing, TensorBase) and spacing.layout.ndim:
        if spacing.layout.shape != (size,):
            raise RuntimeError(
                f"torch.gradient expected each tensor of coordinates to have the size of its dimension ({size}), but got {list(spacing.layout.shape)}"
            )
        steps = spacing.diff().reshape(shape)
        left, right = steps.narrow(axis, 0, size - 2), steps.narrow(axis, 1, size - 2)
        inner = (
            part(2, size - 2) * (left / (right * (left + right)))
            + part(1, size - 2) * ((right - left) / (left * right))
            - part(0, size - 2) * (right / (left * (left + right)))
        )
        near = [steps.narrow(axis, place, 1) for place in (0, min(1, size - 2), max(size - 3, 0), size - 2)]
    else:
        step = spacing
        inner = (part(2, size - 2) - part(0, size - 2)) / (2 * step)
        near = [step] * 4
    if edge_order == 1:
        first, last = (part(1, 1) - part(0, 1)) / near[0], (part(size - 1, 1) - part(size - 2, 1)) / near[3]
    else:
        first = _edge(part(0, 1), part(1, 1), part(2, 1), near[0], near[1])
        last = -_edge(part(size - 1, 1), part(size - 2, 1), part(size - 3, 1), near[3], near[2])
    return cat((first, inner, last), axis)


def _edge(outer: Tensor, middle: Tensor, far: Tensor, near: Any, next: Any) -> Tensor:
    """The derivative at the first of three samples that lie ``near`` and ``next`` apart."""
    return (
        outer * (-(2 * near + next) / (near * (near + next)))
        + middle * ((near + next) / (near * next))
        - far * (near / (next * (near + next)))
    )


# -- other -----------------------------------------------------------------------------------------------------------


def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None) -> Tensor:
    """Each slice along ``dim`` whose p-norm is larger than ``maxnorm`` scaled down to it."""
    require_tensor("renorm", "input", input)
    if input.layout.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.layout.ndim} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    axis = lay.wrap_axis(dim, input.layout.ndim)
    dtype = input.layout.dtype
    precise = input.to(dt.complex128 if dtype.is_complex else dt.float64)  # its gradient is a difference that may cancel
    norm = vector_norm(precise, p, [each for each in range(input.layout.ndim) if each != axis], True)
    return into(out, (precise * FUNCTIONS.where(norm > maxnorm, maxnorm / (norm + 1e-7), 1.0)).to(dtype))


renorm_ = in_place(renorm)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like ``input`` in which every element is ``value``: a number, or a tensor without dimensions."""
    require_tensor("fill", "input", input)
    if isinstance(value, TensorBase) and value.layout.ndim:
        raise RuntimeError(f"fill only supports 0-dimension value tensor but got tensor with {value.layout.ndim} dimensions.")
    return FILL(input, value if isinstance(value, TensorBase) else number(value))


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], *, dtype: DType | None = None, **options: Any) -> Tensor:
    """A tensor with unspecified contents whose dimensions lie in memory in the order ``physical_layout``, outermost first."""
    shape, order = int_tuple(size, "size"), int_tuple(physical_layout, "physical_layout")
    if len(order) != len(shape):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    for place, axis in enumerate(order):
        if not 0 <= axis < len(shape):
            raise RuntimeError(f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got {axis} at index {place}).")
        if axis in order[:place]:
            raise RuntimeError("Duplicate dim not allowed")
    made = lay.ordered(shape, order, dtype or get_default_dtype())
    return empty_strided(shape, made.strides, dtype=dtype, **options)


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None) -> Tensor:
    """The first ``size`` positions of elements that are not 0, one a row; rows that are left over hold ``fill_value``."""
    require_tensor("nonzero_static", "input", input)
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, but got {size}")
    if input.memory.device is not CPU:
        return into(out, input.new_empty((size, input.layout.ndim), dtype=dt.int64, device=META))
    found = nonzero(input)[:size]
    rest = found.new_full((size - found.layout.shape[0], input.layout.ndim), fill_value)
    return into(out, cat((found, rest), 0))


def histogramdd(input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False) -> Any:
    """Counts (or sums of weights) of points, one a row, in the cells of a grid.

    Args:
        bins: how many equal intervals there are along all or each of the dimensions, or the edges along each of them
        range: the lowest and highest edge of each dimension in turn; by default the extremes of the points
    """
    require_tensor("histogramdd", "input", input)
    dtype = input.layout.dtype
    if not dtype.is_floating_point:
        raise RuntimeError(f"histogramdd: expected a floating-point tensor, not {dtype!r}")
    if input.layout.ndim < 2:
        raise RuntimeError(f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.layout.ndim}")
    dimensions = input.layout.shape[-1]
    points = np.asarray(input.detach().reshape(-1, dimensions).to(dt.float64)._array())
    weights = None if weight is None else weight.detach().reshape(-1).to(dt.float64)._array()
    if isinstance(bins, int):
        bins = [bins] * dimensions
    if len(bins) != dimensions:
        raise RuntimeError(
            f"histogramdd: the size of bins should be equal to the innermost dimension of the input ({dimensions}), but got {len(bins)}"
        )
    if isinstance(bins[0], TensorBase):
        edges = [each.detach().to(dt.float64)._array() for each in bins]
    else:
        edges = []
        for axis, count in enumerate(bins):
            low, high = range[2 * axis : 2 * axis + 2] if range is not None else _extremes(points[:, axis])
            if low > high or not math.isfinite(low) or not math.isfinite(high):
                raise RuntimeError(f"histogramdd: range [{low}, {high}] is not an interval of finite numbers")
            if low == high:
                low, high = low - 0.5, high + 0.5
            edges.append(np.linspace(low, high, count + 1))
    counts = _cells(points, edges, weights)
    if density:
        counts = counts / counts.sum()
        for axis, each in enumerate(edges):
            counts = counts / np.diff(each).reshape([-1 if other == axis else 1 for other in builtins.range(dimensions)])
    hist, *made = (from_array(np.ascontiguousarray(each)).to(dtype) for each in itertools.chain((counts,), edges))
    return return_types.histogramdd(hist, tuple(bins) if isinstance(bins[0], TensorBase) else tuple(made))


def _cells(points: np.ndarray, edges: Sequence[np.ndarray], weights: np.ndarray | None) -> np.ndarray:
    """The sums of weights in the cells of a grid; the last cell along each dimension includes its upper edge."""
    shape = [len(each) - 1 for each in edges]
    inside = np.ones(len(points), bool)
    places = np.zeros(len(points), np.int64)
    for axis, each in enumerate(edges):
        values = points[:, axis]
        inside &= (values >= each[0]) & (values <= each[-1])
        place = np.searchsorted(each, values, "right") - 1
        place[values == each[-1]] = len(each) - 2
        places = places * shape[axis] + place
    counts = np.bincount(places[inside], None if weights is None else weights[inside], math.prod(shape))
    return counts.astype(np.float64).reshape(shape)


def _extremes(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


PUBLIC = (
    "empty_permuted", "fill", "frexp", "gradient", "histogramdd", "nonzero_static", "polar", "renorm",
)  # fmt: skip
METHODS = ("frexp", "nonzero_static", "renorm", "renorm_")

"""Reductions: sums, means, products and extrema over dimensions.

The order in which elements are added is fixed by the shape alone (``docs/design/0003-reductions.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flambeau._ops.arguments import dtype_of_total, into
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Axes = int | Sequence[int] | None


def reduced_shape(shape: tuple[int, ...], axes: Sequence[int], keepdim: bool) -> tuple[int, ...]:
    """The shape after reducing ``axes``."""
    if keepdim:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


_MOST = 64
"""So many dimensions may a tensor have that is reduced, as in PyTorch."""


def infer_reduced(operands: tuple, statics: tuple) -> Layout:
    """Statics are ``(axes, keepdim, dtype)``."""
    axes, keepdim, dtype = statics
    if operands[0].ndim > _MOST:
        raise RuntimeError(f"only tensors with up to {_MOST} dims are supported, but got one with {operands[0].ndim}")
    return lay.contiguous(reduced_shape(operands[0].shape, axes, keepdim), dtype)


def lower_reduced(kind: str) -> Callable:
    """Reduce in the compute dtype of the result."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        axes, keepdim, dtype = statics
        source = graph.cast(operands[0], dtype.compute)
        return graph.cast(graph.reduce(kind, source, axes, keepdim=keepdim), dtype)

    return lower


def restore(grad: Tensor, shape: tuple[int, ...], axes: Sequence[int], keepdim: bool) -> Tensor:
    """A reduced gradient expanded to the shape before the reduction."""
    if not keepdim and axes and grad.layout.ndim < len(shape):
        grad = grad.reshape(reduced_shape(shape, axes, True))
    return grad.expand(shape)


SUM = Operator("sum", ("input",), ("axes", "keepdim", "dtype"), infer=infer_reduced, lower=lower_reduced("sum"), grad_name="SumBackward0")
SUM.gradient(input=lambda grad, input_shape, axes, keepdim: restore(grad, input_shape, axes, keepdim))


def _lower_mean(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axes, keepdim, dtype = statics
    source = graph.cast(operands[0], dtype.compute)
    count = 1
    for axis in axes:
        count *= operands[0].shape[axis]
    return graph.cast(_divided(graph, graph.reduce("sum", source, axes, keepdim=keepdim), float(count)), dtype)


def _divided(graph: Graph, total: Node, count: float) -> Node:
    """A total by a number: both parts of complex ones by themselves, which rounds once."""
    if not total.dtype.is_complex:
        return total / count
    return graph.map("complex", *[graph.map(part, total) / count for part in ("real", "imag")])


MEAN = Operator("mean", ("input",), ("axes", "keepdim", "dtype"), infer=infer_reduced, lower=_lower_mean, grad_name="MeanBackward0")
MEAN.gradient(
    input=lambda grad, input_shape, axes, keepdim: restore(grad, input_shape, axes, keepdim) / _count(input_shape, axes),
)


def _count(shape: tuple[int, ...], axes: Sequence[int]) -> int:
    count = 1
    for axis in axes:
        count *= shape[axis]
    return count


def _extremum_gradient(grad: Tensor, input: Tensor, result: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Equal extrema share the gradient."""
    shape = input.layout.shape
    chosen = input == restore(result, shape, axes, keepdim)
    return restore(grad, shape, axes, keepdim) * chosen / chosen.sum(axes, keepdim=True)


def _infer_extremum(operands: tuple, statics: tuple) -> Layout:
    if operands[0].dtype.is_complex:
        raise NotImplementedError(f"the largest or smallest element is not defined for {operands[0].dtype!r}, whose numbers have no order")
    return infer_reduced(operands, statics)


AMAX = Operator("amax", ("input",), ("axes", "keepdim", "dtype"), infer=_infer_extremum, lower=lower_reduced("max")).gradient(
    input=_extremum_gradient
)
AMIN = Operator("amin", ("input",), ("axes", "keepdim", "dtype"), infer=_infer_extremum, lower=lower_reduced("min")).gradient(
    input=_extremum_gradient
)


def sum(
    input: Tensor,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
    axis: Axes = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The sum over all elements, or over the dimensions ``dim``; integers and bool are added as int64.

    Example::

        >>> flambeau.ones(2, 3).sum(0)
        tensor([2., 2., 2.])
    """
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    dtype = dtype_of_total(dtype, input, out)
    return into(out, SUM(input, statics=(lay.wrap_axes(dim, input.layout.ndim), keepdim, dtype)))


def mean(
    input: Tensor,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
    axis: Axes = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The mean over all elements, or over the dimensions ``dim``.

    Raises:
        RuntimeError: the dtype is neither floating point nor complex.
    """
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    layout = input.layout
    if dtype is not None or layout.dtype.category >= dt.FLOAT:
        dtype = dtype_of_total(dtype, input, out)
    if (dtype or layout.dtype).category < dt.FLOAT:
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {layout.dtype.name}"
        )
    return into(out, MEAN(input, statics=(lay.wrap_axes(dim, layout.ndim), keepdim, dtype)))


def _nonempty(name: str, layout: Layout, axes: Sequence[int], dim: Axes) -> None:
    if not layout.numel and dim in ((), None):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
        )
    for axis in axes:
        if layout.shape[axis] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def amax(
    input: Tensor, dim: Axes = (), keepdim: bool = False, *, out: Tensor | None = None, axis: Axes = None, keepdims: bool | None = None
) -> Tensor:
    """The largest element over dimensions; NaN if there is one. Equal maxima share the gradient."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    axes = lay.wrap_axes(dim, input.layout.ndim)
    _nonempty("amax", input.layout, axes, dim)
    return into(out, AMAX(input, statics=(axes, keepdim, input.layout.dtype)))


def amin(
    input: Tensor, dim: Axes = (), keepdim: bool = False, *, out: Tensor | None = None, axis: Axes = None, keepdims: bool | None = None
) -> Tensor:
    """The smallest element over dimensions; NaN if there is one. Equal minima share the gradient."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    axes = lay.wrap_axes(dim, input.layout.ndim)
    _nonempty("amin", input.layout, axes, dim)
    return into(out, AMIN(input, statics=(axes, keepdim, input.layout.dtype)))


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The sum over what broadcasting ``shape`` to ``x``'s shape repeated."""
    source = x.layout.shape
    if source == shape:
        return x
    lead = len(source) - len(shape)
    axes = (*range(lead), *[axis for axis in range(lead, len(source)) if shape[axis - lead] == 1 and source[axis] != 1])
    if axes:
        x = SUM(x, statics=(axes, True, x.layout.dtype))
    return x.reshape(shape)


FUNCTIONS.sum_to = sum_to

PUBLIC = ("sum", "mean", "amax", "amin")
METHODS = PUBLIC

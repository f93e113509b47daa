"""Sorting and order statistics.

The order is stable, NaN last (first, descending); gradients flow back to the elements that were taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import apart, into, whole
from flambeau._ops.autocast import in_float32
from flambeau._ops.creation import tensor
from flambeau._ops.gathering import gather
from flambeau._ops.inspecting import holds_everywhere
from flambeau._ops.operator import Operator
from flambeau._ops.positions import places_along, require_tensor
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.return_types import several
from flambeau._ops.scattering import scatter_add
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _shorter(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :]) if shape else ()


def _infer_taken(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    """Statics are ``(axis, size of the result along it, …)``."""
    source, axis, size = operands[0], *statics[:2]
    shape = _shorter(source.shape, axis, source.shape[axis] if size is None and source.shape else size)
    return lay.contiguous(shape, source.dtype), lay.contiguous(shape, dt.int64)


def _taken(graph: Graph, source: Node, axis: int, positions: Node) -> Node:
    layout, stride = places_along(source.layout, positions.shape, axis)
    return graph.gather(source, layout, [positions], [stride])


def _without_choice(graph: Graph, source: Node, shape: tuple[int, ...]) -> tuple[Node, ...]:
    """The one element of a source without dimensions, or no elements."""
    return graph.copy(graph.constant(0, source.dtype, shape) if source.ndim else source), graph.constant(0, dt.int64, shape)


def _ranking(name: str, ranks: Callable, *statics: str) -> Operator:
    """An operator that takes the elements of some ranks: ``ranks(length, size, *statics)`` gives ``(low, high, descending)``."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
        source, axis = operands[0].plain, statics[0]
        if not source.ndim or not layouts[0].numel:
            return _without_choice(graph, source, layouts[0].shape)
        low, high, descending = ranks(source.shape[axis], *statics[1:])
        positions = graph.sort(source, axis, descending, low, high)
        return _taken(graph, source, axis, positions), positions

    return _taking(name, lower, *statics)


def _lower_median(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    """The lower median; the first NaN, if there is one and NaN are not skipped."""
    source, (axis, _, skips_nan) = operands[0].plain, statics
    if not source.ndim or not layouts[0].numel:
        return _without_choice(graph, source, layouts[0].shape)
    length = source.shape[axis]
    ranks = None
    if source.dtype.is_floating_point:  # NaN have the highest ranks
        numbers = graph.cast(source.equals(source), dt.int64).sum((axis,), keepdim=True)
        middle = graph.map("bitwise_right_shift", graph.map("maximum", numbers - 1, 0), 1)
        ranks = middle if skips_nan else graph.where(numbers < length, numbers, (length - 1) // 2)
    low = 0 if ranks is not None else (length - 1) // 2
    positions = graph.sort(source, axis, False, low, low + 1, ranks)
    return _taken(graph, source, axis, positions), positions


def _put_back(grad0: Tensor, result1: Tensor, input_layout: Layout, dim: int) -> Tensor:
    """The gradient of elements that were taken from ``result1`` along ``dim``."""
    zeros = FUNCTIONS.zeros(lay.contiguous(input_layout.shape, grad0.layout.dtype))
    return scatter_add(zeros, dim, result1, grad0) if input_layout.shape else grad0


def _taking(name: str, lower: Callable, *statics: str) -> Operator:
    operator = Operator(name, ("input",), ("dim", "size", *statics), infer=_infer_taken, lower=lower)
    return operator.gradient(input=_put_back)


def _lower_mode(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    """The last position of the smallest of the most frequent elements: where the longest run of equals ends, if they are sorted."""
    source, axis = operands[0].plain, statics[0]
    if not source.ndim:
        return graph.copy(source), graph.constant(0, dt.int64)
    length = source.shape[axis]
    order = graph.sort(source, axis, False, 0, length)
    end = graph.constant(0, dt.int64, layouts[0].shape)
    if length > 1 and layouts[0].numel:
        ordered = graph.copy(_taken(graph, source, axis, order))
        behind, before = ordered.slice(axis, 1, length - 1), ordered.slice(axis, 0, length - 1)
        place = graph.iota(behind.shape, axis) + 1
        run = place - graph.scan("max", graph.where(behind.differs(before), place, 0), axis)
        longest = run.max((axis,), keepdim=True)
        found = graph.where(run.equals(longest), place, length).min((axis,), keepdim=True)
        end = graph.where(longest > 0, found, end)
    positions = _taken(graph, order, axis, end)
    return _taken(graph, source, axis, positions), positions


SORT = _ranking("sort", lambda length, size, descending: (0, length, descending), "descending")
TOPK = _ranking("topk", lambda length, size, largest: (0, size, largest), "largest")
KTHVALUE = _ranking("kthvalue", lambda length, size, k: (k - 1, k, False), "k")
MEDIAN = _taking("median", _lower_median, "skips_nan")


def _shared(grad0: Tensor, input: Tensor, result0: Tensor) -> Tensor:
    """All elements that are equal to the median share the gradient."""
    chosen = (input == result0) | ((input != input) & (result0 != result0))
    return grad0 * chosen / chosen.sum()


MEDIAN_OF_ALL = Operator(
    "_median_of_all", ("input",), ("dim", "size", "skips_nan"), infer=_infer_taken, lower=_lower_median, grad_name="MedianBackward0"
).gradient(input=_shared)
MODE = _taking("mode", _lower_mode)


def _ordered(name: str, input: Tensor, dim: int) -> int:
    if input.layout.dtype.is_complex:
        raise RuntimeError(f"{name}(): complex numbers have no order")
    return lay.wrap_axis(dim, input.layout.ndim)


def sort(input: Tensor, dim: Any = -1, descending: bool = False, stable: bool | None = False, *, out: Any = None, axis: Any = None) -> Any:
    """The elements in order along ``dim``, and where each of them was; equal elements keep their order.

    Returns:
        A named tuple ``(values, indices)``. NaN counts as larger than everything.

    Example::

        >>> flambeau.tensor([3, 1, 2]).sort().indices
        tensor([1, 2, 0])
    """
    require_tensor("sort", "input", input)
    dim = dim if axis is None else axis
    if dim.__class__ is bool:
        dim, descending = -1, dim
    axis = _ordered("sort", input, dim)
    return several(return_types.sort, out, *SORT(input, statics=(axis, None, bool(descending))))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, axis: int | None = None) -> Tensor:
    """The positions of the elements in order along ``dim``."""
    require_tensor("argsort", "input", input)
    return sort(input.detach(), dim, descending, axis=axis).indices


def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements in order along the first dimension."""
    require_tensor("msort", "input", input)
    return into(out, sort(input, 0).values)


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None, axis: int | None = None
) -> Any:
    """The ``k`` largest (or smallest) elements along ``dim`` in order, and where they were.

    Raises:
        RuntimeError: there are fewer than ``k`` elements along ``dim``.
    """
    require_tensor("topk", "input", input)
    dim = dim if axis is None else axis
    axis = _ordered("topk", input, dim)
    size = input.layout.shape[axis] if input.layout.shape else 1
    k = whole(k, "k")
    if not 0 <= k <= size:
        raise RuntimeError(f"topk(): selected index k out of range: k (={k}) must be between 0 and {size}, the size of dimension {dim}")
    return several(return_types.topk, out, *TOPK(input, statics=(axis, k, largest)))


def _one(operator: Operator, kind: type, input: Tensor, dim: int, keepdim: bool, out: Any, *statics: Any) -> Any:
    """One element along ``dim``, and where it was."""
    name = operator.name
    axis = _ordered(name, input, dim)
    if input.layout.shape and input.layout.shape[axis] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")
    apart(out, input, name=name)
    values, indices = operator(input, statics=(axis, 1, *statics))
    if not keepdim and input.layout.shape:
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    return several(kind, out, values, indices)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The ``k``-th smallest element along ``dim`` (counted from 1), and where it was.

    Raises:
        RuntimeError: ``k`` is below 1 or above the size of ``dim``.
    """
    require_tensor("kthvalue", "input", input)
    axis = _ordered("kthvalue", input, dim)
    size = input.layout.shape[axis] if input.layout.shape else 1
    k = whole(k, "k")
    if size and not 1 <= k <= size:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}: k (={k}) must be between 1 and {size}")
    return _one(KTHVALUE, return_types.kthvalue, input, dim, keepdim, out, k)


def _median(name: str, skips_nan: bool) -> Callable:
    kind = getattr(return_types, name)

    def function(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
        if dim is not None:
            return _one(MEDIAN, kind, input, dim, keepdim, out, skips_nan)
        _ordered(name, input, 0 if input.layout.ndim else -1)
        flat = input.reshape(-1)
        if not flat.layout.numel:
            nothing = math.nan if flat.layout.dtype.is_floating_point else np.iinfo(flat.layout.dtype.numpy).min
            return into(out, FUNCTIONS.full(lay.contiguous((), flat.layout.dtype), nothing))
        return into(out, MEDIAN_OF_ALL(flat, statics=(0, 1, skips_nan))[0].reshape(()))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The lower median of all elements, or along ``dim`` with its position; " + (
        "NaN are left out." if skips_nan else "NaN if there is one."
    )
    return function


median, nanmedian = _median("median", False), _median("nanmedian", True)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along ``dim`` (the smallest of several), and the last place where it stands."""
    require_tensor("mode", "input", input)
    return _one(MODE, return_types.mode, input, dim, keepdim, out)


# -- quantiles -------------------------------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, skips_nan: bool) -> Callable:
    def function(
        input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear", out: Tensor | None = None
    ) -> Tensor:
        dtype = input.layout.dtype
        if dtype not in (dt.float32, dt.float64):
            raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
        if not isinstance(q, TensorBase):
            if not 0 <= q <= 1:
                raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
            q = tensor(q, dtype=dtype)
        if q.layout.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.layout.dtype is not dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        if q.layout.numel and not holds_everywhere((q >= 0) & (q <= 1)):
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
        if interpolation not in _INTERPOLATIONS:
            raise RuntimeError(f"{name}() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation}")
        ndim = input.layout.ndim
        axis = None if dim is None else lay.wrap_axis(dim, ndim)
        shape = input.layout.shape
        last = input.reshape(-1) if axis is None or not ndim else input.movedim(axis, -1)
        if not last.layout.numel:
            raise RuntimeError(f"{name}() input tensor must be non-empty")
        result = _interpolated(last, q.reshape(-1), interpolation, skips_nan)
        if keepdim:
            kept = tuple(1 if axis is None or each == axis else size for each, size in enumerate(shape))
            result = result.reshape((result.layout.shape[0], *kept))
        return into(out, result if q.layout.ndim else result.squeeze(0))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The quantiles ``q`` of all elements or along ``dim``; " + (
        "NaN are left out." if skips_nan else "NaN if there is one."
    )
    return function


def _interpolated(last: Tensor, q: Tensor, interpolation: str, skips_nan: bool) -> Tensor:
    """Quantiles along the last dimension, as the first dimension of the result."""
    ordered = sort(last, -1).values
    nans = last.isnan().sum(-1, keepdim=True)
    size = last.layout.shape[-1]
    top = (size - 1 - nans).clamp(min=0).to(q.layout.dtype) if skips_nan else (nans * 0 + (size - 1)).to(q.layout.dtype)
    rank = q * top
    if not skips_nan:
        rank = FUNCTIONS.where(nans > 0, float(size - 1), rank)
    if interpolation == "lower":
        rank = rank.floor()
    elif interpolation == "higher":
        rank = rank.ceil()
    elif interpolation == "nearest":
        rank = rank.round()
    below = rank.floor()
    low = gather(ordered, -1, below.to(dt.int64))
    if interpolation in ("linear", "midpoint"):
        weight = 0.5 if interpolation == "midpoint" else rank - below
        low = low.lerp(gather(ordered, -1, rank.ceil().to(dt.int64)), weight)
    return low.movedim(-1, 0)


quantile, nanquantile = in_float32(_quantile("quantile", False)), in_float32(_quantile("nanquantile", True))


PUBLIC = ("argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "nanquantile", "quantile", "sort", "topk")
METHODS = PUBLIC

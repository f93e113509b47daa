"""Running sums, products, extrema and logarithms of sums, differences and integrals along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import elementwise as basic
from flambeau._ops import return_types
from flambeau._ops.arguments import dtype_of_total, into
from flambeau._ops.joining import cat
from flambeau._ops.operator import Operator
from flambeau._ops.partial_products import gradient_of_running_products, is_differentiated_again
from flambeau._ops.positions import require_tensor
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.return_types import several
from flambeau._ops.scattering import scatter_add
from flambeau._ops.views import narrow
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- running sums and products ---------------------------------------------------------------------------------------


def _infer_scan(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[0].shape, statics[1])


def _lower_scan(kind: str) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        source = graph.cast(operands[0], layouts[0].dtype.compute)
        return graph.cast(graph.scan(kind, source, statics[0]) if source.ndim else graph.copy(source), layouts[0].dtype)

    return lower


CUMSUM = Operator("cumsum", ("input",), ("dim", "dtype"), infer=_infer_scan, lower=_lower_scan("sum"))
CUMPROD = Operator("cumprod", ("input",), ("dim", "dtype"), infer=_infer_scan, lower=_lower_scan("prod"))


def _reversed_cumsum(grad: Tensor, dim: int) -> Tensor:
    return cumsum(grad.flip(dim), dim).flip(dim) if grad.layout.ndim else grad


CUMSUM.gradient(input=lambda grad, dim: _reversed_cumsum(grad, dim))


def _cumprod_gradient(grad: Tensor, input: Tensor, result: Tensor, dim: int) -> Tensor:
    """Before the first zero, what comes after over the element; at it, the products without it; behind it nothing."""
    if input.layout.ndim and input.layout.numel and is_differentiated_again():
        return gradient_of_running_products(grad, basic.conj(input.to(grad.layout.dtype)), dim)
    zero = input == 0
    count = cumsum(zero, dim)
    first = zero & (count == 1)
    before = _reversed_cumsum(grad * basic.conj(result), dim) / basic.conj(FUNCTIONS.where(zero, 1.0, input))
    at = _reversed_cumsum(grad * basic.conj(cumprod(FUNCTIONS.where(first, 1.0, input), dim)), dim)
    return FUNCTIONS.where(count == 0, before, FUNCTIONS.where(first, at, 0.0))


CUMPROD.gradient(input=_cumprod_gradient)


def _scan(operator: Operator, input: Tensor, dim: int, dtype: DType | None, out: Tensor | None) -> Tensor:
    return into(out, operator(input, statics=(lay.wrap_axis(dim, input.layout.ndim), dtype_of_total(dtype, input, out))))


def cumsum(input: Tensor, dim: Any = None, *, dtype: DType | None = None, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """The running sum along ``dim``."""
    require_tensor("cumsum", "input", input)
    dim = dim if axis is None else axis
    return _scan(CUMSUM, input, dim, dtype, out)


def cumprod(input: Tensor, dim: Any = None, *, dtype: DType | None = None, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """The running product along ``dim``."""
    require_tensor("cumprod", "input", input)
    dim = dim if axis is None else axis
    return _scan(CUMPROD, input, dim, dtype, out)


def cumsum_(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """In-place version of ``cumsum()``."""
    return CUMSUM.inplace(self, self, statics=(lay.wrap_axis(dim, self.layout.ndim), dtype or self.layout.dtype))


def cumprod_(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """In-place version of ``cumprod()``."""
    return CUMPROD.inplace(self, self, statics=(lay.wrap_axis(dim, self.layout.ndim), dtype or self.layout.dtype))


# -- running extrema -------------------------------------------------------------------------------------------------


def _infer_extrema(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    input = operands[0]
    if input.dtype.is_complex and input.ndim and input.numel:  # PyTorch takes those that need not be compared
        raise NotImplementedError(f"cummax and cummin are not implemented for {input.dtype!r}, whose numbers have no order")
    return lay.contiguous(input.shape, input.dtype), lay.contiguous(input.shape, dt.int64)


def _lower_extrema(kind: str) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
        source, shape = operands[0], layouts[0].shape
        if source.dtype.is_complex or not shape:
            return graph.copy(source), graph.constant(0, dt.int64, shape)
        values = graph.scan(kind, source, statics[0])
        hits = source.equals(values) | source.differs(source)
        places = graph.scan("max", graph.where(hits, graph.iota(shape, statics[0]), 0), statics[0])
        return values, places

    return lower


def _extrema_gradient(grad0: Tensor, result1: Tensor, dim: int) -> Tensor:
    return scatter_add(basic.no_gradient(grad0), dim, result1, grad0) if grad0.layout.ndim else grad0


CUMMAX = Operator("cummax", ("input",), ("dim",), infer=_infer_extrema, lower=_lower_extrema("max")).gradient(input=_extrema_gradient)
CUMMIN = Operator("cummin", ("input",), ("dim",), infer=_infer_extrema, lower=_lower_extrema("min")).gradient(input=_extrema_gradient)


def cummax(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """The largest element so far along ``dim``, and where it is (the last of equals)."""
    require_tensor("cummax", "input", input)
    return several(return_types.cummax, out, *CUMMAX(input, statics=(lay.wrap_axis(dim, input.layout.ndim),)))


def cummin(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """The smallest element so far along ``dim``, and where it is (the last of equals)."""
    require_tensor("cummin", "input", input)
    return several(return_types.cummin, out, *CUMMIN(input, statics=(lay.wrap_axis(dim, input.layout.ndim),)))


# -- running logarithms of sums --------------------------------------------------------------------------------------


def _accumulate_log(array: np.ndarray, axis: int) -> tuple[np.ndarray]:
    """Of complex numbers: ``larger + log(1 + exp(smaller - larger))`` by real parts; the imaginary part is not wrapped around."""
    result = np.moveaxis(array.copy(), axis, 0)
    with np.errstate(all="ignore"):
        for place in range(1, len(result)):
            before, item = result[place - 1], result[place]
            first = before.real >= item.real
            larger, smaller = np.where(first, before, item), np.where(first, item, before)
            nothing = np.isneginf(larger.real)
            result[place] = np.where(nothing, larger, larger + np.log(1 + np.exp(smaller - np.where(nothing, 0, larger))))
    return (np.moveaxis(result, 0, axis),)


def _lower_logcumsumexp(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, layout = operands[0], layouts[0]
    if not layout.numel or not layout.shape:
        return graph.copy(source)
    if layout.dtype.is_complex:
        return graph.host(_accumulate_log, (source,), ((source.dtype, source.shape),), *statics)[0]
    # Each step's rounding is an error of all that come after, of a constant that grows: PyTorch keeps double precision, too.
    return graph.cast(graph.scan("logaddexp", graph.cast(source, dt.float64), statics[0]), layout.dtype)


LOGCUMSUMEXP = Operator(
    "logcumsumexp",
    ("input",),
    ("dim",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    lower=_lower_logcumsumexp,
)


def _logcumsumexp_gradient(grad: Tensor, input: Tensor, result: Tensor, dim: int) -> Tensor:
    """``exp(input) * sum of grad * exp(-result)`` over what comes after, the positive and the negative part of ``grad`` apart."""
    if not grad.layout.ndim:
        return grad
    if grad.is_complex():
        none = grad == 0
        logarithm = FUNCTIONS.where(none, -inf, FUNCTIONS.where(none, 1.0, grad).log() - result.conj())
        return (logcumsumexp(logarithm.flip(dim), dim).flip(dim) + input.conj()).exp()
    parts = []
    for part in (grad, -grad):
        none = part <= 0
        logarithm = FUNCTIONS.where(none, -inf, FUNCTIONS.where(none, 1.0, part).log() - result)
        parts.append((logcumsumexp(logarithm.flip(dim), dim).flip(dim) + input).exp())
    return parts[0] - parts[1]


LOGCUMSUMEXP.gradient(input=_logcumsumexp_gradient)


def logcumsumexp(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """``log(cumsum(exp(input)))`` along ``dim``, without overflow."""
    require_tensor("logcumsumexp", "input", input)
    if input.layout.dtype.category < dt.FLOAT:
        raise NotImplementedError(f"logcumsumexp(): expected a floating-point or complex tensor, not {input.layout.dtype!r}")
    return into(out, LOGCUMSUMEXP(input, statics=(lay.wrap_axis(dim, input.layout.ndim),)))


# -- differences and integrals ---------------------------------------------------------------------------------------


def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    *,
    out: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """The differences of neighbours along ``dim``, taken ``n`` times; of bool, whether they differ."""
    require_tensor("diff", "input", input)
    dim = dim if axis is None else axis
    if input.layout.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = lay.wrap_axis(dim, input.layout.ndim)
    for each in (prepend, append):
        if each is not None and each.layout.ndim != input.layout.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    if n == 0:  # then nothing is joined to it, either
        return into(out, input.clone())
    if prepend is not None or append is not None:
        input = cat([each for each in (prepend, input, append) if each is not None], axis)
    for _ in range(min(n, input.layout.shape[axis] + 1)):
        count = max(input.layout.shape[axis] - 1, 0)
        if not count:
            input = narrow(input, axis, 0, 0)
            break
        later, earlier = narrow(input, axis, 1, count), narrow(input, axis, 0, count)
        input = later ^ earlier if input.layout.dtype is dt.bool else later - earlier
    return into(out, input)


def _widths(y: Tensor, x: Tensor, axis: int, name: str) -> Tensor:
    """The distances of the sample points of ``y`` along ``axis``, in a shape that is broadcast against the areas."""
    if x.layout.ndim == 0:
        raise RuntimeError(f"{name}: x must not be a scalar tensor")
    ndim = y.layout.ndim
    if x.layout.ndim == 1:
        if x.layout.numel != y.layout.shape[axis]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        return diff(x).reshape(tuple(-1 if each == axis else 1 for each in range(ndim)))
    if x.layout.ndim < ndim:
        x = x.reshape((*(1,) * (ndim - x.layout.ndim), *x.layout.shape))
    return diff(x, 1, axis - ndim)


def _areas(y: Tensor, x: Any, dx: Any, dim: int, name: str) -> tuple[Tensor, int]:
    axis = lay.wrap_axis(dim, y.layout.ndim)
    count = y.layout.shape[axis]
    if not isinstance(x, TensorBase):
        width = x if x is not None else 1 if dx is None else dx
    else:
        width = _widths(y, x, axis, name)
    if y.layout.dtype is dt.bool or (not isinstance(x, TensorBase) and isinstance(width, bool)):
        raise RuntimeError(f"{name}: received a bool input for `x` or `y`, but bool is not supported")
    pairs = max(count - 1, 0)
    return (narrow(y, axis, min(1, count), pairs) + narrow(y, axis, 0, pairs)) * width, axis - y.layout.ndim


def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral along ``dim`` by the trapezoidal rule, of samples at ``x`` or ``dx`` apart."""
    require_tensor("trapezoid", "y", y)
    areas, axis = _areas(y, x, dx, dim, "trapezoid")
    return areas.sum(axis) / 2.0


def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral along ``dim`` by the trapezoidal rule."""
    require_tensor("cumulative_trapezoid", "y", y)
    areas, axis = _areas(y, x, dx, dim, "cumulative_trapezoid")
    return cumsum(areas, axis) / 2.0


trapz = trapezoid

PUBLIC = ("cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "logcumsumexp", "trapezoid", "trapz")
METHODS = ("cummax", "cummin", "cumprod", "cumprod_", "cumsum", "cumsum_", "diff", "logcumsumexp")

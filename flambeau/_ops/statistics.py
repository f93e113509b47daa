"""Reductions other than plain sums and extrema: truth, products, positions, variances, logarithms of sums, sums without NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops import elementwise as basic
from flambeau._ops import return_types
from flambeau._ops.arguments import dtype_of_total, into, sizes
from flambeau._ops.gathering import scattered_back
from flambeau._ops.moments import moments
from flambeau._ops.operator import Operator
from flambeau._ops.origin import warn
from flambeau._ops.partial_products import is_differentiated_again, products_of_others
from flambeau._ops.positions import places_along
from flambeau._ops.reduction import AMAX, AMIN, amax, amin, infer_reduced, lower_reduced, reduced_shape, restore, sum
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Axes = Any
_all = all

# -- any, all, prod --------------------------------------------------------------------------------------------------


def _infer_truth(operands: tuple, statics: tuple) -> Layout:
    axes, keepdim = statics
    source = operands[0]
    dtype = dt.uint8 if source.dtype is dt.uint8 else dt.bool
    return lay.contiguous(reduced_shape(source.shape, axes, keepdim), dtype)


def _lower_truth(kind: str) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        axes, keepdim = statics
        return graph.cast(graph.reduce(kind, graph.cast(operands[0], dt.bool), axes, keepdim=keepdim), layouts[0].dtype)

    return lower


ANY = Operator("any", ("input",), ("axes", "keepdim"), infer=_infer_truth, lower=_lower_truth("any"))
ALL = Operator("all", ("input",), ("axes", "keepdim"), infer=_infer_truth, lower=_lower_truth("all"))


def any(
    input: Tensor, dim: Axes = None, keepdim: bool = False, *, out: Tensor | None = None, axis: Axes = None, keepdims: bool | None = None
) -> Tensor:
    """Whether any element (along ``dim``) is not 0."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, ANY(input, statics=(lay.wrap_axes(dim, input.layout.ndim), keepdim)))


def all(
    input: Tensor, dim: Axes = None, keepdim: bool = False, *, out: Tensor | None = None, axis: Axes = None, keepdims: bool | None = None
) -> Tensor:
    """Whether every element (along ``dim``) is not 0."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, ALL(input, statics=(lay.wrap_axes(dim, input.layout.ndim), keepdim)))


PROD = Operator("prod", ("input",), ("axes", "keepdim", "dtype"), infer=infer_reduced, lower=lower_reduced("prod"))


def _prod_gradient(grad: Tensor, input: Tensor, result: Tensor, axes: tuple, keepdim: bool) -> Tensor:
    """The product of the others: the result over the element; where there is one zero, the product of the rest for that element."""
    shape = input.layout.shape
    if input.layout.ndim and input.layout.numel and is_differentiated_again():
        return restore(grad, shape, axes, keepdim) * basic.conj(products_of_others(input.to(grad.layout.dtype), axes))
    zero = input == 0
    count = restore(zero.sum(axes, keepdim=True), shape, axes, True)
    rest = prod(FUNCTIONS.where(zero, 1.0, input), axes, True)
    ratio = basic.conj(restore(result, shape, axes, keepdim) / input)
    others = FUNCTIONS.where(count == 0, ratio, FUNCTIONS.where((count == 1) & zero, basic.conj(restore(rest, shape, axes, True)), 0.0))
    return restore(grad, shape, axes, keepdim) * others


PROD.gradient(input=_prod_gradient)


def prod(
    input: Tensor,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
    axis: Axes = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The product of all elements, or along ``dim``; integers are multiplied as int64."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    dtype = dtype_of_total(dtype, input, out)
    return into(out, PROD(input, statics=(lay.wrap_axes(dim, input.layout.ndim), keepdim, dtype)))


# -- extrema and their positions -------------------------------------------------------------------------------------


def _infer_argument(operands: tuple, statics: tuple) -> Layout:
    axis, keepdim = statics
    return lay.contiguous(reduced_shape(operands[0].shape, (axis,), keepdim) if operands[0].ndim else (), dt.int64)


def _first(graph: Graph, kind: str, x: Node, axis: int, keepdim: bool) -> Node:
    """The first position at which the extremum (or a NaN) stands."""
    if not x.ndim:
        return graph.constant(0, dt.int64)
    x = graph.cast(x, dt.uint8) if x.dtype is dt.bool else graph.wide(x)
    extremum = graph.reduce(kind, x, (axis,), keepdim=True).expand(x.shape)
    hit = x.equals(extremum)
    if x.dtype.is_floating_point:
        hit = hit | x.differs(x)
    small = dt.int32 if x.shape[axis] < 1 << 31 else dt.int64  # half as many vectors
    position = graph.where(hit, graph.iota(x.shape, axis, small), (1 << (8 * small.itemsize - 1)) - 1)
    return graph.cast(graph.reduce("min", position, (axis,), keepdim=keepdim), dt.int64)


def _lower_argument(kind: str) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        return _first(graph, kind, operands[0], *statics)

    return lower


ARGMAX = Operator("argmax", ("input",), ("dim", "keepdim"), infer=_infer_argument, lower=_lower_argument("max"))
ARGMIN = Operator("argmin", ("input",), ("dim", "keepdim"), infer=_infer_argument, lower=_lower_argument("min"))


def _argument(operator: Operator, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    name = operator.name
    if dim is None:
        if input.layout.numel == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
            )
        result = operator(input.reshape(-1), statics=(0, False))
        return result.reshape((1,) * input.layout.ndim) if keepdim else result
    return operator(input, statics=(_filled_axis(name, input, dim), keepdim))


def _filled_axis(name: str, input: Tensor, dim: int) -> int:
    """The dimension that ``dim`` means, which has elements."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    if input.layout.ndim and input.layout.shape[axis] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")
    return axis


def argmax(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The position of the largest element (the first of equals; NaN counts as largest), of all or along ``dim``."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, _argument(ARGMAX, input, dim, keepdim))


def argmin(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The position of the smallest element (the first of equals; NaN counts as smallest), of all or along ``dim``."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, _argument(ARGMIN, input, dim, keepdim))


def _infer_extremum(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    index = _infer_argument(operands, statics)
    return lay.contiguous(index.shape, operands[0].dtype), index


def _lower_extremum(kind: str) -> Callable:
    """The element at that position: of zeros the one that stands first, whose sign a reduction would not keep."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
        axis, keepdim = statics
        source = graph.lying(operands[0])
        index = _first(graph, kind, operands[0], axis, True)
        if not source.ndim:
            return graph.copy(source), index
        layout, stride = places_along(source.layout, index.shape, axis)
        values = graph.gather(source, layout, [index], [stride], sizes=[source.shape[axis]])
        return (values, index) if keepdim else (values.reshape(layouts[0].shape), index.reshape(layouts[1].shape))

    return lower


def _extremum_gradient(grad0: Tensor, input_layout: Layout, result1: Tensor, dim: int, keepdim: bool) -> Tensor:
    if input_layout.ndim and not keepdim:
        grad0, result1 = grad0.unsqueeze(dim), result1.unsqueeze(dim)
    return scattered_back(grad0, input_layout, result1, dim)


MAX = Operator("max", ("input",), ("dim", "keepdim"), infer=_infer_extremum, lower=_lower_extremum("max"))
MAX.gradient(input=_extremum_gradient)
MIN = Operator("min", ("input",), ("dim", "keepdim"), infer=_infer_extremum, lower=_lower_extremum("min"))
MIN.gradient(input=_extremum_gradient)


def _extremum(
    operator: Operator, whole: Operator, pair: type, two: Callable, input: Tensor, dim: Any, keepdim: bool, other: Any, out: Any
) -> Any:
    if not isinstance(input, TensorBase):
        raise TypeError(f"{operator.name}(): argument 'input' must be Tensor, not {input.__class__.__name__}")
    if isinstance(dim, TensorBase) or isinstance(other, TensorBase):
        return two(input, other if dim is None else dim, out=out)
    if dim is None:
        if input.layout.numel == 0:
            raise RuntimeError(
                f"{operator.name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
            )
        memo = input.layout.memo
        statics = memo.get("all axes")
        if statics is None:
            statics = memo["all axes"] = (tuple(range(input.layout.ndim)), False, input.layout.dtype)
        return into(out, whole(input, statics=statics))
    results = operator(input, statics=(_filled_axis(operator.name, input, dim), keepdim))
    return pair(*(results if out is None else into(out, results)))


def max(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    other: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Any:
    """The largest element; with ``dim`` the largest along it and their positions; with a tensor, the larger of two elements."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return _extremum(MAX, AMAX, return_types.max, basic.maximum, input, dim, keepdim, other, out)


def min(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    other: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Any:
    """The smallest element; with ``dim`` the smallest along it and their positions; with a tensor, the smaller of two elements."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return _extremum(MIN, AMIN, return_types.min, basic.minimum, input, dim, keepdim, other, out)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along ``dim``."""
    if dim is None and not input.layout.numel:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
    axes = () if dim is None else dim
    return return_types.several(return_types.aminmax, out, amin(input, axes, keepdim), amax(input, axes, keepdim))


# -- variance --------------------------------------------------------------------------------------------------------


def _precise(dtype: DType) -> DType:
    """The dtype in which sums of squares neither lose digits nor overflow: float64 or complex128."""
    return dt.complex128 if dtype.is_complex else dt.float64


def _lower_var(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """In double precision from the mean on, so that no square overflows and a mean of a million deviations costs no digits."""
    axes, keepdim, dtype, correction = statics
    source = operands[0]
    count = math.prod(source.shape[axis] for axis in axes)
    if source.dtype.compute is dt.float32 and count:
        _, variance = moments(graph, source, axes)
        total = (variance * float(count)).reshape(layouts[0].shape)
    else:
        x = graph.cast(source, _precise(source.dtype))
        mean = x.sum(axes, keepdim=True) / float(count or 1)
        total = _squares(graph, x - mean).sum(axes, keepdim=keepdim)
    freedom = count - correction if count > correction else 0.0
    quotient = total / freedom if freedom else graph.map("div", total, graph.constant(0.0, total.dtype, total.shape))
    return graph.cast(quotient, dtype)


def _squares(graph: Graph, x: Node) -> Node:
    """The squares of magnitudes."""
    if not x.dtype.is_complex:
        return graph.map("square", x)
    re, im = graph.map("real", x), graph.map("imag", x)
    return re * re + im * im


VAR = Operator(
    "var",
    ("input",),
    ("axes", "keepdim", "dtype", "correction"),
    infer=lambda operands, statics: infer_reduced(operands, statics[:3]),
    lower=_lower_var,
)


def _var_gradient(grad: Tensor, input: Tensor, axes: tuple, keepdim: bool, correction: float) -> Tensor:
    shape = input.layout.shape
    count = math.prod(shape[axis] for axis in axes)
    scale = restore(grad, shape, axes, keepdim) * (2.0 / (count - correction) if count != correction else math.nan)
    return (scale * (input - input.mean(axes, keepdim=True))).to(input.layout.dtype)


VAR.gradient(input=_var_gradient)


def _correction(dim: Any, unbiased: Any, correction: float | None) -> tuple[Any, float]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The variance over all elements or ``dim``: squared distances from the mean over ``count - correction``."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, _variance("var", input, dim, unbiased, keepdim, correction, input.layout.dtype.to_real()))


def _variance(name: str, input: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None, dtype: DType) -> Tensor:
    """The variance, rounded to ``dtype``."""
    dim, correction = _correction(dim, unbiased, correction)
    if input.layout.dtype.category < dt.FLOAT:
        raise RuntimeError("std and var only support floating point and complex dtypes")
    axes = lay.wrap_axes(dim, input.layout.ndim)
    count = math.prod([input.layout.shape[axis] for axis in axes])
    if count <= correction and input.layout.numel:
        warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input numel divided by output "
            f"numel): {count} elements and correction={correction:g} give NaN or infinity."
        )
    return VAR(input, statics=(axes, keepdim, dtype, correction))


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The square root of the variance."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    real = input.layout.dtype.to_real()
    # The variance of 1e-30 or 1e30 is no float32, nor bfloat16, and in half precision the root would be that of a rounded number.
    return into(out, _variance("std", input, dim, unbiased, keepdim, correction, dt.float64).sqrt().to(real))


def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    axes, _ = _correction(dim, unbiased, correction)
    return var(input, dim, unbiased, keepdim, correction=correction), _mean(input, axes, keepdim)


def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    axes, _ = _correction(dim, unbiased, correction)
    return std(input, dim, unbiased, keepdim, correction=correction), _mean(input, axes, keepdim)


def _mean(input: Tensor, axes: Any, keepdim: bool) -> Tensor:
    """The mean by the sum that the variance has too, in double precision."""
    dtype = input.layout.dtype
    return input.mean(axes, keepdim, dtype=_precise(dtype)).to(dtype)


# -- other sums ------------------------------------------------------------------------------------------------------


def logsumexp(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Tensor | None = None, axis: Any = None, keepdims: bool | None = None
) -> Tensor:
    """``log(sum(exp(input)))`` along ``dim``, without overflow."""
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    if dim is None:
        raise TypeError("logsumexp() missing 1 required argument: 'dim'")
    axes = lay.wrap_axes(dim, input.layout.ndim)
    if input.layout.dtype.category < dt.FLOAT:
        input = input.to(dt.float32)
    if not input.layout.numel:
        return into(out, sum(input.exp(), axes, keepdim).log())
    top = amax(input.detach().real if input.is_complex() else input.detach(), axes, True)
    top = FUNCTIONS.where(basic.abs(top) == math.inf, 0.0, top)
    result = sum((input - top).exp(), axes, True).log() + top
    return into(out, result if keepdim else result.reshape(reduced_shape(input.layout.shape, axes, False)))


def count_nonzero(input: Tensor, dim: Any = None, *, axis: Any = None) -> Tensor:
    """How many elements (along ``dim``) are not 0."""
    return sum(input != 0, dim, axis=axis)


def nansum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The sum, NaN counting as 0."""
    if input.layout.dtype.category >= dt.FLOAT:
        input = FUNCTIONS.where(input != input, 0.0, input)
    return sum(input, dim, keepdim, dtype=dtype, out=out, axis=axis, keepdims=keepdims)


def nanmean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The mean of the elements that are not NaN."""
    if input.layout.dtype.category < dt.FLOAT:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {dt.TITLES[input.layout.dtype]}")
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    return into(out, nansum(input, dim, keepdim, dtype=dtype) / sum(input == input, dim, keepdim))


def sum_to_size(self: Tensor, *size: int) -> Tensor:
    """The sum over what broadcasting ``size`` to the tensor's shape would repeat.

    Raises:
        RuntimeError: ``size`` cannot be broadcast to the tensor's shape.
    """
    wanted = sizes(size)
    source = self.layout.shape
    lead = len(source) - len(wanted)
    if lead < 0 or not _all(each in (1, full) for each, full in zip(wanted, source[lead:], strict=True)):
        raise RuntimeError(f"size {list(wanted)} is not expandable to size {list(source)}.")
    if wanted != source and self.layout.dtype.category < dt.FLOAT:
        self = self.to(dt.int64)
    return FUNCTIONS.sum_to(self, wanted) if wanted else sum(self)


PUBLIC = (
    "all", "aminmax", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "min", "nanmean", "nansum", "prod", "std", "std_mean", "var", "var_mean",
)  # fmt: skip
METHODS = (*[name for name in PUBLIC if name not in ("std_mean", "var_mean")], "sum_to_size")

"""Reductions, scans and orders, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._registry import HANDLERS, dimensions, handler


def reduce(g: Builder, op: str, input: Value, dim: Any, keepdim: bool) -> Value:
    """A reduction over some dimensions, or all."""
    dims = dimensions(dim, input.dim)
    if not dims:
        return g("ReduceSumSquare", input, shape=()) if op == "ReduceSumSquare" else g("Abs", input) if op in _LENGTHS else input
    kept = [1 if axis in dims else size for axis, size in enumerate(input.shape)]
    shape = kept if keepdim else [size for axis, size in enumerate(input.shape) if axis not in dims]
    axes = None if len(dims) == input.dim else g.axes(*dims)
    return g(op, input, axes, shape=tuple(shape), keepdims=int(keepdim))


_LENGTHS = ("ReduceL1", "ReduceL2")


def count(g: Builder, input: Value, dims: list[int], dtype: flambeau.dtype) -> Value:
    """How many elements are reduced to one."""
    sizes = [g.size(input, dim) for dim in dims]
    found: Any = math.prod([size for size in sizes if not isinstance(size, Number)])
    for size in sizes:
        if isinstance(size, Number):
            found = size if found == 1 else g.compute("Mul", size, found)
    return g.value(found, dtype)


@handler("sum")
def _total(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduce(g, "ReduceSum", g.value(input, like.dtype), dim, keepdim)


@handler("mean")
def _mean(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduce(g, "ReduceMean", g.value(input, like.dtype), dim, keepdim)


@handler("prod")
def _prod(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return reduce(g, "ReduceProd", g.value(input, like.dtype), dim, keepdim)


def _extreme(op: str) -> Callable:
    def find(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
        if input.dtype is flambeau.bool and g.version < 20:
            return g.value(reduce(g, op, g.value(input, flambeau.int32), dim, keepdim), flambeau.bool)
        return reduce(g, op, input, dim, keepdim)

    return find


for _name, _op in (("amax", "ReduceMax"), ("amin", "ReduceMin")):
    HANDLERS[_name] = _extreme(_op)
HANDLERS["logsumexp"] = HANDLERS["special_logsumexp"] = lambda g, like, input, dim, keepdim=False: reduce(
    g, "ReduceLogSumExp", g.value(input, like.dtype), dim, keepdim
)


@handler("any")
def _any(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return _truth(g, "ReduceMax", input, dim, keepdim)


@handler("all")
def _all(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return _truth(g, "ReduceMin", input, dim, keepdim)


def _truth(g: Builder, op: str, input: Value, dim: Any, keepdim: bool) -> Value:
    truth = g.value(input, flambeau.bool)
    if g.version >= 20:
        return reduce(g, op, truth, dim, keepdim)
    return g.value(reduce(g, op, g.value(truth, flambeau.int32), dim, keepdim), flambeau.bool)


@handler("count_nonzero")
def _count_nonzero(g: Builder, like: Any, input: Value, dim: Any = None) -> Value:
    return reduce(g, "ReduceSum", g.value(g.value(input, flambeau.bool), flambeau.int64), dim, False)


# -- extremes and their places -----------------------------------------------------------------------------------------


def _with_index(op: str, search: str) -> Callable:
    def find(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Value):
            return HANDLERS["maximum" if op == "ReduceMax" else "minimum"](g, like, input, dim)
        if dim is None:
            return reduce(g, op, input, None, False)
        return [reduce(g, op, input, dim, keepdim), _place(g, search, input, dim, keepdim)]

    return find


def _place(g: Builder, op: str, input: Value, dim: int, keepdim: bool) -> Value:
    if not input.dim:
        return g.number(0, flambeau.int64)
    axis = dim % input.dim
    shape = [1 if each == axis else size for each, size in enumerate(input.shape) if keepdim or each != axis]
    return g(op, input, shape=tuple(shape), dtype=flambeau.int64, axis=axis, keepdims=int(keepdim))


def _search(op: str) -> Callable:
    def find(g: Builder, like: Any, input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        if dim is not None:
            return _place(g, op, input, dim, keepdim)
        if not input.dim:
            return g.number(0, flambeau.int64)
        found = _place(g, op, flat(g, input), 0, False)
        return g.reshape(found, like) if keepdim else found

    return find


def flat(g: Builder, input: Value) -> Value:
    """All elements in one dimension."""
    if input.dim == 1:
        return input
    sizes = input.shape
    whole = math.prod(sizes) if all(isinstance(size, int) for size in sizes) else "?"
    return g("Reshape", input, g.integers(-1, name="shape"), shape=(whole,))


HANDLERS |= {
    "max": _with_index("ReduceMax", "ArgMax"),
    "min": _with_index("ReduceMin", "ArgMin"),
    "argmax": _search("ArgMax"),
    "argmin": _search("ArgMin"),
}


@handler("aminmax")
def _aminmax(g: Builder, like: Any, input: Value, dim: int | None = None, keepdim: bool = False) -> list[Value]:
    return [reduce(g, op, input, dim, keepdim) for op in ("ReduceMin", "ReduceMax")]


@handler("topk")
def _topk(g: Builder, like: Any, input: Value, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not input.dim:
        return [input, g.number(0, flambeau.int64)]
    return g("TopK", input, g.vector(k, name="constant"), like=like, axis=dim % input.dim, largest=int(largest), sorted=int(sorted))


@handler("sort")
def _sort(g: Builder, like: Any, input: Value, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    if not input.dim:
        return [input, g.number(0, flambeau.int64)]
    axis = dim % input.dim
    ordered = g.value(input, flambeau.int32) if input.dtype is flambeau.bool else input
    likes = [Value(input.shape, ordered.dtype), Value(input.shape, flambeau.int64)]
    values, places = g(
        "TopK", ordered, g.vector(g.size(input, axis), name="constant"), like=likes, axis=axis, largest=int(descending), sorted=1
    )
    return [g.value(values, input.dtype), places]


@handler("argsort")
def _argsort(g: Builder, like: Any, input: Value, dim: int = -1, descending: bool = False, stable: Any = None) -> Value:
    return _sort(g, [like, like], input, dim, descending)[1]


@handler("kthvalue")
def _kthvalue(g: Builder, like: Any, input: Value, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    return _ranked(g, input, k - 1, dim, keepdim)


@handler("median")
def _median(g: Builder, like: Any, input: Value, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        x = flat(g, input) if input.dim else g.unsqueeze(input, 0)
        return _ranked(g, x, _middle(g, x, 0), 0, False)[0]
    return _ranked(g, input, _middle(g, input, dim), dim, keepdim)


def _middle(g: Builder, input: Value, dim: int) -> Any:
    size = g.size(input, dim) if input.dim else 1
    return g.compute("Div", g.compute("Sub", size, 1), 2) if isinstance(size, Number) else (size - 1) // 2


def _ranked(g: Builder, input: Value, rank: Any, dim: int, keepdim: bool) -> list[Value]:
    """The element that so many are smaller than, and its place."""
    if not input.dim:
        return [input, g.number(0, flambeau.int64)]
    axis = dim % input.dim
    place = rank if isinstance(rank, Number) else g.integers(rank) if keepdim else g.number(rank, flambeau.int64)
    shape = tuple([1 if each == axis else size for each, size in enumerate(input.shape)])
    found = [g("Gather", each, place, shape=shape, axis=axis) for each in _sort(g, None, input, dim)]
    if keepdim:
        return found
    without = shape[:axis] + shape[axis + 1 :]
    if isinstance(place, Number):
        return [g("Squeeze", each, g.axes(axis), shape=without) for each in found]
    for each in found:
        each.shape = without
    return found


# -- moments and norms -------------------------------------------------------------------------------------------------


def moments(g: Builder, input: Value, dim: Any, keepdim: bool, correction: Any) -> tuple[Value, Value]:
    """The variance and the mean."""
    dims = dimensions(dim, input.dim)
    mean = reduce(g, "ReduceMean", input, dims, True)
    total = reduce(g, "ReduceSumSquare", g("Sub", input, mean), dims, keepdim)
    number = count(g, input, dims, input.dtype)
    if correction:
        number = (
            g("Sub", number, g.number(correction, input.dtype))
            if number.constant is None
            else g.number(number.fill - correction, input.dtype)
        )
    if not keepdim:
        mean = reduce(g, "ReduceMean", input, dims, False)
    return g("Div", total, number), mean


def _spread(root: bool, with_mean: bool) -> Callable:
    def spread(
        g: Builder, like: Any, input: Value, dim: Any = None, unbiased: Any = True, keepdim: bool = False, correction: Any = "unset"
    ) -> Any:
        if isinstance(dim, bool):  # the overload without dimensions
            dim, unbiased = None, dim
        if correction == "unset":
            correction = int(unbiased)
        result, mean = moments(g, input, dim, keepdim, 1 if correction is None else correction)
        result = g("Sqrt", result) if root else result
        return [result, mean] if with_mean else result

    return spread


HANDLERS |= {"var": _spread(False, False), "std": _spread(True, False), "var_mean": _spread(False, True), "std_mean": _spread(True, True)}


@handler("linalg_vector_norm", "norm", "frobenius_norm")
def _norm(g: Builder, like: Any, input: Value, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    x = g.value(input, like.dtype)
    order = 2 if ord in ("fro", None) else ord
    if order in (1, 2):
        return reduce(g, "ReduceL1" if order == 1 else "ReduceL2", x, dim, keepdim)
    if order in (math.inf, -math.inf):
        return reduce(g, "ReduceMax" if order > 0 else "ReduceMin", g("Abs", x), dim, keepdim)
    if order == 0:
        return reduce(g, "ReduceSum", g.value(g.value(x, flambeau.bool), x.dtype), dim, keepdim)
    total = reduce(g, "ReduceSum", g("Pow", g("Abs", x), g.number(order, x.dtype)), dim, keepdim)
    return g("Pow", total, g.number(1 / order, x.dtype))


# -- scans and softmax -------------------------------------------------------------------------------------------------


@handler("cumsum")
def _cumulative(g: Builder, like: Any, input: Value, dim: int, dtype: Any = None) -> Value:
    x = g.value(input, like.dtype)
    return g("CumSum", x, g.number(dim, flambeau.int64), shape=x.shape) if x.dim else x


def _softmax(op: str) -> Callable:
    def apply(g: Builder, like: Any, input: Value, dim: int, dtype: Any = None) -> Value:
        x = g.value(input, like.dtype)
        if not x.dim:
            return g.number(1.0 if op == "Softmax" else 0.0, like.dtype)
        return g(op, x, axis=dim % x.dim)

    return apply


for _name, _op in (("softmax", "Softmax"), ("log_softmax", "LogSoftmax")):
    HANDLERS[_name] = HANDLERS[f"_{_name}"] = HANDLERS[f"special_{_name}"] = _softmax(_op)

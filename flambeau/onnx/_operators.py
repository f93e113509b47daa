"""What each function and method is in ONNX. A handler has PyTorch's parameters, after the builder and the result of the example run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.onnx._graph import Builder, Value

HANDLERS: dict[str, Callable] = {}
"""By the name of the function or method, without the underscore at the end of those that work in place."""


def handler(*names: str) -> Callable[[Callable], Callable]:
    """Register a handler under PyTorch's names."""

    def register(function: Callable) -> Callable:
        for name in names:
            HANDLERS[name] = function
        return function

    return register


def _dims(dim: Any, ndim: int) -> list[int]:
    """Dimensions counted from the front; all for None."""
    dims = range(ndim) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
    return [each % ndim for each in dims] if ndim else []


# -- elementwise -------------------------------------------------------------------------------------------------------

UNARY = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh", "bitwise_not": "BitwiseNot", "ceil": "Ceil",
    "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor", "isnan": "IsNaN", "isinf": "IsInf", "log": "Log", "logical_not": "Not", "neg": "Neg",
    "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softsign": "Softsign", "sqrt": "Sqrt", "tan": "Tan",
    "tanh": "Tanh", "hardswish": "HardSwish", "mish": "Mish",
}  # fmt: skip
BINARY = {
    "mul": "Mul",
    "maximum": "Max",
    "minimum": "Min",
    "and_": "And",
    "or_": "Or",
    "xor": "Xor",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
}
COMPARISONS = {"eq": "Equal", "lt": "Less", "gt": "Greater", "le": "LessOrEqual", "ge": "GreaterOrEqual"}


def _unary(op: str) -> Callable:
    return lambda g, like, input, inplace=False: g(op, g.value(input, like.dtype) if like.is_floating_point() else input, like=like)


def _operands(g: Builder, *operands: Any) -> list[Value]:
    """Operands in the dtype that they are promoted to."""
    examples = [operand.example if isinstance(operand, Value) else operand for operand in operands]
    dtype = flambeau.result_type(*examples)
    return [g.value(operand, dtype) for operand in operands]


def _binary(op: str) -> Callable:
    return lambda g, like, input, other: g(op, *_operands(g, input, other), like=like)


HANDLERS["invert"] = lambda g, like, input: g("Not" if like.dtype is flambeau.bool else "BitwiseNot", input, like=like)
for _names, _make in ((UNARY, _unary), (BINARY, _binary), (COMPARISONS, _binary)):
    for _name, _op in _names.items():
        HANDLERS[_name] = _make(_op)


def _sum(op: str) -> Callable:
    def add(g: Builder, like: Tensor, input: Any, other: Any, *, alpha: Any = 1) -> Value:
        left, right = _operands(g, input, other)
        if alpha != 1:
            right = g("Mul", right, g.number(alpha, right.dtype), like=right.example * alpha)
        return g(op, left, right, like=like)

    return add


HANDLERS["add"] = HANDLERS["iadd"] = _sum("Add")
HANDLERS["sub"] = HANDLERS["subtract"] = HANDLERS["isub"] = _sum("Sub")
HANDLERS["imul"] = HANDLERS["multiply"] = HANDLERS["mul"]
HANDLERS["true_divide"] = HANDLERS["truediv"] = HANDLERS["itruediv"] = lambda g, like, input, other: _divide(g, like, input, other)


@handler("div", "divide")
def _divide(g: Builder, like: Tensor, input: Any, other: Any, *, rounding_mode: str | None = None) -> Value:
    left, right = (g.value(each, like.dtype) for each in (input, other))
    if rounding_mode == "floor" and not like.is_floating_point():  # ONNX's Div of integers cuts off, its Mod has the divisor's sign
        left = g("Sub", left, g("Mod", left, right, like=like), like=like)
    result = g("Div", left, right, like=like)
    if rounding_mode is None or not like.is_floating_point():
        return result
    return g("Floor", result, like=like) if rounding_mode == "floor" else _trunc(g, like, result)


@handler("floordiv", "floor_divide")
def _floor_divide(g: Builder, like: Tensor, input: Any, other: Any) -> Value:
    return _divide(g, like, input, other, rounding_mode="floor")


@handler("trunc", "fix")
def _trunc(g: Builder, like: Tensor, input: Value) -> Value:
    floor = g("Floor", g("Abs", input, like=like), like=like)
    return g("Mul", floor, g("Sign", input, like=like), like=like)


@handler("remainder", "mod", "fmod")
def _remainder(g: Builder, like: Tensor, input: Any, other: Any) -> Value:
    left, right = (g.value(each, like.dtype) for each in (input, other))
    if not like.is_floating_point():
        return g("Mod", left, right, like=like)
    quotient = g("Floor", g("Div", left, right, like=like), like=like)
    return g("Sub", left, g("Mul", quotient, right, like=like), like=like)


@handler("ne", "not_equal")
def _differs(g: Builder, like: Tensor, input: Any, other: Any) -> Value:
    return g("Not", g("Equal", *_operands(g, input, other), like=like), like=like)


@handler("pow", "ipow")
def _power(g: Builder, like: Tensor, input: Any, exponent: Any) -> Value:
    return g("Pow", g.value(input, like.dtype), g.value(exponent, like.dtype), like=like)


@handler("rsqrt")
def _rsqrt(g: Builder, like: Tensor, input: Value) -> Value:
    return g("Reciprocal", g("Sqrt", g.value(input, like.dtype), like=like), like=like)


@handler("square")
def _square(g: Builder, like: Tensor, input: Value) -> Value:
    return g("Mul", input, input, like=like)


HANDLERS["log2"] = lambda g, like, input: g("Div", g("Log", input, like=like), g.number(math.log(2), like.dtype), like=like)
HANDLERS["log10"] = lambda g, like, input: g("Div", g("Log", input, like=like), g.number(math.log(10), like.dtype), like=like)
HANDLERS["log1p"] = lambda g, like, input: g("Log", g("Add", input, g.number(1, like.dtype), like=like), like=like)
HANDLERS["expm1"] = lambda g, like, input: g("Sub", g("Exp", input, like=like), g.number(1, like.dtype), like=like)


@handler("round")
def _round(g: Builder, like: Tensor, input: Value, *, decimals: int = 0) -> Value:
    if decimals:
        raise NotImplementedError("round to decimals has no operator in ONNX")
    return g("Round", input, like=like)


@handler("clamp", "clip")
def _clamp(g: Builder, like: Tensor, input: Value, min: Any = None, max: Any = None, **others: Any) -> Value:
    low, high = (None if bound is None else g.value(bound, like.dtype) for bound in (min, max))
    return g("Clip", g.value(input, like.dtype), low, high, like=like)


HANDLERS["relu6"] = lambda g, like, input, inplace=False: _clamp(g, like, input, 0, 6)
HANDLERS["hardtanh"] = lambda g, like, input, min_val=-1.0, max_val=1.0, inplace=False: _clamp(g, like, input, min_val, max_val)
HANDLERS["clamp_min"] = lambda g, like, input, min: _clamp(g, like, input, min)
HANDLERS["clamp_max"] = lambda g, like, input, max: _clamp(g, like, input, None, max)


@handler("where")
def _where(g: Builder, like: Tensor, condition: Value, input: Any, other: Any) -> Value:
    return g("Where", condition, g.value(input, like.dtype), g.value(other, like.dtype), like=like)


@handler("masked_fill")
def _masked_fill(g: Builder, like: Tensor, input: Value, mask: Value, value: Any) -> Value:
    return g("Where", mask, g.value(value, like.dtype), input, like=like)


@handler("to", "type", "float", "double", "half", "bfloat16", "long", "int", "short", "bool", "type_as")
def _convert(g: Builder, like: Tensor, input: Value, *others: Any, **options: Any) -> Value:
    return input if input.dtype is like.dtype else g.cast(input, like.dtype)


@handler(
    "contiguous",
    "clone",
    "detach",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_dropout",
    "requires_grad",
    "alias",
    "view_as",
    "cpu",
    "identity",
)
def _same(g: Builder, like: Tensor, input: Value, *others: Any, **options: Any) -> Value:
    return input if input.shape == tuple(like.shape) else g.reshape(input, like)


# -- reductions --------------------------------------------------------------------------------------------------------


def _reduce(g: Builder, op: str, like: Tensor, input: Value, dim: Any, keepdim: bool) -> Value:
    dims = _dims(dim, input.dim)
    if not dims:
        return g("Identity", input, like=like)
    return g(op, input, g.integers(*dims), like=like, keepdims=int(keepdim))


@handler("sum")
def _total(g: Builder, like: Tensor, input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    return _reduce(g, "ReduceSum", like, g.value(input, like.dtype), dim, keepdim)


@handler("mean")
def _mean(g: Builder, like: Tensor, input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    return _reduce(g, "ReduceMean", like, g.value(input, like.dtype), dim, keepdim)


for _name, _op in (("amax", "ReduceMax"), ("amin", "ReduceMin"), ("prod", "ReduceProd"), ("logsumexp", "ReduceLogSumExp")):
    HANDLERS[_name] = lambda g, like, input, dim=None, keepdim=False, op=_op: _reduce(g, op, like, input, dim, keepdim)


def _with_index(reduce: str, search: str) -> Callable:
    def find(g: Builder, like: Any, input: Value, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Value):
            return HANDLERS["maximum" if reduce == "ReduceMax" else "minimum"](g, like, input, dim)
        if dim is None:
            return _reduce(g, reduce, like, input, None, False)
        values, indices = like
        return [
            _reduce(g, reduce, values, input, dim, keepdim),
            g(search, input, like=indices, axis=dim, keepdims=int(keepdim)),
        ]

    return find


def _search(op: str) -> Callable:
    def find(g: Builder, like: Tensor, input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        if dim is None:
            flat = g("Reshape", input, g.integers(-1), like=input.example.reshape(-1))
            return g(op, flat, like=like, axis=0, keepdims=0)
        return g(op, input, like=like, axis=dim, keepdims=int(keepdim))

    return find


HANDLERS |= {
    "max": _with_index("ReduceMax", "ArgMax"),
    "min": _with_index("ReduceMin", "ArgMin"),
    "argmax": _search("ArgMax"),
    "argmin": _search("ArgMin"),
}


def _spread(root: bool) -> Callable:
    def spread(
        g: Builder, like: Tensor, input: Value, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Value:
        dims = _dims(dim, input.dim)
        mean = g("ReduceMean", input, g.integers(*dims), like=input.example.mean(dims, keepdim=True), keepdims=1)
        deviation = g("Sub", input, mean, like=input.example)
        total = _reduce(g, "ReduceSumSquare", like, deviation, dims, keepdim)
        count = math.prod(input.shape[each] for each in dims) - (int(unbiased) if correction is None else correction)
        result = g("Div", total, g.number(count, like.dtype), like=like)
        return g("Sqrt", result, like=like) if root else result

    return spread


HANDLERS |= {"var": _spread(False), "std": _spread(True)}


@handler("norm", "vector_norm")
def _norm(
    g: Builder, like: Tensor, input: Value, p: Any = 2, dim: Any = None, keepdim: bool = False, *, ord: Any = None, dtype: Any = None
) -> Value:
    order = p if ord is None else ord
    if order not in (1, 2, "fro"):
        raise NotImplementedError(f"a norm of order {order} has no operator in ONNX")
    return _reduce(g, "ReduceL1" if order == 1 else "ReduceL2", like, input, dim, keepdim)


@handler("cumsum")
def _cumulative(g: Builder, like: Tensor, input: Value, dim: int, *, dtype: Any = None) -> Value:
    return g("CumSum", g.value(input, like.dtype), g.number(dim, flambeau.int64), like=like)


@handler("topk")
def _topk(g: Builder, like: Any, input: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return g("TopK", input, g.integers(k), like=like, axis=dim, largest=int(largest), sorted=int(sorted))


for _name, _op in (("softmax", "Softmax"), ("log_softmax", "LogSoftmax")):
    HANDLERS[_name] = lambda g, like, input, dim=-1, *others, dtype=None, op=_op: g(op, g.value(input, like.dtype), like=like, axis=dim)

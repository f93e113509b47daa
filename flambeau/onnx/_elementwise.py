"""Functions of one element, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._registry import HANDLERS, handler

UNARY = {
    "abs": "Abs", "absolute": "Abs", "acos": "Acos", "acosh": "Acosh", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin", "arcsinh": "Asinh", "arctan": "Atan",
    "arctanh": "Atanh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp",
    "floor": "Floor", "hardswish": "HardSwish", "log": "Log", "mish": "Mish", "neg": "Neg", "negative": "Neg", "reciprocal": "Reciprocal", "relu": "Relu",
    "sigmoid": "Sigmoid", "sign": "Sign", "sgn": "Sign", "sin": "Sin", "sinh": "Sinh", "special_erf": "Erf", "special_expit": "Sigmoid", "sqrt": "Sqrt", "tan": "Tan",
    "tanh": "Tanh",
}  # fmt: skip
BINARY = {"mul": "Mul", "multiply": "Mul"}
COMPARISONS = {
    "eq": "Equal", "ge": "GreaterOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "less": "Less",
    "less_equal": "LessOrEqual", "lt": "Less",
}  # fmt: skip
ROUNDING = frozenset(["Abs", "Ceil", "Floor", "Relu", "Sign"])
"""What ONNX has for floating point numbers only, or what integers are already."""


def _unary(name: str, op: str) -> Callable:
    def apply(g: Builder, like: Any, input: Value) -> Value:
        if like.dtype is flambeau.bool:
            return input
        if op in ("Ceil", "Floor") and not like.dtype.is_floating_point:
            return input
        return g(op, g.value(input, like.dtype))

    return apply


for _name, _op in UNARY.items():
    HANDLERS[_name] = _unary(_name, _op)


def operands(g: Builder, *given: Any) -> list[Value]:
    """Operands in the dtype that they are promoted to."""
    examples = [
        flambeau.empty((0,) * bool(each.dim), dtype=each.dtype, device="meta")
        if isinstance(each, Value) and not isinstance(each, Number)
        else (1.0 if each.dtype.is_floating_point else 1)
        if isinstance(each, Number)
        else each
        for each in given
    ]
    dtype = flambeau.result_type(*examples)
    return [g.value(each, dtype) for each in given]


for _name, _op in BINARY.items():
    HANDLERS[_name] = lambda g, like, input, other, op=_op: g(op, g.value(input, like.dtype), g.value(other, like.dtype))


def _compare(op: str) -> Callable:
    return lambda g, like, input, other: g(op, *_ordered(g, op, input, other), dtype=flambeau.bool)


def _ordered(g: Builder, op: str, *given: Any) -> list[Value]:
    found = operands(g, *given)
    return [g.value(each, flambeau.int32) for each in found] if op != "Equal" and found[0].dtype is flambeau.bool else found


for _name, _op in COMPARISONS.items():
    HANDLERS[_name] = _compare(_op)


@handler("ne", "not_equal")
def _differs(g: Builder, like: Any, input: Any, other: Any) -> Value:
    return g("Not", g("Equal", *operands(g, input, other), dtype=flambeau.bool))


def _sum(op: str) -> Callable:
    def add(g: Builder, like: Any, input: Any, other: Any, alpha: Any = 1) -> Value:
        if like.dtype is flambeau.bool:
            return g("Or", g.value(input, like.dtype), g.value(other, like.dtype))
        left, right = g.value(input, like.dtype), g.value(other, like.dtype)
        if alpha != 1:
            right = g("Mul", right, g.value(alpha, like.dtype))
        return g(op, left, right)

    return add


HANDLERS["add"] = _sum("Add")
HANDLERS["sub"] = HANDLERS["subtract"] = _sum("Sub")


@handler("rsub")
def _rsub(g: Builder, like: Any, input: Any, other: Any, alpha: Any = 1) -> Value:
    return HANDLERS["sub"](g, like, other, input, alpha)


@handler("div", "divide", "true_divide")
def _divide(g: Builder, like: Any, input: Any, other: Any, rounding_mode: str | None = None) -> Value:
    left, right = (g.value(each, like.dtype) for each in (input, other))
    if rounding_mode == "floor" and not like.dtype.is_floating_point:  # ONNX's Div of integers cuts off, its Mod has the divisor's sign
        left = g("Sub", left, g("Mod", left, right))
    result = g("Div", left, right)
    if rounding_mode is None or not like.dtype.is_floating_point:
        return result
    return g("Floor", result) if rounding_mode == "floor" else _trunc(g, like, result)


@handler("floor_divide")
def _floor_divide(g: Builder, like: Any, input: Any, other: Any) -> Value:
    return _divide(g, like, input, other, rounding_mode="floor")


@handler("trunc", "fix")
def _trunc(g: Builder, like: Any, input: Value) -> Value:
    if not input.dtype.is_floating_point:
        return input
    return g("Mul", g("Floor", g("Abs", input)), g("Sign", input))


@handler("remainder")
def _remainder(g: Builder, like: Any, input: Any, other: Any) -> Value:
    left, right = (g.value(each, like.dtype) for each in (input, other))
    if not like.dtype.is_floating_point:
        return g("Mod", left, right)
    return g("Sub", left, g("Mul", g("Floor", g("Div", left, right)), right))


@handler("fmod")
def _fmod(g: Builder, like: Any, input: Any, other: Any) -> Value:
    return g("Mod", g.value(input, like.dtype), g.value(other, like.dtype), fmod=1)


@handler("pow")
def _power(g: Builder, like: Any, input: Any, exponent: Any) -> Value:
    base = g.value(input, like.dtype)
    if exponent == 2:
        return g("Mul", base, base)
    return g("Pow", base, g.value(exponent, like.dtype))


@handler("square")
def _square(g: Builder, like: Any, input: Value) -> Value:
    return g("Mul", input, input)


@handler("rsqrt")
def _rsqrt(g: Builder, like: Any, input: Value) -> Value:
    return g("Reciprocal", g("Sqrt", g.value(input, like.dtype)))


def _log(base: float) -> Callable:
    return lambda g, like, input: g("Div", g("Log", g.value(input, like.dtype)), g.number(math.log(base), like.dtype))


HANDLERS["log2"], HANDLERS["log10"] = _log(2), _log(10)
HANDLERS["log1p"] = HANDLERS["special_log1p"] = lambda g, like, input: g(
    "Log", g("Add", g.value(input, like.dtype), g.number(1, like.dtype))
)
HANDLERS["expm1"] = HANDLERS["special_expm1"] = lambda g, like, input: g(
    "Sub", g("Exp", g.value(input, like.dtype)), g.number(1, like.dtype)
)
HANDLERS["exp2"] = HANDLERS["special_exp2"] = lambda g, like, input: g("Pow", g.number(2, like.dtype), g.value(input, like.dtype))


@handler("round", "special_round")
def _round(g: Builder, like: Any, input: Value, decimals: int = 0) -> Value:
    if not like.dtype.is_floating_point:
        return input
    if not decimals:
        return g("Round", input)
    ten = g.number(10.0 ** abs(decimals), like.dtype)
    there, back = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
    return g(back, g("Round", g(there, input, ten)), ten)


@handler("isnan")
def _isnan(g: Builder, like: Any, input: Value) -> Value:
    return g("IsNaN", _floating(g, input), dtype=flambeau.bool)


def _isinf(negative: int, positive: int) -> Callable:
    return lambda g, like, input: g("IsInf", _floating(g, input), dtype=flambeau.bool, detect_negative=negative, detect_positive=positive)


def _floating(g: Builder, input: Value) -> Value:
    return input if input.dtype.is_floating_point else g.value(input, flambeau.float32)


HANDLERS |= {"isinf": _isinf(1, 1), "isneginf": _isinf(1, 0), "isposinf": _isinf(0, 1)}


@handler("isfinite")
def _isfinite(g: Builder, like: Any, input: Value) -> Value:
    known = _floating(g, input)
    return g("Not", g("Or", g("IsInf", known, dtype=flambeau.bool), g("IsNaN", known, dtype=flambeau.bool)))


# -- truth values and bits ---------------------------------------------------------------------------------------------


@handler("logical_not")
def _logical_not(g: Builder, like: Any, input: Value) -> Value:
    return g("Not", g.value(input, flambeau.bool))


def _logical(op: str) -> Callable:
    return lambda g, like, input, other: g(op, g.value(input, flambeau.bool), g.value(other, flambeau.bool))


def _bitwise(logical: str, bits: str) -> Callable:
    return lambda g, like, input, other: g(
        logical if like.dtype is flambeau.bool else bits, g.value(input, like.dtype), g.value(other, like.dtype)
    )


for _name in ("And", "Or", "Xor"):
    HANDLERS[f"logical_{_name.lower()}"] = _logical(_name)
    HANDLERS[f"bitwise_{_name.lower()}"] = _bitwise(_name, f"Bitwise{_name}")
HANDLERS["__and__"], HANDLERS["__or__"], HANDLERS["__xor__"] = (HANDLERS[f"bitwise_{each}"] for each in ("and", "or", "xor"))


@handler("bitwise_not")
def _bitwise_not(g: Builder, like: Any, input: Value) -> Value:
    return g("Not" if like.dtype is flambeau.bool else "BitwiseNot", input)


@handler("bitwise_left_shift", "__lshift__")
def _left_shift(g: Builder, like: Any, input: Any, other: Any) -> Value:
    return g("Mul", g.value(input, like.dtype), _power_of_two(g, other, like.dtype))


@handler("bitwise_right_shift", "__rshift__")
def _right_shift(g: Builder, like: Any, input: Any, other: Any) -> Value:
    """BitShift is for unsigned integers, and moves zeros in: a signed shift is a division that rounds down."""
    return _divide(g, like, input, _power_of_two(g, other, like.dtype), rounding_mode="floor")


def _power_of_two(g: Builder, exponent: Any, dtype: flambeau.dtype) -> Value:
    return g.number(1 << exponent, dtype) if isinstance(exponent, int) else g("Pow", g.number(2, dtype), g.value(exponent, dtype))


for _name, _aten in (("and_", "bitwise_and"), ("or_", "bitwise_or"), ("xor", "bitwise_xor"), ("truediv", "div"), ("floordiv", "floor_divide"), ("mod", "remainder"),
    ("lshift", "__lshift__"), ("rshift", "__rshift__")):  # fmt: skip
    HANDLERS[_name] = HANDLERS[_aten]  # Python's operators with the tensor on the right


# -- choices -----------------------------------------------------------------------------------------------------------


def _extreme(op: str) -> Callable:
    def choose(g: Builder, like: Any, input: Any, other: Any) -> Value:
        if like.dtype is flambeau.bool:
            return g("Or" if op == "Max" else "And", input, other)
        return g(op, g.value(input, like.dtype), g.value(other, like.dtype))

    return choose


HANDLERS |= {"maximum": _extreme("Max"), "minimum": _extreme("Min")}


@handler("clamp", "clip")
def _clamp(g: Builder, like: Any, input: Value, min: Any = None, max: Any = None) -> Value:
    x = g.value(input, like.dtype)
    if any(isinstance(each, Value) and (each.dim or isinstance(each, Number)) for each in (min, max)):
        lower = x if min is None else g("Max", x, g.value(min, like.dtype))
        return lower if max is None else g("Min", lower, g.value(max, like.dtype))
    low, high = (None if bound is None else g.value(bound, like.dtype) for bound in (min, max))
    return g("Clip", x, low, high, shape=x.shape)


HANDLERS["clamp_min"] = lambda g, like, input, min: _clamp(g, like, input, min)
HANDLERS["clamp_max"] = lambda g, like, input, max: _clamp(g, like, input, None, max)
HANDLERS["relu6"] = lambda g, like, input: _clamp(g, like, input, 0, 6)
HANDLERS["hardtanh"] = lambda g, like, input, min_val=-1.0, max_val=1.0: _clamp(g, like, input, min_val, max_val)


@handler("where")
def _where(g: Builder, like: Any, condition: Value, input: Any, other: Any) -> Value:
    return g("Where", g.value(condition, flambeau.bool), g.value(input, like.dtype), g.value(other, like.dtype), dtype=like.dtype)


@handler("masked_fill")
def _masked_fill(g: Builder, like: Any, input: Value, mask: Value, value: Any) -> Value:
    return g("Where", g.value(mask, flambeau.bool), g.value(value, like.dtype), input, dtype=like.dtype)


@handler("threshold")
def _threshold(g: Builder, like: Any, input: Value, threshold: Any, value: Any, inplace: bool = False) -> Value:
    kept = g("Greater", input, g.value(threshold, like.dtype), dtype=flambeau.bool)
    return g("Where", kept, input, g.value(value, like.dtype), dtype=like.dtype)


# -- conversions and copies --------------------------------------------------------------------------------------------


@handler("to", "_to_copy", "type_as", "type")
def _convert(g: Builder, like: Any, input: Value, *others: Any, **options: Any) -> Value:
    return g.value(input, like.dtype)


@handler(
    "alias", "alias_copy", "clone", "contiguous", "cpu", "data", "detach", "lift_fresh", "lift_fresh_copy", "pin_memory", "positive", "requires_grad", "resolve_conj",
    "resolve_neg", "conj", "conj_physical", "real",
)  # fmt: skip
def _same(g: Builder, like: Any, input: Value, *others: Any, **options: Any) -> Value:
    if input.dtype.is_complex:
        g.element_type(input.dtype)
    return input


@handler("copy")
def _copy(g: Builder, like: Any, input: Value, src: Any, *others: Any) -> Value:
    return g.value(src, input.dtype)


@handler("dropout")
def _dropout(g: Builder, like: Any, input: Value, p: float = 0.5, train: bool = True) -> Value:
    if not train or p == 0:
        return input
    return g("Dropout", input, g.number(p, flambeau.float32), g.number(True, flambeau.bool), shape=input.shape)


@handler("alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def _other_dropout(g: Builder, like: Any, input: Value, p: float = 0.5, train: bool = False) -> Value:
    if train:
        raise NotImplementedError("its random numbers have no operator in ONNX: export the module in evaluation mode")
    return input


# -- activations -------------------------------------------------------------------------------------------------------


@handler("silu")
def _silu(g: Builder, like: Any, input: Value) -> Value:
    return g("Mul", input, g("Sigmoid", input))


@handler("gelu")
def _gelu(g: Builder, like: Any, input: Value, approximate: str = "none") -> Value:
    if g.version >= 20:
        return g("Gelu", input, approximate=approximate)
    number = lambda value: g.number(value, like.dtype)
    half = g("Mul", input, number(0.5))
    if approximate == "tanh":
        cube = g("Mul", g("Mul", input, input), input)
        inner = g("Add", input, g("Mul", cube, number(0.044715)))
        curve = g("Tanh", g("Mul", inner, number(math.sqrt(2 / math.pi))))
    else:
        curve = g("Erf", g("Mul", input, number(math.sqrt(0.5))))
    return g("Mul", half, g("Add", curve, number(1)))


@handler("leaky_relu")
def _leaky_relu(g: Builder, like: Any, input: Value, negative_slope: float = 0.01) -> Value:
    return g("LeakyRelu", input, alpha=float(negative_slope))


@handler("rrelu")
def _rrelu(g: Builder, like: Any, input: Value, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *others: Any) -> Value:
    if training:
        raise NotImplementedError("its random numbers have no operator in ONNX: export the module in evaluation mode")
    return g("LeakyRelu", input, alpha=(lower + upper) / 2)


@handler("elu")
def _elu(g: Builder, like: Any, input: Value, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    if scale != 1 or input_scale != 1:
        raise NotImplementedError("ONNX's Elu has no scales")
    return g("Elu", input, alpha=float(alpha))


@handler("celu")
def _celu(g: Builder, like: Any, input: Value, alpha: float = 1.0) -> Value:
    return g("Celu", input, alpha=float(alpha))


@handler("selu")
def _selu(g: Builder, like: Any, input: Value) -> Value:
    return g("Selu", input)


@handler("prelu")
def _prelu(g: Builder, like: Any, input: Value, weight: Value) -> Value:
    slope = weight
    if weight.shape != (1,) and input.dim > 2:
        slope = g.unsqueeze(weight, *range(1, input.dim - 1))
    elif input.dim == 0:
        slope = g("Squeeze", weight, shape=())
    return g("PRelu", input, slope, shape=input.shape)


@handler("hardsigmoid")
def _hardsigmoid(g: Builder, like: Any, input: Value) -> Value:
    return g("HardSigmoid", input, alpha=1 / 6, beta=0.5)


@handler("hardshrink")
def _hardshrink(g: Builder, like: Any, input: Value, lambd: float = 0.5) -> Value:
    return g("Shrink", input, lambd=float(lambd), bias=0.0)


@handler("softshrink")
def _softshrink(g: Builder, like: Any, input: Value, lambd: float = 0.5) -> Value:
    return g("Shrink", input, lambd=float(lambd), bias=float(lambd))


@handler("softplus")
def _softplus(g: Builder, like: Any, input: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if beta == 1:
        return g("Softplus", input)
    scale = g.number(beta, like.dtype)
    return g("Div", g("Softplus", g("Mul", input, scale)), scale)


@handler("softsign")
def _softsign(g: Builder, like: Any, input: Value) -> Value:
    return g("Softsign", input)


@handler("log_sigmoid")
def _log_sigmoid(g: Builder, like: Any, input: Value) -> Value:
    return g("Neg", g("Softplus", g("Neg", input)))


@handler("glu")
def _glu(g: Builder, like: Any, input: Value, dim: int = -1) -> Value:
    first, second = g("Split", input, like=[like, like], axis=dim % input.dim, num_outputs=2)
    return g("Mul", first, g("Sigmoid", second))

"""Functions of one or two elements: the rest of the elementwise operators, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops import elementwise as basic
from flambeau._ops.arguments import common_dtype, in_place, into, number, whole
from flambeau._ops.elementwise import (
    binary,
    binary_function,
    conj,
    infer_bool,
    infer_float,
    infer_same,
    lower_scalar,
    no_gradient,
    takes,
    unary,
    unary_function,
)
from flambeau._ops.former import number_first
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import ArgumentError
from flambeau._types.finfo import finfo
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_LN2, _LN10 = math.log(2), math.log(10)


def _own(op: str) -> Callable:
    """Lowering in the operand's own dtype, whatever the result's is."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        return graph.map(op, *operands)

    return lower


def _test(op: str, of_integers: bool | None) -> Callable:
    """Lowering to a test whose answer is always the same for integers (unless that is ``None``)."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        x = operands[0]
        if x.dtype.category < dt.FLOAT and of_integers is not None:
            return graph.constant(of_integers, dt.bool, x.shape)
        if op == "signbit" and x.dtype.category < dt.FLOAT:
            return x < 0 if x.dtype is not dt.bool else graph.constant(False, dt.bool, x.shape)
        return graph.map(op, x)

    return lower


def _of_integers_itself(op: str) -> Callable:
    """Rounding: integers are themselves."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        return graph.copy(operands[0]) if layouts[0].dtype.category < dt.FLOAT else graph.map(op, operands[0])

    return lower


def _sgn(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.map("sgn", operands[0])


# name: (shape rule, gradient, what it computes)
_UNARY: dict[str, tuple[Callable, Callable | None, str]] = {
    "exp2": (infer_float, lambda grad, result: grad * conj(result) * _LN2, "2 to the power of each element."),
    "expm1": (infer_float, lambda grad, result: grad * conj(result + 1), "``exp(input) - 1``, exact near 0."),
    "log2": (infer_float, lambda grad, input: grad / (conj(input) * _LN2), "The logarithm to base 2 of each element."),
    "log10": (infer_float, lambda grad, input: grad / (conj(input) * _LN10), "The logarithm to base 10 of each element."),
    "log1p": (infer_float, lambda grad, input: grad / conj(input + 1), "``log(1 + input)``, exact near 0."),
    "tan": (infer_float, lambda grad, result: grad * conj(1 + result * result), "The tangent of each element, in radians."),
    "asin": (infer_float, lambda grad, input: grad * conj((1 - input * input).rsqrt()), "The inverse sine of each element."),
    "acos": (infer_float, lambda grad, input: -grad * conj((1 - input * input).rsqrt()), "The inverse cosine of each element."),
    "atan": (infer_float, lambda grad, input: grad / conj(input * input + 1), "The inverse tangent of each element."),
    "sinh": (infer_float, lambda grad, input: grad * conj(input.cosh()), "The hyperbolic sine of each element."),
    "cosh": (infer_float, lambda grad, input: grad * conj(input.sinh()), "The hyperbolic cosine of each element."),
    "asinh": (infer_float, lambda grad, input: grad * conj((input * input + 1).rsqrt()), "The inverse hyperbolic sine of each element."),
    "acosh": (
        infer_float,
        lambda grad, input: grad * conj((input - 1).rsqrt() * (input + 1).rsqrt()),
        "The inverse hyperbolic cosine of each element.",
    ),
    "atanh": (infer_float, lambda grad, input: grad / conj(1 - input * input), "The inverse hyperbolic tangent of each element."),
    "erf": (infer_float, lambda grad, input: grad * _TWO_OVER_ROOT_PI * (-(input * input)).exp(), "The error function of each element."),
    "erfc": (
        infer_float,
        lambda grad, input: grad * -_TWO_OVER_ROOT_PI * (-(input * input)).exp(),
        "1 less the error function of each element.",
    ),
    "erfinv": (
        infer_float,
        lambda grad, result: grad * (math.sqrt(math.pi) / 2) * (result * result).exp(),
        "The inverse of the error function.",
    ),
    "lgamma": (infer_float, lambda grad, input: grad * input.digamma(), "The logarithm of the absolute value of the gamma function."),
    "digamma": (
        infer_float,
        lambda grad, input: grad * FUNCTIONS.polygamma(1, input),
        "The derivative of the logarithm of the gamma function.",
    ),
}
_ROUNDING = {
    "floor": "The largest integer not above each element.",
    "ceil": "The smallest integer not below each element.",
    "trunc": "Each element rounded towards 0.",
}
_TESTS = {
    "isnan": "Whether each element is NaN.",
    "isinf": "Whether each element is infinite.",
    "isfinite": "Whether each element is neither NaN nor infinite.",
    "signbit": "Whether the sign bit of each element is set.",
    "logical_not": "Whether each element is 0.",
}

_OF_INTEGERS = {"isnan": False, "isinf": False, "isfinite": True}

for _name, (_infer, _gradient, _doc) in _UNARY.items():
    globals()[_name], globals()[_name + "_"] = unary_function(unary(_name, infer=_infer, gradient=_gradient), _doc)
for _name, _doc in _ROUNDING.items():
    globals()[_name], globals()[_name + "_"] = unary_function(unary(_name, lower=_of_integers_itself(_name), gradient=no_gradient), _doc)
for _name, _doc in _TESTS.items():
    globals()[_name], globals()[_name + "_"] = unary_function(
        unary(_name, infer=infer_bool, lower=_test(_name, _OF_INTEGERS.get(_name))), _doc
    )

SIGN = unary("sign", gradient=no_gradient)
SGN = unary("sgn", lower=_sgn, gradient=lambda grad, input, result: _sgn_gradient(grad, input, result))


def _lower_angle(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    x = operands[0]
    return graph.map("angle", x if x.dtype.category >= dt.FLOAT else graph.cast(x, layouts[0].dtype))


def _infer_angle(operands: tuple, statics: tuple) -> Layout:
    layout = infer_float(operands, statics)
    return lay.layout(layout.shape, layout.strides, 0, layout.dtype.to_real())


def _angle_gradient(grad: Tensor, input: Tensor) -> Tensor:
    if not input.is_complex():
        return no_gradient(grad)
    magnitude = basic.abs(input)
    return FUNCTIONS.where(magnitude == 0, 0.0, grad * complex(-input.imag, input.real) / (magnitude * magnitude))


ANGLE = unary("angle", infer=_infer_angle, lower=_lower_angle, gradient=_angle_gradient)
FRAC = unary("frac", gradient=lambda grad: grad)
BITWISE_NOT = unary("bitwise_not")


def _sgn_gradient(grad: Tensor, input: Tensor, result: Tensor) -> Tensor:
    if not input.is_complex():
        return no_gradient(grad)
    # What lies across the direction, and turns it; what lies along it would cancel.
    across = (conj(result) * grad).imag
    turn = FUNCTIONS.where(result == 0, 0.0, across / basic.abs(input))
    return complex(-result.imag * turn, result.real * turn)


sign, sign_ = unary_function(SIGN, "-1, 0 or 1 as each element is below, at or above 0.")
sgn, sgn_ = unary_function(SGN, "As ``sign``; of complex elements, the number of magnitude 1 in their direction.")
frac, frac_ = unary_function(FRAC, "The part of each element after the point, with its sign.")
bitwise_not, bitwise_not_ = unary_function(BITWISE_NOT, "The bits of each integer (or the truth of each bool) inverted.")
angle, _angle_ = unary_function(ANGLE, "The argument of each complex element; 0 or pi for real ones.")


def _infer_round(operands: tuple, statics: tuple) -> Layout:
    return infer_same(operands, statics)


def _lower_round(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    x, dtype, decimals = operands[0], layouts[0].dtype, statics[0]
    if dtype.category < dt.FLOAT:
        return graph.copy(x)
    if not decimals:
        return graph.map("round", x)
    scale = 10.0 ** max(decimals, -decimals)
    wide = graph.wide(x)
    scaled = graph.map("round", wide * scale if decimals > 0 else wide / scale)
    return graph.cast(scaled / scale if decimals > 0 else scaled * scale, dtype)


ROUND = Operator("round", ("input",), ("decimals",), infer=_infer_round, lower=_lower_round).gradient(input=no_gradient)


def round(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
    """Each element rounded to the nearest integer (or to so many decimals), halves to the even one."""
    return into(out, ROUND(input, statics=(whole(decimals, "decimals"),)))


def round_(self: Tensor, *, decimals: int = 0) -> Tensor:
    """In-place version of ``round()``."""
    return ROUND.inplace(self, self, statics=(whole(decimals, "decimals"),))


# -- two elements ----------------------------------------------------------------------------------------------------


def _integers(operands: tuple, statics: tuple) -> Layout:
    result = infer_same(operands, statics)
    if result.dtype.category > dt.INTEGER:
        raise NotImplementedError(f"bitwise operators are for integers and bool, not {result.dtype!r}")
    return result


def _logical(op: str) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        return graph.map(op, *[graph.cast(operand, dt.bool) for operand in operands])

    return lower


_LOGICAL = {
    "logical_and": "Whether both elements are not 0.",
    "logical_or": "Whether an element is not 0.",
    "logical_xor": "Whether exactly one element is not 0.",
}
_BITWISE = {
    "bitwise_and": "The bits that are set in both.",
    "bitwise_or": "The bits that are set in either.",
    "bitwise_xor": "The bits that are set in exactly one.",
    "bitwise_left_shift": "The bits of ``input`` moved up by ``other`` places.",
    "bitwise_right_shift": "The bits of ``input`` moved down by ``other`` places, keeping the sign.",
}


def _next(operands: tuple, statics: tuple) -> Layout:
    result = infer_same(operands, statics)
    if result.dtype in dt.FLOAT8:
        raise NotImplementedError(f"nextafter is not implemented for {result.dtype!r}")
    return result


def _lower_logaddexp(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Complex numbers from the one whose exponential is the larger: ``a + log(1 + exp(b - a))``."""
    dtype = layouts[0].dtype.compute
    a, b = [graph.cast(operand, dtype) for operand in operands]
    if not dtype.is_complex:
        return graph.cast(graph.map("logaddexp", a, b), layouts[0].dtype)
    larger = graph.map("ge", graph.map("real", a), graph.map("real", b))
    a, b = graph.where(larger, a, b), graph.where(larger, b, a)
    both_none = graph.map("real", a).equals(-math.inf) & graph.map("real", b).equals(-math.inf)
    return graph.where(both_none, a, a + graph.map("log1p", graph.map("exp", b - a)))


_BINARY: dict[str, tuple[Callable, Callable | None, Callable | None, str]] = {
    "atan2": (
        infer_float,
        lambda grad, input, other: grad * other / (input * input + other * other),
        lambda grad, input, other: grad * -input / (input * input + other * other),
        "The angle of the point ``(other, input)``, in radians.",
    ),
    "hypot": (
        infer_same,
        lambda grad, input, result: grad * input / result,
        lambda grad, other, result: grad * other / result,
        "``sqrt(input² + other²)``.",
    ),
    "copysign": (
        infer_float,
        lambda grad, input, result: grad * FUNCTIONS.where(input == 0, 0.0, result / input),
        no_gradient,
        "The magnitude of ``input`` with the sign of ``other``.",
    ),
    "fmax": (
        infer_same,
        lambda grad, input, other: _take(grad, (input >= other) | (other != other)),
        lambda grad, input, other: _take(grad, ~((input >= other) | (other != other))),
        "The larger of two elements; NaN only if both are.",
    ),
    "fmin": (
        infer_same,
        lambda grad, input, other: _take(grad, (input <= other) | (other != other)),
        lambda grad, input, other: _take(grad, ~((input <= other) | (other != other))),
        "The smaller of two elements; NaN only if both are.",
    ),
    "nextafter": (
        takes("nextafter", _next),
        lambda grad, input, other: _take(grad, input != other),
        no_gradient,
        "Next number towards ``other``.",
    ),
    "logaddexp": (
        infer_float,
        lambda grad, input, other: grad * conj((input - other).sigmoid()),
        lambda grad, input, other: grad * conj((other - input).sigmoid()),
        "``log(exp(input) + exp(other))``, without overflow.",
    ),
    "heaviside": (infer_same, None, None, "0 below 0, 1 above, and ``other`` at 0."),
    "gcd": (_integers, None, None, "The greatest common divisor."),
    "lcm": (_integers, None, None, "The least common multiple."),
}


def _lower_nextafter(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """In the dtype itself: what is next in half precision is far away in float32."""
    return graph.map("nextafter", *[graph.cast(operand, layouts[0].dtype) for operand in operands])


_LOWERED = {"logaddexp": _lower_logaddexp, "nextafter": _lower_nextafter}


def _take(grad: Tensor, condition: Tensor) -> Tensor:
    return FUNCTIONS.where(condition, grad, 0.0)


for _name, _doc in _LOGICAL.items():
    globals()[_name], globals()[_name + "_"] = binary_function(binary(_name, infer=infer_bool, lower=_logical(_name)), _doc, numbers=())
for _name, _doc in _BITWISE.items():
    globals()[_name], globals()[_name + "_"] = binary_function(binary(_name, infer=_integers), _doc)
for _name, (_infer, _left, _right, _doc) in _BINARY.items():
    globals()[_name], globals()[_name + "_"] = binary_function(
        binary(_name, infer=_infer, lower=_LOWERED.get(_name), input=_left, other=_right),
        _doc,
        numbers=("other",) if _name == "copysign" else (),
    )

# -- clamp -----------------------------------------------------------------------------------------------------------


def _lower_clamp(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    dtype = layouts[0].dtype
    x, low, high = (graph.cast(operand, dtype) for operand in operands)
    return graph.map("minimum", graph.map("maximum", x, low), high)


CLAMP = Operator("clamp", ("input", "min", "max"), infer=infer_same, lower=_lower_clamp)
CLAMP.gradient(
    input=lambda grad, input, min, max: _take(grad, (input >= min) & (input <= max)),
    min=lambda grad, input, min, max: _take(grad, (min < max) & (input < min)),
    max=lambda grad, input, min, max: _take(grad, (input > max) | (max < min)),
)
CLAMP_MIN = Operator("clamp_min", ("input", "min"), infer=infer_same, lower=lower_scalar("maximum"))
CLAMP_MIN.gradient(input=lambda grad, input, min: _take(grad, input >= min), min=lambda grad, input, min: _take(grad, input < min))
CLAMP_MAX = Operator("clamp_max", ("input", "max"), infer=infer_same, lower=lower_scalar("minimum"))
CLAMP_MAX.gradient(input=lambda grad, input, max: _take(grad, input <= max), max=lambda grad, input, max: _take(grad, input > max))


def _clamp_call(min: Any, max: Any, input: Tensor) -> tuple[Operator, tuple]:
    if not isinstance(input, TensorBase):
        raise TypeError(f"clamp(): argument 'input' must be Tensor, not {input.__class__.__name__}")
    if input.layout.dtype.is_complex:
        raise NotImplementedError("clamp is not implemented for complex types, whose numbers have no order")
    if max is None:
        if min is None:
            raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
        return CLAMP_MIN, (input, number(min))
    if min is None:
        return CLAMP_MAX, (input, number(max))
    return CLAMP, (input, _bound(min, max, input), _bound(max, min, input))


_NUMBERS = {dt.BOOL: bool, dt.INTEGER: int, dt.FLOAT: float}


def _bound(bound: Any, other: Any, input: Tensor) -> Any:
    """A bound; beside one that is a number a tensor without dimensions counts as a number does, by its category alone."""
    if not isinstance(bound, TensorBase) or bound.layout.ndim or isinstance(other, TensorBase) or bound.layout.dtype.is_complex:
        return number(bound)
    return bound.to(common_dtype((input.layout, _NUMBERS[bound.layout.dtype.category], number(other).__class__)))


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Each element moved into ``[min, max]`` (numbers or tensors, either of which may be missing); NaN stays NaN."""
    operator, operands = _clamp_call(min, max, input)
    return into(out, operator(*operands))


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place version of ``clamp()``."""
    operator, operands = _clamp_call(min, max, self)
    return operator.inplace(self, *operands)


def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """Each element, but at least ``min``."""
    return clamp(input, min, None, out=out)


def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """Each element, but at most ``max``."""
    return clamp(input, None, max, out=out)


def clamp_min_(self: Tensor, min: Any) -> Tensor:
    """In-place version of ``clamp_min()``."""
    return clamp_(self, min, None)


def clamp_max_(self: Tensor, max: Any) -> Tensor:
    """In-place version of ``clamp_max()``."""
    return clamp_(self, None, max)


clip, clip_ = clamp, clamp_

# -- three elements --------------------------------------------------------------------------------------------------


def _fused(name: str, body: Callable, operands: tuple[str, ...], **gradients: Callable) -> Operator:
    """An operator of several elements whose result has the promoted dtype of its tensors."""

    def infer(given: tuple, statics: tuple) -> Layout:
        for place, operand in enumerate(given[: len(operands) - 1]):
            if isinstance(operand, type):
                raise ArgumentError(f"{name}(): argument '{operands[place]}' (position {place + 1}) must be Tensor, not {operand.__name__}")
        tensors = [operand for operand in given if not isinstance(operand, type)]
        shape = lay.broadcast_shapes(*[tensor.shape for tensor in tensors])
        return lay.elementwise(shape, common_dtype(tensors), tensors)

    def lower(graph: Graph, given: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        return graph.cast(body(graph, *[graph.cast(operand, dtype.compute) for operand in given]), dtype)

    return Operator(name, operands, infer=infer, lower=lower).gradient(**gradients)


def _addcmul(graph: Graph, x: Node, a: Node, b: Node, value: Node) -> Node:
    return graph.map("fma", value * a, b, x) if x.dtype.is_floating_point else x + value * a * b


ADDCMUL = _fused(
    "addcmul", _addcmul, ("input", "tensor1", "tensor2", "value"),
    input=lambda grad: grad,
    tensor1=lambda grad, tensor2, value: grad * conj(tensor2 * value),
    tensor2=lambda grad, tensor1, value: grad * conj(tensor1 * value),
)  # fmt: skip
ADDCDIV = _fused(
    "addcdiv", lambda graph, x, a, b, value: x + value * a / b, ("input", "tensor1", "tensor2", "value"),
    input=lambda grad: grad,
    tensor1=lambda grad, tensor2, value: grad * conj(value / tensor2),
    tensor2=lambda grad, tensor1, tensor2, value: -grad * conj(tensor1 * value / (tensor2 * tensor2)),
)  # fmt: skip


def _lerp(graph: Graph, start: Node, end: Node, weight: Node) -> Node:
    """From the nearer end, so that both ends are exact."""
    if weight.dtype.is_complex:
        return start + weight * (end - start)
    return nearer_end(graph, start, end, weight)


def nearer_end(graph: Graph, start: Node, end: Node, weight: Node) -> Node:
    """``lerp`` of real numbers, rounded twice."""
    near = graph.map("abs", weight) < 0.5
    return graph.map("fma", graph.where(near, weight, weight - 1.0), end - start, graph.where(near, start, end))


LERP = _fused(
    "lerp", _lerp, ("input", "end", "weight"),
    input=lambda grad, weight: grad * (1 - conj(weight)),
    end=lambda grad, weight: grad * conj(weight),
    weight=lambda grad, input, end: grad * conj(end - input),
)  # fmt: skip


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *former: Any, value: Any = 1, out: Tensor | None = None) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    if former:
        tensor1, tensor2, value = number_first("addcmul", "value", tensor1, tensor2, *former)
    return into(out, ADDCMUL(input, tensor1, tensor2, number(value)))


def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *former: Any, value: Any = 1) -> Tensor:
    """In-place version of ``addcmul()``."""
    if former:
        tensor1, tensor2, value = number_first("addcmul_", "value", tensor1, tensor2, *former)
    return ADDCMUL.inplace(self, self, tensor1, tensor2, number(value))


def _check_quotient(tensor1: Any, tensor2: Any) -> None:
    """Check that a quotient is none of whole numbers, which would have to be rounded."""
    if all(isinstance(each, TensorBase) and each.layout.dtype.category < dt.FLOAT for each in (tensor1, tensor2)):
        raise RuntimeError("addcdiv() does not divide whole numbers by each other: convert tensor1 or tensor2 to floating point")


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *former: Any, value: Any = 1, out: Tensor | None = None) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    if former:
        tensor1, tensor2, value = number_first("addcdiv", "value", tensor1, tensor2, *former)
    _check_quotient(tensor1, tensor2)
    return into(out, ADDCDIV(input, tensor1, tensor2, number(value)))


def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *former: Any, value: Any = 1) -> Tensor:
    """In-place version of ``addcdiv()``."""
    if former:
        tensor1, tensor2, value = number_first("addcdiv_", "value", tensor1, tensor2, *former)
    _check_quotient(tensor1, tensor2)
    return ADDCDIV.inplace(self, self, tensor1, tensor2, number(value))


def _check_lerp(input: Any, end: Any, weight: Any) -> None:
    """Check that the ends are of one dtype of numbers with a point, and a weight with dimensions is, too."""
    if isinstance(input, TensorBase) and input.layout.dtype.category < dt.FLOAT:
        raise NotImplementedError(f"lerp() is not implemented for {input.layout.dtype!r}: between whole numbers there are none of these")
    for name, each in (("end", end), ("weight", weight)):
        if not isinstance(each, TensorBase) or not isinstance(input, TensorBase) or (name == "weight" and not each.layout.ndim):
            continue
        if each.layout.dtype is not input.layout.dtype:
            raise RuntimeError(f"lerp(): expected dtype {input.layout.dtype!r} for `{name}` but got dtype {each.layout.dtype!r}")


def lerp(input: Tensor, end: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
    """``input + weight * (end - input)``."""
    _check_lerp(input, end, weight)
    return into(out, LERP(input, end, weight if isinstance(weight, TensorBase) else number(weight)))


def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """In-place version of ``lerp()``."""
    _check_lerp(self, end, weight)
    return LERP.inplace(self, self, end, weight if isinstance(weight, TensorBase) else number(weight))


# -- composites ------------------------------------------------------------------------------------------------------


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    if not isinstance(input, TensorBase):
        raise TypeError(f"rsub(): argument 'input' must be Tensor, not {input.__class__.__name__}")
    return basic.sub(other, input, alpha=alpha)


def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """``input`` to the power of ``exponent``, computed in float64 (or complex128)."""
    wide = [
        each.to(dt.complex128 if each.is_complex() else dt.float64) if isinstance(each, TensorBase) else each for each in (input, exponent)
    ]
    return into(out, basic.pow(*wide))


def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None, *, out: Tensor | None = None
) -> Tensor:
    """NaN replaced by ``nan``, and the infinities by the numbers given or the largest finite ones."""
    if input.layout.dtype.category < dt.FLOAT:
        return into(out, input.clone())
    limits = finfo(input.layout.dtype)
    high, low = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    result = FUNCTIONS.where(input != input, nan, FUNCTIONS.where(input == math.inf, high, FUNCTIONS.where(input == -math.inf, low, input)))
    return into(out, result)


def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A complex tensor of two real ones."""
    result = COMPLEX(real, imag)
    if out is not None and out.layout.dtype is not result.layout.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {result.layout.dtype!r} but got scalar type {out.layout.dtype!r} for argument 'out'"
        )
    return into(out, result)


def _infer_complex(operands: tuple, statics: tuple) -> Layout:
    result = infer_same(operands, statics)
    if operands[0].dtype is not operands[1].dtype:
        raise RuntimeError(
            f"Expected object of scalar type {operands[0].dtype!r} but got scalar type {operands[1].dtype!r} for second argument"
        )
    return lay.layout(result.shape, result.strides, 0, result.dtype.to_complex())


COMPLEX = Operator("complex", ("real", "imag"), infer=_infer_complex, lower=_own("complex"))
COMPLEX.gradient(real=lambda grad: grad.real, imag=lambda grad: grad.imag)

multiply, multiply_ = basic.mul, basic.mul_
subtract, subtract_ = basic.sub, basic.sub_
divide, divide_ = basic.div, basic.div_
true_divide_ = basic.div_
negative, negative_ = basic.neg, basic.neg_
absolute, absolute_ = basic.abs, basic.abs_
greater, greater_equal, less, less_equal, not_equal = basic.gt, basic.ge, basic.lt, basic.le, basic.ne
fix = globals()["trunc"]
for _name in ("sin", "cos", "tan", "sinh", "cosh", "tanh"):
    if "a" + _name in globals():
        globals()["arc" + _name] = globals()["a" + _name]


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex conjugate of each element."""
    return into(out, conj(input))


def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place version of ``float_power()``; the tensor must have the dtype of its result."""
    result = float_power(self.clone(), exponent)
    if result.layout.dtype is not self.layout.dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.layout.dtype!r} but the operation's result requires dtype {result.layout.dtype!r}"
        )
    return self.copy_(result)


conj_physical_, nan_to_num_ = in_place(conj_physical), in_place(nan_to_num)

_NAMES = (*_UNARY, *_ROUNDING, *_TESTS, *_LOGICAL, *_BITWISE, *_BINARY)
_OTHERS = (
    "absolute", "addcdiv", "addcmul", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "bitwise_not", "clamp", "clamp_max", "clamp_min",
    "clip", "conj", "conj_physical", "divide", "fix", "float_power", "frac", "greater", "greater_equal", "lerp", "less", "less_equal", "multiply", "nan_to_num",
    "negative", "not_equal", "round", "sgn", "sign", "subtract",
)  # fmt: skip
PUBLIC = (*_NAMES, *_OTHERS, "complex", "rsub", "clamp_", "clamp_min_", "clamp_max_")
METHODS = (
    *_NAMES, *_OTHERS, *(name + "_" for name in _NAMES), "addcdiv_", "addcmul_", "bitwise_not_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "frac_", "lerp_", "round_", "sgn_",
    "sign_", "multiply_", "subtract_", "divide_", "true_divide_", "negative_", "absolute_", "conj_physical_", "float_power_", "nan_to_num_",
)  # fmt: skip

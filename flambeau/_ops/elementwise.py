"""Elementwise operators: arithmetic, comparison and functions of one element.

An elementwise operator's body is one scalar operator of ``_codegen/scalar.py``; its result is laid out as PyTorch's TensorIterator
would. The tables at the end say for each what it does to dtypes and what its gradient is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import common_dtype, into, number
from flambeau._ops.former import number_first
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- shape and dtype rules -------------------------------------------------------------------------------------------


def _shaped(operands: tuple, dtype: DType) -> Layout:
    tensors = [operand for operand in operands if not isinstance(operand, type)]
    shape = tensors[0].shape if len(tensors) == 1 else lay.broadcast_shapes(*[tensor.shape for tensor in tensors])
    return lay.elementwise(shape, dtype, tensors)


def infer_same(operands: tuple, statics: tuple) -> Layout:
    """The promoted dtype."""
    return _shaped(operands, common_dtype(operands))


def infer_float(operands: tuple, statics: tuple) -> Layout:
    """The promoted dtype; the default dtype if that is an integer or bool."""
    dtype = common_dtype(operands)
    return _shaped(operands, dtype if dtype.category >= dt.FLOAT else get_default_dtype())


def infer_bool(operands: tuple, statics: tuple) -> Layout:
    """bool, whatever the operands are."""
    return _shaped(operands, dt.bool)


def infer_real(operands: tuple, statics: tuple) -> Layout:
    """The real dtype of a complex one."""
    return _shaped(operands, common_dtype(operands).to_real())


def lower_scalar(op: str, *, promote: Callable[[DType], DType] | None = None) -> Callable:
    """Lowering to one scalar operator, computed in the result's dtype (or the promoted dtype for comparisons)."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        if promote is not None or dtype is dt.bool:
            dtype = common_dtype(lower_spec(operands))
            if promote is not None:
                dtype = promote(dtype)
        # In half precision PyTorch rounds the number in ``x + 1.3`` to it first, but ``x * 1.3`` multiplies by 1.3 in float32.
        if op in ("add", "sub"):
            operands = [graph.cast(operand, dtype) for operand in operands]
        result = graph.map(op, *[graph.cast(operand, dtype.compute) for operand in operands])
        return result if result.dtype is layouts[0].dtype else graph.cast(result, layouts[0].dtype)

    return lower


def takes(op: str, infer: Callable) -> Callable:
    """A shape rule that raises ``NotImplementedError`` for dtypes that the scalar operator does not take: at the call, not at the flush."""

    def rule(operands: tuple, statics: tuple) -> Layout:
        from flambeau._codegen.scalar.operators import OPS

        layout = infer(operands, statics)
        dtype = common_dtype(operands) if layout.dtype is dt.bool else layout.dtype
        if not OPS[op].takes(dtype.compute):
            raise NotImplementedError(f'"{op}" is not implemented for {dtype!r}: it takes {_taken(OPS[op])}')
        return layout

    return rule


def _taken(op: Any) -> str:
    """The dtypes that a scalar operator takes."""
    return ", ".join(each.name for each in dt.DTYPES if op.takes(each.compute))


def lower_spec(operands: list[Node]) -> list[Layout | type]:
    """The operands of a lowering as a shape rule sees them."""
    return [operand.attrs[1] if operand.kind == "number" else operand.layout for operand in operands]


# -- making them -----------------------------------------------------------------------------------------------------


def unary(
    name: str, op: str | None = None, *, infer: Callable = infer_same, lower: Callable | None = None, gradient: Callable | None = None
) -> Operator:
    """An operator of one operand, ``input``."""
    operator = Operator(name, ("input",), infer=infer if lower else takes(op or name, infer), lower=lower or lower_scalar(op or name))
    return operator.gradient(input=gradient) if gradient is not None else operator


def binary(
    name: str,
    op: str | None = None,
    *,
    infer: Callable = infer_same,
    lower: Callable | None = None,
    input: Callable | None = None,
    other: Callable | None = None,
) -> Operator:
    """An operator of two operands, ``input`` and ``other``, with their gradients."""
    rule = infer if lower else takes(op or name, infer)
    operator = Operator(name, ("input", "other"), infer=rule, lower=lower or lower_scalar(op or name))
    formulas = {key: formula for key, formula in (("input", input), ("other", other)) if formula is not None}
    return operator.gradient(**formulas)


def unary_function(operator: Operator, doc: str) -> tuple[Callable, Callable]:
    """The public function of a unary operator, and its in-place method."""

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        result = operator(input)
        return result if out is None else into(out, result)

    def inplace(input: Tensor) -> Tensor:
        return operator.inplace(input, input)

    return _named(function, operator.name, doc), _named(inplace, operator.name + "_", f"In-place version of ``{operator.name}()``.")


def binary_function(operator: Operator, doc: str, *, numbers: tuple[str, ...] = ("input", "other")) -> tuple[Callable, Callable]:
    """The public function of a binary operator, and its in-place method; ``numbers`` says which operands may be numbers."""

    def check(operand: Any, name: str) -> Any:
        if not isinstance(operand, TensorBase) and name not in numbers:
            raise TypeError(f"{operator.name}(): argument '{name}' must be Tensor, not {operand.__class__.__name__}")
        return number(operand)

    def function(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(input, TensorBase) or not isinstance(other, TensorBase):
            input, other = check(input, "input"), check(other, "other")
            if not isinstance(input, TensorBase) and not isinstance(other, TensorBase):
                raise TypeError(f"{operator.name}(): at least one operand must be a Tensor")
        result = operator(input, other)
        return result if out is None else into(out, result)

    def inplace(input: Tensor, other: Any) -> Tensor:
        return operator.inplace(input, input, other if isinstance(other, TensorBase) else check(other, "other"))

    return _named(function, operator.name, doc), _named(inplace, operator.name + "_", f"In-place version of ``{operator.name}()``.")


def _named(function: Callable, name: str, doc: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


# -- arithmetic ------------------------------------------------------------------------------------------------------


def _no_bool(name: str, hint: str) -> Callable:
    def infer(operands: tuple, statics: tuple) -> Layout:
        if any(operand is bool or getattr(operand, "dtype", None) is dt.bool for operand in operands):
            raise RuntimeError(f"{name}, with bool tensors, is not supported. {hint}")
        return infer_same(operands, statics)

    return infer


def _lower_div(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Complex numbers by real ones part by part, which rounds once."""
    dividend, divisor = operands
    dtype = layouts[0].dtype
    if not dtype.is_complex or divisor.dtype.is_complex:
        return lower_scalar("div")(graph, operands, statics, layouts)
    dividend = graph.cast(dividend, dtype.compute)
    divisor = graph.cast(divisor, dtype.compute.to_real())
    return graph.cast(graph.map("complex", *[graph.map("div", graph.map(part, dividend), divisor) for part in ("real", "imag")]), dtype)


ADD = binary("add", input=lambda grad: grad, other=lambda grad: grad)
SUB = binary(
    "sub",
    infer=_no_bool("Subtraction, the `-` operator", "Use the `^` or `logical_xor()` operator instead."),
    input=lambda grad: grad,
    other=lambda grad: -grad,
)
MUL = binary("mul", input=lambda grad, other: grad * conj(other), other=lambda grad, input: grad * conj(input))
DIV = binary(
    "div",
    infer=takes("div", infer_float),
    lower=_lower_div,
    input=lambda grad, other: grad / conj(other),
    other=lambda grad, input, other: -grad * conj((input / other) / other),
)
NEG = unary(
    "neg", infer=_no_bool("Negation, the `-` operator", "Use the `~` or `logical_not()` operator instead."), gradient=lambda grad: -grad
)


def conj(x: Any) -> Any:
    """The complex conjugate; numbers and real tensors are their own."""
    if isinstance(x, TensorBase):
        return x if not x.layout.dtype.is_complex else CONJ(x)
    return x.conjugate()


CONJ = unary("_conj", "conj", gradient=lambda grad: conj(grad))


def no_gradient(grad: Tensor) -> Tensor:
    """Zeros, whatever comes back: 0 times infinity would be NaN."""
    return grad.new_zeros(grad.layout.shape)


def _scaled_sum(name: str, scaled: Callable) -> Operator:
    """``input + alpha * other`` or ``input - alpha * other`` of floating point, rounded once."""

    def infer(operands: tuple, statics: tuple) -> Layout:
        return infer_same(operands[:2], statics)

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        # In half precision alpha is rounded to it first, as any number that is added.
        x, other, alpha = (graph.cast(graph.cast(operand, dtype), dtype.compute) for operand in operands)
        return graph.cast(graph.map("fma", scaled(alpha), other, x), dtype)

    return Operator(f"_{name}_scaled", ("input", "other", "alpha"), infer=infer, lower=lower, grad_name=f"{name.capitalize()}Backward0")


ADD_SCALED = _scaled_sum("add", lambda alpha: alpha).gradient(input=lambda grad: grad, other=lambda grad, alpha: grad * alpha)
SUB_SCALED = _scaled_sum("sub", lambda alpha: -alpha).gradient(input=lambda grad: grad, other=lambda grad, alpha: grad * -alpha)


def add(input: Any, other: Any, *former: Any, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``input + alpha * other``, element by element, broadcast and promoted together.

    Args:
        alpha: a number that ``other`` is multiplied by first
        out: a tensor to write the result into

    Example::

        >>> flambeau.add(flambeau.tensor([1, 2]), 10)
        tensor([11, 12])
    """
    if former:
        other, alpha = number_first("add", "alpha", other, *former)
    if not (isinstance(input, TensorBase) and isinstance(other, TensorBase)):
        input, other = _one_tensor("add", input, other)
    result = ADD(input, other) if alpha.__class__ is int and alpha == 1 else _with_alpha(ADD, ADD_SCALED, input, other, alpha)
    return result if out is None else into(out, result)


def sub(input: Any, other: Any, *former: Any, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``input - alpha * other``, element by element; bool tensors are refused.

    Example::

        >>> flambeau.sub(flambeau.tensor([1.0, 2.0]), 1)
        tensor([0., 1.])
    """
    if former:
        other, alpha = number_first("sub", "alpha", other, *former)
    if not (isinstance(input, TensorBase) and isinstance(other, TensorBase)):
        input, other = _one_tensor("sub", input, other)
    result = SUB(input, other) if alpha.__class__ is int and alpha == 1 else _with_alpha(SUB, SUB_SCALED, input, other, alpha)
    return result if out is None else into(out, result)


def _one_tensor(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    input, other = number(input), number(other)
    if not isinstance(input, TensorBase) and not isinstance(other, TensorBase):
        raise TypeError(f"{name}(): at least one operand must be a Tensor")
    return input, other


def _with_alpha(plain: Operator, scaled: Operator, input: Any, other: Any, alpha: Any, in_place: bool = False) -> Tensor:
    """A sum or difference with ``alpha`` times ``other``: one operator of floating point, and a product first of other dtypes."""
    alpha = number(alpha)
    dtype = common_dtype([each.layout if isinstance(each, TensorBase) else each.__class__ for each in (input, other)])
    if alpha.__class__ is bool and dtype is not dt.bool:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if alpha.__class__ in (float, complex) and dtype.category < dt.FLOAT:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if alpha.__class__ is complex and not dtype.is_complex:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    if dtype is dt.bool:
        alpha = bool(alpha)  # bools stay bools
    operator = plain
    if dtype.category == dt.FLOAT:
        operator, operands = scaled, (input, other, alpha)
    elif isinstance(other, TensorBase):  # in the dtype of the result, which the product must not widen
        operands = (input, FUNCTIONS.cast(other, dtype) * alpha)
    else:
        operands = (input, other and alpha if dtype is dt.bool else other * alpha)
    return operator.inplace(input, *operands) if in_place else operator(*operands)


def _unknown_rounding(given: Any) -> Exception:
    return (RuntimeError if isinstance(given, str) else TypeError)(
        f"div(): rounding_mode must be None, 'trunc' or 'floor', but got {given!r}"
    )


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """``input / other``: true division, or rounded towards zero (``"trunc"``) or down (``"floor"``).

    Example::

        >>> flambeau.div(flambeau.tensor([7, -7]), 2, rounding_mode="floor")
        tensor([ 3, -4])
    """
    if rounding_mode is None:
        operator = DIV
    elif rounding_mode == "floor":
        operator = FLOOR_DIVIDE
    elif rounding_mode == "trunc":
        operator = TRUNC_DIVIDE
    else:
        raise _unknown_rounding(rounding_mode)
    input, other = _one_tensor("div", input, other)
    result = operator(input, other)
    return result if out is None else into(out, result)


def _divides(op: str) -> Callable:
    """Integer division, which must refuse a zero divisor."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        left, right = [graph.cast(operand, dtype).expand(layouts[0].shape) for operand in operands]
        if dtype.category < dt.FLOAT:
            graph.check(right.equals(0), graph.position(layouts[0].shape), lambda position, detail: RuntimeError("ZeroDivisionError"))
        return graph.map(op, left, right)

    return lower


FLOOR_DIVIDE = Operator(
    "floor_divide", ("input", "other"), infer=takes("floor_divide", infer_same), lower=_divides("floor_divide"), keeps_origin=True
)
TRUNC_DIVIDE = Operator(
    "trunc_divide", ("input", "other"), infer=takes("trunc_divide", infer_same), lower=_divides("trunc_divide"), keeps_origin=True
)
FLOOR_DIVIDE.gradient(input=no_gradient, other=no_gradient)
TRUNC_DIVIDE.gradient(input=no_gradient, other=no_gradient)
REMAINDER = Operator("remainder", ("input", "other"), infer=takes("remainder", infer_same), lower=_divides("remainder"), keeps_origin=True)
REMAINDER.gradient(input=lambda grad: grad, other=lambda grad, input, other: -grad * floor_divide(input, other))
FMOD = Operator("fmod", ("input", "other"), infer=takes("fmod", infer_same), lower=_divides("fmod"), keeps_origin=True)
FMOD.gradient(input=lambda grad: grad, other=lambda grad, input, other: -grad * div(input, other, rounding_mode="trunc"))


def _infer_square(operands: tuple, statics: tuple) -> Layout:
    return _shaped(operands, dt.int64 if operands[0].dtype is dt.bool else operands[0].dtype)


def _pow_infer(operands: tuple, statics: tuple) -> Layout:
    return infer_same(operands, statics)


def _log_or_zero(base: Any) -> Any:
    return (
        math.log(base) if not isinstance(base, (TensorBase, complex)) and base > 0 else base.log() if isinstance(base, TensorBase) else 0.0
    )


def _pow_exponent(grad: Any, input: Any, other: Any, result: Any) -> Any:
    """``grad * result * log(input)``, and 0 where the base is 0 and the exponent is not negative."""
    gradient = grad * conj(result * _log_or_zero(input))
    return (
        FUNCTIONS.where((input == 0) & (other >= 0), 0.0, gradient)
        if isinstance(input, TensorBase) and not input.is_complex()
        else gradient
    )


def _pow_base(grad: Any, input: Any, other: Any) -> Any:
    if not isinstance(other, TensorBase):
        return no_gradient(grad) if other == 0 else grad * conj(other * input ** (other - 1))
    return FUNCTIONS.where(other == 0, 0.0, grad * conj(other * input ** (other - 1)))


POW = binary("pow", infer=_pow_infer, input=_pow_base, other=_pow_exponent)
SQUARE = unary("square", infer=_infer_square, gradient=lambda grad, input: grad * 2 * conj(input))
SQUARE.grad_name = "PowBackward0"  # a square is a power to autograd


_POWERS: dict[float, Callable[[Graph, Node], Node]] = {
    3: lambda graph, x: x * x * x,
    0.5: lambda graph, x: graph.map("sqrt", x),
    -0.5: lambda graph, x: graph.map("rsqrt", x),
    -1: lambda graph, x: graph.map("reciprocal", x),
    -2: lambda graph, x: graph.map("reciprocal", x * x),
}
"""Exponents for which there is something shorter than logarithms, with the results (and zeros and infinities) that PyTorch has for them."""


def _lower_fixed_power(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    dtype = layouts[0].dtype
    return graph.cast(_POWERS[statics[0]](graph, graph.cast(operands[0], dtype.compute)), dtype)


FIXED_POWER = Operator("_fixed_power", ("input",), ("exponent",), infer=infer_same, lower=_lower_fixed_power, grad_name="PowBackward0")
FIXED_POWER.gradient(input=lambda grad, input, exponent: grad * (exponent * pow(input, exponent - 1)))


def _is_fixed(dtype: DType, exponent: Any) -> bool:
    """Whether a tensor of this dtype is raised to a power of ``_POWERS``."""
    if exponent not in _POWERS or exponent.__class__ is complex:
        return False
    if dtype.category == dt.INTEGER:
        return exponent.__class__ is int
    return dtype.category == dt.FLOAT and not (
        dtype is dt.float16 and exponent in (0.5, -0.5)
    )  # PyTorch has no roots of -0.0 and -inf there


def pow(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """``input`` to the power of ``exponent``, element by element.

    Raises:
        RuntimeError: integers to a negative integer number.

    Example::

        >>> flambeau.pow(flambeau.tensor([1., 2., 3.]), 2)
        tensor([1., 4., 9.])
    """
    input, exponent = _one_tensor("pow", input, exponent)
    if isinstance(input, TensorBase) and not isinstance(exponent, TensorBase):
        if exponent.__class__ is int and exponent < 0 and input.layout.dtype.category < dt.FLOAT:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if (
            exponent == 2
            and input.layout.dtype is not dt.bool
            and not (exponent.__class__ is float and input.layout.dtype.category < dt.FLOAT)
        ):
            result = SQUARE(input)
            return result if out is None else into(out, result)
        if _is_fixed(input.layout.dtype, exponent):
            result = FIXED_POWER(input, statics=(exponent,))
            return result if out is None else into(out, result)
    result = POW(input, exponent)
    return result if out is None else into(out, result)


def floor_divide(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """``input / other`` rounded down.

    Raises:
        RuntimeError: an integer is divided by zero.
    """
    return div(input, other, rounding_mode="floor", out=out)


def true_divide(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """``input / other``; integers give the default floating-point dtype."""
    return div(input, other, out=out)


# -- comparison ------------------------------------------------------------------------------------------------------

EQ = binary("eq", infer=infer_bool)
NE = binary("ne", infer=infer_bool)
LT = binary("lt", infer=infer_bool)
LE = binary("le", infer=infer_bool)
GT = binary("gt", infer=infer_bool)
GE = binary("ge", infer=infer_bool)

# -- unary functions -------------------------------------------------------------------------------------------------

EXP = unary("exp", infer=infer_float, gradient=lambda grad, result: grad * conj(result))
LOG = unary("log", infer=infer_float, gradient=lambda grad, input: grad / conj(input))
SQRT = unary("sqrt", infer=infer_float, gradient=lambda grad, result: grad / (2 * conj(result)))
RSQRT = unary("rsqrt", infer=infer_float, gradient=lambda grad, result: grad * conj(-0.5 * result * result * result))
RECIPROCAL = unary("reciprocal", infer=infer_float, gradient=lambda grad, result: -grad * conj(result * result))
TANH = unary("tanh", infer=infer_float, gradient=lambda grad, result: grad * conj(1 - result * result))
SIGMOID = unary("sigmoid", infer=infer_float, gradient=lambda grad, result: grad * conj((1 - result) * result))
SIN = unary("sin", infer=infer_float, gradient=lambda grad, input: grad * conj(cos(input)))
COS = unary("cos", infer=infer_float, gradient=lambda grad, input: -grad * conj(sin(input)))
ABS = unary("abs", infer=infer_real, gradient=lambda grad, input: grad * input.sgn())


def _lower_abs(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.map("abs", operands[0])


ABS.lower = _lower_abs

MAXIMUM = binary(
    "maximum",
    input=lambda grad, input, other: _share(grad, input, other, input > other),
    other=lambda grad, input, other: _share(grad, input, other, input < other),
)
MINIMUM = binary(
    "minimum",
    input=lambda grad, input, other: _share(grad, input, other, input < other),
    other=lambda grad, input, other: _share(grad, input, other, input > other),
)


def _share(grad: Tensor, input: Any, other: Any, wins: Tensor) -> Tensor:
    """The gradient of the operand that wins; equal operands have half each."""
    return FUNCTIONS.where(wins, grad, FUNCTIONS.where(input == other, grad / 2, 0.0))


exp, exp_ = unary_function(EXP, "e to the power of each element.")
log, log_ = unary_function(LOG, "The natural logarithm of each element; NaN below 0, -inf at 0.")
sqrt, sqrt_ = unary_function(SQRT, "The square root of each element; NaN below 0.")
rsqrt, rsqrt_ = unary_function(RSQRT, "``1 / sqrt(input)``, element by element.")
reciprocal, reciprocal_ = unary_function(RECIPROCAL, "``1 / input``, element by element.")
tanh, tanh_ = unary_function(TANH, "The hyperbolic tangent of each element.")
sigmoid, sigmoid_ = unary_function(SIGMOID, "The logistic function of each element: ``1 / (1 + exp(-input))``.")
sin, sin_ = unary_function(SIN, "The sine of each element, in radians.")
cos, cos_ = unary_function(COS, "The cosine of each element, in radians.")
neg, neg_ = unary_function(NEG, "The negative of each element; bool tensors are refused.")
abs, _abs = unary_function(ABS, "The absolute value of each element (the magnitude, for complex ones).")


def abs_(self: Tensor) -> Tensor:
    """In-place version of ``abs()``; complex elements have no place for their magnitude."""
    if self.layout.dtype.is_complex:
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    return _abs(self)


square, square_ = unary_function(SQUARE, "``input * input``, element by element.")
mul, mul_ = binary_function(MUL, "``input * other``, element by element, broadcast and promoted together.")
remainder, remainder_ = binary_function(REMAINDER, "The remainder of division rounded down: it has the sign of the divisor, as in Python.")
fmod, fmod_ = binary_function(
    FMOD, "The remainder of division rounded towards zero: it has the sign of the dividend, as C's fmod.", numbers=("other",)
)
eq, eq_ = binary_function(EQ, "Whether elements are equal.", numbers=("other",))
ne, ne_ = binary_function(NE, "Whether elements differ.", numbers=("other",))
lt, lt_ = binary_function(LT, "Whether ``input < other``, element by element.", numbers=("other",))
le, le_ = binary_function(LE, "Whether ``input <= other``, element by element.", numbers=("other",))
gt, gt_ = binary_function(GT, "Whether ``input > other``, element by element.", numbers=("other",))
ge, ge_ = binary_function(GE, "Whether ``input >= other``, element by element.", numbers=("other",))
maximum, _ = binary_function(MAXIMUM, "The larger of two elements; NaN if either is.", numbers=())
minimum, _ = binary_function(MINIMUM, "The smaller of two elements; NaN if either is.", numbers=())


def add_(input: Tensor, other: Any, *former: Any, alpha: Any = 1) -> Tensor:
    """In-place version of ``add()``."""
    if former:
        other, alpha = number_first("add_", "alpha", other, *former)
    other = other if isinstance(other, TensorBase) else number(other)
    if alpha.__class__ is int and alpha == 1:
        return ADD.inplace(input, input, other)
    return _with_alpha(ADD, ADD_SCALED, input, other, alpha, in_place=True)


def sub_(input: Tensor, other: Any, *former: Any, alpha: Any = 1) -> Tensor:
    """In-place version of ``sub()``."""
    if former:
        other, alpha = number_first("sub_", "alpha", other, *former)
    other = other if isinstance(other, TensorBase) else number(other)
    if alpha.__class__ is int and alpha == 1:
        return SUB.inplace(input, input, other)
    return _with_alpha(SUB, SUB_SCALED, input, other, alpha, in_place=True)


def div_(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place version of ``div()``."""
    operator = {None: DIV, "floor": FLOOR_DIVIDE, "trunc": TRUNC_DIVIDE}.get(rounding_mode)
    if operator is None:
        raise _unknown_rounding(rounding_mode)
    return operator.inplace(input, input, other if isinstance(other, TensorBase) else number(other))


def floor_divide_(input: Tensor, other: Any) -> Tensor:
    """In-place version of ``floor_divide()``."""
    return div_(input, other, rounding_mode="floor")


def pow_(input: Tensor, exponent: Any) -> Tensor:
    """In-place version of ``pow()``."""
    if not isinstance(exponent, TensorBase) and _is_fixed(input.layout.dtype, exponent):
        return FIXED_POWER.inplace(input, input, statics=(exponent,))
    return POW.inplace(input, input, exponent if isinstance(exponent, TensorBase) else number(exponent))


PUBLIC = (
    "abs", "add", "cos", "div", "eq", "exp", "floor_divide", "fmod", "ge", "gt", "le", "log", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow",
    "reciprocal", "remainder", "rsqrt", "sigmoid", "sin", "sqrt", "square", "sub", "tanh", "true_divide",
)  # fmt: skip
METHODS = (
    *PUBLIC, "abs_", "add_", "cos_", "div_", "eq_", "exp_", "floor_divide_", "fmod_", "ge_", "gt_", "le_", "log_", "lt_", "mul_", "ne_", "neg_", "pow_", "reciprocal_",
    "remainder_", "rsqrt_", "sigmoid_", "sin_", "sqrt_", "square_", "sub_", "tanh_",
)  # fmt: skip

"""Special functions and other functions of few elements, composed of the elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import elementwise as basic
from flambeau._ops import functions
from flambeau._ops.arguments import in_place, into, number
from flambeau._ops.elementwise import binary, binary_function, infer_float, unary, unary_function
from flambeau._ops.operator import Operator
from flambeau._ops.positions import require_tensor
from flambeau._ops.registry import FUNCTIONS, OPERATORS
from flambeau._ops.writing import check_result
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor
    from flambeau._types.dtype import dtype as DType
    from flambeau._types.layout import Layout


def _floating_dtype(x: Tensor) -> DType:
    """The dtype of a tensor, or the default dtype if that is for integers."""
    return x.layout.dtype if x.layout.dtype.category >= dt.FLOAT else get_default_dtype()


def _floating(x: Tensor) -> Tensor:
    """The tensor, in the default dtype if it holds integers."""
    return x.to(_floating_dtype(x))


# -- gamma functions -------------------------------------------------------------------------------------------------

_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600, -3617 / 10670622842880000)
"""The numbers ``B(2k) / (2k)!`` of Euler and Maclaurin's formula."""


def _hurwitz(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of ``(q + k) ** -s`` over all k from 0: term by term up to ``10 + s``, the rest by Euler and Maclaurin's formula, whose terms grow with s.

    From ``s = 60`` on what is beyond 70 does not count. Below -16384 there would be too many terms; the result is NaN.
    """
    s, q = np.broadcast_arrays(s.astype(np.float64), q.astype(np.float64))
    with np.errstate(all="ignore"):
        total, a = np.zeros(q.shape), np.where(q < -16384, np.nan, q)
        enough = 10 + np.clip(s, 0, 60)
        while (small := a <= enough).any():
            total = total + np.where(small, a**-s, 0.0)
            a = np.where(small, a + 1, a)
        power = a**-s
        total = total + power * a / (s - 1) + 0.5 * power
        factor = s
        for k, coefficient in enumerate(_BERNOULLI):
            power = power / a if k == 0 else power / (a * a)
            total = total + coefficient * factor * power
            factor = factor * (s + 2 * k + 1) * (s + 2 * k + 2)
        pole = (q <= 0) & (q == np.floor(q))
        undefined = (s < 1) | (np.isnan(s)) | (np.isnan(q)) | ((q <= 0) & ~pole & (s != np.floor(s)))
        total = np.where(np.isposinf(q) & (s > 1), 0.0, total)
        return np.where(undefined, np.nan, np.where((s == 1) | pole, np.inf, total))


def _lower_polygamma(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    def function(x: np.ndarray, n: int) -> tuple[np.ndarray]:
        sign = 1.0 if n % 2 else -1.0
        return ((sign * math.factorial(n) * _hurwitz(np.float64(n + 1), x)).astype(x.dtype).reshape(x.shape),)

    x = graph.cast(operands[0], layouts[0].dtype.compute)
    found = graph.map("trigamma", x) if statics == (1,) else graph.host(function, (x,), ((x.dtype, x.shape),), *statics)[0]
    return graph.cast(found, layouts[0].dtype)


POLYGAMMA = Operator("polygamma", ("input",), ("n",), infer=infer_float, lower=_lower_polygamma)
POLYGAMMA.gradient(input=lambda grad, input, n: grad * polygamma(n + 1, input))


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The ``n``-th derivative of ``digamma``, for n from 0.

    Raises:
        RuntimeError: ``n`` is negative.
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return into(out, POLYGAMMA(input, statics=(n,)) if n else functions.digamma(input))


FUNCTIONS.polygamma = polygamma


def polygamma_method(self: Tensor, n: int) -> Tensor:
    """The ``n``-th derivative of ``digamma``."""
    return polygamma(n, self)


def _lower_zeta(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    def function(s: np.ndarray, q: np.ndarray) -> tuple[np.ndarray]:
        return (_hurwitz(s, q).astype(s.dtype).reshape(s.shape),)

    wide = layouts[0].dtype.compute
    given = [graph.cast(operand, wide).expand(layouts[0].shape) for operand in operands]
    return graph.cast(graph.host(function, given, ((wide, layouts[0].shape),))[0], layouts[0].dtype)


ZETA = binary("zeta", infer=infer_float, lower=_lower_zeta, other=lambda grad, input, other: grad * -input * zeta(input + 1, other))
zeta, _zeta_ = binary_function(ZETA, "Hurwitz's zeta function: the sum of ``(other + k) ** -input`` over all k from 0.")


def polygamma_inplace(self: Tensor, n: int) -> Tensor:
    """In-place version of ``polygamma()``."""
    result = polygamma(n, self.clone())
    check_result(self, result.layout, "polygamma_")
    return self.copy_(result)


# -- Bessel functions ------------------------------------------------------------------------------------------------


I1 = unary("i1", infer=infer_float)
I0E = unary("i0e", infer=infer_float, gradient=lambda grad, input, result: grad * (i1e(input) - input.sgn() * result))
I1E = unary("i1e", infer=infer_float)
I1E.gradient(
    input=lambda grad, input, result: (
        grad * (i0e(input) - result * input.sgn() - FUNCTIONS.where(input == 0, 0.5, result / FUNCTIONS.where(input == 0, 1.0, input)))
    )
)
i0e, _i0e_ = unary_function(I0E, "``exp(-|input|)`` times the modified Bessel function of the first kind, of order 0.")
i1e, _i1e_ = unary_function(I1E, "``exp(-|input|)`` times the modified Bessel function of the first kind, of order 1.")
I1.gradient(
    input=lambda grad, input, result: (
        grad * (i0(input) - FUNCTIONS.where(input == 0, 0.5, result / FUNCTIONS.where(input == 0, 1.0, input)))
    )
)
i1, _i1_ = unary_function(I1, "The modified Bessel function of the first kind, of order 1, of each element.")

I0 = unary("i0", infer=infer_float, gradient=lambda grad, input: grad * i1(input))
i0, i0_ = unary_function(I0, "The modified Bessel function of the first kind, of order 0, of each element.")


def _pair(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    """The operands of a function of two, of which one is a tensor; a number that a logarithm is taken of is one, too."""
    if not isinstance(input, TensorBase) and not isinstance(other, TensorBase):
        raise TypeError(f"{name}(): at least one operand must be a Tensor")
    input, other = number(input), number(other)
    if not isinstance(other, TensorBase) and other.__class__ is not complex:
        from flambeau._ops.creation import tensor

        other = tensor(other, dtype=_floating_dtype(input))
    return input, other


def _x_times(name: str, op: str, pole: float, slope: Callable[[Any], Any]) -> Operator:
    """``input`` times the logarithm ``op`` of ``other``, which is 0 where ``input`` is 0; where the logarithm has its pole, so is its gradient by ``input``.

    Args:
        pole: from where down there is no logarithm
        slope: the inverse of the logarithm's derivative
    """

    def infer(operands: tuple, statics: tuple) -> Layout:
        layout = infer_float(operands, statics)
        if layout.dtype.is_complex:
            raise NotImplementedError(f'"{name}" is not implemented for {layout.dtype!r}, of whose logarithms there are many')
        return layout

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        x, y = [graph.cast(graph.cast(operand, dtype), dtype.compute) for operand in operands]
        return graph.cast(graph.where(x.equals(0.0) & y.equals(y), 0.0, x * graph.map(op, y)), dtype)

    return binary(
        name,
        infer=infer,
        lower=lower,
        input=lambda grad, input, other: FUNCTIONS.where((input == 0) & (other <= pole), 0.0, OPERATORS[name](grad, other)),
        other=lambda grad, input, other: grad * input / slope(other),
    )


XLOGY = _x_times("xlogy", "log", 0.0, lambda other: other)
XLOG1PY = _x_times("special_xlog1py", "log1p", -1.0, lambda other: other + 1)


def xlogy(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """``input * log(other)``, which is 0 where ``input`` is 0 (and NaN where ``other`` is)."""
    return into(out, XLOGY(*_pair("xlogy", input, other)))


def xlog1py(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """``input * log1p(other)``, which is 0 where ``input`` is 0 (and NaN where ``other`` is)."""
    return into(out, XLOG1PY(*_pair("xlog1py", input, other)))


def _lower_logit(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    x = graph.cast(operands[0], layouts[0].dtype.compute)
    return graph.cast(graph.map("log", x / (1.0 - x)), layouts[0].dtype)


LOGIT = unary(
    "logit",
    infer=infer_float,
    lower=_lower_logit,
    gradient=lambda grad, input: FUNCTIONS.where((input < 0) | (input > 1), math.nan, grad / (input * (1 - input))),
)


def logit(input: Tensor, eps: float | None = None, *, out: Tensor | None = None) -> Tensor:
    """``log(input / (1 - input))``, the inverse of ``sigmoid``; with ``eps``, of the input moved into ``[eps, 1 - eps]``."""
    x = _floating(input)
    if eps is not None:
        x = functions.clamp(x, eps, 1 - eps)
    return into(out, LOGIT(x))


def deg2rad(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Angles from degrees to radians."""
    if input.is_complex():
        raise RuntimeError("deg2rad is not supported for complex tensors.")
    return into(out, _floating(input) * (math.pi / 180))


def rad2deg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Angles from radians to degrees."""
    if input.is_complex():
        raise RuntimeError("rad2deg is not supported for complex tensors.")
    return into(out, _floating(input) * (180 / math.pi))


def _sinc_gradient(grad: Tensor, input: Tensor) -> Tensor:
    """``(cos(pi x) - sinc(x)) / x``, and 0 at 0."""
    x = FUNCTIONS.cast(input, input.layout.dtype.compute)
    zero = x == 0
    other = FUNCTIONS.where(zero, 1.0, x)
    return grad * FUNCTIONS.where(zero, 0.0, (basic.cos(other * math.pi) - sinc(other)) / other)


SINC = unary("sinc", infer=infer_float, gradient=_sinc_gradient)


def sinc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``sin(pi * input) / (pi * input)``, which is 1 at 0."""
    x = _floating(input)
    if not x.is_complex():
        return into(out, SINC(x))
    zero = x == 0
    scaled = FUNCTIONS.where(zero, 1.0, x) * math.pi
    return into(out, FUNCTIONS.where(zero, 1.0, basic.sin(scaled) / scaled))


def logaddexp2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``log2(2**input + 2**other)``, without overflow."""
    if not isinstance(input, TensorBase) or not isinstance(other, TensorBase):
        raise TypeError("logaddexp2(): both operands must be Tensors")
    dtype = infer_float((input.layout, other.layout), ()).dtype
    input, other = input.to(dtype.compute), other.to(dtype.compute)  # rounded once, in the end
    distance = FUNCTIONS.where((input == other) & input.isinf(), 0.0, input - other).abs()
    per_bit = FUNCTIONS.full(lay.contiguous((), dt.float64), 1 / math.log(2))
    return into(out, functions.ADDCMUL(basic.maximum(input, other), (-distance).exp2().log1p(), per_bit, 1).to(dtype))


def ldexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``input * 2**other``."""
    require_tensor("ldexp", "input", input)
    require_tensor("ldexp", "other", other)
    if other.layout.dtype.category < dt.FLOAT:
        other = other.to(_floating_dtype(input))
    return into(out, input * functions.exp2(other))


def positive(input: Tensor) -> Tensor:
    """The tensor itself; bool is refused."""
    if input.layout.dtype is dt.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def isposinf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Whether each element is positive infinity."""
    return into(out, _infinite("isposinf", input, math.inf))


def isneginf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Whether each element is negative infinity."""
    return into(out, _infinite("isneginf", input, -math.inf))


def _infinite(name: str, input: Tensor, value: float) -> Tensor:
    if input.is_complex():
        raise RuntimeError(f"{name} does not support complex inputs.")
    return input == value if input.is_floating_point() else input != input


def isreal(input: Tensor) -> Tensor:
    """Whether each element has no imaginary part."""
    return (
        input.imag == 0 if input.is_complex() else input == input if not input.is_floating_point() else (input == input) | (input != input)
    )


def _lower_entr(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    x = graph.cast(operands[0], layouts[0].dtype.compute)
    positive = x > 0.0
    beyond = graph.where(x.equals(0.0), 0.0, graph.where(x.equals(x), -math.inf, x))
    return graph.cast(graph.where(positive, -x * graph.map("log", graph.where(positive, x, 1.0)), beyond), layouts[0].dtype)


ENTR = unary("special_entr", infer=infer_float, lower=_lower_entr, gradient=lambda grad, input: grad * (-1 - basic.log(input)))


def entr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``-input * log(input)``, which is 0 at 0 and -inf below it."""
    if input.is_complex():
        raise RuntimeError("entr is not supported for complex tensors.")
    return into(out, ENTR(input))


NDTR = unary("ndtr", infer=infer_float, gradient=lambda grad, input: grad * (basic.exp(input * input * -0.5) / math.sqrt(2 * math.pi)))
ndtr, _ndtr_ = unary_function(NDTR, "The integral of the standard normal distribution up to each element.")
FUNCTIONS.ndtr = ndtr


def mvlgamma(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = _floating(input)
    dtype = x.layout.dtype
    x = x.to(dtype.compute)  # rounded once, in the end
    total = functions.lgamma(x)
    for j in range(1, p):
        total = total + functions.lgamma(x - j / 2)
    return into(out, (total + p * (p - 1) / 4 * math.log(math.pi)).to(dtype))


deg2rad_, rad2deg_, sinc_, logit_, xlogy_, ldexp_, mvlgamma_ = (
    in_place(function) for function in (deg2rad, rad2deg, sinc, logit, xlogy, ldexp, mvlgamma)
)

_BOTH = (
    "deg2rad",
    "i0",
    "isneginf",
    "isposinf",
    "isreal",
    "ldexp",
    "logaddexp2",
    "logit",
    "mvlgamma",
    "positive",
    "rad2deg",
    "sinc",
    "xlogy",
)
PUBLIC = (*_BOTH, "polygamma", "deg2rad_", "i0_", "ldexp_", "logit_", "rad2deg_", "sinc_", "xlogy_")
METHODS = (*_BOTH, "deg2rad_", "i0_", "ldexp_", "logit_", "mvlgamma_", "rad2deg_", "sinc_", "xlogy_")

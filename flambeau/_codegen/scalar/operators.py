"""The table of scalar operators: what each does to one element of each category of dtype."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from flambeau._codegen import vmath
from flambeau._codegen.ir import Builder
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.scalar import complex_functions, complexes, floats, integers
from flambeau._codegen.scalar import reference as meaning
from flambeau._codegen.scalar.complexes import Complex
from flambeau._codegen.scalar.registers import Operand, round_to
from flambeau._types import dtype as types
from flambeau._types.dtype import BOOL, COMPLEX, FLOAT, INTEGER, dtype

Body = Callable[..., Lanes | Complex]


class ScalarOp(NamedTuple):
    """One operator on elements.

    Attributes:
        name: as in ``OPS``
        arity: how many operands
        result: the result's dtype: ``"same"``, ``"bool"``, ``"real"`` (of a complex operand) or ``"complex"``
        bodies: for each category of dtype that it takes, or for a dtype that differs, what it computes; ``None`` if it is not defined
        define: the same in NumPy
    """

    name: str
    arity: int
    result: str
    bodies: dict[int | dtype, Body | None]
    define: Callable[..., np.ndarray]

    def takes(self, of: dtype) -> bool:
        return self._body(of) is not None

    def _body(self, of: dtype) -> Body | None:
        return self.bodies.get(of, self.bodies.get(of.category))

    def result_dtype(self, of: dtype) -> dtype:
        """The dtype of the result for operands of dtype ``of``."""
        if self.result == "same":
            return of
        if self.result == "bool":
            return types.bool
        return of.to_real() if self.result == "real" else of.to_complex()

    def emit(self, builder: Builder, of: dtype, *operands: Operand) -> Operand:
        """Append the operator on operands of dtype ``of`` (a condition is bool) and give its result."""
        body = self._body(of)
        if body is None:
            raise TypeError(f"{self.name} is not defined for {of}")
        if len(operands) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} operands, but got {len(operands)}")
        result = body(*[_lanes(builder, operand, of) for operand in operands])
        operand = (result.re.value, result.im.value) if isinstance(result, Complex) else result.value
        return operand if self.result == "bool" else round_to(builder, operand, self.result_dtype(of))

    def reference(self, of: dtype, *arrays: np.ndarray) -> np.ndarray:
        """What the operator means, computed by NumPy from arrays of ``of.numpy`` (bfloat16 as its bits)."""
        return meaning.evaluate(self.define, of, self.result_dtype(of), arrays)


def _lanes(builder: Builder, operand: Operand, of: dtype) -> Lanes | Complex:
    if isinstance(operand, tuple):
        return Complex(Lanes(builder, operand[0]), Lanes(builder, operand[1]))
    return Lanes(builder, operand, of.is_signed)


def _truth(x: Lanes | Complex) -> Lanes:
    return complexes.is_true(x) if isinstance(x, Complex) else x != 0


OPS: dict[str, ScalarOp] = {}


def _define(
    name: str,
    arity: int,
    reference: Callable[..., np.ndarray],
    *,
    result: str = "same",
    every: Body | None = None,
    real: Body | None = None,
    number: Body | None = None,
    bool: Body | None = None,
    integer: Body | None = None,
    float: Body | None = None,
    complex: Body | None = None,
) -> None:
    """Enter an operator; ``number`` is for integer and float, ``real`` for bool as well, ``every`` for complex as well."""
    real, number = real or every, number or real or every
    bodies = {BOOL: bool or real, INTEGER: integer or number, FLOAT: float or number, COMPLEX: complex or every}
    OPS[name] = ScalarOp(name, arity, result, {category: body for category, body in bodies.items() if body is not None}, reference)


def emit(builder: Builder, name: str, of: dtype, *operands: Operand) -> Operand:
    """Append operator ``name`` on operands of dtype ``of``."""
    return OPS[name].emit(builder, of, *operands)


# -- arithmetic --------------------------------------------------------------------------------------------------------

_define("add", 2, np.add, bool=operator.or_, number=operator.add, complex=complexes.add)
_define("sub", 2, np.subtract, number=operator.sub, complex=complexes.subtract)
_define("mul", 2, np.multiply, bool=operator.and_, number=operator.mul, complex=complexes.multiply)
_define("div", 2, np.divide, float=operator.truediv, complex=complexes.divide)
_define("floor_divide", 2, meaning.floor_divide, integer=integers.floor_divide, float=floats.floor_divide)
_define("trunc_divide", 2, meaning.trunc_divide, integer=integers.trunc_divide, float=floats.trunc_divide)
OPS["trunc_divide"].bodies.update({of: partial(floats.trunc_divide, of=of) for of in (types.float16, types.bfloat16, *types.FLOAT8)})
_define("remainder", 2, np.remainder, integer=integers.remainder, float=floats.remainder)
_define("fmod", 2, np.fmod, integer=integers.fmod, float=floats.fmod)
_define("fma", 3, meaning.fma, integer=lambda x, y, z: x * y + z, float=Lanes.fma)
_define("neg", 1, np.negative, number=operator.neg, complex=complexes.negate)
_define("abs", 1, np.abs, result="real", bool=operator.pos, number=Lanes.abs, complex=complex_functions.absolute)
_define("sign", 1, meaning.sign, bool=operator.pos, integer=integers.sign, float=floats.sign)
_define("sgn", 1, meaning.sgn, bool=operator.pos, integer=integers.sign, float=floats.sign, complex=complex_functions.sign)
_define("square", 1, np.square, bool=operator.pos, number=lambda x: x * x, complex=lambda x: complexes.multiply(x, x))
_define("reciprocal", 1, np.reciprocal, float=floats.reciprocal, complex=complexes.reciprocal)
_define("sqrt", 1, np.sqrt, float=Lanes.sqrt, complex=complex_functions.sqrt)
_define("rsqrt", 1, lambda x: 1 / np.sqrt(x), float=floats.rsqrt, complex=complex_functions.rsqrt)
_define("pow", 2, meaning.power, integer=integers.power, float=vmath.pow, complex=complex_functions.power)
_define("maximum", 2, np.maximum, bool=operator.or_, integer=integers.maximum, float=floats.maximum)
_define("minimum", 2, np.minimum, bool=operator.and_, integer=integers.minimum, float=floats.minimum)
_define("fmax", 2, np.fmax, bool=operator.or_, integer=integers.maximum, float=floats.fmax)
_define("fmin", 2, np.fmin, bool=operator.and_, integer=integers.minimum, float=floats.fmin)
_define("gcd", 2, np.gcd, integer=integers.gcd)
_define("lcm", 2, np.lcm, integer=integers.lcm)

# -- comparison, logic and bits ----------------------------------------------------------------------------------------

_define("eq", 2, np.equal, result="bool", real=operator.eq, complex=complexes.equal)
_define("ne", 2, np.not_equal, result="bool", real=operator.ne, complex=complexes.not_equal)
_define("lt", 2, np.less, result="bool", real=operator.lt)
_define("le", 2, np.less_equal, result="bool", real=operator.le)
_define("gt", 2, np.greater, result="bool", real=operator.gt)
_define("ge", 2, np.greater_equal, result="bool", real=operator.ge)
_define("logical_and", 2, np.logical_and, result="bool", every=lambda x, y: _truth(x) & _truth(y))
_define("logical_or", 2, np.logical_or, result="bool", every=lambda x, y: _truth(x) | _truth(y))
_define("logical_xor", 2, np.logical_xor, result="bool", every=lambda x, y: _truth(x) ^ _truth(y))
_define("logical_not", 1, np.logical_not, result="bool", every=lambda x: ~_truth(x))
_define("bitwise_and", 2, np.bitwise_and, bool=operator.and_, integer=operator.and_)
_define("bitwise_or", 2, np.bitwise_or, bool=operator.or_, integer=operator.or_)
_define("bitwise_xor", 2, np.bitwise_xor, bool=operator.xor, integer=operator.xor)
_define("bitwise_not", 1, np.bitwise_not, bool=operator.invert, integer=operator.invert)
_define("bitwise_left_shift", 2, meaning.shift_left, integer=integers.shift_left)
_define("bitwise_right_shift", 2, meaning.shift_right, integer=integers.shift_right)
_define("outside", 3, meaning.outside, result="bool", number=lambda x, low, high: (x < low) | (x >= high))
_define("where", 3, np.where, real=Lanes.select, complex=complexes.where)
_define("heaviside", 2, meaning.heaviside, bool=lambda x, at_zero: x | at_zero, integer=integers.heaviside, float=floats.heaviside)

# -- parts of a number -------------------------------------------------------------------------------------------------

_define("floor", 1, np.floor, integer=operator.pos, float=Lanes.floor)
_define("ceil", 1, np.ceil, integer=operator.pos, float=Lanes.ceil)
_define("round", 1, meaning.rounded, integer=operator.pos, float=Lanes.round)
_define("trunc", 1, np.trunc, integer=operator.pos, float=Lanes.trunc)
_define("frac", 1, lambda x: x - np.trunc(x), float=floats.frac)
_define("copysign", 2, np.copysign, float=Lanes.copysign)
_define("nextafter", 2, meaning.nextafter, float=floats.nextafter)
OPS["nextafter"].bodies.update({types.float16: floats.nextafter_float16, types.bfloat16: floats.nextafter_bfloat16})
OPS["nextafter"].bodies.update(dict.fromkeys(types.FLOAT8))
_define("isnan", 1, np.isnan, result="bool", float=Lanes.is_nan, complex=complexes.is_nan)
_define("isinf", 1, np.isinf, result="bool", float=floats.is_infinite, complex=complexes.is_infinite)
_define("isfinite", 1, np.isfinite, result="bool", float=floats.is_finite, complex=complexes.is_finite)
_define("signbit", 1, meaning.sign_bit, result="bool", integer=lambda x: x < 0, float=floats.sign_bit)
_define("real", 1, np.real, result="real", real=operator.pos, complex=operator.attrgetter("re"))
_define("imag", 1, np.imag, result="real", complex=operator.attrgetter("im"))
_define("conj", 1, np.conj, real=operator.pos, complex=complexes.conjugate)
_define("complex", 2, meaning.complex_of, result="complex", float=Complex)
_define("angle", 1, meaning.angle, result="real", float=floats.angle, complex=complex_functions.angle)

# -- functions ---------------------------------------------------------------------------------------------------------

_define("exp", 1, np.exp, float=vmath.exp, complex=complex_functions.exp)
_define("exp2", 1, np.exp2, float=vmath.exp2, complex=complex_functions.exp2)
_define("expm1", 1, np.expm1, float=vmath.expm1, complex=complex_functions.expm1)
_define("log", 1, np.log, float=vmath.log, complex=complex_functions.log)
_define("log2", 1, np.log2, float=vmath.log2, complex=complex_functions.log2)
_define("log10", 1, np.log10, float=vmath.log10, complex=complex_functions.log10)
_define("log1p", 1, np.log1p, float=vmath.log1p, complex=complex_functions.log1p)
_define("sin", 1, np.sin, float=vmath.sin, complex=complex_functions.sin)
_define("cos", 1, np.cos, float=vmath.cos, complex=complex_functions.cos)
_define("tan", 1, np.tan, float=vmath.tan, complex=complex_functions.tan)
_define("asin", 1, np.arcsin, float=vmath.asin, complex=complex_functions.asin)
_define("acos", 1, np.arccos, float=vmath.acos, complex=complex_functions.acos)
_define("atan", 1, np.arctan, float=vmath.atan, complex=complex_functions.atan)
_define("sinh", 1, np.sinh, float=vmath.sinh, complex=complex_functions.sinh)
_define("cosh", 1, np.cosh, float=vmath.cosh, complex=complex_functions.cosh)
_define("tanh", 1, np.tanh, float=vmath.tanh, complex=complex_functions.tanh)
_define("asinh", 1, np.arcsinh, float=vmath.asinh, complex=complex_functions.asinh)
_define("acosh", 1, np.arccosh, float=vmath.acosh, complex=complex_functions.acosh)
_define("atanh", 1, np.arctanh, float=vmath.atanh, complex=complex_functions.atanh)
_define("sigmoid", 1, meaning.sigmoid, float=vmath.sigmoid, complex=complex_functions.sigmoid)
_define("silu", 1, lambda x: x * meaning.sigmoid(x), float=vmath.silu)
_define("atan2", 2, np.arctan2, float=vmath.atan2)
_define("hypot", 2, np.hypot, float=vmath.hypot)
_define("frexp_fraction", 1, lambda x: np.frexp(x)[0], float=floats.frexp_fraction)
_define("frexp_exponent", 1, lambda x: np.where(np.isfinite(x), np.frexp(x)[1], 0).astype(x.dtype), float=floats.frexp_exponent)
_define("ldexp", 2, meaning.ldexp, float=floats.ldexp)
_define("logaddexp", 2, np.logaddexp, float=floats.logaddexp)
_define("xlogy", 2, meaning.xlogy, float=floats.xlogy)
_define("erf", 1, meaning.special("erf"), float=vmath.erf)
_define("erfc", 1, meaning.special("erfc"), float=vmath.erfc)
_define("erfinv", 1, meaning.special("erfinv"), float=vmath.erfinv)
_define("lgamma", 1, meaning.lgamma, float=vmath.lgamma)
_define("digamma", 1, meaning.digamma, float=vmath.digamma)
_define("trigamma", 1, meaning.trigamma, float=vmath.trigamma)
for _name in ("j0", "j1", "y0", "y1", "k0", "k1", "k0e", "k1e"):
    _define(_name, 1, meaning.special(_name), float=getattr(vmath, _name))
_define("i0", 1, meaning.i0, float=vmath.i0)
_define("i0e", 1, meaning.special("i0e"), float=vmath.i0e)
_define("i1", 1, meaning.i1, float=vmath.i1)
_define("i1e", 1, meaning.special("i1e"), float=vmath.i1e)
_define("gelu", 1, meaning.gelu, float=vmath.gelu)
_define("ndtr", 1, meaning.special("ndtr"), float=vmath.ndtr)
_define("sinc", 1, meaning.sinc, float=floats.sinc)

"""The float8 formats: their bits, and rounding a float32 to them (to the nearest, ties to even)."""

from __future__ import annotations

import math

from flambeau._codegen.ir import Builder, Value
from flambeau._codegen.lanes import Lanes
from flambeau._types.encoding import Byte

_SIGNIFICAND = 23
_BIAS = 127
_INFINITY = 0x7C
"""In the one format that has infinities, e5m2."""


def round_to(builder: Builder, value: Value, form: Byte) -> Value:
    """A float32 rounded to the format, as a float32."""
    x = Lanes(builder, value)
    size = x.abs()
    dropped = _SIGNIFICAND - form.digits
    bits = size.as_integer()
    odd = bits.shift_in_zeros(dropped) & 1
    normal = ((bits + odd + ((1 << (dropped - 1)) - 1)) & -(1 << dropped)).as_float()
    shift = 1.5 * 2.0**_SIGNIFICAND * form.smallest  # numbers of this size are ``smallest`` apart
    subnormal = (size + shift) - shift
    rounded = (size < form.smallest_normal).select(subnormal, normal)
    rounded = (rounded > form.largest).select(form.beyond, rounded)
    rounded = x.is_nan().select(math.nan, rounded)
    signed = rounded.copysign(x)
    return (signed if form.has_sign_of_zero else (rounded == 0.0).select(0.0, signed)).value


def encode(builder: Builder, value: Value, form: Byte) -> Value:
    """The byte of a float32 that is already rounded to the format."""
    x = Lanes(builder, value)
    size = x.abs()
    normal = size.as_integer().shift_in_zeros(_SIGNIFICAND - form.digits) - ((_BIAS - form.bias) << form.digits)
    if math.isinf(form.beyond):
        normal = (size == math.inf).select(_INFINITY, normal)
    is_small = size < form.smallest_normal
    subnormal = (is_small.select(size, 0.0) * (1.0 / form.smallest)).convert("fptosi", "i32")
    code = is_small.select(subnormal, normal) | (x.as_integer().shift_in_zeros(24) & 0x80)
    return x.is_nan().select(form.nan, code).convert("trunc", "i8").value


def decode(builder: Builder, value: Value, form: Byte) -> Value:
    """The float32 that a byte means."""
    code = Lanes(builder, value).convert("zext", "i32")
    size = code & 0x7F
    normal = ((size << (_SIGNIFICAND - form.digits)) + ((_BIAS - form.bias) << _SIGNIFICAND)).as_float()
    subnormal = size.convert("sitofp", "float") * form.smallest
    number = (size < (1 << form.digits)).select(subnormal, normal)
    sign = (code & 0x80) << 24
    if not form.has_sign_of_zero:
        return (code == form.nan).select(math.nan, (number.as_integer() | sign).as_float()).value
    if math.isinf(form.beyond):
        number = (size == _INFINITY).select(math.inf, (size > _INFINITY).select(math.nan, number))
    else:
        number = (size == form.nan).select(math.nan, number)
    return (number.as_integer() | sign).as_float().value

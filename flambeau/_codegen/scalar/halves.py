"""float16 and bfloat16: their bits, and rounding a float32 to them.

Rounding is to nearest, ties to even; a NaN stays a NaN.  bfloat16 is done with integers everywhere (``vcvtneps2bf16``
flushes subnormal numbers to 0); float16 in hardware where the target has F16C, else with integers.
"""

from __future__ import annotations

import struct

import numpy as np

from flambeau._codegen.ir import Builder, Value, vector
from flambeau._codegen.lanes import Lanes
from flambeau._types import dtype as types
from flambeau._types.dtype import dtype


def round_number(number: float, of: dtype) -> float:
    """A Python float rounded to float32 and then to float16 or bfloat16."""
    with np.errstate(over="ignore"):
        single = np.float32(number)
        if of is types.float16:
            return float(np.float16(single))
    if single != single:
        return float("nan")
    bits = int(single.view(np.uint32))
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def round_to(builder: Builder, value: Value, of: dtype) -> Value:
    """A float32 rounded to float16 or bfloat16, as a float32."""
    x = Lanes(builder, value)
    if of is types.bfloat16:
        return _round_bfloat16(x).value
    if "f16c" in builder.module.features:
        return x.convert("fptrunc", "half").convert("fpext", "float").value
    return _round_float16(x).value


def encode(builder: Builder, value: Value, of: dtype) -> Value:
    """The 16 bits of a float32 that is already rounded to the dtype."""
    x = Lanes(builder, value)
    if of is types.bfloat16:
        return x.as_integer().shift_in_zeros(16).convert("trunc", "i16").value
    if "f16c" in builder.module.features:
        half = x.convert("fptrunc", "half")
        return builder.cast("bitcast", half.value, vector("i16", half.width))
    return _float16_bits(x).value


def decode(builder: Builder, value: Value, of: dtype) -> Value:
    """The float32 that 16 bits mean."""
    if of is types.bfloat16:
        return (Lanes(builder, value).convert("zext", "i32") << 16).as_float().value
    if "f16c" in builder.module.features:
        half = builder.cast("bitcast", value, vector("half", value.width))
        return builder.cast("fpext", half, vector("float", value.width))
    return _float16_number(Lanes(builder, value)).value


def _round_bfloat16(x: Lanes) -> Lanes:
    bits = x.as_integer()
    odd = bits.shift_in_zeros(16) & 1
    rounded = (bits + odd + 0x7FFF) & -0x10000
    return x.is_nan().select(x.constant(float("nan")), rounded.as_float())


def _round_float16(x: Lanes) -> Lanes:
    bits = x.abs().as_integer()
    odd = bits.shift_in_zeros(13) & 1
    normal = ((bits + odd + 0xFFF) & -0x2000).as_float()
    # Adding 1/2 puts the last place of a subnormal half, 2**-24, into the last place of the sum.
    subnormal = (x.abs() + 0.5) - 0.5
    rounded = (x.abs() < 2.0**-14).select(subnormal, normal)
    rounded = (rounded >= 65536.0).select(x.constant(float("inf")), rounded)
    return x.is_nan().select(x, rounded.copysign(x))


def _float16_bits(x: Lanes) -> Lanes:
    """The bits of a float32 that is a float16."""
    bits = x.as_integer()
    magnitude = x.abs()
    normal = magnitude.as_integer().shift_in_zeros(13) - (112 << 10)
    subnormal = (magnitude + 0.5).as_integer() - 0x3F000000
    low = (magnitude < 2.0**-14).select(subnormal, normal)
    low = (magnitude < 65536.0).select(low, (magnitude == float("inf")).select(low.constant(0x7C00), 0x7E00))
    return (low | (bits.shift_in_zeros(16) & 0x8000)).convert("trunc", "i16")


def _float16_number(half: Lanes) -> Lanes:
    bits = half.convert("zext", "i32")
    magnitude = (bits & 0x7FFF) << 13
    number = magnitude.as_float() * 2.0**112
    number = (magnitude < (0x7C00 << 13)).select(number, (magnitude | 0x7F800000).as_float())
    return (number.as_integer() | ((bits & 0x8000) << 16)).as_float()

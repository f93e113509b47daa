"""float16 and bfloat16: their bits, and rounding a float32 to them.

Rounding is to nearest, ties to even; a NaN stays a NaN.  float16 is LLVM's ``half``; bfloat16 is done with integers
(LLVM would use ``vcvtneps2bf16``, which flushes subnormal numbers to 0).
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
    if of is types.float16:
        return x.convert("fptrunc", "half").convert("fpext", "float").value
    bits = x.as_integer()
    odd = bits.shift_in_zeros(16) & 1
    rounded = (bits + odd + 0x7FFF) & -0x10000
    return x.is_nan().select(x.constant(float("nan")), rounded.as_float()).value


def encode(builder: Builder, value: Value, of: dtype) -> Value:
    """The 16 bits of a float32 that is already rounded to the dtype."""
    if of is types.float16:
        half = builder.cast("fptrunc", value, vector("half", value.width))
        return builder.cast("bitcast", half, vector("i16", value.width))
    return Lanes(builder, value).as_integer().shift_in_zeros(16).convert("trunc", "i16").value


def decode(builder: Builder, value: Value, of: dtype) -> Value:
    """The float32 that 16 bits mean."""
    if of is types.float16:
        half = builder.cast("bitcast", value, vector("half", value.width))
        return builder.cast("fpext", half, vector("float", value.width))
    return (Lanes(builder, value).convert("zext", "i32") << 16).as_float().value

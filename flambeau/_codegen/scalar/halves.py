"""float16 and bfloat16 (and, in ``bytes.py``, float8): their bits, and rounding a float32 to them.

Rounding is to nearest, ties to even; a NaN stays a NaN.  float16 is LLVM's ``half``; bfloat16 is done with integers
(LLVM would use ``vcvtneps2bf16``, which flushes subnormal numbers to 0).
"""

from __future__ import annotations

from flambeau._codegen.ir import Builder, Value, vector
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.scalar import bytes
from flambeau._types import dtype as types
from flambeau._types.dtype import dtype
from flambeau._types.encoding import BYTES


def round_to(builder: Builder, value: Value, of: dtype) -> Value:
    """A float32 rounded to a shorter dtype, as a float32."""
    if of in BYTES:
        return bytes.round_to(builder, value, BYTES[of])
    x = Lanes(builder, value)
    if of is types.float16:
        return x.convert("fptrunc", "half").convert("fpext", "float").value
    bits = x.as_integer()
    odd = bits.shift_in_zeros(16) & 1
    rounded = (bits + odd + 0x7FFF) & -0x10000
    return x.is_nan().select(x.constant(float("nan")), rounded.as_float()).value


def encode(builder: Builder, value: Value, of: dtype) -> Value:
    """The bits of a float32 that is already rounded to the dtype."""
    if of in BYTES:
        return bytes.encode(builder, value, BYTES[of])
    if of is types.float16:
        half = builder.cast("fptrunc", value, vector("half", value.width))
        return builder.cast("bitcast", half, vector("i16", value.width))
    return Lanes(builder, value).as_integer().shift_in_zeros(16).convert("trunc", "i16").value


def decode(builder: Builder, value: Value, of: dtype) -> Value:
    """The float32 that bits mean."""
    if of in BYTES:
        return bytes.decode(builder, value, BYTES[of])
    if of is types.float16:
        half = builder.cast("bitcast", value, vector("half", value.width))
        return builder.cast("fpext", half, vector("float", value.width))
    return (Lanes(builder, value).convert("zext", "i32") << 16).as_float().value

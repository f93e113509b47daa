"""Reduction of arguments of any size by pi/2, lane by lane, for the lanes where vectors cannot.

M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", 1983: of the product of the argument's
mantissa with the bits of 2/pi only those matter whose weight is neither a multiple of 4 nor below the result's last place.
"""

from __future__ import annotations

from flambeau._codegen.ir import Builder, Value, constant, vector
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.vmath.formats import FORMATS
from flambeau._codegen.vmath.pairs import multiply

_WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41,
    0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
    0xF0CFBC209AF4361D,
)  # fmt: skip
"""A word of zeros and then the bits of 2/pi."""


def reduce_large(x: Lanes, large: Lanes) -> list[Lanes]:
    """``[high, low, n]`` with ``x = n pi/2 + high + low`` and n modulo 4 in its low bits, in the lanes where ``large``.

    There ``|x|`` must be more than 1; infinity gives NaN.
    """
    x = large.select(x, 2.0**32)
    builder, width = x.builder, x.width
    module = builder.module
    function = "payne_hanek"
    if not module.has_function(function):
        _define(module.function(function, [("double", "x"), ("ptr", "result")], linkage="internal", attributes="noinline"))
    source = builder.alloca(vector("double", width))
    builder.store(x.convert("fpext", "double").value, source)
    types = [vector("double", width), vector("double", width), vector("i64", width)]
    results = [builder.alloca(type) for type in types]
    triple = builder.alloca("i64", 3)
    with builder.loop(0, width) as loop:
        lane = builder.load(builder.offset(source, loop.index, "double"), "double")
        builder.call(f"@{function}", lane, triple)
        for number, result in enumerate(results):
            part = builder.load(builder.offset(triple, number, "i64"), "i64")
            builder.store(part, builder.offset(result, loop.index, "i64"))
    high, low, n = (Lanes(builder, builder.load(result, type)) for result, type in zip(results, types, strict=True))
    if x.element == "double":
        return [high, low, n]
    short = high.convert("fptrunc", "float")
    return [short, (high - short.convert("fpext", "double") + low).convert("fptrunc", "float"), n.convert("trunc", "i32")]


def _wide(operand: Value, builder: Builder) -> Lanes:
    return Lanes(builder, builder.cast("zext", operand, "i128"), False)


def _define(builder: Builder) -> None:
    """Write ``void payne_hanek(double x, ptr result)``: result is high, low and n."""
    x, result = Lanes(builder, builder.parameters[0]), builder.parameters[1]
    bits = x.as_integer()
    exponent = bits.shift_in_zeros(52) & 0x7FF
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    # x = mantissa * 2**q; the first bit of 2/pi that counts has weight 2**(1 - q), and one word of zeros precedes it.
    position = exponent - 1075 - 2 + 64
    table = builder.module.table("i64", [word - (word >> 63 << 64) for word in _WORDS])
    first = builder.offset(table, position.shift_in_zeros(6).value, "i64")
    shift = (position & 63).value
    loaded = [builder.load(builder.offset(first, number, "i64"), "i64") for number in range(4)]
    words = [builder.intrinsic("fshl", loaded[number], loaded[number + 1], shift) for number in range(3)]
    factor = _wide(mantissa.value, builder)
    low_product = factor * _wide(words[2], builder)
    middle = factor * _wide(words[1], builder) + (low_product >> 64)
    product = middle + (factor * _wide(words[0], builder) << 64)  # modulo 2**128: its first two bits are the quadrant
    n = (product >> 126).convert("trunc", "i64") + ((product >> 125) & 1).convert("trunc", "i64")
    fraction = Lanes(builder, (product << 2).value)
    negative = fraction < 0
    magnitude = fraction.abs()
    zeros = Lanes(builder, builder.intrinsic("ctlz", magnitude.value, constant("i1", 1)))
    magnitude = magnitude << zeros
    top = magnitude.shift_in_zeros(75).convert("trunc", "i64").to_float() * 2.0**-53
    rest = magnitude.shift_in_zeros(12).convert("trunc", "i64") & ((1 << 63) - 1)
    scale = ((1023 - zeros.convert("trunc", "i64")) << 52).as_float()
    scale = (negative ^ (bits < 0)).select(-scale, scale)
    high, low = multiply((top, rest.to_float() * 2.0**-116), tuple(x.constant(part) for part in FORMATS["double"].half_pi[:2]))
    high = (exponent == 0x7FF).select(x.constant(float("nan")), high * scale)
    parts = (high.as_integer(), (low * scale).as_integer(), (bits < 0).select(-n, n))
    for number, part in enumerate(parts):
        builder.store(part.value, builder.offset(result, number, "i64"))
    builder.ret()

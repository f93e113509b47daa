"""How an element of each dtype lives in registers and in memory, and the way between the two.

=================  =========================================  ==========================
dtype              in registers                               in memory
=================  =========================================  ==========================
bool               ``i1``                                     one byte, true if not 0
integers           ``iN``                                     the same
float32, float64   ``float``, ``double``                      the same
float16, bfloat16  ``float``, rounded to the dtype            16 bits
float8             ``float``, rounded to the dtype            8 bits
complex            a pair ``(re, im)`` of its parts           interleaved
=================  =========================================  ==========================

An *operand* is a ``Value``, or for complex dtypes a tuple of two.  Everything takes any width, 1 included.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau._codegen.ir import Builder, Value, bits, constant, constant_vector, vector
from flambeau._codegen.scalar import halves
from flambeau._types import dtype as types
from flambeau._types.dtype import BOOL, COMPLEX, INTEGER, dtype
from flambeau._types.encoding import numbers_in, stored_as

Operand = Value | tuple[Value, Value]


def _element(of: dtype) -> str:
    """The IR type of one part of one element in registers."""
    if of.category == BOOL:
        return "i1"
    if of.category == INTEGER:
        return f"i{8 * of.itemsize}"
    return "double" if of.compute.to_real() is types.float64 else "float"


def memory_type(of: dtype) -> str:
    """The IR type of one part of one element in memory."""
    if of.category == BOOL:
        return "i8"
    return f"i{8 * of.to_real().itemsize}" if of.compute is not of else _element(of)


def register_types(of: dtype, width: int) -> list[str]:
    """The IR types of an operand: two for complex, else one."""
    return [vector(_element(of), width)] * (2 if of.category == COMPLEX else 1)


def pack(values: list[Value]) -> Operand:
    """The operand made of the values that ``register_types`` describes."""
    return values[0] if len(values) == 1 else (values[0], values[1])


def unpack(operand: Operand) -> list[Value]:
    return list(operand) if isinstance(operand, tuple) else [operand]


def splat(builder: Builder, operand: Operand, of: dtype, width: int) -> Operand:
    """A one-lane operand in every lane."""
    return pack([builder.splat(part, width) for part in unpack(operand)])


def splat_constant(of: dtype, number: complex | float | int, width: int) -> Operand:
    """``number`` rounded to the dtype, in every lane.  An integer that does not fit wraps around."""
    type = vector(_element(of), width)
    if of.category == COMPLEX:
        number, part = complex(number), of.to_real()
        re, im = splat_constant(part, number.real, width), splat_constant(part, number.imag, width)
        assert isinstance(re, Value) and isinstance(im, Value)
        return re, im
    if of.category == BOOL:
        return constant(type, bool(number))
    if of.category == INTEGER:
        size = 8 * of.itemsize
        wrapped = int(number) & ((1 << size) - 1)
        return constant(type, wrapped - (1 << size) if wrapped >> (size - 1) else wrapped)
    return constant(type, _rounded(float(number), of) if of.compute is not of else float(number))


def _rounded(number: float, of: dtype) -> float:
    """A Python float rounded to float32 and then to a shorter dtype."""
    with np.errstate(over="ignore"):
        return float(numbers_in(stored_as(np.array(number, np.float32), of), of))


def select(builder: Builder, condition: Value, then: Operand, otherwise: Operand) -> Operand:
    """``then`` in the lanes where ``condition`` holds, else ``otherwise``."""
    return pack([builder.select(condition, a, b) for a, b in zip(unpack(then), unpack(otherwise), strict=True)])


def keep_if(builder: Builder, mask: Value, operand: Operand) -> Operand:
    """The operand where ``mask``, an ``i64`` for all lanes, is -1, and 0 where it is 0: the bits of both."""

    def part(value: Value) -> Value:
        of = f"i{bits(value.element)}"
        masks = builder.splat(builder.cast("trunc", mask, of), value.width)
        return builder.cast("bitcast", builder.binary("and", builder.cast("bitcast", value, masks.type), masks), value.type)

    return pack([part(value) for value in unpack(operand)])


def round_to(builder: Builder, operand: Operand, of: dtype) -> Operand:
    """Round an operand of the dtype's ``compute`` dtype to the dtype itself."""
    if of.compute is of:
        return operand
    return pack([halves.round_to(builder, part, of.to_real()) for part in unpack(operand)])


# -- memory ------------------------------------------------------------------------------------------------------------


def from_memory(builder: Builder, value: Value, of: dtype) -> Value:
    """One part of an element, as it is in registers."""
    of = of.to_real()
    if of.category == BOOL:
        return builder.compare("ne", value, 0)
    return value if of.compute is of else halves.decode(builder, value, of)


def to_memory(builder: Builder, value: Value, of: dtype) -> Value:
    of = of.to_real()
    if of.category == BOOL:
        return builder.cast("zext", value, vector("i8", value.width))
    return value if of.compute is of else halves.encode(builder, value, of)


def _duplicated(builder: Builder, mask: Value) -> Value:
    """The mask of interleaved pairs."""
    return builder.shuffle(mask, mask, [lane // 2 for lane in range(2 * mask.width)])


def _interleave(builder: Builder, re: Value, im: Value) -> Value:
    if re.width == 1:
        pair = builder.insert(Value("poison", vector(re.type, 2)), re, 0)
        return builder.insert(pair, im, 1)
    return builder.shuffle(re, im, [lane // 2 + (lane % 2) * re.width for lane in range(2 * re.width)])


def _deinterleave(builder: Builder, pairs: Value) -> tuple[Value, Value]:
    if pairs.width == 2:
        return builder.extract(pairs, 0), builder.extract(pairs, 1)
    return builder.shuffle(pairs, pairs, range(0, pairs.width, 2)), builder.shuffle(pairs, pairs, range(1, pairs.width, 2))


def load(builder: Builder, pointer: Value, of: dtype, width: int, mask: Value | None = None) -> Operand:
    """Load ``width`` consecutive elements; lanes that ``mask`` leaves out do not touch memory and are 0."""
    element = memory_type(of)
    complex = of.category == COMPLEX
    type = vector(element, 2 * width if complex else width)
    if mask is None:
        value = builder.load(pointer, type)
    elif width == 1:
        value = _guarded(builder, mask, constant(type, 0), lambda: builder.load(pointer, type))
    else:
        value = builder.masked_load(pointer, _duplicated(builder, mask) if complex else mask, type)
    return pack([from_memory(builder, part, of) for part in (_deinterleave(builder, value) if complex else (value,))])


def store(
    builder: Builder,
    operand: Operand,
    pointer: Value,
    of: dtype,
    mask: Value | None = None,
    *,
    stream: Value | None = None,
    count: Value | None = None,
) -> None:
    """Store consecutive elements; memory of lanes that ``mask`` leaves out is not touched. ``count`` says how many it keeps, if these are the first.

    Past the caches if ``stream`` holds and no lane is left out; the place must then be a multiple of the vector's size.
    """
    complex = of.category == COMPLEX
    parts = [to_memory(builder, part, of) for part in unpack(operand)]
    value = _interleave(builder, *parts) if complex else parts[0]
    if mask is None and stream is not None and value.width > 1:
        builder.stream_if(stream, value, pointer)
    elif mask is None:
        builder.store(value, pointer)
    elif mask.width == 1:
        with builder.when(mask):
            builder.store(value, pointer)
    elif count is not None and "avx512f" not in builder.module.features:
        builder.store_first(value, pointer, builder.add(count, count) if complex else count)
    else:
        builder.masked_store(value, pointer, _duplicated(builder, mask) if complex else mask)


def _guarded(builder: Builder, mask: Value, otherwise: Value, body: Callable[[], Value]) -> Value:
    """The value of ``body`` where the one-lane ``mask`` holds; ``body`` runs only there."""
    place = builder.alloca(otherwise.type)
    builder.store(otherwise, place)
    with builder.when(mask):
        builder.store(body(), place)
    return builder.load(place, otherwise.type)


def element_address(builder: Builder, pointer: Value, index: Value, of: dtype) -> Value:
    """The address of an element of an array; ``index`` counts elements."""
    return builder.offset(pointer, builder.add(index, index) if of.category == COMPLEX else index, memory_type(of))


def _addresses(builder: Builder, pointer: Value, index: Value, width: int, of: dtype) -> Value:
    """A vector of addresses of elements from a scalar stride or a vector of indices, both in elements."""
    if index.width == 1:
        lanes = constant_vector("i64", range(width))
        index = builder.mul(lanes, builder.splat(builder.cast("sext", index, "i64"), width))
    if of.category == COMPLEX:
        index = builder.add(index, index)
    return builder.offsets(pointer, index, memory_type(of))


def _all(width: int) -> Value:
    return constant(vector("i1", width), 1)


def load_strided(builder: Builder, pointer: Value, index: Value, of: dtype, width: int, mask: Value | None = None) -> Operand:
    """Load elements ``pointer[lane * index]`` (``index`` is one lane) or ``pointer[index[lane]]`` (a vector).

    Lanes that ``mask`` leaves out do not touch memory at ``pointer``; what they hold is defined but unspecified.
    With a width of 1 ``index`` is the element's index.
    """
    if width == 1:
        return load(builder, element_address(builder, pointer, index, of), of, 1, mask)
    element = memory_type(of)
    addresses = _addresses(builder, pointer, index, width, of)
    if mask is not None:
        # Where the target has no masked gather of this type LLVM would branch for each lane. Reading what a masked lane does
        # not use from somewhere harmless is as fast where there is one.
        harmless = builder.module.table("i64", [0, 0])
        addresses = builder.select(mask, addresses, builder.splat(harmless, width))
    mask = _all(width)
    type = vector(element, width)
    if of.category == COMPLEX:
        imaginary = builder.offsets_each(addresses, 1, element)
        return pack([from_memory(builder, builder.gather(each, mask, type), of) for each in (addresses, imaginary)])
    return from_memory(builder, builder.gather(addresses, mask, type), of)


def load_each(builder: Builder, addresses: list[Value], of: dtype) -> Operand:
    """Load an element from each address."""
    width, element = len(addresses), memory_type(of)

    def part(number: int) -> Value:
        lanes = Value("poison", vector(element, width))
        for lane, address in enumerate(addresses):
            lanes = builder.insert(lanes, builder.load(builder.offset(address, number, element), element), lane)
        return from_memory(builder, lanes, of)

    return (part(0), part(1)) if of.category == COMPLEX else part(0)


def store_each(builder: Builder, operand: Operand, addresses: list[Value], of: dtype) -> None:
    """Store each lane to an address of its own, the first one first."""
    parts = [to_memory(builder, part, of) for part in unpack(operand)]
    for lane, address in enumerate(addresses):
        for number, part in enumerate(parts):
            builder.store(
                builder.extract(part, lane), builder.offset(address, number, memory_type(of)), align=max(1, bits(part.element) // 8)
            )


def store_strided(builder: Builder, operand: Operand, pointer: Value, index: Value, of: dtype, mask: Value | None = None) -> None:
    """Store elements to ``pointer[lane * index]`` or ``pointer[index[lane]]``; see ``load_strided``."""
    width = unpack(operand)[0].width
    if width == 1:
        store(builder, operand, element_address(builder, pointer, index, of), of, mask)
        return
    element = memory_type(of)
    addresses = _addresses(builder, pointer, index, width, of)
    if mask is not None:
        harmless = builder.alloca("i64", 2, align=16)
        addresses = builder.select(mask, addresses, builder.splat(harmless, width))
    mask = _all(width)
    if of.category == COMPLEX:
        re, im = (to_memory(builder, part, of) for part in unpack(operand))
        builder.scatter(re, addresses, mask)
        builder.scatter(im, builder.offsets_each(addresses, 1, element), mask)
    else:
        builder.scatter(to_memory(builder, operand, of), addresses, mask)

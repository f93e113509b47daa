"""Kernels that go through elements one after another: scans and copies."""

from __future__ import annotations

import math
from functools import lru_cache

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value, bits, element_type, i64, vector_width
from flambeau._codegen.loops import COMBINE, finish
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType


def _start(features: tuple[str, ...]) -> tuple[Module, Builder]:
    module = Module(features)
    return module, module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )


def _word(f: Builder, position: int) -> Value:
    return f.load(f.offset(f.parameters[1], position, "i64"), "i64")


def _buffer(f: Builder, position: int) -> Value:
    """The address given by the slot and byte offset at ``position``."""
    slot = f.load(f.offset(f.parameters[0], _word(f, position), "ptr"), "ptr")
    return f.offset(slot, _word(f, position + 1), "i8")


def _element(f: Builder, base: Value, index: Value, of: DType) -> Value:
    return f.offset(base, f.mul(index, i64(2)) if of.is_complex else index, scalar.memory_type(of))


LANES = 16
SCAN_LINES = 4
"""Neighbouring lines along memory that a tile of a scan takes together: as many chains of additions as hide each other's latency."""
SCAN_BLOCK = 1024
"""Lines side by side in memory that a tile of a scan takes at most."""

SCANS = {kind: COMBINE[kind] for kind in ("sum", "prod", "max", "min")} | {"logaddexp": "logaddexp"}


def _neutral(kind: str, of: DType, width: int) -> list[Value]:
    number = -math.inf if kind == "logaddexp" else scalar.identity(kind, of)
    return scalar.unpack(scalar.splat_constant(of, number, width))


def _kept(kind: str, of: DType) -> DType:
    """The dtype of running totals: sums and products in single precision are kept in double, or the error of a long one would grow with its length."""
    return {dt.float32: dt.float64, dt.complex64: dt.complex128}.get(of.compute, of.compute) if kind in ("sum", "prod") else of.compute


def _scanned(f: Builder, kind: str, of: DType, total: scalar.Operand, item: scalar.Operand) -> scalar.Operand:
    """The next running total."""
    kept = _kept(kind, of)
    return scalar.emit(f, SCANS[kind], kept, total, scalar.cast(f, item, of, kept))


@lru_cache(maxsize=256)
def scan_along_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """A running combination along the last axis of a row-major array.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, lines]``; a tile is ``SCAN_LINES`` lines.
    """
    module, f = _start(features)
    kept = _kept(kind, of)
    source, target, length, lines = _buffer(f, 0), _buffer(f, 2), _word(f, 4), _word(f, 5)

    def walk(first: Value, count: int) -> None:
        starts = [f.mul(f.add(first, line), length) for line in range(count)]
        parts = _neutral(kind, kept, 1)
        with f.loop(0, length, 1, parts * count) as steps:
            following: list[Value] = []
            for line, start in enumerate(starts):
                at = f.add(start, steps.index)
                before = scalar.pack(steps.carried[line * len(parts) : (line + 1) * len(parts)])
                total = _scanned(f, kind, of, before, scalar.load(f, _element(f, source, at, of), of, 1))
                scalar.store(f, scalar.cast(f, total, kept, of), _element(f, target, at, of), of)
                following += scalar.unpack(total)
            steps.carry(*following)

    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(SCAN_LINES))
        last = f.intrinsic("smin", f.add(first, SCAN_LINES), lines)
        whole = f.compare("eq", f.sub(last, first), SCAN_LINES)
        with f.when(whole):
            walk(first, SCAN_LINES)
        with f.loop(f.select(whole, last, first), last) as rest:
            walk(rest.index, 1)
    f.ret()
    return finish(module)


@lru_cache(maxsize=256)
def scan_across_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """A running combination along an axis before the last, for a block of lines side by side; the totals stay in the first-level cache.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, inner, block, blocks]``; a tile is one of the blocks of an
    outer place.
    """
    module, f = _start(features)
    kept = _kept(kind, of)
    source, target = _buffer(f, 0), _buffer(f, 2)
    length, inner, block, blocks = (_word(f, position) for position in range(4, 8))
    types = scalar.register_types(kept, LANES)
    totals = [f.alloca("i64" if kept.itemsize == 8 or of.is_complex else "i32", SCAN_BLOCK * 2) for _ in types]
    bytes_of = [LANES * max(1, bits(type) // 8) for type in types]

    def place(memory: Value, at: Value, size: int) -> Value:
        return f.offset(memory, f.mul(f.binary("lshr", at, 4), i64(size)), "i8")

    def step(row: Value, position: Value, mask: Value | None) -> None:
        at = f.add(row, position)
        places = [place(memory, position, size) for memory, size in zip(totals, bytes_of, strict=True)]
        before = scalar.pack([_from_bytes(f, each, type) for each, type in zip(places, types, strict=True)])
        total = _scanned(f, kind, of, before, scalar.load(f, _element(f, source, at, of), of, LANES, mask))
        scalar.store(f, scalar.cast(f, total, kept, of), _element(f, target, at, of), of, mask)
        for each, part in zip(places, scalar.unpack(total), strict=True):
            f.store(_as_bytes(f, part), each)

    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        outer = f.binary("udiv", tiles.index, blocks)
        column = f.mul(f.sub(tiles.index, f.mul(outer, blocks)), block)
        count = f.intrinsic("smin", block, f.sub(inner, column))
        whole = f.binary("and", count, i64(-LANES))
        first = f.add(f.mul(f.mul(outer, inner), length), column)
        with f.loop(0, count, LANES) as vectors:
            for memory, size, part in zip(totals, bytes_of, _neutral(kind, kept, LANES), strict=True):
                f.store(_as_bytes(f, part), place(memory, vectors.index, size))
        with f.loop(0, length) as steps:
            row = f.add(first, f.mul(steps.index, inner))
            with f.loop(0, whole, LANES) as vectors:
                step(row, vectors.index, None)
            with f.when(f.compare("slt", whole, count)):
                step(row, whole, f.lane_mask(f.sub(count, whole), LANES))
    f.ret()
    return finish(module)


def _as_bytes(f: Builder, part: Value) -> Value:
    """A part of an operand as it is kept in memory between steps."""
    return f.cast("zext", part, f"<{part.width} x i8>") if part.element == "i1" else part


def _from_bytes(f: Builder, place: Value, type: str) -> Value:
    if element_type(type) != "i1":
        return f.load(place, type)
    return f.compare("ne", f.load(place, f"<{vector_width(type)} x i8>"), 0)


@lru_cache(maxsize=1)
def copy_kernel() -> tuple[str, str]:
    """Copies bytes. Parameters: ``[slot, bytes of the source, slot, bytes of the target, count]``; a tile is 64 KiB."""
    module, f = _start(())
    source, target, count = _buffer(f, 0), _buffer(f, 2), _word(f, 4)
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(COPY_TILE))
        f.copy(f.offset(target, first, "i8"), f.offset(source, first, "i8"), f.intrinsic("smin", f.sub(count, first), i64(COPY_TILE)))
    f.ret()
    return finish(module)


@lru_cache(maxsize=1)
def clear_kernel() -> tuple[str, str]:
    """Sets bytes to 0. Parameters: ``[slot, bytes of the target, count]``; a tile is 64 KiB."""
    module, f = _start(())
    target, count = _buffer(f, 0), _word(f, 2)
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(COPY_TILE))
        f.fill(f.offset(target, first, "i8"), f.intrinsic("smin", f.sub(count, first), i64(COPY_TILE)))
    f.ret()
    return finish(module)


COPY_TILE = 1 << 16

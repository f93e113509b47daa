"""Kernels that go through elements one after another: scans, scatters and checks."""

from __future__ import annotations

from functools import lru_cache

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._codegen.loops import COMBINE, finish
from flambeau._types.dtype import dtype as DType

NO_POSITION = (1 << 63) - 1
"""The position that a check reports if it found nothing."""


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


def _combined(f: Builder, combine: str, of: DType, old: scalar.Operand, new: scalar.Operand) -> scalar.Operand:
    return new if combine == "set" else scalar.emit(f, COMBINE[combine], of, old, new)


@lru_cache(maxsize=256)
def scan_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """A running combination along one axis of a row-major array; half precision accumulates in float32.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, inner]``; a tile is one line: ``outer * inner`` of them.
    """
    module, f = _start(features)
    source, target, length, inner = _buffer(f, 0), _buffer(f, 2), _word(f, 4), _word(f, 5)
    wide = of.compute
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        outer = f.binary("udiv", tiles.index, inner)
        first = f.add(f.mul(f.mul(outer, inner), length), f.sub(tiles.index, f.mul(outer, inner)))
        start = scalar.unpack(scalar.splat_constant(wide, scalar.identity(kind, wide), 1))
        with f.loop(0, length, 1, start) as steps:
            at = f.add(first, f.mul(steps.index, inner))
            item = scalar.cast(f, scalar.load(f, _element(f, source, at, of), of, 1), of, wide)
            total = scalar.emit(f, COMBINE[kind], wide, scalar.pack(steps.carried), item)
            scalar.store(f, scalar.cast(f, total, wide, of), _element(f, target, at, of), of)
            steps.carry(*scalar.unpack(total))
    f.ret()
    return finish(module)


@lru_cache(maxsize=1024)
def scatter_kernel(combine: str, of: DType, ndim: int, indices: int, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """``target[affine + sum(index_k * stride_k)] = combine(target[…], value)`` in row-major order of the value.

    Parameters: ``[slot, bytes of the target, slot, bytes of the value, ndim extents, ndim strides in the target, then for each index: slot,
    bytes, stride]``; value and indices are row-major. There is one tile, since order matters where indices repeat.
    """
    module, f = _start(features)
    target, value = _buffer(f, 0), _buffer(f, 2)
    extents = [_word(f, 4 + axis) for axis in range(ndim)]
    strides = [_word(f, 4 + ndim + axis) for axis in range(ndim)]
    sources = [(_buffer(f, 4 + 2 * ndim + 3 * each), _word(f, 6 + 2 * ndim + 3 * each)) for each in range(indices)]

    def nest(axis: int, address: Value, position: Value) -> None:
        if axis < ndim:
            with f.loop(0, extents[axis]) as loop:
                nest(axis + 1, f.add(address, f.mul(loop.index, strides[axis])), f.add(f.mul(position, extents[axis]), loop.index))
            return
        for index, stride in sources:
            address = f.add(address, f.mul(f.load(f.offset(index, position, "i64"), "i64"), stride))
        place = _element(f, target, address, of)
        item = scalar.load(f, _element(f, value, position, of), of, 1)
        if combine != "set":
            item = _combined(f, combine, of, scalar.load(f, place, of, 1), item)
        scalar.store(f, item, place, of)

    with f.loop(f.parameters[2], f.parameters[3]):
        nest(0, i64(0), i64(0))
    f.ret()
    return finish(module)


@lru_cache(maxsize=1)
def check_kernel() -> tuple[str, str]:
    """Leaves an error in the error block if a position was found.

    Parameters: ``[slot, bytes of the position (int64), slot, bytes of the detail (int64)]``.
    """
    module, f = _start(())
    position = f.load(_buffer(f, 0), "i64")
    detail = f.load(_buffer(f, 2), "i64")
    with f.when(f.compare("ne", position, NO_POSITION)):
        block = f.load(f.parameters[0], "ptr")
        for word, value in enumerate((i64(1), position, detail)):
            f.store(value, f.offset(block, word, "i64"))
    f.ret()
    return finish(module)


@lru_cache(maxsize=1)
def copy_kernel() -> tuple[str, str]:
    """Copies bytes. Parameters: ``[slot, bytes of the source, slot, bytes of the target, count]``; a tile is 64 KiB."""
    module, f = _start(())
    source, target, count = _buffer(f, 0), _buffer(f, 2), _word(f, 4)
    module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(COPY_TILE))
        size = f.intrinsic("smin", f.sub(count, first), i64(COPY_TILE))
        f.emit(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {f.offset(target, first, 'i8').text}, ptr {f.offset(source, first, 'i8').text}, i64 {size.text}, i1 false)"
        )
    f.ret()
    return finish(module)


COPY_TILE = 1 << 16

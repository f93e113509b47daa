"""Tables of places: affine functions of a group of axes, for some consecutive positions.

Where rows, columns, steps of k and batches lie in the operands is tabulated by one function, which reads from the parameters how many axes there
are, how long, and what each is worth: so that neither is a matter of a kernel's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from flambeau._codegen.ir import Module, Value, constant, i64

MORE = 4
"""Numbers are written by so many at a time: tables have room for them behind the last."""
_MOST_AXES = 64
_HEAD = 4


def described(place: int, apart: int, extents: Sequence[int], columns: Sequence[tuple[int, Sequence[int]]]) -> list[int]:
    """The parameters that describe tables: the first one at byte ``place``, the others ``apart`` bytes further each.

    A column is what it starts with and the strides of the axes.
    """
    numbers = [len(extents), len(columns), place, apart, *extents]
    for start, strides in columns:
        numbers += [start, *strides]
    return numbers


def emit_fill(module: Module) -> str:
    """A function that fills tables, ``fill(description, memory, first, count)``; returns its name.

    It writes ``count`` >= 1 numbers of each, those of position ``first`` (row-major) and of what follows it.
    """
    module.include(_fill(module.features))
    return "fill"


@cache
def _fill(features: frozenset[str]) -> Module:
    module = Module(features)
    labels = [("ptr", "description"), ("ptr", "memory"), ("i64", "first"), ("i64", "count")]
    f = module.function("fill", labels, linkage="internal", attributes="noinline")
    description, memory, first, count = f.parameters

    def at(pointer: Value, index: Value | int) -> Value:
        return f.load(f.offset(pointer, index, "i64"), "i64")

    axes, columns, place, apart = (at(description, i) for i in range(_HEAD))
    extents = f.offset(description, _HEAD, "i64")
    size, last = f.add(axes, 1), f.sub(axes, 1)
    indices = f.alloca("i64", _MOST_AXES)
    with f.loop(0, last, carried=[first]) as loop:
        axis, (rest,) = f.sub(last, loop.index), loop.carried
        extent = at(extents, axis)
        f.store(f.binary("urem", rest, extent), f.offset(indices, axis, "i64"))
        loop.carry(f.binary("udiv", rest, extent))
    f.store(loop.carried[0], indices)
    inner = f.select(f.compare("eq", last, 0), Value(str((1 << 63) - 1), "i64"), at(extents, last))
    with f.repeat([i64(0)]) as runs:
        (done,) = runs.carried
        run = f.intrinsic("smin", f.sub(inner, at(indices, last)), f.sub(count, done))
        start = [f.offset(extents, axes, "i64"), f.offset(f.offset(memory, place, "i8"), done, "i64")]
        with f.loop(0, columns, carried=start) as column:
            numbers, target = column.carried
            strides = f.offset(numbers, 1, "i64")
            with f.loop(0, axes, carried=[at(numbers, 0)]) as sum_:
                sum_.carry(f.add(sum_.carried[0], f.mul(at(indices, sum_.index), at(strides, sum_.index))))
            step = at(strides, last)
            lanes = f.splat(sum_.carried[0], MORE)
            apart_lanes, distance = constant(lanes.type, 0), i64(0)
            for lane in range(1, MORE):
                distance = f.add(distance, step)
                apart_lanes = f.insert(apart_lanes, distance, lane)
            further = f.splat(f.add(distance, step), MORE)
            with f.loop(0, run, MORE, carried=[f.add(lanes, apart_lanes)]) as several:
                f.store(several.carried[0], f.offset(target, several.index, "i64"))
                several.carry(f.add(several.carried[0], further))
            column.carry(f.offset(numbers, size, "i64"), f.offset(target, apart, "i8"))
        done = f.add(done, run)
        more = f.compare("slt", done, count)
        with f.when(more):
            # The next run: the last axis starts again, and the one before it goes on, or starts again too.
            f.store(i64(0), f.offset(indices, last, "i64"))
            with f.repeat([f.sub(last, 1)]) as carry:
                (axis,) = carry.carried
                following = f.add(at(indices, axis), 1)
                wraps = f.binary("and", f.compare("eq", following, at(extents, axis)), f.compare("sgt", axis, 0))
                f.store(f.select(wraps, i64(0), following), f.offset(indices, axis, "i64"))
                carry.again(wraps, f.sub(axis, 1))
        runs.again(more, done)
    f.ret()
    return module

"""Systems with a triangle of a panel's size, a few columns at a time in registers; and squares of a matrix that lies by rows, turned into columns."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._codegen.ir import Builder, Value, constant, constant_vector, i64, vector
from flambeau._codegen.linear.columns import BLOCK, Columns
from flambeau._codegen.squares import transpose


def emit_triangle(kernel: Columns, *, upper: bool, unit: bool) -> str:
    """Solve in place for ``count`` columns of ``size`` rows; returns the function's name.

    ``triangle(factor, factor_pitch, target, pitch, count, size)``: rows are read up to a multiple of ``BLOCK``, and written up to one of a vector. The other triangle does not matter. Each element is one chain, as in ``eliminate``.
    """
    name = "triangle" + "_upper" * upper + "_unit" * unit
    if not kernel.module.has_function(name):
        _Triangle(kernel, name, upper, unit).emit()
    return name


class _Triangle:
    def __init__(self, kernel: Columns, name: str, upper: bool, unit: bool) -> None:
        parameters = [("ptr", "factor"), ("i64", "factor_pitch"), ("ptr", "target"), ("i64", "pitch"), ("i64", "count"), ("i64", "size")]
        self.f: Builder = kernel.module.function(name, parameters, linkage="internal", attributes="noinline")
        self.factor, self.factor_pitch, self.target, self.pitch, self.count, self.size = self.f.parameters
        self.upper, self.unit = upper, unit
        self.width, self.element, self.type = kernel.width, kernel.element, kernel.tile.type
        self.most = max(1, kernel.structure.target.vector_registers // 2 // (BLOCK // self.width))

    def emit(self) -> None:
        f, together, done = self.f, self.most, i64(0)
        while together:
            end = f.add(done, f.binary("and", f.sub(self.count, done), i64(-together)))
            with f.loop(done, end, together) as loop:
                self._columns(loop.index, together)
            done, together = end, together // 2
        f.ret()

    def _columns(self, first: Value, together: int) -> None:
        """The vectors of columns, from the one on whose rows are known first."""
        f, width = self.f, self.width
        columns = [f.offset(self.target, f.mul(f.add(first, number), self.pitch), self.element) for number in range(together)]
        left = [*range(0, BLOCK, width)]
        if self.upper:
            left.reverse()
        numbers = [[f.load(f.offset(column, row, self.element), self.type) for row in left] for column in columns]
        while left:
            steps = f.intrinsic("smin", f.sub(self.size, left[0]), i64(width))
            with f.loop(0, steps, 1, [each for column in numbers for each in column]) as loop:
                within = f.sub(f.sub(steps, loop.index), 1) if self.upper else loop.index
                carried = [loop.carried[start : start + len(left)] for start in range(0, len(loop.carried), len(left))]
                loop.carry(*self._step(within, left, columns, carried))
            numbers = [loop.carried[start + 1 : start + len(left)] for start in range(0, len(loop.carried), len(left))]
            del left[0]
            if left:
                with f.when(f.compare("sgt", self.size, left[0])):
                    for column, (number, *_) in zip(columns, numbers, strict=True):
                        f.store(number, f.offset(column, left[0], self.element))

    def _step(self, within: Value, left: Sequence[int], columns: Sequence[Value], numbers: Sequence[Sequence[Value]]) -> list[Value]:
        """Subtract what an element of each column, which is in the first vector that is left, contributes to those that follow."""
        f, width = self.f, self.width
        row = f.add(within, left[0])
        line = f.offset(self.factor, f.mul(row, self.factor_pitch), self.element)
        factors = [f.neg(f.load(f.offset(line, each, self.element), self.type)) for each in left]
        here = f.splat(f.cast("trunc", within, "i32"), width)
        lanes = constant_vector("i32", range(width)) if width > 1 else i64(0)
        follows = f.compare("slt" if self.upper else "sgt", lanes, here)
        found: list[Value] = []
        for column, (first, *others) in zip(columns, numbers, strict=True):
            number = f.load(f.offset(column, row, self.element), self.element)
            if not self.unit:
                number = f.binary("fdiv", number, f.load(f.offset(line, row, self.element), self.element))
            every = f.splat(number, width)
            changed = f.select(follows, f.fma(factors[0], every, first), first)
            if not self.unit:
                changed = f.select(f.compare("eq", lanes, here), every, changed)
            f.store(changed, f.offset(column, left[0], self.element))
            found += [changed, *(f.fma(factor, every, other) for factor, other in zip(factors[1:], others, strict=True))]
        return found


def emit_turn(kernel: Columns, *, negated: bool = False) -> str:
    """Bring as many rows as a vector has lanes into lines of the target, as columns; returns the function's name.

    ``turn(source, source_pitch, rows, columns, target, target_pitch)``: lanes of other rows than there are become 0.
    """
    name = "turn" + "_negated" * negated
    module, width, element = kernel.module, kernel.width, kernel.element
    if module.has_function(name):
        return name
    parameters = [
        ("ptr", "source"),
        ("i64", "source_pitch"),
        ("i64", "rows"),
        ("i64", "columns"),
        ("ptr", "target"),
        ("i64", "target_pitch"),
    ]
    f = module.function(name, parameters, linkage="internal", attributes="noinline")
    source, pitch, rows, columns, target, target_pitch = f.parameters
    lines = [f.offset(source, f.mul(pitch, row), element) for row in range(width)]
    nothing = constant(vector("i1", width), 0)

    def square(start: Value, whole: bool) -> None:
        mask = constant(vector("i1", width), 1) if whole else f.lane_mask(f.sub(columns, start), width)
        masks = [f.select(f.compare("sgt", rows, row), mask, nothing) for row in range(width)]
        places = [f.offset(line, start, element) for line in lines]
        numbers = [f.masked_load(place, each, vector(element, width)) for place, each in zip(places, masks, strict=True)]
        for number, column in enumerate(transpose(f, numbers)):
            index = f.add(start, number)
            place = f.offset(target, f.mul(index, target_pitch), element)
            if whole:
                f.store(f.neg(column) if negated else column, place)
            else:
                with f.when(f.compare("slt", index, columns)):
                    f.store(f.neg(column) if negated else column, place)

    full = f.binary("and", columns, i64(-width))
    with f.loop(0, full, width) as loop:
        square(loop.index, True)
    with f.when(f.compare("slt", full, columns)):
        square(full, False)
    f.ret()
    return name

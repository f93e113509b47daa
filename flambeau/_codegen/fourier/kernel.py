"""Kernels of Fourier transforms: which passes a tile goes through, and where its numbers are in between.

A tile is one row (its lanes are numbers of the row), or a block of lines of the array, a line for each lane. Lines may lie along memory: then
they are transposed into the lanes, or out of them. From the first pass to the last a tile stays in scratch memory, which is to say in cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.fourier.passes import (
    PLANES,
    Fold,
    Kind,
    Numbers,
    emit_first,
    emit_fold_lanes,
    emit_fold_row,
    emit_gather,
    emit_multiply,
    emit_pass,
    emit_scatter,
)
from flambeau._codegen.fourier.short import Group, emit_both, emit_first_of_two, emit_last_of_two
from flambeau._codegen.ir import Module, Value, i64
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype as DType


@dataclass(frozen=True)
class Transform:
    """All that the code of a kernel depends on; sizes and strides are run-time values.

    Attributes:
        dtype: of the parts
        radices: of the passes, in order
        reads: how lines lie in the source: ``row`` (a tile is one of them), ``short`` (some short rows), ``rows``, ``lanes`` (side by side), or ``reals``: as lanes do, but
            the parts of a complex number are two neighbours on a line of real ones
        writes: ``row``, ``short``, ``rows`` or ``lanes``
        swaps: whether real and imaginary parts are exchanged as they are read and as they are written: both for the inverse transform
        fold: what is done to frequencies of real numbers, after the transform or, if it opens, before
        scaled: whether there is a scale other than 1
        ahead: whether rows are asked for before their time
        convolves: whether the passes, which are over a row, are those of the two transforms of a convolution
        turns: whether rows are multiplied by factors as they are written, as in the first half of a long transform
        ragged: whether lanes side by side must not be done twice, where they do not fill vectors, or are fewer than one has
        narrow: whether the lines that are read, and those that are written, are shorter than half a vector
    """

    target: Target
    dtype: DType
    radices: tuple[int, ...]
    reads: str
    writes: str
    swaps: tuple[bool, bool] = (False, False)
    fold: Fold | None = None
    scaled: bool = True
    ahead: bool = False
    convolves: bool = False
    turns: bool = False
    ragged: bool = False
    narrow: tuple[bool, bool] = (False, False)

    @property
    def width(self) -> int:
        return self.target.lanes(8 * self.dtype.itemsize)


@dataclass
class _Array:
    """Where a tile is at some time: an address, a step from number to number, the distance of the imaginary parts."""

    base: Value
    step: Value
    plane: Value


@cache
def fourier(structure: Transform) -> Code:
    """The kernel."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Kernel(module, parameters, structure).emit()
    return finished(module, parameters)


class _Kernel:
    def __init__(self, module: Module, parameters: Parameters, structure: Transform) -> None:
        self.module, self.structure = module, structure
        self.numbers = Numbers(structure.dtype, structure.width)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.opens = structure.fold is not None and structure.fold.opens
        self.folds = structure.fold is not None and not structure.fold.opens
        self.scales = structure.scaled and not self.folds

    def emit(self) -> None:
        f, read = self.f, self.read
        source, target, table = (base_address(f, read, name) for name in ("source", "target", "table"))
        self.table_base, self.plane, self.scale = table, read("plane"), read("scale")
        scratch = f.parameters[4]
        self.buffers = [scratch, f.offset(scratch, f.mul(self.plane, 2), self.numbers.element)]
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            if self.structure.reads == "row":
                self._row(self._moved(source, tiles.index, "source.outer"), self._moved(target, tiles.index, "target.outer"))
            else:
                outer = f.binary("udiv", tiles.index, read("blocks"))
                block = f.sub(tiles.index, f.mul(outer, read("blocks")))
                self.first = f.mul(block, read("block"))
                self.here = f.intrinsic("smin", read("block"), f.sub(read("lanes"), self.first))
                places = []
                for name, base in (("source", source), ("target", target)):
                    places.append(self._moved(self._moved(base, outer, f"{name}.outer"), self.first, f"{name}.lane"))
                if self.structure.reads == "short":
                    self._short(*places)
                else:
                    self._block(*places)
        f.ret()

    def _moved(self, base: Value, count: Value, stride: str) -> Value:
        return self.f.offset(base, self.f.mul(count, self.read(stride)), self.numbers.element)

    def _table(self, name: str) -> Value:
        return self.f.offset(self.table_base, self.read(f"{name}.table"), self.numbers.element)

    def _call(self, name: str, source: _Array, target: _Array, *more: Value) -> None:
        arrays = (each for array in (source, target) for each in (array.base, array.step, array.plane))
        self.f.call(f"@{name}", *arrays, *more)

    # -- a row -----------------------------------------------------------------------------------------------------

    def _row(self, source: Value, target: Value) -> None:
        structure, nothing = self.structure, i64(0)
        free = list(self.buffers)
        before, after = (Kind(pairs=True, swapped=swapped, ahead=structure.ahead) for swapped in structure.swaps)
        here, result = _Array(source, self.read("source.outer"), nothing), _Array(target, self.read("target.outer"), nothing)
        if structure.convolves:
            self._convolve(here, result, before, after)
        elif self.opens:
            planes = _Array(free[0], nothing, self.plane)
            self._fold_row(here, planes)
            self._passes(planes, PLANES, result, after, free[::-1], scales=self.scales)
        elif self.folds:
            last = free[len(structure.radices) % 2 == 0]
            planes = _Array(last, nothing, self.plane)
            self._passes(here, before, planes, PLANES, free, scales=False)
            # By way of scratch memory: a fold writes from both ends, and rows of n / 2 + 1 numbers do not start where cache lines do. Both at
            # once took twice as long as all the rest.
            folded = _Array(free[len(structure.radices) % 2], nothing, nothing)
            self._fold_row(planes, folded)
            self.f.copy(target, folded.base, self.f.mul(self.read("count_out"), 2 * structure.dtype.itemsize))
        else:
            self._passes(here, before, result, after, free, scales=self.scales)

    def _fold_row(self, source: _Array, target: _Array) -> None:
        assert self.structure.fold is not None
        name = emit_fold_row(self.module, self.numbers, self.structure.fold)
        self._call(name, source, target, self._table("fold"), self.read("length"), i64(1), self.scale)

    def _passes(self, here: _Array, kind: Kind, result: _Array, into: Kind, free: list[Value], *, scales: bool) -> None:
        """All passes over a row; what is between them is in the ``free`` buffers, the first of them first."""
        module, numbers, f, read = self.module, self.numbers, self.f, self.read
        first, *others = self.structure.radices
        to = _Array(free[0], i64(0), self.plane)
        leap = f.mul(read("m0"), 2) if kind.pairs else read("m0")
        self._call(emit_first(module, numbers, first, kind), here, to, leap, self._table("first"), read("m0"))
        here, s = to, i64(first)
        for number, radix in enumerate(others, 1):
            last = number == len(others)
            m = read(f"m{number}")
            inner = _Array(here.base, s, self.plane)
            if last:
                name = emit_pass(module, numbers, radix, PLANES, into, turns=False, scales=scales)
                self._call(name, inner, result, s, f.mul(s, 2) if into.pairs else s, self.table_base, i64(1), s, self.scale)
                return
            to = _Array(free[number % 2], f.mul(s, radix), self.plane)
            name = emit_pass(module, numbers, radix, PLANES, PLANES, turns=True, scales=False)
            self._call(name, inner, to, f.mul(m, s), s, self._table(f"pass{number}"), m, s, self.scale)
            here, s = to, f.mul(s, radix)

    def _convolve(self, source: _Array, target: _Array, kind: Kind, into: Kind) -> None:
        """A transform of any length by two of another one. The second is the inverse: its operand and its result have their parts swapped."""
        read, nothing = self.read, i64(0)
        one, two = (_Array(buffer, nothing, self.plane) for buffer in self.buffers)
        count, length = read("count"), read("length")
        odd = len(self.structure.radices) % 2

        def multiply(source: _Array, kind: Kind, target: _Array, into: Kind, table: str, count: Value, whole: Value, scales: bool) -> None:
            name = emit_multiply(self.module, self.numbers, kind, into, scales)
            self._call(name, source, target, self._table(table), count, whole, self.scale)

        multiply(source, kind, one, PLANES, "chirp", count, length, False)
        for swapped in (False, True):
            result = two if odd else one  # where an odd number of passes ends
            self._passes(one, PLANES, result, PLANES, [two.base, one.base], scales=False)
            if not swapped:
                multiply(result, PLANES, result, Kind(swapped=True), "spectrum", length, length, False)
            if odd:
                one, two = two, one
        multiply(one, Kind(swapped=True), target, into, "chirp", count, count, self.scales)

    # -- short rows ------------------------------------------------------------------------------------------------

    def _short(self, source: Value, target: Value) -> None:
        structure, f, read, nothing = self.structure, self.f, self.read, i64(0)
        group = Group(*structure.radices, self.numbers.width)
        here = _Array(source, read("source.lane"), nothing)
        result = _Array(target, read("target.lane"), nothing)
        between = _Array(self.buffers[0], nothing, self.plane)
        rows = _Array(self.buffers[1], read("length"), self.plane)
        before, after = (Kind(pairs=True, swapped=swapped, ahead=structure.ahead) for swapped in structure.swaps)
        if self.opens:
            with f.loop(0, self.here) as lines:
                self._fold_row(
                    _Array(self._moved(here.base, lines.index, "source.lane"), nothing, nothing), self._row_of(rows, lines.index)
                )
            here, before = rows, PLANES
        to, after = (rows, PLANES) if self.folds else (result, after)
        if group.stays:
            name = emit_both(self.module, self.numbers, group, before, after, scales=self.scales)
            self._call(name, here, to, self._table("first"), self.here, self.scale)
        else:
            name = emit_first_of_two(self.module, self.numbers, group, before)
            self._call(name, here, between, self._table("first"), self.here)
            name = emit_last_of_two(self.module, self.numbers, group, after, scales=self.scales)
            self._call(name, between, to, self.here, self.scale)
        if self.folds:
            with f.loop(0, self.here) as lines:
                self._fold_row(self._row_of(rows, lines.index), _Array(self._moved(target, lines.index, "target.lane"), nothing, nothing))

    def _row_of(self, rows: _Array, index: Value) -> _Array:
        return _Array(self.f.offset(rows.base, self.f.mul(index, rows.step), self.numbers.element), i64(0), rows.plane)

    # -- a block of lines ------------------------------------------------------------------------------------------

    def _block(self, source: Value, target: Value) -> None:
        structure, read, f = self.structure, self.read, self.f
        block = read("pitch")
        here = _Array(source, read("source.step"), read("source.plane"))
        kind = Kind(pairs=structure.reads == "lanes", swapped=structure.swaps[0], ragged=structure.ragged)
        free = list(self.buffers)
        if structure.reads == "rows" or self.opens:
            before, here = here, _Array(free[0], block, self.plane)
            self._bring(before, here, target)
            kind = Kind(swapped=structure.swaps[0] and not self.opens)
            free.reverse()
        result = _Array(target, read("target.step"), i64(0))
        inside = structure.writes == "rows"
        s = block
        for number, radix in enumerate(structure.radices):
            last = number + 1 == len(structure.radices)
            m = read(f"m{number}")
            if last and not inside:
                self._end(here, kind, result, radix, s)
                return
            to = _Array(free[0], f.mul(s, radix), self.plane)
            into = Kind(swapped=structure.swaps[1] and last)
            name = emit_pass(self.module, self.numbers, radix, kind, into, turns=not last, scales=last and self.scales)
            lanes = s if here.base in self.buffers else self.here
            self._call(name, here, to, f.mul(m, here.step), s, self._table(f"pass{number}"), m, lanes, self.scale)
            free.reverse()
            here, kind, s = _Array(to.base, to.step, self.plane), PLANES, f.mul(s, radix)
        self._leave(_Array(here.base, block, self.plane), result)

    def _bring(self, source: _Array, target: _Array, ahead: Value) -> None:
        """Into the planes, looking ahead to where rows will be written; and open what are frequencies of real numbers."""
        module, numbers, structure, f, read = self.module, self.numbers, self.structure, self.f, self.read
        if structure.reads == "rows":
            name = emit_gather(module, numbers, structure.narrow[0])
            with f.loop(0, self.here, numbers.width) as groups:
                rows = _Array(self._moved(source.base, groups.index, "source.lane"), read("source.lane"), i64(0))
                lanes = _Array(f.offset(target.base, groups.index, numbers.element), target.step, target.plane)
                self._call(
                    name, rows, lanes, read("count"), f.sub(self.here, groups.index), self._moved(ahead, groups.index, "target.lane")
                )
        else:
            name = emit_pass(module, numbers, 1, Kind(pairs=True, ragged=structure.ragged), PLANES, turns=False, scales=False)
            self._call(name, source, target, i64(0), i64(0), self.table_base, read("count"), self.here, self.scale)
        if self.opens:
            assert structure.fold is not None
            name = emit_fold_lanes(module, numbers, structure.fold)
            self._call(name, target, target, self._table("fold"), read("length"), read("pitch"), self.scale)

    def _end(self, source: _Array, kind: Kind, target: _Array, radix: int, s: Value) -> None:
        """The last pass, into lanes side by side in memory: for each of the numbers of ``s / pitch`` that are done, since rows lie apart there."""
        structure, read, f = self.structure, self.read, self.f
        into = Kind(pairs=True, swapped=structure.swaps[1], ragged=structure.ragged)
        name = emit_pass(self.module, self.numbers, radix, kind, into, turns=False, scales=self.scales)
        done = i64(1)
        for each in structure.radices[:-1]:
            done = f.mul(done, each)
        single = len(structure.radices) == 1
        start = _Array(source.base, source.step if single else read("pitch"), source.plane)
        leap = source.step if single else s
        self._call(name, start, target, leap, f.mul(done, target.step), self.table_base, done, self.here, self.scale)

    def _leave(self, source: _Array, target: _Array) -> None:
        """Out of the planes as rows; before that, fold what are numbers of real lines."""
        module, numbers, structure, f, read = self.module, self.numbers, self.structure, self.f, self.read
        if self.folds:
            assert structure.fold is not None
            name = emit_fold_lanes(module, numbers, structure.fold)
            self._call(name, source, source, self._table("fold"), read("length"), read("pitch"), self.scale)
        name = emit_scatter(module, numbers, structure.narrow[1], structure.turns)
        with f.loop(0, self.here, numbers.width) as groups:
            lanes = _Array(f.offset(source.base, groups.index, numbers.element), source.step, source.plane)
            rows = _Array(self._moved(target.base, groups.index, "target.lane"), read("target.lane"), i64(0))
            coarse, fine = self.table_base, self.table_base
            if structure.turns:
                lane = f.add(self.first, groups.index)
                coarse = f.offset(self._table("coarse"), f.mul(f.binary("lshr", lane, 4), f.mul(read("count_out"), 2)), numbers.element)
                fine = f.offset(self._table("fine"), f.binary("and", lane, 15), numbers.element)
            self._call(name, lanes, rows, read("count_out"), f.sub(self.here, groups.index), coarse, fine)

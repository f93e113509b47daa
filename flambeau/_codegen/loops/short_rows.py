"""Nests of short rows: a tile is sixteen rows, which take each phase in turn and are folded together.

To fold the lanes of one row takes as long as to read a hundred of its elements, and what comes next waits for it. Here a row leaves sixteen lanes as
a line of a *square*, and the lines of all rows are folded at once: half of one line and half of another fill a vector.
"""

from __future__ import annotations

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value, bits, element_type, i64
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import combine, neutral
from flambeau._codegen.loops.row import Row
from flambeau._codegen.loops.spec import COSTLY, LANES, VECTOR, Instr
from flambeau._codegen.loops.spreading import spread


class ShortRows(Row):
    def __init__(self, body: Body) -> None:
        super().__init__(body)
        reductions = [number for number, instr in enumerate(self.spec.body) if instr.op == "reduce"]
        self.types = {number: scalar.register_types(self.spec.body[number].dtype, VECTOR)[0] for number in reductions}
        self.elements = {number: element_type(type) for number, type in self.types.items()}
        self.squares = {number: self.f.alloca(type, VECTOR) for number, type in self.types.items()}
        self.results = {number: self.f.alloca(type) for number, type in self.types.items()}
        self.line = i64(0)  # the present row, counted from the tile's first

    def emit(self) -> None:
        body, f = self.body, self.f
        known = dict(body.values)
        rows = body.product(range(self.spec.outer))
        with f.loop(body.begin, body.end) as tiles:
            first = f.mul(tiles.index, i64(VECTOR))
            count = f.intrinsic("smin", i64(VECTOR), f.sub(rows, first))
            with f.when(f.compare("slt", count, i64(VECTOR))):  # nothing is computed with what lies in memory by chance
                for number, square in self.squares.items():
                    f.fill(square, i64(VECTOR * VECTOR * bits(self.types[number]) // 8))
            self.in_scratch = set()
            stored: set[int] = set()
            folded: list[int] = []
            for phase in range(body.phases):
                with f.loop(0, count) as lines:
                    self.line = lines.index
                    body.unravel(f.add(first, lines.index), list(range(self.spec.outer)))
                    for number in folded:
                        body.values[number] = f.load(self._place(self.results[number], number), self.elements[number])
                    with body.along(self.outer):
                        self._at_place(phase, stored)
                        self._walk(phase)
                    body.values = dict(known)
                    body.places.clear()
                reductions, _ = body.wanted(phase)
                for number in reductions:
                    f.call(f"@{_fold(f.module, self.spec.body[number])}", self.squares[number], self.results[number])
                folded += reductions

    def _place(self, array: Value, number: int, pitch: int = 1) -> Value:
        return self.f.offset(array, self.f.mul(self.line, i64(pitch)), self.elements[number])

    def _reduce(self, phase: int, reductions: list[int]) -> None:
        f = self.f
        lanes = self.lanes(phase, i64(0), i64(1), i64(0), self.chunks.length)
        for number, operand in zip(reductions, lanes, strict=True):
            (part,) = scalar.unpack(operand)
            low, high = (f.shuffle(part, part, range(start, start + VECTOR)) for start in (0, VECTOR))
            half = _combined(f, self.spec.body[number], low, high)
            f.store(half, self._place(self.squares[number], number, VECTOR), align=_alignment(half.type))

    def _flat(self, reductions: list[int], stores: list[int], first: Value, last: Value, width: int, lanes: list[Value]) -> list[Value]:
        """One vector of a row after the other, the last of which has a mask; or, where places may be computed twice, ends where the row does.

        Vectors are as wide as the lanes where functions make each long, and where nothing does; behind these, and otherwise, they are half as wide, and the halves
        of the lanes change places after each.
        """
        if self.waiting:
            return super()._flat(reductions, stores, first, last, width, lanes)
        body, f, count = self.body, self.f, len(lanes)
        instrs = [self.spec.body[number] for number in self._needs(reductions, stores)]
        is_costly = any(instr.op == "map" and instr.attrs[0] in COSTLY for instr in instrs)
        is_light = all(instr.op == "load" for instr in instrs)
        wide, narrow = (f.binary("and", last, i64(-size)) for size in (LANES, VECTOR))
        body.places[body.vector_digit] = i64(0)
        with body.along(self.still), spread(body, self._needs(reductions, stores)):
            if self.spec.whole and not reductions:
                return self._vectors([], stores, first, last, VECTOR, [], f.sub(last, VECTOR))
            if is_costly:
                lanes = self._vectors(reductions, stores, first, wide, LANES, lanes)
                return self._vectors(reductions, stores, wide, last, LANES, lanes, masked=True)
            if is_light:
                first, lanes = wide, self._vectors(reductions, stores, first, wide, LANES, lanes)
            halves = [f.shuffle(part, part, range(start, start + VECTOR)) for start in (0, VECTOR) for part in lanes]
            halves = self._vectors(reductions, stores, first, narrow, VECTOR, halves)
            halves = self._vectors(reductions, stores, narrow, last, VECTOR, halves, masked=True)
        is_odd = f.cast("trunc", f.binary("lshr", f.add(last, VECTOR - 1), VECTOR.bit_length() - 1), "i1")
        pairs = zip(halves[:count], halves[count:], strict=True)
        return [f.shuffle(f.select(is_odd, other, one), f.select(is_odd, one, other), range(LANES)) for one, other in pairs]

    def _vectors(
        self,
        reductions: list[int],
        stores: list[int],
        first: Value,
        last: Value,
        width: int,
        lanes: list[Value],
        most: Value | None = None,
        masked: bool = False,
    ) -> list[Value]:
        """A loop over vectors, none of which begins later than ``most``; of lanes that are wider than they are those in front are added to, and go to the back."""
        body, f = self.body, self.f
        count = len(reductions)
        with f.loop(first, last, width, lanes) as vectors:
            place = vectors.index if most is None else f.intrinsic("smin", vectors.index, most)
            body.places[body.vector_digit] = place
            mask = body.first_lanes(f.sub(last, place), width) if masked else None
            after = self._vector(reductions, stores, place, width, mask, vectors.carried[:count])
            vectors.carry(*vectors.carried[count:], *after)
        return vectors.carried

    def _scratch(self, row: int, position: Value, number: int) -> Value:
        f = self.f
        start = f.add(f.mul(self.line, i64(len(self.kept))), i64(row))
        return self.body.element(
            f.offset(self.body.scratch, f.mul(self.pitch, start), "i8"), position, self.spec.body[number].dtype.compute
        )


def _fold(module: Module, instr: Instr) -> str:
    """A function ``fold(square, results)``, which kernels share: what the lanes of each line come to, added to a total that is neutral."""
    name = f"fold_{instr.attrs[0]}_{instr.dtype.name}"
    if not module.has_function(name):
        f = module.function(name, [("ptr", "square"), ("ptr", "results")], linkage="internal", attributes="noinline")
        square, results = f.parameters
        (type,) = scalar.register_types(instr.dtype, VECTOR)
        lines = [f.load(f.offset(square, line, type), type, align=_alignment(type)) for line in range(VECTOR)]
        half = VECTOR // 2
        while half:  # lines that are so far apart, by halves of lanes: they fill a vector together
            low = [start + lane for group in range(0, VECTOR, 2 * half) for start in (group, group + VECTOR) for lane in range(half)]
            high = [lane + half for lane in low]
            pairs = zip(lines[: len(lines) // 2], lines[len(lines) // 2 :], strict=True)
            lines = [_combined(f, instr, f.shuffle(*pair, low), f.shuffle(*pair, high)) for pair in pairs]
            half //= 2
        (start,) = neutral(instr, instr.dtype, VECTOR)
        f.store(_combined(f, instr, start, lines[0]), results, align=_alignment(type))
        f.ret()
    return name


def _combined(f: Builder, instr: Instr, one: Value, other: Value) -> Value:
    (value,) = scalar.unpack(combine(f, instr, one, other))
    return value


def _alignment(type: str) -> int:
    """That of a line of a square."""
    return min(64, VECTOR * bits(type) // 8)

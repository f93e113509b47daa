"""Memory for the results of a tile of a column: lines of vectors, and how the lanes of a reduction, which are such lines, are folded."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value, bits, element_type, i64, vector
from flambeau._codegen.loops.reducing import combine, neutral
from flambeau._codegen.loops.spec import COMBINE, LANES, VECTOR, Instr
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import BOOL
from flambeau._types.dtype import dtype as DType

APART = 33
"""Vectors between the lanes of two reductions: a load that lies a multiple of 4096 bytes from a store just before waits for it."""


class Line:
    """Memory for an operand of every result of a tile, or for several such lines, ``pitch`` results apart.

    It is at ``memory``, an address for each part of an operand.
    """

    def __init__(self, f: Builder, of: DType, memory: Sequence[Value], pitch: Value | None = None) -> None:
        self.f, self.of = f, of
        self.memory = memory
        self.pitch = pitch
        self.is_bool = of.category == BOOL
        self.types = _types(of)

    def _places(self, at: Value, line: Value | None) -> list[tuple[Value, str]]:
        if line is not None and self.pitch is not None:
            at = self.f.add(at, self.f.mul(line, self.pitch))
        return [(self.f.offset(memory, at, element_type(type)), type) for memory, type in zip(self.memory, self.types, strict=True)]

    def at(self, line: Value) -> Line:
        """One of several lines."""
        return Line(self.f, self.of, [place for place, _ in self._places(i64(0), line)])

    def load(self, at: Value, line: Value | None = None) -> Operand:
        """A vector of results, the first of which is the tile's ``at``-th."""
        parts = [self.f.load(place, type, align=_align(type)) for place, type in self._places(at, line)]
        return scalar.pack([self.f.compare("ne", part, 0) if self.is_bool else part for part in parts])

    def store(self, operand: Operand, at: Value, line: Value | None = None) -> None:
        for part, (place, type) in zip(scalar.unpack(operand), self._places(at, line), strict=True):
            if part.width != VECTOR:
                part = self.f.splat(part, VECTOR)
            self.f.store(self.f.cast("zext", part, type) if self.is_bool else part, place, align=_align(type))


def new_line(f: Builder, of: DType, vectors: int, lines: int = 1, pitch: Value | None = None) -> Line:
    """Memory on the stack."""
    apart = APART + lines if lines > 1 else 0
    return Line(f, of, [f.alloca(type, vectors * lines + apart) for type in _types(of)], pitch)


def _types(of: DType) -> list[str]:
    return [vector("i8", VECTOR)] if of.category == BOOL else scalar.register_types(of, VECTOR)


def _align(type: str) -> int:
    return min(64, VECTOR * bits(type) // 8)


# -- folding -----------------------------------------------------------------------------------------------------------


def halvings(f: Builder, length: Value) -> Value:
    """How often lanes are folded by halves: as many lanes take part as there are positions, at most ``LANES``, and a power of two."""
    longest = f.intrinsic("smin", length, i64(LANES))
    return f.sub(i64(64), f.intrinsic("ctlz", f.sub(longest, 1), Value("false", "i1")))


def fold(f: Builder, instr: Instr, lanes: Line, length: Value, held: Value, count: Value) -> None:
    """Combine the lanes of a reduction, of a chunk that has ``length`` positions, into the first of them; those of the results below ``held`` have been
    folded twice already, those up to ``count`` not yet. (It is a function, which kernels share.)"""
    assert lanes.pitch is not None
    name = f"fold_{COMBINE[instr.attrs[0]]}_{instr.dtype.name}"
    if not f.module.has_function(name):
        _write_fold(f.module, name, instr)
    f.call(f"@{name}", *lanes.memory, lanes.pitch, length, held, count)


def _write_fold(module: Module, name: str, instr: Instr) -> None:
    parts = [("ptr", f"lanes{number}") for number in range(len(_types(instr.dtype)))]
    numbers = [("i64", label) for label in ("pitch", "length", "held", "count")]
    f = module.function(name, [*parts, *numbers], linkage="internal", attributes="noinline")
    *memory, pitch, length, held, count = f.parameters
    lanes = Line(f, instr.dtype, memory, pitch)
    every = halvings(f, length)
    start = scalar.pack(neutral(instr, instr.dtype, VECTOR))
    with f.loop(length, f.binary("shl", i64(1), every)) as empty, f.loop(held, count, VECTOR) as vectors:  # no position belongs to them
        lanes.store(start, vectors.index, empty.index)

    def combined(at: Value, places: Sequence[Value]) -> None:
        """Combine neighbours of a list of lanes, and neighbours of those, into the first."""
        values = [lanes.load(at, place) for place in places]
        while len(values) > 1:
            values = [combine(f, instr, *pair) for pair in zip(values[::2], values[1::2], strict=True)]
        lanes.store(values[0], at, places[0])

    with f.loop(0, 2) as rounds:
        is_held = f.compare("ne", rounds.index, 0)
        times = f.select(is_held, f.intrinsic("smax", f.sub(every, 2), i64(0)), every)
        first, last = f.select(is_held, i64(0), held), f.select(is_held, held, count)
        with f.loop(0, f.binary("lshr", times, 1)) as twice:  # while a vector is in registers
            left = f.sub(times, f.mul(twice.index, 2))
            quarter = f.binary("lshr", f.binary("shl", i64(1), left), 2)
            with f.loop(0, quarter) as each, f.loop(first, last, VECTOR) as vectors:
                combined(vectors.index, [f.add(each.index, f.mul(quarter, number)) for number in (0, 2, 1, 3)])
        is_odd = f.cast("trunc", times, "i1")
        with f.loop(first, f.select(is_odd, last, first), VECTOR) as vectors:
            combined(vectors.index, [i64(0), i64(1)])
    f.ret()

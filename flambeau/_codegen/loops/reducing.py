"""The arithmetic of reductions: lanes, folded lanes, totals (``docs/design/0003-reductions.md``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import accumulate

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, constant, i64
from flambeau._codegen.lanes import Lanes, rarely
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.spec import CHUNK, COMBINE, LANES, VECTOR, Instr
from flambeau._codegen.scalar import Operand
from flambeau._codegen.vmath.pairs import two_sum
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType


class Total:
    """What the chunks of a reduction add up to: of floating point in double precision.

    Nothing longer holds sums of float64 and complex128: what each addition rounds is added up beside the sum, and to it at the end.

    Attributes:
        dtype: of the total
        is_compensated: whether the values of a total are a sum and its rounding errors
    """

    def __init__(self, f: Builder, instr: Instr) -> None:
        self.f = f
        self.instr = instr
        self.dtype = instr.dtype
        if instr.attrs[0] in ("sum", "squares", "prod"):
            self.dtype = {dt.FLOAT: dt.float64, dt.COMPLEX: dt.complex128}.get(instr.dtype.category, instr.dtype)
        self.is_compensated = instr.attrs[0] in ("sum", "squares") and instr.dtype in (dt.float64, dt.complex128)

    def start(self, width: int) -> list[Value]:
        """The values of a total that nothing was added to."""
        return neutral(self.instr, self.dtype, width) * (2 if self.is_compensated else 1)

    def add(self, values: Sequence[Value], item: Operand) -> list[Value]:
        """A total and the folded lanes of a chunk."""
        if not self.is_compensated:
            item = scalar.cast(self.f, item, self.instr.dtype, self.dtype)
            return scalar.unpack(scalar.emit(self.f, COMBINE[self.instr.attrs[0]], self.dtype, scalar.pack(list(values)), item))
        sums, errors = self._pairs(values)
        added = [two_sum(total, Lanes(self.f, part)) for total, part in zip(sums, scalar.unpack(item), strict=True)]
        return [high.value for high, _ in added] + [(error + low).value for error, (_, low) in zip(errors, added, strict=True)]

    def rounded(self, values: Sequence[Value]) -> Operand:
        """The result, in the dtype of the reduction."""
        if not self.is_compensated:
            return scalar.cast(self.f, scalar.pack(list(values)), self.dtype, self.instr.dtype)
        return scalar.pack([_corrected(total, error).value for total, error in zip(*self._pairs(values), strict=True)])

    def _pairs(self, values: Sequence[Value]) -> tuple[list[Lanes], list[Lanes]]:
        lanes = [Lanes(self.f, value) for value in values]
        return lanes[: len(lanes) // 2], lanes[len(lanes) // 2 :]


def _corrected(total: Lanes, error: Lanes) -> Lanes:
    """A sum and what was rounded, which is no number where the sum is none. (A single chunk has no error, and nobody waits for it.)"""
    return rarely(error != 0.0, [total], lambda: [(error.abs() < math.inf).select(total + error, total)])[0]


def is_ordered(instr: Instr) -> bool:
    """Whether the order of its operands can be seen in the result."""
    return instr.dtype.category >= dt.FLOAT


def neutral(instr: Instr, of: DType, width: int) -> list[Value]:
    """What a reduction starts with."""
    return scalar.unpack(scalar.splat_constant(of, scalar.identity(instr.attrs[0], of), width))


def take(f: Builder, instr: Instr, lane: Operand, element: Operand) -> Operand:
    """A lane and one more element."""
    if instr.attrs[0] == "squares":
        return scalar.emit(f, "fma", instr.dtype, element, element, lane)
    return combine(f, instr, lane, element)


def combine(f: Builder, instr: Instr, left: Operand, right: Operand) -> Operand:
    """Two lanes."""
    return scalar.emit(f, COMBINE[instr.attrs[0]], instr.dtype, left, right)


def fold(f: Builder, instr: Instr, operand: Operand) -> Operand:
    """Combine the lanes of a vector by halves: 0 with 16, 1 with 17, …, then 0 with 8, and so on."""
    half = scalar.unpack(operand)[0].width // 2
    while half:
        high = scalar.pack([f.shuffle(part, part, range(half, 2 * half)) for part in scalar.unpack(operand)])
        low = scalar.pack([f.shuffle(part, part, range(half)) for part in scalar.unpack(operand)])
        operand = combine(f, instr, low, high)
        half //= 2
    return operand


def grouped(instrs: Sequence[Instr], parts: Sequence[Value]) -> list[Operand]:
    """Operands, one for each reduction, from a flat list of their parts."""
    result, at = [], 0
    for instr in instrs:
        count = 2 if instr.dtype.is_complex else 1
        result.append(scalar.pack(list(parts[at : at + count])))
        at += count
    return result


def shared_out(totals: Sequence[Total], values: Sequence[Value]) -> list[Sequence[Value]]:
    """The values of each total, from a flat list of them."""
    ends = list(accumulate(len(total.start(1)) for total in totals))
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


# -- lanes of several reductions ---------------------------------------------------------------------------------------


def start_of(instrs: Sequence[Instr]) -> list[Value]:
    """What a lane of each reduction starts with, part by part."""
    return [part for instr in instrs for part in neutral(instr, instr.dtype, VECTOR)]


def parts_of(operands: Sequence[Operand]) -> list[Value]:
    return [part for operand in operands for part in scalar.unpack(operand)]


def combined(f: Builder, instrs: Sequence[Instr], one: Sequence[Operand], other: Sequence[Operand]) -> list[Operand]:
    """Two lanes of each reduction as one."""
    return [combine(f, *each) for each in zip(instrs, one, other, strict=True)]


def selected(f: Builder, condition: Value, then: Sequence[Operand], otherwise: Sequence[Operand]) -> list[Operand]:
    return [scalar.select(f, condition, *pair) for pair in zip(then, otherwise, strict=True)]


def in_turn(
    f: Builder, instrs: Sequence[Instr], starts: Sequence[Value], last: Value, add: Callable[[list[Operand], Value], list[Operand]]
) -> list[Operand]:
    """Four lanes that have their positions in turn, from their ``starts`` to ``last``, folded. The first has as many as any.

    ``add`` gives lanes of all reductions with what is added to them at a position.
    """

    def each_lane(parts: Sequence[Value]) -> list[list[Operand]]:
        count = len(parts) // len(starts)
        return [grouped(instrs, parts[start : start + count]) for start in range(0, len(parts), count)]

    first = starts[0]
    with f.loop(first, last, LANES, start_of(instrs) * len(starts)) as positions:
        values: list[Value] = []
        for start, before in zip(starts, each_lane(positions.carried), strict=True):
            position = f.add(positions.index, f.sub(start, first))
            if start is first:
                values += parts_of(add(before, position))
                continue
            held = [(f.alloca(part.type), part) for part in parts_of(before)]
            for place, part in held:
                f.store(part, place)
            with f.when(f.compare("slt", position, last)):
                for (place, _), part in zip(held, parts_of(add(before, position)), strict=True):
                    f.store(part, place)
            values += [f.load(place, part.type) for place, part in held]
        positions.carry(*values)
    one, two, three, four = each_lane(positions.carried)
    return combined(f, instrs, combined(f, instrs, one, three), combined(f, instrs, two, four))


# -- chunks ----------------------------------------------------------------------------------------------------------


class Chunks:
    """How the positions of a reduction are cut into chunks.

    A chunk is ``CHUNK`` positions of a run or, where several runs fit in it, as many whole ones (``runs``).
    """

    def __init__(self, body: Body) -> None:
        f, spec = body.f, body.spec
        self.body = body
        self.length = body.product(spec.run_digits)
        self.lines = body.product(spec.reduced_digits)
        self.runs = i64(1)
        if spec.reduced:
            fitting = f.binary("udiv", i64(CHUNK), f.intrinsic("smax", self.length, i64(1)))
            self.runs = f.intrinsic("smax", fitting, i64(1))

    def per_line(self) -> Value:
        return self.body.f.binary("udiv", self.body.f.add(self.length, CHUNK - 1), i64(CHUNK))

    def are_one(self) -> Value:
        """Whether there is a single chunk, and not none."""
        f = self.body.f
        pairs = ((self.length, i64(CHUNK)), (self.lines, self.runs))
        positions, lines = (f.compare("ult", f.sub(count, i64(1)), most) for count, most in pairs)
        return f.binary("and", positions, lines)

    def each(self, totals: list[Value], chunk: Callable[[Value, Value, Value, Value, list[Value]], list[Value]]) -> list[Value]:
        """Loops over chunks in order: ``chunk(first line, last line, first position, last position, totals)`` gives the new totals."""
        f = self.body.f
        with ExitStack() as stack:
            line = None
            last_line: Value = i64(1)
            if self.body.spec.reduced:
                line = stack.enter_context(f.loop(0, self.lines, self.runs, totals))
                last_line = f.intrinsic("smin", f.add(line.index, self.runs), self.lines)
                totals = line.carried
            with f.loop(0, self.length, CHUNK, totals) as positions:
                last = f.intrinsic("smin", f.add(positions.index, CHUNK), self.length)
                first_line = line.index if line is not None else i64(0)
                positions.carry(*chunk(first_line, last_line, positions.index, last, positions.carried))
            totals = positions.carried
            if line is not None:
                line.carry(*totals)
        return line.carried if line is not None else totals

    def lines_of(self, first: Value, last: Value, carried: list[Value], line: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
        """Loops over the lines of one chunk, with the places of the outer reduced digits set: ``line(whether it is the first, carried)``."""
        body = self.body
        if not body.spec.reduced:
            return line(constant("i1", 1), carried)
        with body.f.loop(first, last, 1, carried) as lines:
            body.unravel(lines.index, list(body.spec.reduced_digits))
            lines.carry(*line(body.f.compare("eq", lines.index, first), lines.carried))
        return lines.carried

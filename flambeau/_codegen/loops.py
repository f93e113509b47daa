"""Loop kernels: elementwise work and reductions over an index space, as explicit vector IR.

A ``LoopSpec`` says what is computed, with every extent and stride left to run time. Its index space is a list of *digits*: outer
digits, then reduced digits (outer ones and the *run*), one of them being the *vector digit*, which lies across the lanes.

Three shapes of loop nest cover everything:

- ``map``: no reduction. A tile is a block of the vector digit at one place of the outer digits.
- ``row``: the vector digit is the run. A tile is one place of the outer digits; in each phase the row is walked once.
- ``column``: the vector digit is an outer one (or there is none). A tile is 16 neighbouring results.

The order in which a reduction adds (``docs/design/0003-reductions.md``): the run is cut into chunks of ``CHUNK`` positions; in a chunk, lane
``position mod 16`` adds its positions in order; the 16 lanes are folded by halves; the chunks' sums are added in order (in float64 for
floating point), over the outer reduced digits as well. All three shapes, split or not, give the same bits.

A *split* spec leaves one partial result for each chunk, which a ``combine`` kernel adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module, Value, constant, constant_vector, i64
from flambeau._codegen.scalar import Operand
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

LANES = 16
CHUNK = 4096
"""Positions of a run that are added in 16 lanes before these are folded."""
BLOCK = 4096
"""Positions of the vector digit in a tile of a map."""

COMBINE = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "logical_or", "all": "logical_and"}


@dataclass(frozen=True)
class Access:
    """An affine function of the digits: a place in memory (``dtype`` is set) or a number (an index, a coordinate).

    ``digits`` says on which digits it depends; ``vector`` how the vector digit moves it: 0 not at all, 1 by one element, 2 by a stride
    that is known at run time.
    """

    dtype: DType | None
    digits: tuple[bool, ...]
    vector: int


@dataclass(frozen=True)
class Instr:
    """One step for one element.

    ``op`` is ``load`` (attrs: access, accesses of bounds), ``index`` (access), ``number`` (class of the number), ``constant`` (number as text),
    ``map`` (name), ``cast``, ``gather`` (access, number of indices), ``reduce`` (kind), ``store`` (access).
    ``args`` are earlier instructions.
    """

    op: str
    dtype: DType
    args: tuple[int, ...]
    attrs: tuple = ()


@dataclass(frozen=True)
class LoopSpec:
    """The structure of a loop kernel; equal specs share a kernel."""

    mode: str
    outer: int
    reduced: int
    run: int
    accesses: tuple[Access, ...]
    body: tuple[Instr, ...]
    split: bool = False
    features: tuple[str, ...] = ()

    @property
    def digits(self) -> int:
        """Outer digits, then (for ``map`` and ``column``) the vector digit, then outer reduced digits, then the run."""
        return self.outer + (self.mode != "row") + self.reduced + self.run


@lru_cache(maxsize=4096)
def kernel(spec: LoopSpec) -> tuple[str, str]:
    """The name and the IR of the kernel of a spec."""
    module = Module(spec.features)
    _Emitter(module, spec).emit()
    return finish(module)


def finish(module: Module) -> tuple[str, str]:
    """Name a module's kernel (written as ``@KERNEL``) by its IR."""
    text = str(module)
    name = "k_" + sha256(text.encode()).hexdigest()[:24]
    return name, text.replace("@KERNEL(", f"@{name}(")


class Parameters:
    """The order of a loop kernel's parameters, shared by the code that reads them and the code that writes them.

    ``[extent of each digit, grain words…, for each access: slot and byte offset (or start), stride of each digit it depends on,
    for each bound: extent, for each number: index, for each gather: strides of indices, for a split: slot, byte offset, results]``
    """

    def __init__(self, spec: LoopSpec) -> None:
        position = spec.digits
        self.access: list[tuple[int, dict[int, int]]] = []
        for access in spec.accesses:
            start = position
            position += 2
            strides = {}
            for digit, depends in enumerate(access.digits):
                if depends:
                    strides[digit] = position
                    position += 1
            self.access.append((start, strides))
        self.extra: dict[int, int] = {}
        for number, instr in enumerate(spec.body):
            if instr.op == "load" and instr.attrs[1]:
                self.extra[number] = position
                position += len(instr.attrs[1])
            elif instr.op == "number":
                self.extra[number] = position
                position += 1
            elif instr.op == "gather":
                self.extra[number] = position
                position += instr.attrs[1]
        self.partial = position
        self.count = position + (3 * sum(instr.op == "reduce" for instr in spec.body) if spec.split else 0)


class _Emitter:
    def __init__(self, module: Module, spec: LoopSpec) -> None:
        self.spec = spec
        self.f = module.function(
            "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
        )
        self.table, self.params, self.begin, self.end, _ = self.f.parameters
        self.parameters = Parameters(spec)
        self.body = spec.body
        self.values: dict[int, Operand] = {}  # what is known at the present place: for scalars and, in columns, rows
        self.digit_values: dict[int, Value] = {}
        self.vector_digit = spec.outer if spec.mode != "row" else spec.outer + spec.reduced
        self.reduced_digits = frozenset(range(spec.digits - spec.reduced - spec.run, spec.digits))
        self._analyse()
        has_vector = any(access.digits[self.vector_digit] for access in spec.accesses)
        self.width = LANES if has_vector else 1  # neighbouring results that a column computes together

    # -- what depends on what --------------------------------------------------------------------------------------

    def _analyse(self) -> None:
        """For each instruction: the digits it depends on, and the phase in which it is known."""
        self.depends: list[frozenset[int]] = []
        self.phase: list[int] = []
        for instr in self.body:
            digits: frozenset[int] = frozenset()
            phase = 0
            for argument in instr.args:
                digits |= self.depends[argument]
                phase = max(phase, self.phase[argument] + (self.body[argument].op == "reduce"))
            for access in self._accesses_of(instr):
                digits |= {digit for digit, depends in enumerate(self.spec.accesses[access].digits) if depends}
            if instr.op == "reduce":
                digits -= self.reduced_digits
            self.depends.append(digits)
            self.phase.append(phase)
        self.phases = 1 + max(self.phase, default=0)

    @staticmethod
    def _accesses_of(instr: Instr) -> tuple[int, ...]:
        if instr.op == "load":
            return (instr.attrs[0], *instr.attrs[1])
        return (instr.attrs[0],) if instr.op in ("index", "gather", "store") else ()

    def _full(self, number: int) -> bool:
        """Whether an instruction must be done at every position of the reduced digits."""
        instr = self.body[number]
        if instr.op == "reduce":
            return True
        return bool(self.depends[number] & self.reduced_digits)

    def _is_vector(self, number: int) -> bool:
        """Whether an instruction's value differs from lane to lane."""
        return self.vector_digit in self.depends[number]

    # -- parameters ------------------------------------------------------------------------------------------------

    def _param(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.params, position, "i64"), "i64")

    def emit(self) -> None:
        f, spec = self.f, self.spec
        self.extents = [self._param(digit) for digit in range(spec.digits)]
        self.bases: list[Value] = []
        self.strides: list[dict[int, Value]] = []
        for access, (start, strides) in zip(spec.accesses, self.parameters.access, strict=True):
            if access.dtype is None:
                self.bases.append(self._param(start + 1))
            else:
                slot = f.load(f.offset(self.table, self._param(start), "ptr"), "ptr")
                self.bases.append(f.offset(slot, self._param(start + 1), "i8"))
            self.strides.append({digit: self._param(position) for digit, position in strides.items()})
        self.extras = {
            number: [self._param(position + each) for each in range(self._extra_count(self.body[number]))]
            for number, position in self.parameters.extra.items()
        }
        for number in range(len(self.body)):
            if (
                not self.depends[number]
                and self.phase[number] == 0
                and not self._full(number)
                and self.body[number].op not in ("store", "reduce")
            ):
                self.values[number] = self._compute(number, 1, None)
        if spec.split:
            self._emit_split()
        else:
            {"map": self._emit_map, "row": self._emit_row, "column": self._emit_column}[spec.mode]()
        f.ret()

    @staticmethod
    def _extra_count(instr: Instr) -> int:
        return len(instr.attrs[1]) if instr.op == "load" else instr.attrs[1] if instr.op == "gather" else 1

    # -- loops over tiles ------------------------------------------------------------------------------------------

    def _unravel(self, linear: Value, digits: Sequence[int]) -> None:
        """Set the values of digits (outermost first) from their row-major position."""
        f = self.f
        for digit in reversed(digits[1:]):
            quotient = f.binary("udiv", linear, self.extents[digit])
            self.digit_values[digit] = f.sub(linear, f.mul(quotient, self.extents[digit]))
            linear = quotient
        if digits:
            self.digit_values[digits[0]] = linear

    def _hoist(self, width: int, mask: Value | None, phase: int, done: set[int]) -> None:
        """Compute what depends on outer digits alone and is known in ``phase``."""
        for number, instr in enumerate(self.body):
            if number in self.values or number in done or self._full(number) or self.phase[number] > phase or instr.op == "reduce":
                continue
            lanes = width if self._is_vector(number) else 1
            if instr.op == "store":
                self._store(number, lanes if self._is_vector_store(number) else 1, mask)
                done.add(number)
            else:
                self.values[number] = self._compute(number, lanes, mask)

    def _is_vector_store(self, number: int) -> bool:
        return self.spec.accesses[self.body[number].attrs[0]].digits[self.vector_digit]

    def _emit_map(self) -> None:
        f, spec = self.f, self.spec
        outer = list(range(spec.outer))
        extent = self.extents[self.vector_digit]
        blocks = f.binary("udiv", f.add(extent, BLOCK - 1), i64(BLOCK))
        width = LANES * (2 if len(self.body) <= 14 else 1)
        known = dict(self.values)
        with f.loop(self.begin, self.end) as tiles:
            row = f.binary("udiv", tiles.index, blocks)
            block = f.sub(tiles.index, f.mul(row, blocks))
            self._unravel(row, outer)
            first = f.mul(block, i64(BLOCK))
            last = f.intrinsic("smin", f.add(first, BLOCK), extent)
            self._row_scalars()
            whole = f.add(first, f.binary("and", f.sub(last, first), i64(-width)))
            with f.loop(first, whole, width) as vectors:
                self.digit_values[self.vector_digit] = vectors.index
                self._body_at(width, None)
            step = LANES
            with f.loop(whole, last, step) as tail:
                self.digit_values[self.vector_digit] = tail.index
                self._body_at(step, f.lane_mask(f.sub(last, tail.index), step))
            self.values = dict(known)
            self.digit_values.clear()

    def _row_scalars(self) -> None:
        """Compute what does not depend on the vector digit."""
        for number, instr in enumerate(self.body):
            if (
                number not in self.values
                and not self._is_vector(number)
                and not self._full(number)
                and instr.op not in ("store", "reduce")
                and self.phase[number] == 0
            ):
                self.values[number] = self._compute(number, 1, None)

    def _body_at(self, width: int, mask: Value | None) -> None:
        """All instructions of a map at one vector of positions."""
        known = dict(self.values)
        for number, instr in enumerate(self.body):
            if instr.op == "store":
                self._store(number, width, mask)
            elif number not in self.values:
                self.values[number] = self._compute(number, width if self._is_vector(number) else 1, mask)
        self.values = known

    # -- rows ------------------------------------------------------------------------------------------------------

    def _emit_row(self) -> None:
        f, spec = self.f, self.spec
        known = dict(self.values)
        with f.loop(self.begin, self.end) as tiles:
            self._unravel(tiles.index, list(range(spec.outer)))
            done: set[int] = set()
            self._hoist(1, None, 0, done)
            for phase in range(self.phases):
                self._row_phase(phase)
                self._hoist(1, None, phase + 1, done)
            self.values = dict(known)
            self.digit_values.clear()

    def _wanted(self, phase: int) -> tuple[list[int], list[int]]:
        """The reductions and the stores at every position that are due in a phase."""
        reductions = [number for number, instr in enumerate(self.body) if instr.op == "reduce" and self.phase[number] == phase]
        stores = [
            number for number, instr in enumerate(self.body) if instr.op == "store" and self._full(number) and self.phase[number] == phase
        ]
        return reductions, stores

    def _row_phase(self, phase: int) -> None:
        """Walk a row once: for the reductions and the stores of a phase."""
        f, spec = self.f, self.spec
        reductions, stores = self._wanted(phase)
        if not reductions and not stores:
            return
        totals = [part for number in reductions for part in self._total_identity(number, 1)]
        outer = range(spec.outer, spec.outer + spec.reduced)
        with ExitStack() as stack:
            loops = []
            for digit in outer:
                loop = stack.enter_context(f.loop(0, self.extents[digit], 1, totals))
                self.digit_values[digit] = loop.index
                totals = loop.carried
                loops.append(loop)
            totals = self._row_run(phase, reductions, stores, totals)
            for loop in reversed(loops):
                loop.carry(*totals)
                totals = loop.carried
        self._finish_totals(reductions, totals, 1)

    def _row_run(self, phase: int, reductions: list[int], stores: list[int], totals: list[Value]) -> list[Value]:
        f = self.f
        extent = self.extents[self.vector_digit]
        with f.loop(0, extent, CHUNK, totals) as chunks:
            last = f.intrinsic("smin", f.add(chunks.index, CHUNK), extent)
            folded = self._row_chunk(phase, reductions, stores, chunks.index, last)
            chunks.carry(*self._add_totals(reductions, chunks.carried, folded, 1))
        return chunks.carried

    def _row_chunk(self, phase: int, reductions: list[int], stores: list[int], first: Value, last: Value) -> list[Operand]:
        """One chunk of a row; returns the folded lanes of each reduction."""
        f = self.f
        start = [part for number in reductions for part in self._lane_identity(number, LANES)]
        whole = f.add(first, f.binary("and", f.sub(last, first), i64(-LANES)))
        with f.loop(first, whole, LANES, start) as vectors:
            vectors.carry(*self._row_vector(phase, reductions, stores, vectors.index, None, vectors.carried))
        with f.loop(whole, last, LANES, vectors.carried) as tail:
            mask = f.lane_mask(f.sub(last, tail.index), LANES)
            tail.carry(*self._row_vector(phase, reductions, stores, tail.index, mask, tail.carried))
        folded = []
        for number, parts in self._per_reduction(reductions, tail.carried):
            folded.append(self._fold_lanes(number, scalar.pack(parts)))
        return folded

    def _row_vector(
        self, phase: int, reductions: list[int], stores: list[int], position: Value, mask: Value | None, lanes: list[Value]
    ) -> list[Value]:
        self.digit_values[self.vector_digit] = position
        known = dict(self.values)
        for number in stores:
            self._require(self.body[number].args[0], LANES, mask)
            self._store(number, LANES, mask)
        result: list[Value] = []
        for number, parts in self._per_reduction(reductions, lanes):
            source = self.body[number].args[0]
            self._require(source, LANES, mask)
            item = self._widened(source, LANES)
            accumulated = self._combine(number, scalar.pack(parts), item)
            if mask is not None:
                accumulated = scalar.select(self.f, mask, accumulated, scalar.pack(parts))
            result += scalar.unpack(accumulated)
        self.values = known
        return result

    def _require(self, number: int, width: int, mask: Value | None) -> None:
        """Make sure that an instruction and all that it needs are computed at the present position."""
        if number in self.values:
            return
        for argument in self.body[number].args:
            self._require(argument, width, mask)
        self.values[number] = self._compute(number, width if self._is_vector(number) else 1, mask)

    def _widened(self, number: int, width: int) -> Operand:
        value = self.values[number]
        if scalar.unpack(value)[0].width == width:
            return value
        return scalar.splat(self.f, value, self.body[number].dtype, width)

    def _per_reduction(self, reductions: list[int], parts: Sequence[Value]) -> list[tuple[int, list[Value]]]:
        size = 0
        result = []
        for number in reductions:
            count = len(scalar.register_types(self.body[number].dtype, 1))
            result.append((number, list(parts[size : size + count])))
            size += count
        return result

    # -- accumulating ----------------------------------------------------------------------------------------------

    def _total_dtype(self, number: int) -> DType:
        """Chunks of sums and products are added up in double precision."""
        instr = self.body[number]
        if instr.attrs[0] in ("sum", "prod"):
            if instr.dtype.is_floating_point:
                return dt.float64
            if instr.dtype.is_complex:
                return dt.complex128
        return instr.dtype

    def _identity(self, number: int, of: DType, width: int) -> list[Value]:
        return scalar.unpack(scalar.splat_constant(of, scalar.identity(self.body[number].attrs[0], of), width))

    def _total_identity(self, number: int, width: int) -> list[Value]:
        return self._identity(number, self._total_dtype(number), width)

    def _lane_identity(self, number: int, width: int) -> list[Value]:
        return self._identity(number, self.body[number].dtype, width)

    def _combine(self, number: int, left: Operand, right: Operand) -> Operand:
        instr = self.body[number]
        return scalar.emit(self.f, COMBINE[instr.attrs[0]], instr.dtype, left, right)

    def _fold_lanes(self, number: int, operand: Operand) -> Operand:
        """Combine 16 lanes by halves: 0 with 8, 1 with 9, …, then 0 with 4, and so on."""
        half = LANES // 2
        while half:
            high = scalar.pack([self.f.shuffle(part, part, range(half, 2 * half)) for part in scalar.unpack(operand)])
            low = scalar.pack([self.f.shuffle(part, part, range(half)) for part in scalar.unpack(operand)])
            operand = self._combine(number, low, high)
            half //= 2
        return operand

    def _add_totals(self, reductions: list[int], totals: Sequence[Value], folded: list[Operand], width: int) -> list[Value]:
        result: list[Value] = []
        position = 0
        for number, item in zip(reductions, folded, strict=True):
            instr, wide = self.body[number], self._total_dtype(number)
            count = len(scalar.register_types(wide, 1))
            total = scalar.pack(list(totals[position : position + count]))
            position += count
            item = scalar.cast(self.f, item, instr.dtype, wide)
            result += scalar.unpack(scalar.emit(self.f, COMBINE[instr.attrs[0]], wide, total, item))
        return result

    def _finish_totals(self, reductions: list[int], totals: Sequence[Value], width: int) -> None:
        position = 0
        for number in reductions:
            wide = self._total_dtype(number)
            count = len(scalar.register_types(wide, 1))
            total = scalar.pack(list(totals[position : position + count]))
            position += count
            if width > 1 and not self._is_vector(number):  # all lanes are alike
                total = scalar.pack([self.f.extract(part, 0) for part in scalar.unpack(total)])
            self.values[number] = scalar.cast(self.f, total, wide, self.body[number].dtype)

    # -- columns ---------------------------------------------------------------------------------------------------

    @property
    def _run_digits(self) -> list[int]:
        return list(range(self.spec.digits - self.spec.run, self.spec.digits))

    def _emit_column(self) -> None:
        f, spec = self.f, self.spec
        outer = list(range(spec.outer))
        extent = self.extents[self.vector_digit]
        blocks = f.binary("udiv", f.add(extent, self.width - 1), i64(self.width))
        known = dict(self.values)
        self._allocate_lanes()
        with f.loop(self.begin, self.end) as tiles:
            row = f.binary("udiv", tiles.index, blocks)
            block = f.sub(tiles.index, f.mul(row, blocks))
            self._unravel(row, outer)
            first = f.mul(block, i64(self.width))
            self.digit_values[self.vector_digit] = first
            mask = self._mask(f.sub(extent, first))
            done: set[int] = set()
            self._hoist(self.width, mask, 0, done)
            for phase in range(self.phases):
                self._column_phase(phase, mask)
                self._hoist(self.width, mask, phase + 1, done)
            self.values = dict(known)
            self.digit_values.clear()

    def _mask(self, left: Value) -> Value | None:
        """The lanes that are still inside, of a vector of results."""
        return self.f.lane_mask(left, self.width) if self.width > 1 else None

    def _allocate_lanes(self) -> None:
        """Memory for the 16 lanes of each reduction, each a vector of neighbouring results."""
        self.lanes: dict[int, list[tuple[Value, str]]] = {}
        for number, instr in enumerate(self.body):
            if instr.op == "reduce":
                types = scalar.register_types(instr.dtype, self.width)
                memory = [type.replace("i1", "i8") if type.endswith(("i1", "i1>")) else type for type in types]
                self.lanes[number] = [(self.f.alloca(type, LANES), type) for type in memory]

    def _column_phase(self, phase: int, mask: Value | None) -> None:
        f, spec = self.f, self.spec
        reductions, stores = self._wanted(phase)
        if not reductions and not stores:
            return
        totals = [part for number in reductions for part in self._total_identity(number, self.width)]
        first_reduced = spec.digits - spec.reduced - spec.run
        with ExitStack() as stack:
            loops = []
            for digit in range(first_reduced, first_reduced + spec.reduced):
                loop = stack.enter_context(f.loop(0, self.extents[digit], 1, totals))
                self.digit_values[digit] = loop.index
                totals = loop.carried
                loops.append(loop)
            length = self._run_length()
            with f.loop(0, length, CHUNK, totals) as chunks:
                last = f.intrinsic("smin", f.add(chunks.index, CHUNK), length)
                folded = self._column_chunk(reductions, stores, chunks.index, last, mask)
                chunks.carry(*self._add_totals(reductions, chunks.carried, folded, self.width))
            totals = chunks.carried
            for loop in reversed(loops):
                loop.carry(*totals)
                totals = loop.carried
        self._finish_totals(reductions, totals, self.width)

    def _run_length(self) -> Value:
        length = i64(1)
        for digit in self._run_digits:
            length = self.f.mul(length, self.extents[digit])
        return length

    def _column_chunk(self, reductions: list[int], stores: list[int], first: Value, last: Value, mask: Value | None) -> list[Operand]:
        f = self.f
        if reductions:
            with f.loop(0, LANES) as lanes:
                for number in reductions:
                    for (memory, type), part in zip(self.lanes[number], self._lane_identity(number, self.width), strict=True):
                        f.store(self._to_lane(part, type), self._lane(memory, lanes.index, type), align=64)
        with f.loop(first, last) as positions:
            self._unravel(positions.index, self._run_digits)
            known = dict(self.values)
            for number in stores:
                self._require(self.body[number].args[0], self.width, mask)
                self._store(number, self.width, mask)
            lane = f.binary("and", positions.index, i64(LANES - 1))
            for number in reductions:
                source = self.body[number].args[0]
                self._require(source, self.width, mask)
                places = [self._lane(memory, lane, type) for memory, type in self.lanes[number]]
                before = scalar.pack(
                    [
                        self._from_lane(f.load(place, type, align=64), number)
                        for place, (_, type) in zip(places, self.lanes[number], strict=True)
                    ]
                )
                after = scalar.unpack(self._combine(number, before, self._widened(source, self.width)))
                for place, part, (_, type) in zip(places, after, self.lanes[number], strict=True):
                    f.store(self._to_lane(part, type), place, align=64)
            self.values = known
        return [self._fold_memory(number) for number in reductions]

    def _lane(self, memory: Value, lane: Value, type: str) -> Value:
        return self.f.value(f"getelementptr {type}, ptr {memory.text}, i64 {lane.text}", "ptr")

    def _to_lane(self, part: Value, type: str) -> Value:
        return self.f.cast("zext", part, type) if part.element == "i1" else part

    def _from_lane(self, part: Value, number: int) -> Value:
        return self.f.compare("ne", part, 0) if self.body[number].dtype is dt.bool else part

    def _fold_memory(self, number: int) -> Operand:
        """Combine the 16 lanes in memory by halves, as ``_fold_lanes`` does."""
        f = self.f
        half = LANES // 2
        while half:
            with f.loop(0, half) as lanes:
                low = [self._lane(memory, lanes.index, type) for memory, type in self.lanes[number]]
                high = [self._lane(memory, f.add(lanes.index, half), type) for memory, type in self.lanes[number]]
                types = [type for _, type in self.lanes[number]]
                left = scalar.pack([self._from_lane(f.load(place, type, align=64), number) for place, type in zip(low, types, strict=True)])
                right = scalar.pack(
                    [self._from_lane(f.load(place, type, align=64), number) for place, type in zip(high, types, strict=True)]
                )
                for place, part, type in zip(low, scalar.unpack(self._combine(number, left, right)), types, strict=True):
                    f.store(self._to_lane(part, type), place, align=64)
            half //= 2
        return scalar.pack([self._from_lane(f.load(memory, type, align=64), number) for memory, type in self.lanes[number]])

    # -- split reductions ------------------------------------------------------------------------------------------

    def _emit_split(self) -> None:
        """A tile is one chunk of one result (or of 16 neighbouring results); its folded lanes go to the partials."""
        f, spec = self.f, self.spec
        column = spec.mode == "column"
        known = dict(self.values)
        if column:
            self._allocate_lanes()
        extent = self._run_length() if column else self.extents[self.vector_digit]
        chunks = f.binary("udiv", f.add(extent, CHUNK - 1), i64(CHUNK))
        first_reduced = spec.digits - spec.reduced - spec.run
        reduced = list(range(first_reduced, first_reduced + spec.reduced))
        blocks = f.binary("udiv", f.add(self.extents[self.vector_digit], self.width - 1), i64(self.width)) if column else i64(1)
        results = blocks
        for digit in range(spec.outer):
            results = f.mul(results, self.extents[digit])
        with f.loop(self.begin, self.end) as tiles:
            part = f.binary("udiv", tiles.index, results)  # which chunk, counted over the outer reduced digits as well
            place = f.sub(tiles.index, f.mul(part, results))
            row = place
            mask = None
            if column:
                row = f.binary("udiv", place, blocks)
                start = f.mul(f.sub(place, f.mul(row, blocks)), i64(self.width))
                self.digit_values[self.vector_digit] = start
                mask = self._mask(f.sub(self.extents[self.vector_digit], start))
            self._unravel(row, list(range(spec.outer)))
            line = f.binary("udiv", part, chunks)
            first = f.mul(f.sub(part, f.mul(line, chunks)), i64(CHUNK))
            self._unravel(line, reduced)
            last = f.intrinsic("smin", f.add(first, CHUNK), extent)
            self._hoist(self.width if column else 1, mask, 0, set())
            reductions, stores = self._wanted(0)
            if column:
                folded = self._column_chunk(reductions, stores, first, last, mask)
            else:
                folded = self._row_chunk(0, reductions, stores, first, last)
            for position, (number, item) in enumerate(zip(reductions, folded, strict=True)):
                self._store_partial(position, number, item, part, row, mask)
            self.values = dict(known)
            self.digit_values.clear()

    def _store_partial(self, position: int, number: int, item: Operand, part: Value, row: Value, mask: Value | None) -> None:
        f = self.f
        at = self.parameters.partial + 3 * position
        base = f.offset(f.load(f.offset(self.table, self._param(at), "ptr"), "ptr"), self._param(at + 1), "i8")
        linear = f.mul(part, self._param(at + 2))
        if self.spec.mode == "column":
            linear = f.add(linear, f.add(f.mul(row, self.extents[self.vector_digit]), self.digit_values[self.vector_digit]))
        else:
            linear = f.add(linear, row)
        of = self.body[number].dtype
        scalar.store(f, item, self._element(base, linear, of), of, mask)

    # -- instructions ----------------------------------------------------------------------------------------------

    def _element(self, base: Value, index: Value, of: DType) -> Value:
        return self.f.offset(base, index if not of.is_complex else self.f.mul(index, i64(2)), scalar.memory_type(of))

    def _affine(self, access: int, *, without_vector: bool = False) -> Value:
        """The access at the present digits: an element index, or the number itself."""
        f = self.f
        total = None if self.spec.accesses[access].dtype is not None else self.bases[access]
        for digit, stride in self.strides[access].items():
            if without_vector and digit == self.vector_digit and self.spec.accesses[access].vector != 1:
                continue
            unit = digit == self.vector_digit and self.spec.accesses[access].vector == 1
            value = self.digit_values[digit]
            term = value if unit else f.mul(value, stride)
            total = term if total is None else f.add(total, term)
        return total if total is not None else i64(0)

    def _coordinates(self, access: int, width: int) -> Value:
        """An affine number in each lane (or the scalar, where the lanes do not differ)."""
        f = self.f
        value = self._affine(access)
        kind = self.spec.accesses[access].vector
        if width == 1 or kind == 0:
            return value
        lanes = constant_vector("i64", range(width))
        if kind == 2:
            lanes = f.mul(lanes, f.splat(self.strides[access][self.vector_digit], width))
        return f.add(f.splat(value, width), lanes)

    def _arguments(self, number: int, width: int) -> list[Operand]:
        """The operands of an instruction in registers of one width."""
        result = []
        for argument in self.body[number].args:
            value = self.values[argument]
            if scalar.unpack(value)[0].width != width:
                value = scalar.splat(self.f, value, self.body[argument].dtype, width)
            result.append(value)
        return result

    def _compute(self, number: int, width: int, mask: Value | None) -> Operand:
        f, instr = self.f, self.body[number]
        if width == 1:
            mask = None
        if instr.op == "load":
            return self._load(number, width, mask)
        if instr.op == "index":
            return self._coordinates(instr.attrs[0], width)
        if instr.op == "constant":
            return scalar.splat_constant(instr.dtype, instr.attrs[0], 1)
        if instr.op == "number":
            place = f.offset(f.load(f.offset(self.table, 1, "ptr"), "ptr"), self.extras[number][0], "i64")
            return scalar.load(f, place, instr.dtype, 1)
        operands = self._arguments(number, width)
        if instr.op == "cast":
            return scalar.cast(f, operands[0], self.body[instr.args[0]].dtype, instr.dtype)
        if instr.op == "gather":
            return self._gather(number, operands, width, mask)
        name = instr.attrs[0]
        if name == "copy":
            return operands[0]
        if name == "where":
            condition = operands[0]
            assert isinstance(condition, Value)
            return scalar.select(f, condition, operands[1], operands[2])
        return scalar.emit(f, name, self.body[instr.args[0]].dtype, *operands)

    def _load(self, number: int, width: int, mask: Value | None) -> Operand:
        f, instr = self.f, self.body[number]
        access, bounds = instr.attrs
        for bound, extent in zip(bounds, self.extras.get(number, ()), strict=True):
            coordinate = self._coordinates(bound, width)
            if coordinate.width != width:
                coordinate = f.splat(coordinate, width)
            inside = f.compare("ult", coordinate, f.splat(extent, width))
            mask = inside if mask is None else f.binary("and", mask, inside)
        kind = self.spec.accesses[access].vector
        pointer = self._element(self.bases[access], self._affine(access), instr.dtype)
        if width == 1:
            return scalar.load(f, pointer, instr.dtype, 1, mask)
        if kind == 1:
            return scalar.load(f, pointer, instr.dtype, width, mask)
        if kind == 0:  # every lane reads the same element, but a bound may keep some from reading it
            lanes = f.splat(i64(0), width)
            return scalar.load_strided(f, pointer, lanes, instr.dtype, width, mask)
        return scalar.load_strided(f, pointer, self._lane_steps(access, width), instr.dtype, width, mask)

    def _lane_steps(self, access: int, width: int) -> Value:
        lanes = constant_vector("i64", range(width))
        return self.f.mul(lanes, self.f.splat(self.strides[access][self.vector_digit], width))

    def _gather(self, number: int, indices: list[Operand], width: int, mask: Value | None) -> Operand:
        f, instr = self.f, self.body[number]
        access = instr.attrs[0]
        address = self._coordinates_in_memory(access, width)
        for index, stride in zip(indices, self.extras.get(number, ()), strict=True):
            assert isinstance(index, Value)
            term = f.mul(index, f.splat(stride, width))
            address = f.add(address, term)
        if width == 1:
            return scalar.load(f, self._element(self.bases[access], address, instr.dtype), instr.dtype, 1)
        if mask is not None:  # lanes beyond the end may hold any index
            address = f.select(mask, address, constant(address.type, 0))
        return scalar.load_strided(f, self.bases[access], address, instr.dtype, width, mask)

    def _coordinates_in_memory(self, access: int, width: int) -> Value:
        f = self.f
        value = self._affine(access)
        if width == 1:
            return value
        kind = self.spec.accesses[access].vector
        spread = f.splat(value, width)
        if kind == 0:
            return spread
        lanes = constant_vector("i64", range(width)) if kind == 1 else self._lane_steps(access, width)
        return f.add(spread, lanes)

    def _store(self, number: int, width: int, mask: Value | None) -> None:
        f, instr = self.f, self.body[number]
        access = instr.attrs[0]
        kind = self.spec.accesses[access].vector
        if kind == 0:
            width = 1
        value = self._arguments(number, width)[0]
        pointer = self._element(self.bases[access], self._affine(access), instr.dtype)
        if width == 1:
            scalar.store(f, value, pointer, instr.dtype)
        elif kind == 1:
            scalar.store(f, value, pointer, instr.dtype, mask)
        else:
            scalar.store_strided(f, value, pointer, self._lane_steps(access, width), instr.dtype, mask)


@lru_cache(maxsize=256)
def combine_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """Adds up the partial results of a split reduction: ``out[i] = fold over j of partial[j * results + i]``.

    Parameters: ``[slot, byte offset of the partials, parts, results, slot, byte offset of the results]``; a tile is one result.
    """
    module = Module(features)
    f = module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )
    table, params, begin, end, _ = f.parameters
    words = [f.load(f.offset(params, position, "i64"), "i64") for position in range(6)]
    source = f.offset(f.load(f.offset(table, words[0], "ptr"), "ptr"), words[1], "i8")
    target = f.offset(f.load(f.offset(table, words[4], "ptr"), "ptr"), words[5], "i8")
    wide = of
    if kind in ("sum", "prod") and of.category >= dt.FLOAT:
        wide = dt.complex128 if of.is_complex else dt.float64
    pair = 2 if of.is_complex else 1
    element = scalar.memory_type(of)
    with f.loop(begin, end) as tiles:
        start = scalar.unpack(scalar.splat_constant(wide, scalar.identity(kind, wide), 1))
        with f.loop(0, words[2], 1, start) as parts:
            index = f.add(f.mul(parts.index, words[3]), tiles.index)
            item = scalar.load(f, f.offset(source, f.mul(index, i64(pair)), element), of, 1)
            total = scalar.emit(f, COMBINE[kind], wide, scalar.pack(parts.carried), scalar.cast(f, item, of, wide))
            parts.carry(*scalar.unpack(total))
        result = scalar.cast(f, scalar.pack(parts.carried), wide, of)
        scalar.store(f, result, f.offset(target, f.mul(tiles.index, i64(pair)), element), of)
    f.ret()
    return finish(module)

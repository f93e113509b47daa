"""What a loop kernel does at one place: the instructions of a spec at the present digits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

from flambeau._codegen import near, scalar
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64
from flambeau._codegen.loops import guards, interleaved, magnitudes, spreading, staging, tables, turned
from flambeau._codegen.loops.spec import EFFECTS, REVERSED, Instr, LoopSpec, Parameters, accesses_of, bounds_of
from flambeau._codegen.scalar import Operand
from flambeau._types import dtype as dtypes
from flambeau._types.dtype import dtype as DType

Stand = tuple[dict[int, Value], dict[int, Value], frozenset[int]]
"""Where accesses start, and the rows of gathers, while some digits stay."""
EVERYTHING, LINES, NOTHING = "everything", "lines", "nothing"
"""See ``Body.checked``."""


class Body:
    """The kernel that is being written, and what is known at the present place of its loops.

    Attributes:
        values: the instructions whose values are known
        places: the value of each digit (of the vector digit that of the first lane)
        depends: for each instruction the digits that it depends on
        phase: for each instruction the phase in which it is known; what uses a reduction's result is one phase later
        checked: which coordinates may be out of bounds at the present place: ``EVERYTHING``, ``LINES`` (those that are the same for all lanes) or ``NOTHING``
    """

    def __init__(self, module: Module, spec: LoopSpec) -> None:
        self.spec = spec
        self.f: Builder = module.function(
            "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
        )
        self.table, self.params, self.begin, self.end, self.scratch = self.f.parameters
        self.parameters = Parameters(spec)
        self.instructions = spec.body
        self.vector_digit = spec.vector_digit
        self.inner = frozenset(spec.reduced_digits) | frozenset(spec.run_digits)
        self.checked = EVERYTHING
        self.once: dict[tuple[int, tuple[int, ...]], Operand] = {}  # see ``window.once_a_line``
        self.values: dict[int, Operand] = {}
        self.places: dict[int, Value] = {}
        self.starts: dict[int, Value] = {}  # where accesses start, see ``along``
        self.rows: dict[int, Value] = {}  # the same of gathers whose indices stay where they are
        self.fixed: frozenset[int] = frozenset()
        self.spreads: dict[int, Operand] = {}  # values of one lane in a register of lanes, see ``spreading``
        self.across: dict[int, Value] = {}  # rows of transposed blocks, for loads across the vector digit
        self.squares: dict[int, Value] = {}  # of loads and stores, see ``turned``
        self.plans: dict[tuple[str, DType], near.Plan] | None = (
            None  # by the name of the index and what is gathered, see ``tables.planning``
        )
        self.straight: Value | None = None  # how far places are behind what a table says, where it goes straight on
        self.masks: dict[str, Value] = {}  # conditions that all lanes share as masks of bits, by their names
        self.staged: dict[int, tuple[Value, Value]] = {}  # where the copies of staged gathers start, and how long their rows are
        self.kept: frozenset[int] = frozenset()  # conditions that are known to hold, see ``maps.choices``
        self.counts: dict[str, Value] = {}  # how many lanes a mask keeps that keeps the first, by its name
        self.read_again: dict[str, Value] = {}  # where the lanes of an index lie in memory, by the name of its value
        self._analyse()
        self._read_parameters()
        for number in self.known_at(frozenset(), 0):
            self.values[number] = self.compute(number, 1, None)

    # -- what depends on what --------------------------------------------------------------------------------------

    def _analyse(self) -> None:
        self.depends: list[frozenset[int]] = []
        self.phase: list[int] = []
        for instr in self.instructions:
            digits: frozenset[int] = frozenset()
            phase = 0
            for argument in instr.args:
                digits |= self.depends[argument]
                phase = max(phase, self.phase[argument] + (self.instructions[argument].op == "reduce"))
            for access in accesses_of(instr):
                digits |= {digit for digit, depends in enumerate(self.spec.accesses[access].digits) if depends}
            if instr.op == "reduce":
                digits -= self.inner
            self.depends.append(digits)
            self.phase.append(phase)
        self.phases = 1 + max(self.phase, default=0)
        self.guards = guards.find(self)

    def is_inner(self, number: int) -> bool:
        """Whether an instruction must be done at every position of the reduced digits."""
        return self.instructions[number].op == "reduce" or bool(self.depends[number] & self.inner)

    def is_vector(self, number: int) -> bool:
        """Whether an instruction's value differs from lane to lane."""
        return self.vector_digit in self.depends[number]

    def wanted(self, phase: int) -> tuple[list[int], list[int]]:
        """The reductions, and the effects at every position, that are due in a phase."""
        due = [number for number in range(len(self.instructions)) if self.phase[number] == phase and self.is_inner(number)]
        reductions = [number for number in due if self.instructions[number].op == "reduce"]
        return reductions, [number for number in due if self.instructions[number].op in EFFECTS]

    def needed(self, numbers: Iterable[int], known: Iterable[int] = ()) -> list[int]:
        """What ``numbers`` are computed from and is not known yet, in order."""
        found: set[int] = set(self.values) | set(known)
        stop = set(found)
        stack = [argument for number in numbers for argument in self.instructions[number].args]
        while stack:
            number = stack.pop()
            if number not in found:
                found.add(number)
                if self.instructions[number].op != "reduce":
                    stack.extend(self.instructions[number].args)
        return sorted(found - stop)

    def known_at(self, digits: frozenset[int], phase: int) -> list[int]:
        """Instructions (but effects and reductions) that are not known yet and depend on nothing but ``digits``, by the end of a phase."""
        return [
            number
            for number, instr in enumerate(self.instructions)
            if instr.op not in (*EFFECTS, "reduce")
            and number not in self.values
            and self.phase[number] <= phase
            and self.depends[number] <= digits
        ]

    # -- parameters ------------------------------------------------------------------------------------------------

    def parameter(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.params, position, "i64"), "i64")

    def buffer(self, position: int) -> Value:
        """The address that the slot and the byte offset at ``position`` say."""
        slot = self.f.load(self.f.offset(self.table, self.parameter(position), "ptr"), "ptr")
        return self.f.offset(slot, self.parameter(position + 1), "i8")

    def _read_parameters(self) -> None:
        self.extents = [self.parameter(digit) for digit in range(self.spec.digits)]
        if self.spec.window:
            self.extents[-len(self.spec.window) :] = map(i64, self.spec.window)
        for digit, extent in zip(self.spec.woven_digits, self.spec.woven, strict=True):
            self.extents[digit] = i64(extent)
        self.bases: list[Value] = []
        self.strides: list[dict[int, Value]] = []
        for access, (start, strides) in zip(self.spec.accesses, self.parameters.access, strict=True):
            self.bases.append(self.parameter(start + 1) if access.dtype is None else self.buffer(start))
            self.strides.append({digit: self.parameter(position) for digit, position in strides.items()})
        has_numbers = any(instr.op == "number" for instr in self.instructions)
        self.numbers = self.f.load(self.f.offset(self.table, 1, "ptr"), "ptr") if has_numbers else None
        self.streams = {number: self.f.compare("ne", self.parameter(position), 0) for number, position in self.parameters.streams.items()}
        self.extras = {
            number: [self.parameter(position + each) for each in range(_extra_count(self.instructions[number]))]
            for number, position in self.parameters.extra.items()
        }

    def product(self, digits: Iterable[int]) -> Value:
        """How many places some digits have."""
        total = i64(1)
        for digit in digits:
            total = self.extents[digit] if total.text == "1" else self.f.mul(total, self.extents[digit])
        return total

    def unravel(self, linear: Value, digits: Sequence[int]) -> None:
        """Set the places of digits (outermost first) from their row-major position."""
        f = self.f
        for digit in reversed(digits[1:]):
            quotient = f.binary("udiv", linear, self.extents[digit])
            self.places[digit] = f.sub(linear, f.mul(quotient, self.extents[digit]))
            linear = quotient
        if digits:
            self.places[digits[0]] = linear

    # -- instructions ----------------------------------------------------------------------------------------------

    def require(self, number: int, width: int, mask: Value | None) -> None:
        """Make sure that an instruction and all that it needs are computed at the present place."""
        if number not in self.values:
            for argument in self.instructions[number].args:
                self.require(argument, width, mask)
            self.values[number] = self.compute(number, width if self.is_vector(number) else 1, mask)

    def is_spread(self, number: int) -> bool:
        """Whether all that uses an instruction's one value uses it in each lane."""
        users = [user for user, instr in enumerate(self.instructions) if number in instr.args]
        return bool(users) and all(self.is_vector(user) and self.instructions[user].op in ("map", "cast") for user in users)

    def widened(self, number: int, width: int) -> Operand:
        """An instruction's value in so many lanes."""
        return self.spread(number, self.values[number], width)

    def spread(self, number: int, value: Operand, width: int) -> Operand:
        if scalar.unpack(value)[0].width == width:
            return value
        held = self.spreads.get(number)
        return spreading.repeated(self, held, width) if held else scalar.splat(self.f, value, self.instructions[number].dtype, width)

    def compute(self, number: int, width: int, mask: Value | None) -> Operand:
        """The value of an instruction whose arguments are known."""
        f, instr = self.f, self.instructions[number]
        if width == 1:
            mask = None
        if instr.op == "load":
            return self._load(number, width, mask)
        if instr.op == "index":
            return self._coordinates(instr.attrs[0], width)
        if instr.op == "inside":
            inside = self.inside(number, width)
            return constant("i1", 1) if inside is None else inside
        if instr.op == "constant":
            return scalar.splat_constant(instr.dtype, instr.attrs[0], 1)
        if instr.op == "number":
            assert self.numbers is not None
            return scalar.load(f, f.offset(self.numbers, self.extras[number][0], "i64"), instr.dtype, 1)
        if number in self.guards:
            return guards.holds(self, instr, width)
        if instr.args[0] in self.guards:
            return guards.safe_index(self, instr, width, mask)
        operands = [self.widened(argument, width) for argument in instr.args]
        if instr.op == "cast":
            return scalar.cast(f, operands[0], self.instructions[instr.args[0]].dtype, instr.dtype)
        if instr.op == "gather":
            return self._gather(number, operands, width, mask)
        name = instr.attrs[0]
        if name == "copy":
            return operands[0]
        if name == "where":
            condition, otherwise, shared = operands[0], self.instructions[instr.args[2]], self.values[instr.args[0]]
            assert isinstance(condition, Value) and isinstance(shared, Value)
            is_zero = otherwise.op == "constant" and str(otherwise.attrs[-1]) in ("0", "0.0")
            if instr.args[0] in self.kept:
                return operands[1]
            if width > 1 and is_zero and shared.text in self.masks:
                return scalar.keep_if(f, self.masks[shared.text], operands[1])
            return scalar.select(f, condition, operands[1], operands[2])
        if (fading := magnitudes.compute(self, name, instr.args[0], operands[0])) is not None:
            return scalar.round_to(f, fading, instr.dtype)
        found = scalar.emit(f, name, self.instructions[instr.args[0]].dtype, *operands)
        if width == 1:
            self.note_mask(number, found)
        return found

    def note_mask(self, number: int, value: Operand) -> None:
        """Remember a condition that all lanes share as a mask, where masks have no registers."""
        if self.instructions[number].dtype is dtypes.bool and "avx512f" not in self.f.module.features:
            assert isinstance(value, Value)
            self.masks[value.text] = self.f.cast("sext", value, "i64")

    # -- memory ----------------------------------------------------------------------------------------------------

    def element(self, base: Value, index: Value, of: DType) -> Value:
        """The address of an element of an array."""
        return self.f.offset(base, index if not of.is_complex else self.f.mul(index, i64(2)), scalar.memory_type(of))

    def stand(self, digits: Iterable[int]) -> Stand:
        """What some digits (all that did so outside, and others), which stay where they are, add to addresses: computed here, once."""
        digits = frozenset(digits)
        starts = {}
        for number, access in enumerate(self.spec.accesses):
            if access.dtype is not None and any(access.digits[digit] for digit in digits):
                before, rest = (self.starts[number], digits - self.fixed) if number in self.starts else (self.bases[number], digits)
                starts[number] = self.element(before, self.affine(number, rest), access.dtype)
        rows = {number: self._row(number, digits) for number, instr in enumerate(self.instructions) if self._is_row(instr)}
        return starts, rows, digits

    @contextmanager
    def standing(self, stand: Stand) -> Iterator[None]:
        """Inside, digits stay where they were for ``stand``."""
        outside = self.starts, self.rows, self.fixed
        self.starts, self.rows, self.fixed = stand
        yield
        self.starts, self.rows, self.fixed = outside

    @contextmanager
    def along(self, digits: Iterable[int]) -> Iterator[None]:
        """Inside, some digits (all that did so outside, and others) stay where they are."""
        with self.standing(self.stand(digits)):
            yield

    def pointer(self, access: int) -> Value:
        """The address that an access reads or writes at the present place (of its first lane)."""
        of = self.spec.accesses[access].dtype
        assert of is not None
        if access in self.starts:
            return self.element(self.starts[access], self.affine(access, self.strides[access].keys() - self.fixed), of)
        return self.element(self.bases[access], self.affine(access), of)

    def affine(self, access: int, digits: Container[int] | None = None) -> Value:
        """An access at the present place: an element's index, or the number itself; or what some digits add to it."""
        f = self.f
        total = None if self.spec.accesses[access].dtype is not None else self.bases[access]
        for digit, stride in self.strides[access].items():
            if digits is not None and digit not in digits:
                continue
            unit = digit == self.vector_digit and self.spec.accesses[access].vector == 1
            term = self.places[digit] if unit else f.mul(self.places[digit], stride)
            total = term if total is None else f.add(total, term)
        return total if total is not None else i64(0)

    def _lane_steps(self, access: int, width: int) -> Value:
        """How far each lane lies from the first."""
        kind = self.spec.accesses[access].vector
        lanes = constant_vector("i64", range(width))
        if kind > 0:
            return constant_vector("i64", range(0, kind * width, kind))
        return self.f.mul(lanes, self.f.splat(self.strides[access][self.vector_digit], width))

    def _coordinates(self, access: int, width: int) -> Value:
        """An affine number in each lane (one lane, where they do not differ)."""
        value = self.affine(access)
        if width == 1 or self.spec.accesses[access].vector == 0:
            return value
        return self.f.add(self.f.splat(value, width), self._lane_steps(access, width))

    def inside(self, number: int, width: int) -> Value | None:
        """Whether the coordinates of each lane are in their bounds (one lane, where all are alike); ``None`` if they are known to be."""
        f = self.f
        found = None
        for bound, extent in zip(bounds_of(self.instructions[number]), self.extras.get(number, ()), strict=True):
            if self.checked == NOTHING or (self.checked == LINES and self.spec.accesses[bound].vector != 0):
                continue
            coordinate = self._coordinates(bound, width)
            here = f.compare("ult", coordinate, f.splat(extent, coordinate.width) if coordinate.width > 1 else extent)
            found = here if found is None else self._both(found, here)
        return found

    def _both(self, one: Value, other: Value) -> Value:
        """Whether two conditions hold, of which one may be the same for all lanes."""
        width = max(one.width, other.width)
        one, other = (each if each.width == width else self.f.splat(each, width) for each in (one, other))
        return self.f.binary("and", one, other)

    def _load(self, number: int, width: int, mask: Value | None) -> Operand:
        if number in self.squares:
            return scalar.load(self.f, turned.line(self, number), self.instructions[number].dtype, width)
        if number in self.across:
            return scalar.load(self.f, self.across[number], self.instructions[number].dtype, width)
        inside = self.inside(number, width)
        if inside is not None and inside.width == 1 < width:
            return self._load_if(inside, number, width, mask)
        if inside is not None:
            mask = self._both(mask, inside) if mask is not None else inside
        return self._load_inside(number, width, mask, inside is not None)

    def _load_if(self, inside: Value, number: int, width: int, mask: Value | None) -> Operand:
        """What is the same for all lanes is a branch: masked loads take several times as long, and of all that lies outside of an image nothing is
        read."""
        f, types = self.f, scalar.register_types(self.instructions[number].dtype, width)
        found = [f.alloca(type) for type in types]
        for place, type in zip(found, types, strict=True):
            f.store(constant(type, 0), place)
        with f.when(inside):
            for part, place in zip(scalar.unpack(self._load_inside(number, width, mask, False)), found, strict=True):
                f.store(part, place)
        return scalar.pack([f.load(place, type) for place, type in zip(found, types, strict=True)])

    def _load_inside(self, number: int, width: int, mask: Value | None, is_bounded: bool) -> Operand:
        """Load where a place is in bounds, or (``is_bounded``) where ``mask`` says that it is."""
        f, instr = self.f, self.instructions[number]
        access = instr.attrs[0]
        kind, pointer = self.spec.accesses[access].vector, self.pointer(access)
        if kind == 0 and width > 1 and not is_bounded:
            return scalar.splat(f, scalar.load(f, pointer, instr.dtype, 1), instr.dtype, width)
        if width == 1 or kind == 1:
            return scalar.load(f, pointer, instr.dtype, width, mask)
        if kind == 0:  # every lane reads the same element, but a bound may keep some from reading it
            return scalar.load_strided(f, pointer, f.splat(i64(0), width), instr.dtype, width, mask)
        if kind == REVERSED:
            return self._load_reversed(pointer, instr.dtype, width, mask)
        count = self.counts.get(mask.text) if mask is not None and "avx512f" not in f.module.features else None
        if count is not None:
            return scalar.load_each(f, self._each(access, pointer, width, count), instr.dtype)
        if kind > 1 and not instr.dtype.is_complex:
            return interleaved.load(f, pointer, kind, instr.dtype, width, mask)
        if self._is_each(mask):
            return scalar.load_each(f, self._each(access, pointer, width), instr.dtype)
        return scalar.load_strided(f, pointer, self._lane_steps(access, width), instr.dtype, width, mask)

    def _is_each(self, mask: Value | None) -> bool:
        """Whether lanes that lie apart are loaded and stored one by one, at addresses that are numbers: without fast gathers a vector of addresses is taken apart
        again. (The statistics of channels, 8 to a group, were most of a small group norm with the channels innermost on two threads.)"""
        return mask is None and "fast-gather" not in self.f.module.features

    def _each(self, access: int, pointer: Value, width: int, count: Value | None = None) -> list[Value]:
        """The address of each lane from that of the first; that of the first for lanes from ``count`` on. (Masks are a branch for each element that a vector of
        every fourth spans: a line of four halves took 140 ns.)"""
        f = self.f
        of, kind = self.spec.accesses[access].dtype, self.spec.accesses[access].vector
        assert of is not None
        step = i64(kind) if kind > 0 else self.strides[access][self.vector_digit]
        steps = [f.mul(step, i64(lane)) for lane in range(width)]
        if count is not None:
            steps = [f.select(f.compare("sgt", count, i64(lane)), each, i64(0)) for lane, each in enumerate(steps)]
        return [self.element(pointer, each, of) for each in steps]

    def _load_reversed(self, pointer: Value, of: DType, width: int, mask: Value | None) -> Operand:
        """The elements that end at ``pointer``, the last of them first."""
        f = self.f
        lanes = range(width - 1, -1, -1)
        mask = f.shuffle(mask, mask, lanes) if mask is not None else None
        value = scalar.load(f, self.element(pointer, i64(1 - width), of), of, width, mask)
        return scalar.pack([f.shuffle(part, part, lanes) for part in scalar.unpack(value)])

    def _gather(self, number: int, indices: list[Operand], width: int, mask: Value | None) -> Operand:
        if width > 1 and not any(self.is_vector(argument) for argument in self.instructions[number].args):
            return self._gather_row(number, width, mask)
        otherwise = lambda: self._gather_lanes(number, indices, width, mask)
        is_by_table = width == near.WIDTH and tables.place(self, number) is not None
        if is_by_table and self.straight is not None:
            return tables.straight_on(self, number, width)
        return tables.gather(self, number, mask, otherwise) if is_by_table else otherwise()

    def _gather_lanes(self, number: int, indices: list[Operand], width: int, mask: Value | None) -> Operand:
        f, instr = self.f, self.instructions[number]
        access = instr.attrs[0]
        if width > 1 and mask is None:
            self._ask_for_next_row(number)
            if "fast-gather" not in f.module.features:
                return self._gather_each(number, indices, width)
        if width > 1 and number in self.staged:
            return staging.gather(self, number, indices[0], width, mask)
        steps = [self._lane_steps(access, width)] if width > 1 and self.spec.accesses[access].vector != 0 else []
        for index, stride, is_near in zip(indices, self.extras.get(number, ()), instr.attrs[2], strict=True):
            assert isinstance(index, Value)
            steps.append(index if is_near else f.mul(index, f.splat(stride, width)))
        address = reduce(f.add, steps)
        if width == 1:
            return scalar.load(f, self.element(self.pointer(access), address, instr.dtype), instr.dtype, 1)
        if mask is not None:  # lanes beyond the end may hold any index
            address = f.select(mask, address, constant(address.type, 0))
        return scalar.load_strided(f, self.pointer(access), address, instr.dtype, width, mask)

    def _ask_for_next_row(self, number: int) -> None:
        """Ask for a line of the row that a gather reads next, if each row has one of its own and indices within it: where they point to nobody else can
        foresee. (4096 x 1024 by columns: 2.5 to 2.0 ms, 34 GB/s.)"""
        f, (access, _, near), row = self.f, self.instructions[number].attrs, self.spec.outer - 1
        has_own = row in self.strides[access] and self.vector_digit not in self.strides[access] and number not in self.staged
        if has_own and near == (True,) and row in self.depends[self.instructions[number].args[0]]:
            ahead = f.add(self.strides[access][row], self.places[self.vector_digit])
            f.prefetch(self.element(self.pointer(access), ahead, self.instructions[number].dtype))

    def _gather_each(self, number: int, indices: list[Operand], width: int) -> Operand:
        """Elements one by one: without AVX-512 there are no products of 64-bit lanes, and loads through vectors of addresses are slow there and on Zen 4 (a
        million elements of a table of 1000: 0.41 ms so, 0.51 to 0.72 by gathers)."""
        f, instr = self.f, self.instructions[number]
        access, _, near = instr.attrs
        start, strides = staging.source(self, number) if number in self.staged else (self.pointer(access), self.extras.get(number, []))
        step = self.strides[access].get(self.vector_digit)
        kind = self.spec.accesses[access].vector
        addresses = []
        for lane in range(width):
            address = i64(lane * kind) if kind >= 0 or step is None else f.mul(step, i64(lane))
            for index, stride, is_near in zip(indices, strides, near, strict=True):
                assert isinstance(index, Value)
                place = self.read_again.get(index.text)
                found = f.extract(index, lane) if place is None else f.load(f.offset(place, lane, "i64"), "i64")
                address = f.add(address, found if is_near else f.mul(found, stride))
            addresses.append(self.element(start, address, instr.dtype))
        return scalar.load_each(f, addresses, instr.dtype)

    def _gather_row(self, number: int, width: int, mask: Value | None) -> Operand:
        """Elements of one row: the lanes share their indices, and lie side by side or a stride apart."""
        f, instr = self.f, self.instructions[number]
        access = instr.attrs[0]
        if number in self.rows:
            place = self.element(self.rows[number], self.affine(access, self.strides[access].keys() - self.fixed), instr.dtype)
        else:
            place = self._row(number)
        if self.spec.accesses[access].vector == 1:
            return scalar.load(f, place, instr.dtype, width, mask)
        return scalar.load_strided(f, place, self._lane_steps(access, width), instr.dtype, width, mask)

    def _is_row(self, instr: Instr) -> bool:
        """Whether an instruction is a gather, at indices that are known and the same for all lanes."""
        return instr.op == "gather" and all(number in self.values and not self.is_vector(number) for number in instr.args)

    def _row(self, number: int, digits: Container[int] | None = None) -> Value:
        """The address of the row that a gather reads, at the present place (or that of some digits)."""
        f, instr = self.f, self.instructions[number]
        access = instr.attrs[0]
        address = self.affine(access, digits)
        for argument, stride in zip(instr.args, self.extras.get(number, ()), strict=True):
            index = self.values[argument]
            assert isinstance(index, Value)
            address = f.add(address, f.mul(index, stride))
        return self.element(self.bases[access], address, instr.dtype)

    # -- effects ---------------------------------------------------------------------------------------------------

    def effect(self, number: int, width: int, mask: Value | None) -> None:
        """Store what an instruction is given, or check it."""
        for argument in self.instructions[number].args:
            self.require(argument, width, mask)
        if self.instructions[number].op == "store":
            self._store(number, width, mask)
        else:
            guards.check(self, number, width if self.is_vector(number) else 1, mask)

    def _store(self, number: int, width: int, mask: Value | None) -> None:
        f, instr = self.f, self.instructions[number]
        if number in self.squares:
            scalar.store(f, self.widened(instr.args[0], width), turned.line(self, number), instr.dtype)
            return
        access = instr.attrs[0]
        kind = self.spec.accesses[access].vector
        if kind == 0:
            width = 1
        value = self.widened(instr.args[0], width)
        pointer = self.pointer(access)
        if width == 1:
            scalar.store(f, value, pointer, instr.dtype)
        elif kind == 1:
            count = self.counts.get(mask.text) if mask is not None else None
            scalar.store(f, value, pointer, instr.dtype, mask, stream=self.streams.get(access), count=count)
        elif self._is_each(mask):
            scalar.store_each(f, value, self._each(access, pointer, width), instr.dtype)
        else:
            scalar.store_strided(f, value, pointer, self._lane_steps(access, width), instr.dtype, mask)

    # -- lanes -----------------------------------------------------------------------------------------------------

    def first_lanes(self, count: Value, width: int) -> Value:
        """The lanes below ``count``, which is not negative."""
        mask = self.lanes_between(None, count, width)
        self.counts[mask.text] = count
        return mask

    def lanes_between(self, first: Value | None, last: Value, width: int) -> Value:
        """The lanes from ``first`` (not negative) to below ``last``; compared as bytes, of which a register holds many."""
        f = self.f
        lanes = constant_vector("i8", range(width))

        def bound(count: Value) -> Value:
            return f.splat(f.cast("trunc", f.intrinsic("smin", count, i64(width)), "i8"), width)

        below = f.compare("ult", lanes, bound(last))
        return below if first is None else f.binary("and", f.compare("uge", lanes, bound(first)), below)


def _extra_count(instr: Instr) -> int:
    return len(bounds_of(instr)) if instr.op in ("load", "inside") else instr.attrs[1] if instr.op == "gather" else 1

"""Packing: copying a panel of an operand into the order in which the micro-kernel reads it.

A panel is some consecutive *lanes* (rows of a, columns of b) over a box of k.  Packed, step k of the panel is ``pitch``
consecutive elements, one a lane.  How a panel is read depends on which neighbours lie side by side in memory:

- ``lanes``: neighbouring lanes.  They are copied by runs: image rows in a convolution's panel are several runs, broken at
  the rows' ends and at padding.  A run is a mask and a distance, and both hold for every k along an axis without bounds.
- ``together``: neighbouring lanes with the same coordinates, such as channels of a pixel. A step is a copy of them all, or zeros.
- ``steps``: neighbouring k.  Panels of b are transposed in registers; those of a are left as rows, since the
  micro-kernel broadcasts single elements and does not mind.
- ``gather``: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, widen
from flambeau._codegen.contract.parameters import Parameters, Reader, dot
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._codegen.squares import transpose
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype


class Border(NamedTuple):
    """All that the code depends on that copies an operand with its border (``bordered``).

    ``axes`` counts the outer axes and the coordinates but the last, ``coordinates`` the latter. Numbers along the last one are ``neighbours``, or runs
    of them are some distance apart.
    """

    target: Target
    dtype: dtype
    axes: int
    coordinates: int
    neighbours: bool = False


@dataclass(frozen=True)
class Side:
    """How a kernel reads one operand.

    ``mode`` is one of the four above, or ``place``: the micro-kernel reads the operand where it is, ``table``: it does so with offsets
    from tables, ``panels``: a call before this one has packed it, or ``rows``: it has copied its rows.  ``box`` counts the axes of a box of k, and ``free`` is the one that ``lanes`` mode
    iterates innermost, which no bound may depend on.  ``step`` is the distance of neighbours, 1 or 2: a convolution of stride
    2 loads two vectors and keeps every other element; in ``place`` it is 1 if steps of k are neighbours, in a ``table`` if rows are, else 0.  An operand that ``is_paired`` is copied for matrix registers (``amx``), from where
    it lies if that ``is_direct``. With a ``border`` each tile copies what it reads of the operand with its border, and reads that; in ``strips`` what it
    reads for one block of the sum. In a ``table`` the steps of each panel of rows may be ``listed``. The rows of a left operand are packed ``by_panel``, when a panel's turn comes, or all those of a tile before.
    """

    name: str
    dtype: dtype
    mode: str
    bounds: int = 0
    box: int = 1
    free: int = 0
    step: int = 1
    is_paired: bool = False
    is_direct: bool = False
    border: Border | None = None
    strips: bool = False
    by_panel: bool = False
    listed: bool = False

    @property
    def is_left(self) -> bool:
        return self.name == "a"

    @property
    def is_packed_here(self) -> bool:
        return self.mode not in ("place", "panels", "rows", "table")

    @property
    def may_be_kept(self) -> bool:
        """Whether what a tile packs may be kept for the next run (see ``_compiler/prepacking.py``): weights have no bounds."""
        return self.is_packed_here and not self.bounds and not self.is_paired and not self.by_panel

    @property
    def keeps_rows(self) -> bool:
        return (self.is_left or self.is_paired) and self.mode == "steps"


def address(f: Builder, pointer: Value, index: Value, of: dtype) -> Value:
    """The address of element ``index`` of an array of dtype ``of``."""
    return f.offset(pointer, index, f"[{of.itemsize} x i8]")


def spread(f: Builder, mask: Value, step: int) -> Value:
    """A mask of elements that are ``step`` apart as one of the memory from the first to the last of them."""
    if step == 1:
        return mask
    return f.shuffle(mask, constant(mask.type, 0), [lane // step if lane % step == 0 else mask.width for lane in range(step * mask.width)])


def store_lanes(
    f: Builder, tile: Tile, value: registers.Operand, place: Value, of: dtype, mask: Value | None, step: int = 1, whole: Value | None = None
) -> None:
    """Store the lanes of ``mask`` to places ``step`` apart; ``whole`` says whether these are all, if that is known.

    Without mask registers a masked store costs a dozen cycles on some processors (and of 16 bits a branch a lane), so that a whole
    vector goes another way: as one, or a lane at a time if places are apart.
    """
    if mask is None:
        registers.store(f, value, place, of)
        return
    if tile.has_masks or (step > 1 and (of is not tile.compute or isinstance(value, tuple))):
        _store_apart(f, value, place, of, mask, step)
        return
    whole = whole or are_all(f, mask)
    with f.when(whole):
        if step == 1:
            registers.store(f, value, place, of)
        else:
            assert isinstance(value, Value)
            for lane in range(tile.width):
                f.store(f.extract(value, lane), f.offset(place, lane * step, tile.element))
    with f.when(f.binary("xor", whole, 1)):
        _store_apart(f, value, place, of, mask, step)


def are_all(f: Builder, mask: Value) -> Value:
    """Whether all lanes are those of a mask."""
    return f.compare("eq", f.cast("bitcast", mask, f"i{mask.width}"), -1)


def _store_apart(f: Builder, value: registers.Operand, place: Value, of: dtype, mask: Value, step: int) -> None:
    if step > 1:
        lanes = [lane // step for lane in range(step * mask.width)]
        value = registers.pack([f.shuffle(part, part, lanes) for part in registers.unpack(value)])
    registers.store(f, value, place, of, spread(f, mask, step))


@contextmanager
def nest(f: Builder, extents: Sequence[Value]) -> Iterator[list[Value]]:
    """Nested loops; gives their indices, the innermost last."""
    with ExitStack() as loops:
        yield [loops.enter_context(f.loop(0, extent)).index for extent in extents]


def emit_pack(module: Module, parameters: Parameters, tile: Tile, side: Side) -> str:
    """A function that packs one panel; returns its name.

    ``pack(params, source, panel, lanes, count, length, shifts)``: ``source`` is the address of the operand at the box's
    first k; ``lanes`` is a table of the lanes' offsets, followed at distances of ``capacity`` by one of coordinates
    for each bound; ``length`` is the extent of the box's first axis, and ``shifts`` has the bounds' coordinates of
    the box's first k.  Lanes from ``count`` on are 0 or arbitrary.
    """
    name = f"pack_{side.name}"
    signature = [("ptr noalias readonly", "params"), ("ptr", "source"), ("ptr noalias", "panel"), ("ptr noalias", "lanes")]
    signature += [("i64", "count"), ("i64", "length"), ("ptr", "shifts")]
    f = module.function(name, signature, linkage="internal", attributes="noinline")
    packer = _Packer(f, parameters.reader(f, f.parameters[0]), tile, side)
    if side.keeps_rows:
        packer.rows()
    elif side.mode == "together":
        packer.together()
    else:
        # Lanes of a that do not exist are not even stored: the panel's pitch is less than a whole number of vectors.
        stop = packer.count if side.is_left else i64(tile.lanes)
        with f.loop(0, stop, tile.width) as loop:
            {"lanes": packer.runs, "steps": packer.transposed, "gather": packer.gathered}[side.mode](loop.index)
    f.ret()
    return name


class _Packer:
    def __init__(self, f: Builder, read: Reader, tile: Tile, side: Side) -> None:
        self.f, self.read, self.tile, self.side = f, read, tile, side
        _, self.source, self.panel, self.lanes, self.count, length, shifts = f.parameters
        self.shifts = [f.load(f.offset(shifts, bound, "i64"), "i64") for bound in range(side.bounds)]
        self.extents = [length] + [self._box(axis, "extent") for axis in range(1, side.box)]
        self.linear = [i64(1)]
        for extent in reversed(self.extents[1:]):
            self.linear.insert(0, f.mul(extent, self.linear[0]))
        self.iota = constant_vector("i64", range(tile.width))
        self.apart = constant_vector("i64", range(0, side.step * tile.width, side.step))

    def _box(self, axis: int, what: str) -> Value:
        return self.read(f"{self.side.name}.box{axis}.{what}")

    def _table(self, number: int, lane: Value) -> Value:
        """The address of an entry of the table of offsets (0) or of a bound's coordinates (1, …)."""
        start = self.f.mul(self.read(f"{self.side.name}.capacity"), number) if number else i64(0)
        return self.f.offset(self.lanes, self.f.add(start, lane), "i64")

    def _at(self, axes: Sequence[int], indices: list[Value]) -> tuple[Value, Value, list[Value]]:
        """Offset, linear k, and coordinates of the bounds at some indices of the box."""
        f, name = self.f, self.side.name
        offset = dot(f, indices, self.read, [f"{name}.box{axis}.stride" for axis in axes])
        k = i64(0)
        for axis, index in zip(axes, indices, strict=True):
            k = f.add(k, f.mul(index, self.linear[axis]))
        coefficients = [[f"{name}.box{axis}.bound{b}" for axis in axes] for b in range(self.side.bounds)]
        coordinates = [dot(f, indices, self.read, names, shift) for names, shift in zip(coefficients, self.shifts, strict=True)]
        return offset, k, coordinates

    def _within(self, mask: Value, coordinates: list[Value], shifts: list[Value]) -> Value:
        """``mask``, and every vector of coordinates plus its scalar shift is inside its bound."""
        f = self.f
        for bound, (coordinate, shift) in enumerate(zip(coordinates, shifts, strict=True)):
            extent = f.splat(self.read(f"{self.side.name}.bound{bound}.extent"), coordinate.width)
            inside = f.compare("ult", f.add(coordinate, f.splat(shift, coordinate.width)), extent)
            mask = f.binary("and", mask, inside)
        return mask

    def _load(self, pointer: Value, mask: Value | None) -> registers.Operand:
        """Load a vector of neighbours in the compute dtype; ``mask`` is of all elements from the first to the last."""
        f, side, step, width = self.f, self.side, self.side.step, self.tile.width
        if mask is None and step > 1:
            # Two vectors, which both end with an element that is wanted: what comes after the last one may not be memory.
            low = registers.load(f, pointer, side.dtype, width)
            high = registers.load(f, address(f, pointer, i64((step - 1) * (width - 1)), side.dtype), side.dtype, width)
            kept = [*range(0, width, step), *range(width + step - 1, 2 * width, step)]
            value = registers.pack([f.shuffle(*pair, kept) for pair in zip(registers.unpack(low), registers.unpack(high), strict=True)])
        else:
            value = registers.load(f, pointer, side.dtype, step * width, mask)
            if step > 1:
                value = registers.pack([f.shuffle(part, part, range(0, step * width, step)) for part in registers.unpack(value)])
        return widen(f, value, side.dtype, self.tile.compute)

    def _place(self, k: Value, lane: Value) -> Value:
        """Where step ``k`` of ``lane`` goes in the panel."""
        f, tile = self.f, self.tile
        if self.side.is_left:
            return address(f, self.panel, f.add(f.mul(k, tile.rows), lane), tile.compute)
        return f.offset(self.panel, f.add(f.mul(k, tile.pitch), lane), tile.element)

    def _step(self) -> int:
        """Numbers from one step of k to the next in the panel."""
        return self.tile.rows * self.tile.parts if self.side.is_left else self.tile.pitch

    def _store(self, value: registers.Operand, place: Value, mask: Value | None) -> None:
        """Store one vector of lanes: whole elements for a; for b a vector of each part."""
        f, tile = self.f, self.tile
        if self.side.is_left:
            store_lanes(f, tile, value, place, tile.compute, mask)
            return
        for number, part in enumerate(registers.unpack(value)):
            where = f.offset(place, number * tile.width, tile.element)
            f.masked_store(part, where, mask) if mask else f.store(part, where)

    def runs(self, lane: Value) -> None:
        f, side, width = self.f, self.side, self.tile.width
        offsets = f.load(self._table(0, lane), vector("i64", width))
        coordinates = [f.load(self._table(1 + b, lane), vector("i64", width)) for b in range(side.bounds)]
        valid = f.lane_mask(f.sub(self.count, lane), width)
        along = f.sub(offsets, self.apart)
        others = [axis for axis in range(side.box) if axis != side.free]
        with nest(f, [self.extents[axis] for axis in others]) as indices:
            offset, k, shifts = self._at(others, indices)
            wanted = self._within(valid, coordinates, shifts)
            place = self._place(k, lane)
            # The first run writes the whole vector, zeros included.
            whole = valid if side.is_left else constant(vector("i1", width), 1)
            with f.repeat([wanted, whole]) as loop:
                left, written = loop.carried
                lanes = f.cast("zext", f.cast("bitcast", left, f"i{width}"), "i32")
                first = f.intrinsic("cttz", f.binary("or", lanes, 1 << (width - 1)), Value("true", "i1"), suffix="i32")
                first = f.cast("zext", first, "i64")
                distance = f.sub(f.load(self._table(0, f.add(lane, first)), "i64"), f.mul(first, side.step))
                run = f.binary("and", left, f.compare("eq", along, f.splat(distance, width)))
                written = f.binary("or", run, written)
                start = address(f, self.source, f.add(offset, distance), side.dtype)
                self._copy(start, place, run, written, whole)
                left = f.binary("and", left, f.compare("ne", along, f.splat(distance, width)))
                more = f.compare("ne", f.cast("bitcast", left, f"i{width}"), 0)
                loop.again(more, left, constant(vector("i1", width), 0))

    def _copy(self, source: Value, place: Value, run: Value, written: Value, whole: Value) -> None:
        """Copy one run of lanes for each index of the free axis; the lanes that are ``written`` and no run are 0."""
        f, tile = self.f, self.tile
        within = spread(f, run, self.side.step)
        if tile.has_masks:
            self._walk(source, place, lambda source, place: self._store(self._load(source, within), place, written))
            return
        # Masked stores are slow: a run of all lanes needs none, and others are put between the lanes that the panel has.
        is_all = f.compare("eq", *[f.cast("bitcast", mask, f"i{tile.width}") for mask in (run, whole)])

        def all_lanes(source: Value, place: Value) -> None:
            if self.side.is_left:
                self._store_rows(self._load(source, within), place, whole)
            else:
                self._store(self._load(source, None), place, None)

        def some_lanes(source: Value, place: Value) -> None:
            value = self._load(source, within)
            if self.side.is_left:
                registers.store(f, value, place, tile.compute, written)
                return
            places = [f.offset(place, part * tile.width, tile.element) for part in range(tile.parts)]
            for part, where in zip(registers.unpack(value), places, strict=True):
                f.store(f.select(written, part, f.load(where, tile.type)), where)

        with f.when(is_all):
            self._walk(source, place, all_lanes)
        with f.when(f.binary("xor", is_all, 1)):
            self._walk(source, place, some_lanes)

    def _walk(self, source: Value, place: Value, copy: Callable[[Value, Value], None]) -> None:
        """``copy(source, place)`` for each index of the free axis."""
        f, side = self.f, self.side
        step = f.mul(self.linear[side.free], self._step())
        with f.repeat([self.extents[side.free], source, place]) as loop:
            left, source, place = loop.carried
            f.prefetch(f.offset(source, side.step * self.tile.lanes * side.dtype.itemsize, "i8"))
            copy(source, place)
            left = f.sub(left, 1)
            source = address(f, source, self._box(side.free, "stride"), side.dtype)
            loop.again(f.compare("sgt", left, 0), left, source, f.offset(place, step, self.tile.element))

    def _store_rows(self, value: registers.Operand, place: Value, valid: Value) -> None:
        """Store a step of a panel of rows, which may be fewer than a vector has lanes: by halves of a vector, their halves, and so on."""
        f, tile = self.f, self.tile
        if tile.rows >= tile.width or tile.parts > 1:
            self._store(value, place, valid)
            return
        is_full = f.compare("eq", f.cast("bitcast", valid, f"i{tile.width}"), (1 << tile.rows) - 1)
        with f.when(is_full):
            first = 0
            while first < tile.rows:
                count = 1 << (tile.rows - first).bit_length() - 1
                f.store(f.shuffle(value, value, range(first, first + count)), f.offset(place, first, tile.element))
                first += count
        with f.when(f.binary("xor", is_full, 1)):
            registers.store(f, value, place, tile.compute, valid)

    def together(self) -> None:
        """A panel whose lanes are neighbours and have the same coordinates, so that all of them exist at a step or none does."""
        f, side, tile, last = self.f, self.side, self.tile, self.side.box - 1
        distance, *coordinates = (f.load(self._table(number, i64(0)), "i64") for number in range(1 + side.bounds))
        zeros = f.module.table(tile.element, [0] * tile.lanes)
        ahead = self._box(0, "stride")
        with nest(f, self.extents[:last]) as indices:
            offset, k, shifts = self._at(range(last), indices)
            start = address(f, self.source, f.add(offset, distance), side.dtype)
            first = [f.add(*pair) for pair in zip(coordinates, shifts, strict=True)]
            with f.loop(0, self.extents[last], carried=[start, self._place(k, i64(0)), *first]) as loop:
                here, place, *places = loop.carried
                exists = Value("true", "i1")
                for bound, each in enumerate(places):
                    exists = f.binary("and", exists, f.compare("ult", each, self.read(f"{side.name}.bound{bound}.extent")))
                f.prefetch(address(f, here, ahead, side.dtype))  # a few lines of each row are nothing that the processor sees
                source = f.select(exists, here, zeros)
                for lane in range(0, tile.lanes, tile.width):
                    value = registers.load(f, address(f, source, i64(lane), side.dtype), side.dtype, tile.width)
                    self._store(widen(f, value, side.dtype, tile.compute), f.offset(place, lane, tile.element), None)
                further = [f.add(each, self._box(last, f"bound{bound}")) for bound, each in enumerate(places)]
                loop.carry(address(f, here, self._box(last, "stride"), side.dtype), f.offset(place, tile.pitch, tile.element), *further)

    def gathered(self, lane: Value) -> None:
        f, side, width = self.f, self.side, self.tile.width
        offsets = f.load(self._table(0, lane), vector("i64", width))
        coordinates = [f.load(self._table(1 + b, lane), vector("i64", width)) for b in range(side.bounds)]
        valid = f.lane_mask(f.sub(self.count, lane), width)
        axes = range(side.box)
        with nest(f, self.extents) as indices:
            offset, k, shifts = self._at(axes, indices)
            mask = self._within(valid, coordinates, shifts)
            value = registers.load_strided(f, address(f, self.source, offset, side.dtype), offsets, side.dtype, width, mask)
            value = registers.select(f, mask, value, registers.splat_constant(side.dtype, 0, width))
            self._store(widen(f, value, side.dtype, self.tile.compute), self._place(k, lane), valid if side.is_left else None)

    def _interval(self, coordinates: list[Value], shifts: list[Value]) -> tuple[Value, Value]:
        """From which step along the free axis to which a lane (or each of several) is within its bounds."""
        f, name, axis = self.f, self.side.name, self.side.free
        width = coordinates[0].width if coordinates else 1
        low, high = f.splat(i64(0), width), f.splat(self.extents[axis], width)
        for bound, (coordinate, shift) in enumerate(zip(coordinates, shifts, strict=True)):
            slope, extent = self._box(axis, f"bound{bound}"), f.splat(self.read(f"{name}.bound{bound}.extent"), width)
            # A coordinate that falls is one that rises, seen from the other end; one that stands still is in for all steps or for none.
            falls, stands = f.compare("slt", slope, 0), f.compare("eq", slope, 0)
            first = f.add(coordinate, f.splat(shift, width))
            inside = f.compare("ult", first, extent)
            first = f.select(falls, f.sub(f.sub(extent, f.splat(i64(1), width)), first), first)
            pace = f.select(stands, i64(1), f.select(falls, f.sub(i64(0), slope), slope))
            pace = f.splat(f.cast("sitofp", pace, "double"), width)

            def steps(distance: Value, pace: Value = pace) -> Value:
                """The first step that has come so far; exact, since a quotient of small integers never rounds to another integer."""
                whole = f.intrinsic("ceil", f.binary("fdiv", f.cast("sitofp", distance, vector("double", width)), pace))
                return f.cast("fptosi", whole, vector("i64", width))

            nothing = f.splat(i64(0), width)
            low = f.intrinsic("smax", low, f.select(stands, low, steps(f.sub(nothing, first))))
            end = f.intrinsic("smin", high, steps(f.sub(extent, first)))
            high = f.select(stands, f.select(inside, high, nothing), end)
        return low, high

    def _bits(self, low: Value, high: Value, index: Value) -> Value:
        """Which elements to load for the steps from ``index`` on, as bits: also what lies between steps, which is memory too."""
        f, step, count = self.f, self.side.step, self.tile.width
        width, one = low.width, constant(low.type, 1)

        def first_bits(step_number: Value, less: int) -> Value:
            here = f.sub(step_number, f.splat(index, width))
            here = f.intrinsic("smin", f.intrinsic("smax", here, constant(low.type, 0)), constant(low.type, count))
            here = f.intrinsic("smax", f.sub(f.mul(here, step), less), constant(low.type, 0)) if step > 1 else here
            return f.sub(f.binary("shl", one, here), 1)

        return f.binary("and", first_bits(high, step - 1), f.binary("xor", first_bits(low, 0), constant(low.type, -1)))

    def _mask(self, bits: Value) -> Value:
        count = self.tile.width * self.side.step
        return self.f.cast("bitcast", self.f.cast("trunc", bits, f"i{count}"), vector("i1", count))

    def rows(self) -> None:
        f, side = self.f, self.side
        outer = range(side.box - 1)
        with f.loop(0, self.count) as lane:
            source = address(f, self.source, f.load(self._table(0, lane.index), "i64"), side.dtype)
            coordinates = [f.load(self._table(1 + b, lane.index), "i64") for b in range(side.bounds)]
            row = f.mul(lane.index, self.read(f"{side.name}.packed_row"))
            with nest(f, self.extents[:-1]) as indices:
                offset, k, shifts = self._at(outer, indices)
                start, place = address(f, source, offset, side.dtype), f.add(row, k)
                low, high = self._interval(coordinates, shifts)
                if not self.tile.has_masks:
                    self._row(start, place, low, high)
                elif side.bounds:
                    self._row_by_masks(start, place, i64(0), low, high)
                else:
                    whole = self._whole_vectors(start, place, low, high)
                    self._row_by_masks(start, place, whole, low, high)

    def _whole_vectors(self, source: Value, place: Value, low: Value, high: Value) -> Value:
        """Neighbouring steps of a row, as many as fill vectors: returns their number."""
        f, side, tile, extent = self.f, self.side, self.tile, self.extents[-1]
        whole = f.binary("and", extent, i64(-tile.width))
        with f.loop(0, whole, tile.width) as inner:
            mask = self._mask(self._bits(low, high, inner.index)) if side.bounds else None
            value = self._load(address(f, source, f.mul(inner.index, side.step), side.dtype), mask)
            registers.store(f, value, address(f, self.panel, f.add(place, inner.index), tile.compute), tile.compute)
        return whole

    def _row_by_masks(self, source: Value, place: Value, begin: Value, low: Value, high: Value) -> None:
        """Neighbouring steps of a row from ``begin`` on."""
        f, side, width, extent = self.f, self.side, self.tile.width, self.extents[-1]
        with f.loop(begin, extent, width) as inner:
            mask = self._mask(self._bits(low, high, inner.index))
            value = self._load(address(f, source, f.mul(inner.index, side.step), side.dtype), mask)
            exists = f.lane_mask(f.sub(extent, inner.index), width)
            self._store(value, address(f, self.panel, f.add(place, inner.index), self.tile.compute), exists)

    def _row(self, source: Value, place: Value, low: Value, high: Value) -> None:
        """Neighbouring steps of a row without masked stores: whole vectors, then one number after the other."""
        f, side, tile, extent = self.f, self.side, self.tile, self.extents[-1]
        whole = self._whole_vectors(source, place, low, high)
        with f.loop(whole, extent) as inner:
            exists = None
            if side.bounds:
                exists = f.binary("and", f.compare("sge", inner.index, low), f.compare("slt", inner.index, high))
            value = registers.load(f, address(f, source, f.mul(inner.index, side.step), side.dtype), side.dtype, 1, exists)
            value = widen(f, value, side.dtype, tile.compute)
            registers.store(f, value, address(f, self.panel, f.add(place, inner.index), tile.compute), tile.compute)

    def transposed(self, lane: Value) -> None:
        f, side, width = self.f, self.side, self.tile.width
        outer = [axis for axis in range(side.box) if axis != side.free]
        extent, apart = self.extents[side.free], self.linear[side.free]
        # A lane that does not exist reads the first one.
        lanes = [f.add(lane, i) for i in range(width)]
        lanes = [f.select(f.compare("slt", each, self.count), each, i64(0)) for each in lanes]
        sources = [address(f, self.source, f.load(self._table(0, each), "i64"), side.dtype) for each in lanes]
        coordinates = [f.load(self._table(1 + b, lane), vector("i64", width)) for b in range(side.bounds)]
        exist = f.lane_mask(f.sub(self.count, lane), width)
        spill, wanted = f.alloca(self.tile.element, width * width * self.tile.parts), f.alloca("i64", width)
        with nest(f, [self.extents[axis] for axis in outer]) as indices:
            offset, k, shifts = self._at(outer, indices)
            low, high = self._interval(coordinates, shifts)
            if side.bounds:
                high = f.select(exist, high, constant(high.type, 0))
            with f.loop(0, extent, width) as inner:
                remaining = f.sub(extent, inner.index)
                here = f.add(offset, f.mul(inner.index, side.step))
                bits = self._bits(low, high, inner.index)
                if side.bounds:
                    f.store(bits, wanted)
                values = []
                for i, source in enumerate(sources):
                    if not side.bounds:
                        f.prefetch(address(f, source, f.add(here, 2 * side.step * width), side.dtype))
                    mask = self._mask(f.load(f.offset(wanted, i, "i64"), "i64") if side.bounds else bits)
                    values.append(registers.unpack(self._load(address(f, source, here, side.dtype), mask)))
                parts = [transpose(f, [value[part] for value in values]) for part in range(self.tile.parts)]
                steps = [registers.pack(list(step)) for step in zip(*parts, strict=True)]
                first = f.add(k, f.mul(inner.index, apart))
                whole = f.compare("sge", remaining, width)
                with f.when(whole):
                    for i, step in enumerate(steps):
                        self._store(step, self._place(f.add(first, f.mul(apart, i)), lane), None)
                with f.when(f.binary("xor", whole, 1)):
                    for i, step in enumerate(steps):
                        self._store(step, f.offset(spill, i * width * self.tile.parts, self.tile.element), None)
                    with f.loop(0, remaining) as copy:
                        spilled = f.offset(spill, f.mul(copy.index, width * self.tile.parts), self.tile.element)
                        places = [f.offset(spilled, part * width, self.tile.element) for part in range(self.tile.parts)]
                        step = registers.pack([f.load(place, self.tile.type) for place in places])
                        self._store(step, self._place(f.add(first, f.mul(copy.index, apart)), lane), None)

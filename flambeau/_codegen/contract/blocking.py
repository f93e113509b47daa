"""Choosing how to compute a contraction: which operand is broadcast, what is packed, and how large the blocks are.

The choice is the cheapest by a rough count of cycles.  It depends on shapes and the target alone, and never changes a
result: each element of the output is the same chains of multiply-adds whatever the blocks are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.bordered import LINE, Band, band, bordered, strip
from flambeau._codegen.contract.chains import in_parts
from flambeau._codegen.contract.choice import Values
from flambeau._codegen.contract.existing import WORTH_LISTING, Listing, across_images, existing, is_across, listing
from flambeau._codegen.contract.micro import MOST_ADDRESSES, split_rows
from flambeau._codegen.contract.normal import Axis, Column, Normal, merged, projected
from flambeau._codegen.contract.packing import Side
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_GATHER = 30.0
_CALL = 9000.0
"""Cycles to load a vector lane by lane, and those of one more call of a kernel with its barrier."""

_MASKED = 16.0
"""Cycles to load a vector (and half of one whose neighbours are two apart) under a mask that is made for it, without mask registers."""

_TOGETHER, _MOST_LANES = 4.0, 32
"""Cycles to pack a vector of neighbours that have the same coordinates, and the most lanes that a panel has."""

_NEAR = 1024
"""Bytes: rows of memory that are farther apart are on pages of their own, and cost more than their bytes."""

_NEIGHBOUR = 128
"""Bytes from step to step up to which the processor sees what to fetch of operands that no near cache holds. If those of both are farther, both are packed
(gradient by the weight, 1 x 1, channels innermost, 64 -> 256, 56 x 56, 8 images: 69 to 90 GFLOP/s)."""

_FEW_STEPS = 32
"""Rows of memory far apart that are read side by side: as many as the processor can prefetch from at once."""

_KEEP = (0.75, 3.0)
_FETCH = 0.06
"""Cycles to write a packed number of 32 bits so that another tile may read it (if all fit the second-level cache, if not), and to fetch
a byte from a farther cache.  What is packed by the tile that reads it is still near; eighteen shapes run 4 % faster than with a third
of these."""

_TABLE, _BORDER, _NEARBY = (0.5, 3.0), 0.3, 0.3
"""Cycles of a step of a register tile to look up where the left operand is (if rows are no neighbours, panels have 8 of them and an address for each),
to copy a number with its border, and to do so for oneself alone."""

_ADDRESSED = 0.2
"""Those cycles if panels have no more rows anyway, or each multiply-add of long vectors takes two cycles (6 with AVX2, where the micro-kernel runs at its full speed: 3 x 3, stride 2, 128 -> 128, 56 x 56, channels innermost: 31.9 to 23.4 ms)."""

_STAYS = 0.02
"""The part of the cost of packing that remains for an operand that later runs find packed: which of two ways is the cheaper matters to the first run."""

_AGAIN = 1.0
"""Cycles of a step of a register tile of a few rows to fetch a right operand in place whose panels are parts of longer rows: they share sets
of the first-level cache, and come from the second one for each panel of rows."""

_NEARLY = 1.15
"""How much longer rows may take that are cut into panels run by run."""

_STREWN = 0.15
"""Cycles a byte of a copy of windows that no near cache holds, for each tile that reads it: a few lines here and there, for which nobody asked
before (gradient by the weight, 3 x 3, stride 2, 128 channels innermost, 56 x 56, 8 images: 18 ms, where the multiply-adds take 11)."""

_CROWDED, _BY_PANEL = 0.4, 0.6
"""Cycles of a step of a register tile in place whose 14 rows are a multiple of 4 KiB apart, and the part of the cost of packing that is left if a panel's
rows are copied when its turn comes, into the first-level cache (1024 x 1024: 147 to 154 GFLOP/s)."""

_BESIDE = (1.0, 3.0)
"""Cycles to read or write a number of another tensor, column by column where sums are stored so; and if no near cache holds it, as each of its lines is
fetched for every few numbers (momentum of 256 x 256 x 3 x 3 weights, behind their gradient over 4 images of 14 x 14: 6.9 to 5.2 ms with columns that are
neighbours, 128 x 128 x 3 x 3 5.0 to 5.2)."""

_TILES = 4
"""Tiles whose bands are measured: all of a convolution's are nearly alike."""

_SOME_PLACES = 512
"""Places in memory of which it is seen whether they evict each other."""

WAY = 4096
"""The bytes of a first-level cache that a line could be in but for its ways: numbers that are a multiple of that apart evict each other."""

_FEW_PANELS = 4
"""Panels up to which half of the last one matters: 48 columns are three vectors, not four."""

_WORTH_SHARING = 40_000
"""Cycles from which on a contraction is cut for several threads."""


@dataclass(slots=True)
class SideChoice:
    """How one operand would be read: ``mode`` as in ``Side``; ``where`` is ``place``, ``tile``, ``panel`` or ``call`` (packed by a call before),
    ``table`` (in place or in a copy with its border, which takes ``before`` cycles; None if it cannot), ``band`` (the tile copies
    it so) or ``strip`` (for each block of the sum); then steps may be left out by ``listings`` (``existing.py``). In place it may be ``crowded``: what a register tile reads of it evicts itself from the
    first-level cache."""

    mode: str
    cost: float
    in_place: bool
    bytes: int
    elements: int
    stays: bool = False
    crowded: bool = False
    where: str = ""
    before: float | None = None
    band: Band | None = None
    strip: Band | None = None
    listings: list[Listing] | None = None


@dataclass(slots=True)
class Blocking:
    """One way to compute a contraction, and its estimated cycles."""

    normal: Normal
    chunk: int
    a: SideChoice
    b: SideChoice
    m_block: int
    n_block: int
    cycles: float
    tile_cycles: float


def best_blocking(normal: Normal, tile: Tile, target: Target) -> Blocking:
    """The cheaper orientation; a complex product's four multiply-adds have an order, so that its operands stay put."""
    normals = [normal, normal.swapped()] if tile.parts == 1 else [normal]
    for each in list(normals):
        other = across_images(each)
        if other is not None and is_across(other.m[-1][0], target) and existing(other, MOST_ADDRESSES, False) < WORTH_LISTING:
            normals.append(other)
    return min((_blocking(each, tile, target) for each in normals), key=lambda each: each.cycles)


def block_of_chain(normal: Normal, limit: int, width: int) -> int:
    """Places along the axis of k that is cut of a block of some ``limit`` steps; a chain is a number of blocks."""
    return in_parts(normal.chain, prod(axis[0] for axis in normal.k[normal.split + 1 :]), limit, width)


def own_box(k: list[Axis]) -> tuple[list[Axis], int]:
    """The axes of a box as one operand sees them, and how many steps of its first axis one step along the cut axis is."""
    axes = merged(k)
    return axes, axes[0][0] // k[0][0]


def _blocking(normal: Normal, tile: Tile, target: Target) -> Blocking:
    """The cheapest blocks of an orientation: of the first ones if several are."""
    model = _Model(normal, tile, target)
    estimates = [
        model.estimate(m_block, n_panels) for m_block in model.heights for n_panels in model.widths if model.fits(m_block, n_panels)
    ]
    cheapest = min(estimates, key=lambda each: each.total)
    a, b = model.sides
    a.where, b.where = cheapest.wheres
    return Blocking(normal, model.chunk, a, b, cheapest.m_block, cheapest.n_block, cheapest.total, cheapest.cycles)


class _Estimate(NamedTuple):
    """Cycles of one way to cut the output: of all, and of a tile; and where either operand would be read."""

    m_block: int
    n_block: int
    total: float
    cycles: float
    wheres: list[str]


class _Way(NamedTuple):
    """A way to get an operand: its cycles in all, those of a call before, and those of each tile."""

    total: float
    before: float
    each: float
    where: str


class _Model:
    """A rough count of the cycles of a contraction in one orientation, for blocks of ``chunk`` places along the axis of k that is cut."""

    def __init__(self, normal: Normal, tile: Tile, target: Target) -> None:
        self.normal, self.tile, self.target = normal, tile, target
        self.batch, self.m, self.n, self.k = normal.extents
        self.element = tile.bytes * tile.parts
        # With long vectors a panel of b passes through the first-level cache anyway: a block is a whole chain sooner (Zen 4: 2 to 3 % through tables).
        near = target.l1_bytes if tile.has_masks else target.l1_bytes * 2 // 3
        limit = max(_FEW_STEPS, near // (tile.pitch * tile.bytes))
        chunk, a, b = _sides(normal, tile, limit, self.m, self.n, target)
        self.far = b.in_place and _distance(normal, normal.b, tile) > _NEAR
        if self.far:
            chunk, a, b = _sides(normal, tile, _FEW_STEPS, self.m, self.n, target)
        b.crowded = b.in_place and a.before is not None and _distance(normal, normal.b, tile) > tile.pitch * tile.bytes
        self.chunk, self.sides = chunk, (a, b)
        steps = chunk * prod(axis[0] for axis in normal.k[normal.split + 1 :])
        self.blocks, self.near = -(-self.k // steps), has_near_rows(normal, tile)
        self.panels = -(-self.n // tile.lanes)
        self.heights = {-(-self.m // -(-self.m // rows)) for rows in (28, 56, 112, 224, 448, 896, 1792)}
        self._list(a)
        self.widths = {-(-self.panels // -(-self.panels // count)) for count in (1, 2, 4, 8, 16, 32)}
        # What a tile would copy of the left operand with its border: for all of k, or for each block of it.
        self.copied_for = {rows: a.band.numbers(rows, _TILES) if a.band is not None else 0 for rows in self.heights}
        self.copied_by_block = a.strip.numbers(chunk, 1) if a.strip is not None else 0
        has_time = tile.rows <= MOST_ADDRESSES or target.multiplies_once
        self.look_up = _TABLE[0] if self.near else _ADDRESSED if has_time else _TABLE[1]
        # A block of b lives in the second-level cache while panels of a pass by, and so do sums that further blocks of k add to.
        self.most_lanes = max(tile.lanes, target.l2_bytes // 3 // (steps * tile.bytes * tile.parts))
        self.most_sums = target.l2_bytes // 2 // self.element if self.blocks > 1 else 1 << 62
        self.store = self._storing()

    def _list(self, a: SideChoice) -> None:
        """See whether enough of the products have padding as a factor, so that each panel of rows should have a list of its steps."""
        self.exists, listings = 1.0, listing(self.normal, self.chunk) if a.before is not None and self.k > _FEW_STEPS else None
        if not listings:
            return
        rows = self.tile.rows if self.near else min(self.tile.rows, MOST_ADDRESSES)
        part = existing(self.normal, rows, self.near)
        if part < WORTH_LISTING:
            a.listings, self.exists = listings, part
            self.heights = {-(-height // rows) * rows for height in self.heights}

    def _storing(self) -> float:
        """Cycles to store a sum, and to read and write what lies beside it."""
        normal, row = self.normal, self.normal.n[-1]
        if row[normal.out.index] in (1, 2):
            return 2.5 / self.tile.width
        alike = sum(abs(row[each.index]) > 1 for each in normal.others)
        return 3.0 + _BESIDE[self.batch * self.m * self.n * self.element >= self.target.l2_bytes] * alike

    def fits(self, m_block: int, n_panels: int) -> bool:
        n_block = n_panels * self.tile.lanes
        return n_panels == 1 or (n_block <= self.most_lanes and n_block * m_block <= self.most_sums)

    def estimate(self, m_block: int, n_panels: int) -> _Estimate:
        n_block = n_panels * self.tile.lanes
        m_tiles, n_tiles = -(-self.m // m_block), -(-self.panels // n_panels)
        tiles = self.batch * m_tiles * n_tiles
        cycles, before, wheres = self._multiplying(m_block, n_panels, n_tiles), 0.0, []
        steps = self.k * n_panels * cost_of_rows(m_block, self.tile)[1]
        for side, lanes, repeats in zip(self.sides, (m_block, n_block), (n_tiles, m_tiles), strict=True):
            way = min(self._ways(side, lanes, repeats, tiles, steps, m_block * n_block))
            wheres.append(way.where)
            before += way.before
            cycles += way.each
        total = before + tiles * cycles
        if total > _WORTH_SHARING:
            # All threads wait for the last tile to end.
            threads = targets.available_cores()
            total = before + cycles * (-(-tiles // threads) * threads + 0.1 * (threads - 1))
        return _Estimate(m_block, n_block, total, cycles, wheres)

    def _multiplying(self, m_block: int, n_panels: int, n_tiles: int) -> float:
        """Cycles of a tile that has its operands."""
        tile, n_block = self.tile, n_panels * self.tile.lanes
        row_cycles, row_panels = cost_of_rows(m_block, tile)
        short = 0.5 * has_short_panel(self.n, tile)
        cycles = (
            400
            + (n_panels - short / n_tiles) * row_cycles * self.k
            + 40 * n_panels * self.blocks * row_panels
            + self.store * m_block * n_block
            + 6 * (m_block + n_block)
        )
        if self.far:
            cycles += 30 * self.k
        # What a tile reads comes from a farther cache once for each tile.
        return cycles + _FETCH * self.element * self.k * (m_block + n_block)

    def _ways(self, side: SideChoice, lanes: int, repeats: int, tiles: int, steps: int, sums: int) -> list[_Way]:
        """The ways to get an operand of which a tile needs so many ``lanes``, and ``repeats`` tiles the same, in so many ``steps`` of register tiles.

        A tile has so many ``sums``.
        """
        here = lanes * self.k * side.cost
        ways = [_Way(tiles * here, 0.0, here, "tile")]
        if side.in_place:
            again = 0.0
            if side.crowded:
                again = (_AGAIN if side is self.sides[1] else _CROWDED * self.tile.bytes / 4) * steps
            if not again:
                ways = []
            elif side is self.sides[0] and side.mode == "steps":
                ways.append(_Way(tiles * _BY_PANEL * here, 0.0, _BY_PANEL * here, "panel"))
            ways.append(_Way(tiles * again, 0.0, again, "place"))
        elif repeats > 1:
            keep = _KEEP[side.bytes >= self.target.l2_bytes] * self.tile.bytes / 4
            before = _CALL + side.elements * (side.cost + keep)
            ways.append(_Way(before, before, 0.0, "call"))
        return ways if side.before is None else [*ways, *self._tabled(side, side.before, lanes, tiles, steps, sums)]

    def _tabled(self, side: SideChoice, before: float, rows: int, tiles: int, steps: int, sums: int) -> list[_Way]:
        """The ways that look up where the left operand is: where it lies, or a copy that is made ``before``, or by each tile."""
        row_cycles, panels = cost_of_rows(rows, self.tile)
        left_out = (1 - self.exists) * row_cycles * steps / panels
        looking_up, l2_bytes = self.look_up * steps - left_out, self.target.l2_bytes
        whole = side.strip.copy.numbers * self.element if side.strip is not None else 0
        each = looking_up + (_STREWN * whole if whole >= l2_bytes else 0.0)
        ways = [_Way(before + tiles * each, before, each, "table")]
        strip, band = self.copied_by_block, self.copied_for[rows]
        if 0 < strip * self.element <= l2_bytes // 4:
            each = looking_up + self.blocks * strip * (_BORDER + _NEARBY)
            ways.append(_Way(tiles * each, 0.0, each, "strip"))
        if band and self._stays_near(band, sums):
            each = looking_up + band * (_BORDER + _NEARBY)
            ways.append(_Way(tiles * each, 0.0, each, "band"))
        return ways

    def _stays_near(self, band: int, sums: int) -> bool:
        """Whether a tile's band is small enough: all of it; or, where channels are innermost, what a block of k reads of it, and beside it the sums."""
        cut, l2_bytes = self.normal.k[self.normal.split], self.target.l2_bytes
        if self.tile.has_masks or cut[self.normal.a.index] != 1:
            return band * self.element <= l2_bytes // 4
        read = band * self.element * self.chunk // cut[0]
        waiting = sums * self.element if self.blocks > 1 else 0
        return band * self.element <= 2 * l2_bytes and read <= l2_bytes // 4 and read + waiting <= l2_bytes // 2


def has_near_rows(normal: Normal, tile: Tile) -> bool:
    """Whether rows of the left operand are neighbours, and so many that panels may end with a run of them: a table has one address for a panel then.

    Where all rows of a panel can have their own, a run should not be shorter: four rows wait for themselves (a phase of 4 x 4 windows of 4 x 4
    images: 405 us by runs of four rows, 370 by panels of six).
    """
    run = normal.m[-1][0]
    if run < tile.rows <= MOST_ADDRESSES:
        return False
    return normal.m[-1][normal.a.index] == 1 and cost_of_rows(run, tile)[0] <= _NEARLY * run


def has_short_panel(n: int, tile: Tile) -> bool:
    """Whether one vector has all columns of the last panel, and the panels are few enough that it is worth code of its own."""
    return tile.vectors > 1 and tile.packing is None and n <= _FEW_PANELS * tile.lanes and 0 < n % tile.lanes <= tile.width


@lru_cache(maxsize=4096)
def cost_of_rows(rows: int, tile: Tile) -> tuple[float, int]:
    """Cycles of one step of k of one panel of b for so many rows, and the number of register tiles."""
    panels = split_rows(rows, tile.variants)
    return sum(max(size, 4) + 0.2 for size in panels) * tile.parts, len(panels)


def describe_side(normal: Normal, column: Column, lanes: list[Axis], chunk: int, tile: Tile, left: bool) -> SideChoice:
    """The cheapest way to pack an operand, in cycles an element, and whether it could be read in place."""
    index, width = column.index, tile.width
    box, scale = own_box(projected(normal.k[normal.split :], [index, *column.bounds]))
    bounds = len(column.bounds)
    first = chunk * scale
    costs = {"gather": _GATHER + 3 * bounds}
    lane_axes = merged(projected(lanes, [index]))
    if lane_axes[-1][1] in (1, 2):
        runs = 1 + (min(width, prod(axis[0] for axis in lane_axes)) - 1) / lane_axes[-1][0] if len(lane_axes) > 1 or bounds else 1
        free = max([first if not any(box[0][2:]) else 1, *[axis[0] for axis in box[1:] if not any(axis[2:])]])
        costs["lanes"] = (runs * (1.8 + (28 + 4 * bounds) / free) + 4) * (width / min(width, tile.rows) if left else 1)
    if not left and bounds and tile.parts == 1 and _move_together(column, lanes):
        costs["together"] = _TOGETHER
    along = neighbours_along(box, first, left)
    if box[along][1] in (1, 2):
        run = box[along][0] if along else first
        vectors = -(-run // width)
        if left and not tile.has_masks:
            costs["steps"] = ((3.0 + 8 * bounds) * (run // width) + (3.0 + bounds) * (run % width) + 6) * width / run
        else:
            each = 3.0 + 8 * bounds if left else 9.0 + bounds
            if not tile.has_masks and not left and bounds:
                each += _MASKED * box[along][1]
            costs["steps"] = each * vectors * width / run + 12 / run
    mode = min(costs, key=costs.__getitem__)
    plain = not bounds and column.dtype is tile.compute and len(lane_axes) == 1 and len(box) == 1
    in_place = plain if left else plain and lane_axes[0][1] == 1 and tile.parts == 1
    batches = prod(axis[0] for axis in normal.batch if any(axis[i] for i in (index, *column.bounds)))
    elements = batches * prod(axis[0] for axis in (*lanes, *normal.k))
    stays = column.operand.stays and not bounds
    return SideChoice(mode, costs[mode] / width * (_STAYS if stays else 1.0), in_place, elements * tile.bytes * tile.parts, elements, stays)


def _move_together(column: Column, lanes: list[Axis]) -> bool:
    """Whether lanes are neighbours that have the same coordinates, by panels of any tile."""
    extent, *moves = merged(projected(lanes, [column.index, *column.bounds]))[-1]
    return moves == [1] + [0] * len(column.bounds) and extent % _MOST_LANES == 0


def neighbours_along(box: list[Axis], first: int, left: bool) -> int:
    """Along which axis of a box, whose first one has ``first`` places, memory has neighbours: rows of a are copied along the last one."""
    last = len(box) - 1
    if left:
        return last
    return max(range(len(box)), key=lambda axis: (box[axis][1] in (1, 2), box[axis][0] if axis else first, axis == last))


def describe_packing(name: str, column: Column, mode: str, lanes: list[Axis], k: list[Axis], chunk: int, values: Values) -> Side:
    """How an operand is packed over a box whose axes are ``k``, cut to ``chunk`` along the first; sets the parameters of that."""
    box, scale = own_box(k)
    free = 0
    if mode == "lanes":
        extents = [chunk * scale, *[axis[0] for axis in box[1:]]]
        candidates = [position for position, axis in enumerate(box) if not any(axis[2:])]
        if not candidates:
            candidates = [len(box)]
            box, extents = [*box, (1, 1) + (0,) * len(column.bounds)], [*extents, 1]
        free = max(candidates, key=lambda position: extents[position])
    values |= {f"{name}.box0.scale": scale, f"{name}.box0.steps": prod(axis[0] for axis in box[1:])}
    for position, (extent, stride, *bounds) in enumerate(box):
        values |= {f"{name}.box{position}.extent": extent, f"{name}.box{position}.stride": stride}
        values |= {f"{name}.box{position}.bound{bound}": coefficient for bound, coefficient in enumerate(bounds)}
    for number, bound in enumerate(column.operand.bounds):
        values |= {f"{name}.bound{number}.start": bound.start, f"{name}.bound{number}.extent": bound.extent}
    if mode == "steps":
        free = neighbours_along(box, chunk * scale, name == "a")
    step = {"lanes": lanes[-1][column.index], "steps": box[free][1]}.get(mode, 1)
    return Side(name, column.dtype, mode, len(column.bounds), len(box), free, step)


def _sides(normal: Normal, tile: Tile, limit: int, m: int, n: int, target: Target) -> tuple[int, SideChoice, SideChoice]:
    """The block of k for ``limit`` steps, and how either operand would be read with it."""
    chunk = block_of_chain(normal, limit, tile.width)
    a = describe_side(normal, normal.a, normal.m, chunk, tile, left=True)
    b = describe_side(normal, normal.b, normal.n, chunk, tile, left=False)
    # In place, a step of k must not be far from the one before, unless what it reads is hardly used again.
    a.in_place = a.in_place and not a.stays and (_distance(normal, normal.a, tile) <= _NEAR or m <= 4 * tile.rows)
    b.in_place = (
        b.in_place and not b.stays and (_distance(normal, normal.b, tile) <= _NEAR or m <= 2 * tile.rows + 4) and target.vector_bits > 128
    )
    # Masks of both vectors are registers that 6 x 2 sums need (512 x 512 x 12: 210 us in place, 104 packed).
    b.in_place = b.in_place and (tile.has_masks or m <= tile.rows or not tile.width < n < tile.lanes)
    sides = ((a, normal.a), (b, normal.b))
    if m > 4 * tile.rows and all(
        side.in_place and side.bytes >= target.l2_bytes and _distance(normal, column, tile) > _NEIGHBOUR for side, column in sides
    ):
        a.in_place = b.in_place = False
    rows = [number * normal.m[-1][normal.a.index] * tile.bytes for number in range(min(m, tile.rows))]
    a.crowded = a.in_place and is_crowded(rows, target)
    if a.in_place and a.mode == "lanes" and n > 4 * tile.lanes and not tile.has_masks:
        # Panels of a few rows share each cache line of a step, which must still be there for the next one.
        steps = [number * _distance(normal, normal.a, tile) for number in range(min(limit, normal.extents[3]))]
        a.in_place = not is_crowded(steps, target)
    a.before = None if a.in_place else _before_tables(normal, chunk, tile, target)
    a.strip = None
    if a.before and normal.a.bounds:
        outer, cut, inner = normal.k[: normal.split], normal.k[normal.split], normal.k[normal.split + 1 :]
        a.strip = strip(normal.a, outer, cut, [*normal.m, *inner], normal.batch, tile)
    a.band = band(normal.a, normal.m, normal.k, normal.batch, tile) if a.before and normal.a.bounds else None
    return chunk, a, b


def _before_tables(normal: Normal, chunk: int, tile: Tile, target: Target) -> float | None:
    """Cycles to copy the left operand with its border if it can be read through tables.

    That needs steps of k that share cache lines. Where a border has to be copied anyway, a few steps and rows of each line are enough (7 x 7
    windows of 32 channels, four at a time, ran at 73 GFLOP/s packed, and at 143 through tables); without one they are not (a transposed matrix
    of 1024 x 1024 by another one ran at 147 GFLOP/s packed, and at 105 through tables).
    """
    a, cut, *inner = normal.a, *normal.k[normal.split :]
    shared, least = ([(chunk, *cut[1:]), *inner], LINE) if not a.bounds else ([(chunk, *cut[1:]), *inner, *normal.m], LINE // 4)
    if tile.parts > 1 or _run(projected(shared, [a.index])) * tile.bytes < least:
        return None
    if not a.bounds:
        return 0.0 if a.dtype is tile.compute and not _evict(normal, inner, tile, target) else None
    copy = bordered(a, [*normal.batch, *normal.m, *normal.k], tile)
    if copy is None or copy.numbers > 4 * copy.existing:
        return None
    return _CALL + copy.numbers * (_BORDER + _KEEP[copy.numbers * tile.bytes >= target.l2_bytes] * tile.bytes / 4)


def _evict(normal: Normal, inner: list[Axis], tile: Tile, target: Target) -> bool:
    """Whether what a register tile reads in place evicts itself from the first-level cache before it is read again.

    The taps of 3 x 3 windows of 512 channels, in a weight that has its channels innermost, are 2 KiB apart and its rows 18: 72 cache lines in
    few sets (49 x 512 x 4608: 7.8 ms in place, 2.8 packed).
    """
    rows, index = prod(axis[0] for axis in normal.m), normal.a.index
    places = [0]
    for extent, stride in [(min(8, rows), normal.m[-1][index]), *projected(inner, [index])]:
        places = [place + i * stride * tile.bytes for place in places for i in range(min(extent, _FEW_STEPS))][:_SOME_PLACES]
    return is_crowded(places, target)


def is_crowded(places: list[int], target: Target) -> bool:
    """Whether the cache lines of some places are more in a set of the first-level cache than that has ways."""
    sets = Counter(line * LINE % WAY for line in {place // LINE for place in places})
    return max(sets.values()) > target.l1_bytes // WAY


def _run(axes: list[Axis]) -> int:
    """How many numbers lie side by side in memory along some axes."""
    run = 1
    for extent, stride in sorted(axes, key=lambda axis: abs(axis[1])):
        if abs(stride) <= run:
            run += (extent - 1) * abs(stride)
    return run


def _distance(normal: Normal, column: Column, tile: Tile) -> int:
    """Bytes from one step of k to the next."""
    return abs(normal.k[-1][column.index]) * tile.bytes

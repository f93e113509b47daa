"""Contractions whose windows are worth sliding: depthwise convolutions, and those of small groups.

The general kernel copies every window (a panel is an im2col of a few columns), which pays where many rows use each. With one row, or a
few, copying is most of the time; here the input is copied once and read at each tap's distance. It is the same chain of multiply-adds.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.bordered import LINE
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence
from flambeau._codegen.contract.normal import Axis, Normal
from flambeau._codegen.contract.pairs import Pair, Pairing
from flambeau._codegen.contract.sliding_kernel import Slide, Sliding, sliding
from flambeau._codegen.contract.stage import Contract
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_MOST_TAPS = 64
"""All taps are unrolled: code of so many times the accumulators."""
_CHAINS = 8
"""Sums of a register tile whose lanes are a batch: some hide the latency of a multiply-add, more keep more factors alive."""
_TILES_OF_A_CORE = 4
_FEW_ROWS = 8
"""Rows of positions up to which a tile is cut along its lanes rather than further."""
_BAND = 1 << 18
"""Bytes of a band that half of a small second-level cache may hold: bands of two rows of positions read each row of the input twice."""
_PANELS = (16, 12, 8, 6, 4, 3, 2, 1)
"""Rows of the left operand that a register tile may have."""


def best_sliding(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The cheapest way with sliding windows, if there is one."""
    if tile.parts > 1:
        return None
    found = [
        choice
        for oriented in (normal, normal.swapped())
        for is_batched in (False, True)
        if (choice := _Planner(contract, oriented, tile, target, is_batched).choice())
    ]
    return min(found, key=lambda choice: choice.cycles, default=None)


class _Sizes(NamedTuple):
    """Sizes of a tile: its register tiles, which positions of the ``tall`` pair it has, and its band."""

    rows: int
    positions: int
    vectors: int
    lane_block: int
    steps: int
    panels: int
    block: int
    tall_tiles: int
    lane_tiles: int
    outside: int
    windows: int
    band_rows: int
    row: int
    plane: int
    columns: int
    needed: int

    @property
    def band(self) -> int:
        """Numbers of the band, or addresses."""
        return self.steps * self.band_rows * self.row


class _Planner(Pairing):
    def __init__(self, contract: Contract, normal: Normal, tile: Tile, target: Target, is_batched: bool) -> None:
        super().__init__(normal)
        self.contract, self.tile, self.target, self.is_batched = contract, tile, target, is_batched

    def choice(self) -> Choice | None:
        """The choice, or None if the axes do not pair up."""
        normal = self.normal
        if normal.a.bounds or len(normal.m) != 1:
            return None
        if not (self._find_lanes() and self._find_pairs()):
            return None
        taps = self.tall.slide.taps * self.wide.slide.taps
        # With one tap there is nothing to share, but for a phase of a transposed depthwise convolution: a product of one number each.
        if taps > _MOST_TAPS or (taps == 1 and (self.k or normal.m[0][0] > 1)):
            return None
        for i, moves in enumerate(self.wide.bounds):
            # Which columns exist must not depend on the row or the step of k.
            if moves and (self.tall.bounds[i] or any(axis[normal.b.bounds[i]] for axis in self.k)):
                return None
        chain = self._chain()
        return self._plan(chain) if chain else None

    def _chain(self) -> int:
        """Steps of the outer axes of k that make a chain, or 0 if chains are not whole steps."""
        split, chain = self.normal.split, self.normal.chain
        if chain == self.normal.k[split][0] and not split:
            return prod(axis[0] for axis in self.k)
        if split >= len(self.k) or (split and self.k[split][0] % chain):
            return 0
        return chain * prod(axis[0] for axis in self.k[split + 1 :])

    # -- what pairs up ---------------------------------------------------------------------------------------------

    def _find_lanes(self) -> bool:
        b = self.normal.b
        if self.is_batched:
            place = next((i for i, axis in enumerate(self.batch) if axis[b.index] == 1 and not any(axis[j] for j in b.bounds)), None)
            if place is None:
                return False
            self.lane = self.batch.pop(place)
        return True

    def _find_pairs(self) -> bool:
        """Take the axes of both pairs out of ``n`` and ``k``."""
        if not self.is_batched:
            if not self.n:
                return False
            wide = self.pair(self.n[-1], self.k[-1], unit=1) if self.k else None
            if wide is not None:
                self.k.pop()
            else:
                wide = self._alone(self.n[-1])
            self.n.pop()
        else:
            # A phase of a transposed convolution may have one tap along an axis, and so no pair.
            wide = self.take() or (self._alone(self.n.pop()) if self.n else None)
        if wide is None or not (self.is_batched or wide.unit == 1):
            return False
        tall = self.take() or self._alone(self.n.pop() if self.n else self.unit_axis)
        if tall is None:
            return False
        self.wide, self.tall = wide, tall
        return True

    def _alone(self, axis: Axis) -> Pair | None:
        """An axis that nothing slides along."""
        move, *moves = (axis[i] for i in self.of_b)
        pace = move if 0 < move <= 4 and not any(each % move for each in moves) else 1
        if move == 0 and any(moves):
            return None
        return Pair(Slide(1, pace, 1), axis, self.unit_axis, move // pace, tuple(each // pace for each in moves))

    # -- sizes -----------------------------------------------------------------------------------------------------

    def _plan(self, chain: int) -> Choice:
        normal, wide = self.normal, self.wide
        sizes = self._batched_sizes() if self.is_batched else self._sizes()
        taps, is_in_place = self.tall.slide.taps * wide.slide.taps, self._is_in_place(sizes.rows)
        factors, sides = (self.tile.width, sizes.lane_block // self.tile.width) if self.is_batched else (sizes.rows, 1)
        weights = 0 if is_in_place else sides * sizes.panels * sizes.steps * taps * factors
        step = (self.lane if self.is_batched else wide.axis)[normal.out.index]
        step = step if step in (1, 2) else 0
        tile_cycles = self._cycles(sizes, step) + weights * (3.0 if self.is_batched else 4.0)
        threads, tiles = targets.available_cores(), sizes.outside * sizes.tall_tiles
        cycles = tile_cycles * (-(-tiles // threads) * threads)
        if not self.is_batched and wide.slide.pace > 2:
            cycles *= 1.1

        values = self._values(sizes.rows, sizes.block, sizes.tall_tiles, sizes.lane_tiles, sizes.panels, sizes.steps)
        values |= {
            "k.chain": chain, "band.row": sizes.row, "band.plane": sizes.plane, "band.columns": sizes.columns,
            "band.step": sizes.band_rows * sizes.row, "wide.needed": sizes.needed, "lane.block": sizes.lane_block,
            "a.panel": sizes.rows * normal.m[0][normal.a.index] if is_in_place else sizes.steps * taps * factors,
            "a.step": (self.k[-1][normal.a.index] if self.k else 0) if is_in_place else taps * factors,
        }  # fmt: skip
        is_ragged = self.is_batched and self.lane[0] % self.tile.width > 0
        structure = Sliding(
            self.target, normal.b.dtype, "batch" if self.is_batched else "columns", self.tall.slide, wide.slide, sizes.rows, sizes.positions,
            sizes.vectors, len(self.batch), len(self.n), len(self.k), tuple(each != 0 for each in wide.bounds), is_in_place, is_ragged,
            self._ending(step),
        )  # fmt: skip
        scratch = self._scratch(values, structure, sizes, weights)
        return Choice(normal, partial(sliding, structure), values, tiles, tile_cycles, cycles, scratch)

    def _sizes(self) -> _Sizes:
        """The register tile, and how many rows of positions the band of a tile has."""
        tile, wide, tall = self.tile, self.wide, self.tall
        across = wide.axis[0]
        vectors = 2 if across > tile.width else 1
        rows = self._rows(vectors)
        positions, lanes = self._positions(rows, vectors, tall.axis[0]), vectors * tile.width
        row, plane, columns, needed = self._line(lanes)
        steps = prod(axis[0] for axis in self.k)
        outside = prod(axis[0] for axis in (*self.n, *self.batch))
        limit = max(self.target.l2_bytes // 6, min(self.target.l2_bytes // 2, _BAND)) // tile.bytes
        block = tall.axis[0]
        while block > 2 * positions and (
            steps * self._band_rows(block, positions) * row > limit
            or outside * -(-tall.axis[0] // block) < _TILES_OF_A_CORE * targets.available_cores()
        ):
            block = -(-block // 2)
        block = min(-(-block // positions) * positions, tall.axis[0])
        windows = -(-block // positions) * -(-across // lanes)
        return _Sizes(
            rows, positions, vectors, 0, steps, -(-self.normal.m[0][0] // rows), block, -(-tall.axis[0] // block), 1, outside,
            windows, self._band_rows(block, positions), row, plane, columns, needed,
        )  # fmt: skip

    def _batched_sizes(self) -> _Sizes:
        """The register tile, and how many rows of positions and lanes a tile has: all lanes, if there are tiles enough, as memory has them."""
        tile, wide, tall = self.tile, self.wide, self.tall
        most = self._positions(1, 1, wide.axis[0])
        positions = -(-wide.axis[0] // -(-wide.axis[0] // most))  # no more than as many windows need
        columns = (-(-wide.axis[0] // positions) * positions - 1) * wide.slide.pace + wide.slide.reach + 1
        steps, outside = prod(axis[0] for axis in self.k), prod(axis[0] for axis in (*self.n, *self.batch))
        limit, enough = self.target.l2_bytes // 6 // 8, _TILES_OF_A_CORE * targets.available_cores()
        block, lanes = tall.axis[0], -(-self.lane[0] // tile.width) * tile.width

        def tiles() -> int:
            return outside * -(-tall.axis[0] // block) * -(-self.lane[0] // lanes)

        while block > _FEW_ROWS and (steps * self._band_rows(block, 1) * columns > limit or tiles() < enough):
            block = -(-block // 2)
        while lanes > tile.width and tiles() < enough:
            lanes = -(-lanes // (2 * tile.width)) * tile.width
        lane_tiles = -(-self.lane[0] // lanes)
        windows = block * -(-wide.axis[0] // positions) * -(-lanes // tile.width)
        return _Sizes(
            1, positions, 1, lanes, steps, self.normal.m[0][0], block, -(-tall.axis[0] // block), lane_tiles, outside * lane_tiles,
            windows, self._band_rows(block, 1), columns, 0, columns, (wide.axis[0] - 1) * wide.slide.pace + wide.slide.reach + 1,
        )  # fmt: skip

    def _band_rows(self, block: int, down: int) -> int:
        """Rows of the input of so many rows of positions, ``down`` at a time."""
        return (-(-block // down) * down - 1) * self.tall.slide.pace + self.tall.slide.reach + 1

    def _rows(self, vectors: int) -> int:
        """Rows of the left operand of a register tile."""
        m = self.normal.m[0][0]
        most = min(m, (24 if self.target.vector_registers >= 32 else 12) // vectors)
        rows = next(count for count in _PANELS if count <= most and m % count == 0)
        return rows if rows >= 3 or m <= 8 else next(count for count in _PANELS if count <= min(most, 8))

    def _line(self, lanes: int) -> tuple[int, int, int, int]:
        """Numbers of a row of the band, of one of its planes, and its columns; and how many columns of the input are needed."""
        wide, width = self.wide, self.tile.width
        pace, reach = wide.slide.pace, wide.slide.reach
        needed = (wide.axis[0] - 1) * pace + reach + 1
        plane = max(-(-needed // (width * pace)), -(-(-(-wide.axis[0] // lanes) * lanes + reach // pace + 1) // width)) * width
        return plane * pace, plane, plane * pace, needed

    def _cycles(self, sizes: _Sizes, step: int) -> float:
        """Those of a tile, but for copying weights; results lie ``step`` apart if they are stored as vectors."""
        tile, taps = self.tile, self.tall.slide.taps * self.wide.slide.taps
        accumulators = sizes.rows * sizes.positions * sizes.vectors
        ending = 5.0 if step else 5.0 + 2.0 * tile.width
        # A step of one tap: multiply-adds or loads, whichever takes longer. Half of the band's vectors lie across two cache lines.
        moving = self.wide if self.is_batched else self.tall
        seen = len(list(moving.slide.seen(sizes.positions))) / moving.slide.taps
        cycles = 0.6 * max(accumulators, sizes.rows + 1.5 * sizes.vectors * seen)
        weights = sizes.rows * taps * sizes.steps * tile.bytes
        is_crowded = not tile.has_masks and weights + self._read_again(sizes) > self.target.l1_bytes
        if weights > self.target.l1_bytes // 2 or is_crowded:
            cycles += sizes.rows * tile.bytes / 20  # what does not stay in the first-level cache comes from the second
        windows = sizes.windows * sizes.panels
        band = 4.0 * sizes.band if self.is_batched else 2.5 * sizes.band / tile.width
        return windows * (cycles * taps * sizes.steps + 40 + ending * accumulators) + band + 200

    def _read_again(self, sizes: _Sizes) -> int:
        """Bytes of the cache lines of the band that a register tile reads for one tap after the other, while weights pass by.

        64 channels of 56 x 56 and 6 rows are 26 KB beside 14 of weights: 70 GFLOP/s (Zen 3), and at 83 by the general kernel. With
        AVX-512, whose caches deliver twice as much, it was not seen.
        """
        if self.is_batched:
            return 0
        line = (sizes.vectors * self.tile.width + self.wide.slide.reach) * self.tile.bytes + LINE
        return sizes.steps * ((sizes.positions - 1) * self.tall.slide.pace + self.tall.slide.reach + 1) * line

    def _positions(self, rows: int, vectors: int, most: int) -> int:
        """Positions of a register tile: some share what is loaded, too many keep more factors alive than there are registers."""
        registers = self.target.vector_registers
        if not self.is_batched and rows == 1 and self.tall.slide.pace == 1:
            # Factors that do not stay in registers are loaded by the multiply-adds, which wait for each other with fewer chains (7 x 7: 34 to 43 GFLOP/s).
            return min(4, most)
        for count in range(min(8 if self.is_batched else 4, most), 1, -1):
            chains = rows * count * vectors
            alive = vectors * self.wide.slide.taps if self.is_batched else rows * self.wide.slide.taps * (count - 1)
            if chains + alive + vectors < registers and (not self.is_batched or chains <= _CHAINS):
                return count
        return 1

    def _is_in_place(self, rows: int) -> bool:
        """Whether the left operand lies as its taps are read: one after another."""
        a, wide, tall = self.normal.a, self.wide.slide, self.tall.slide
        if self.is_batched or a.dtype is not self.tile.compute or self.normal.m[0][0] % rows:
            return False
        if (wide.taps > 1 and self.wide.tap[a.index] != 1) or (tall.taps > 1 and self.tall.tap[a.index] != wide.taps):
            return False
        return all(outer[a.index] == inner[a.index] * inner[0] for outer, inner in zip(self.k, self.k[1:], strict=False))

    def _ending(self, step: int) -> Ending:
        normal = self.normal
        rows, columns = ([self.wide.axis], [self.lane]) if self.is_batched else ([self.tall.axis], [self.wide.axis])
        kinds = [(each.dtype, dependence(each.index, normal.out.index, rows, columns)) for each in normal.others]
        writes = len(self.contract.writes)
        return Ending(normal.out.dtype, step, tuple(kinds[:writes]), tuple(kinds[writes:]), self.contract.epilogue)

    def _values(self, rows: int, block: int, tall_tiles: int, lane_tiles: int, panels: int, steps: int) -> Values:
        normal, values = self.normal, Values()
        groups = {"batch": self.batch, "n": self.n, "k": self.k}
        axes = {f"{name}{i}": axis for name, group in groups.items() for i, axis in enumerate(group)}
        axes |= {"m": normal.m[0], "tall": self.tall.axis, "wide": self.wide.axis} | ({"lane": self.lane} if self.is_batched else {})
        for prefix, axis in axes.items():
            for what, number in zip(normal.names, axis, strict=True):
                values[f"{prefix}.{what.removeprefix('b.')}"] = number
        for prefix, pair in (("tall", self.tall), ("wide", self.wide)):
            values |= {f"{prefix}.unit": pair.unit, f"{prefix}.tap": pair.tap[normal.a.index]}
            values |= {f"{prefix}.unit.bound{i}": each for i, each in enumerate(pair.bounds)}
        origin = self.tall.slide.first * self.tall.unit + self.wide.slide.first * self.wide.unit
        for i, bound in enumerate(normal.b.operand.bounds):
            first = self.tall.slide.first * self.tall.bounds[i] + self.wide.slide.first * self.wide.bounds[i]
            values |= {f"bound{i}.start": bound.start + first, f"bound{i}.extent": bound.extent}
        values |= {
            "tall.block": block, "tall.tiles": tall_tiles, "lane.tiles": lane_tiles, "m.panels": panels, "k.count": steps,
            "n.count": prod(axis[0] for axis in self.n), "a.row": normal.m[0][normal.a.index],
            "a.bytes": normal.a.operand.offset * normal.a.dtype.itemsize,
            "b.bytes": (normal.b.operand.offset + origin) * normal.b.dtype.itemsize,
        }  # fmt: skip
        for name, operand in self.contract.results_and_reads.items():
            values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
        return values

    def _scratch(self, values: Values, structure: Sliding, sizes: _Sizes, weights: int) -> int:
        """Place what a thread keeps; returns how many bytes that is."""
        tile, size = self.tile, 0
        # The last window of a band may look past its end.
        values["band.count"] = sizes.band
        band = 8 * (sizes.band + structure.ahead) if self.is_batched else (sizes.band + 2 * tile.pitch) * tile.bytes
        values["zeros.bytes"] = zeros = sizes.lane_block * structure.operand.itemsize
        areas = {
            "band": band, "weights": weights * tile.bytes, "zeros": zeros, "masks": 0 if self.is_batched else sizes.columns,
            "sums": structure.rows * structure.positions * tile.pitch * tile.bytes,
        }  # fmt: skip
        for name, count in areas.items():
            values[f"scratch.{name}"] = size
            size += -(-count // 64) * 64
        return size

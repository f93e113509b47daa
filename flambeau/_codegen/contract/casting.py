"""Convolutions of images whose channels are innermost, with few results for each group of channels; see ``casting_kernel``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.blocking import describe_packing, describe_side
from flambeau._codegen.contract.bordered import LINE, Bordered, border_of, bordered, parameters_of
from flambeau._codegen.contract.casting_kernel import Casting, casting, one_vector
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence
from flambeau._codegen.contract.normal import Normal, projected
from flambeau._codegen.contract.pairs import RUN, Pair, Pairing
from flambeau._codegen.contract.sliding_kernel import Slide
from flambeau._codegen.contract.stage import Contract
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_MOST_TAPS = 64
_CODE = 1024
"""Multiply-adds that are unrolled, at most."""
_CHAINS = 8
"""Sums that hide the latency of a multiply-add."""
_CHUNKS = 4
"""Chunks of tiles that each thread should have, at least: those of a chunk share packed weights."""
_FEW_ROWS = 4
"""Rows of positions that a tile has at least: their band has two more."""
_BORDER, _STORE = 0.6, 0.1
_FEW_REGISTERS = 1.18
"""How much longer a step of planes takes with 16 registers: eleven shapes on Zen 3, which 3 x 3, 64 -> 64, 56 x 56 (26.5 ms, 24.9 packed) is in the middle of."""
_NEXT_LINES = 0.04
"""Cycles of a step for each number of a plane that is broadcast: each step is on other cache lines (3 x 3 with stride 2 sees nearly twice as many)."""
_ROW = 40.0
"""Cycles to copy a number with its border, and to write a packed one: one image had better find its weights packed, as the general kernel does.
Those of a row of a plane besides."""


def best_casting(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The cheapest way of this kind, if there is one."""
    if tile.parts > 1:
        return None
    found = [choice for each in (normal, normal.swapped()) if (choice := _Planner(contract, each, one_vector(tile), target).choice())]
    return min(found, key=lambda choice: choice.cycles, default=None)


class _Band(NamedTuple):
    """What of the copied image tiles read.

    Attributes:
        low, high: the first and the last number that a tile's first row of positions reads
        step: how far the next row of positions lies from it
        row: how long a row of the image is
        line: the numbers of a cache line
    """

    low: int
    high: int
    step: int
    row: int
    line: int

    def rows(self, block: int) -> int:
        """Rows of the image that so many rows of positions read."""
        return ((block - 1) * self.step + self.high - self.low) // self.row + 2

    def plane(self, block: int) -> int:
        """Numbers from one plane of the band to the next: planes lie an odd number of cache lines apart, so that they do not evict each other."""
        return (-(-self.rows(block) * self.row // self.line) | 1) * self.line


class _Planner(Pairing):
    def __init__(self, contract: Contract, normal: Normal, tile: Tile, target: Target) -> None:
        super().__init__(normal)
        self.contract, self.tile, self.target = contract, tile, target

    def choice(self) -> Choice | None:
        """The choice, or None if the axes do not pair up, or memory does not have the channels innermost."""
        normal, b = self.normal, self.normal.b
        if normal.a.bounds or len(normal.m) != 1 or normal.split or not b.bounds or any(axis[i] for axis in self.batch for i in b.bounds):
            return None
        wide, tall = self.take(), self.take()
        if wide is None or len(self.k) > 1:
            return None
        self.wide, self.tall = wide, tall or self._alone()
        if self.tall.slide.taps * wide.slide.taps > _MOST_TAPS:
            return None
        steps = self.k[0][0] if self.k else 1
        if self.k and normal.k[0] != self.k[0]:
            return None
        is_innermost = not self.k or self.k[0][b.index] == 1
        self.group = self.neighbours(steps, RUN // self.tile.bytes) if is_innermost else self.unit_axis
        copy = bordered(b, [*self.n, self.tall.axis, self.tall.tap, wide.axis, wide.tap, self.group, *self.k], self.tile)
        if copy is None or len(copy.coordinates) > 2 or (is_innermost and self.k and copy.stride(self.k[0]) != 1):
            return None
        if not is_innermost and copy.stride(self.k[0]) % copy.row:
            return None
        return self._plan(copy, steps, 1 if is_innermost else steps)

    def _alone(self) -> Pair:
        """An axis that nothing slides along, for an image of one dimension."""
        return Pair(Slide(1, 1, 1), self.unit_axis, self.unit_axis, 0, ())

    def _plan(self, copy: Bordered, steps: int, planes: int) -> Choice | None:
        normal, tile, tall, wide, groups = self.normal, self.tile, self.tall, self.wide, self.group[0]
        pairs = (tall, wide)
        strides = [copy.stride(pair.axis) for pair in pairs]
        units = [stride // pair.slide.pace for stride, pair in zip(strides, pairs, strict=True)]
        if any(copy.stride(pair.tap) != unit * pair.slide.spread for pair, unit in zip(pairs, units, strict=True) if pair.slide.taps > 1):
            return None
        image = self._band(copy, strides, units, groups * steps // planes)
        taps, (across, down), width, lanes = tall.slide.taps * wide.slide.taps, self._positions(), tile.width, normal.m[0][0]

        block, lane_block = self._block(lambda block: planes * image.plane(block), groups * taps * steps, down)
        lane_tiles, tall_tiles, images = -(-lanes // lane_block), -(-tall.axis[0] // block), prod(axis[0] for axis in self.n)
        tiles = prod(axis[0] for axis in self.batch) * images * lane_tiles * tall_tiles
        band, packed = planes * image.plane(block), groups * lane_block * taps * steps

        # Each run packs weights: nothing is kept.
        weights = replace(normal.a, operand=replace(normal.a.operand, stays=False))
        way = describe_side(normal, weights, normal.m, normal.chain, tile, left=False)
        values, k = self._values(copy), projected(normal.k, [normal.a.index])
        side = describe_packing("w", normal.a, way.mode, normal.m, k, k[0][0], values)
        values |= parameters_of(copy, "b")[0] | {
            "w.length": k[0][0] * values["w.box0.scale"], "w.capacity": 2 * width, "steps": taps * steps, "k.count": steps,
            "k.chain": normal.chain if self.k else steps, "k.copy": image.plane(block) if planes > 1 else 1, "group.copy": steps, "n.count": images, "tall.tiles": tall_tiles,
            "tall.block": block, "lane.tiles": lane_tiles, "lane.block": lane_block, "tall.copy": strides[0], "wide.copy": strides[1],
            "tall.unit": units[0], "band.low": image.low, "band.high": image.high, "band.planes": planes, "band.plane": image.plane(block),
            "band.shift": copy.stride(self.k[0]) // copy.row if planes > 1 else 0,
        }  # fmt: skip
        areas = {
            "band": band * tile.bytes,
            "weights": packed * tile.bytes,
            "lanes": 8 * 2 * width,
            "sums": down * across * lane_block * tile.bytes,
        }
        ending, turned = self._ending()
        areas["turned"] = tile.width * (-(-across // tile.width) + 1) * tile.width * tile.bytes * turned
        scratch = self._scratch(values, areas)
        structure = Casting(
            self.target, tall.slide, wide.slide, down, across, units[1], len(self.batch), len(self.n), side, border_of(copy, self.target),
            ending, turned, normal.bundle,
        )  # fmt: skip

        threads = targets.available_cores()
        windows = groups * -(-block // down) * -(-wide.axis[0] // across) * (lane_block // width)
        sharing = images * tall_tiles
        most = min(sharing, max(1, tiles // (_CHUNKS * threads)))
        together = max(count for count in range(1, most + 1) if sharing % count == 0)
        tile_cycles = (
            windows * self._cycles(down, across, steps, planes, turned)
            + _BORDER * band
            + _ROW * planes * image.rows(block)
            + (way.cost + _STORE) * packed / together
            + 300
        )
        cycles = tile_cycles * (-(-tiles // threads) * threads)
        return Choice(normal, partial(casting, structure), values, tiles, tile_cycles, cycles, scratch, together)

    def _band(self, copy: Bordered, strides: list[int], units: list[int], pixel: int) -> _Band:
        """The band that a row of positions reads, given the numbers of a pixel in a plane."""
        pairs = (self.tall, self.wide)
        low = copy.origin + sum(unit * pair.slide.first for pair, unit in zip(pairs, units, strict=True))
        along = sum(unit * pair.slide.reach for pair, unit in zip(pairs, units, strict=True))
        high = low + along + (self.wide.axis[0] - 1) * strides[1] + pixel - 1
        return _Band(low, high, strides[0], copy.row, LINE // self.tile.bytes)

    def _block(self, numbers_of_band: Callable[[int], int], weights: int, down: int) -> tuple[int, int]:
        """Rows of positions and lanes of a tile: its band and its weights, so many a lane, stay in the second-level cache, and all threads have some."""
        tall, lanes, width, l2_bytes = self.tall.axis[0], self.normal.m[0][0], self.tile.width, self.target.l2_bytes
        outside, enough = prod(axis[0] for axis in (*self.batch, *self.n)), targets.available_cores()
        block, lane_block = tall, -(-lanes // width) * width

        def tiles() -> int:
            return outside * -(-lanes // lane_block) * -(-tall // block)

        while lane_block > width and lane_block * weights * self.tile.bytes > l2_bytes // 2:
            lane_block = -(-lane_block // (2 * width)) * width
        while block > max(down, _FEW_ROWS) and (numbers_of_band(block) * self.tile.bytes > l2_bytes // 4 or tiles() < enough):
            block = -(-block // 2)
        if tall % block and tall % block < down:
            block = tall
        while lane_block > width and tiles() < enough:
            lane_block = -(-lane_block // (2 * width)) * width
        return block, lane_block

    def _positions(self) -> tuple[int, int]:
        """Positions of a register tile across and down: they fill the registers that factors leave, or are enough to hide a latency."""
        tall, wide = self.tall, self.wide
        registers = self.target.vector_registers - 2
        most = max(1, min(registers - wide.slide.taps, _CODE // (tall.slide.taps * wide.slide.taps)))
        across = -(-wide.axis[0] // -(-wide.axis[0] // most))
        down = 1
        while across * down < _CHAINS and 2 * down <= tall.axis[0]:
            factors = min(2 * down, tall.slide.taps) * wide.slide.taps
            if 2 * down * across + factors > registers:
                break
            down *= 2
        return across, down

    def _cycles(self, down: int, across: int, steps: int, planes: int, turned: bool) -> float:
        """Those of a register tile: multiply-adds (as many as hide their latency, at least) or loads, whichever takes longer."""
        tall, wide = self.tall.slide, self.wide.slide
        taps = tall.taps * wide.taps
        seen = len(list(tall.seen(down))) * len(list(wide.seen(across)))
        step = max(0.54 * taps * max(down * across, _CHAINS), 0.55 * (seen + taps)) + (_NEXT_LINES * seen if planes > 1 else 0.0)
        if planes > 1 and self.target.vector_registers < 32:
            step *= _FEW_REGISTERS
        ending = 12.0 if turned else 5.0 if self.normal.m[0][self.normal.out.index] in (1, 2) else 5.0 + 2.0 * self.tile.width
        return step * steps + 60 + ending * down * across

    def _ending(self) -> tuple[Ending, bool]:
        """What becomes of sums, and whether they are turned: if memory has neighbours in a row of positions."""
        normal, lane, out = self.normal, self.normal.m[0], self.normal.out.index
        turned = lane[out] not in (1, 2) and self.wide.axis[out] in (1, 2)
        rows, columns = (lane, self.wide.axis) if turned else (self.wide.axis, lane)
        kinds = [(each.dtype, dependence(each.index, out, [rows], [columns])) for each in normal.others]
        writes = len(self.contract.writes)
        step = columns[out] if columns[out] in (1, 2) else 0
        return Ending(normal.out.dtype, step, tuple(kinds[:writes]), tuple(kinds[writes:]), self.contract.epilogue), turned

    def _values(self, copy: Bordered) -> Values:
        normal, values = self.normal, Values()
        pairs = {"tall": [self.tall.axis], "wide": [self.wide.axis], "group": [self.group]}
        groups = {"batch": self.batch, "n": self.n, "m": normal.m} | pairs
        for name, group in groups.items():
            for i, axis in enumerate(group):
                prefix = name if name in pairs else f"{name}{i}"
                for what, number in zip(normal.names, axis, strict=True):
                    values[f"{prefix}.{'w' if what == 'a' else what}"] = number
                if name == "n":
                    values[f"{prefix}.copy"] = copy.stride(axis)
        values["w.bytes"] = normal.a.operand.offset * normal.a.dtype.itemsize
        for name, operand in self.contract.results_and_reads.items():
            values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
        return values

    def _scratch(self, values: Values, areas: dict[str, int]) -> int:
        """Place what a thread keeps, some bytes of each; returns how many bytes that is."""
        size = 0
        for name, count in areas.items():
            values[f"scratch.{name}"] = size
            size += -(-count // 64) * 64
        return size

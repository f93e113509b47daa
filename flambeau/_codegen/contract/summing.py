"""Contractions with a long sum for each of a few taps: gradients by the weight of depthwise convolutions and of small groups.

The general kernel has one group's results across its lanes, a window's taps, which are few, and copies each window. Here many groups are
across the lanes, and a position's window is read where it lies.
"""

from __future__ import annotations

from functools import partial
from math import prod

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence
from flambeau._codegen.contract.normal import Normal
from flambeau._codegen.contract.pairs import RUN, Pair, Pairing
from flambeau._codegen.contract.sliding_kernel import Slide
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.contract.summing_kernel import Summing, summing
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_COPY = {"lanes": 3.0, "pixels": 8.0, "steps": 10.0, "gather": 35.0}
"""Cycles to copy a vector, by what its operand's neighbours in memory are."""


def best_summing(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The cheapest way whose lanes are groups, if there is one."""
    return _best(contract, normal, tile, target, casts=False)


def best_casting_sums(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The cheapest way whose lanes are one group's channels and that broadcasts numbers of pixels, if there is one."""
    return _best(contract, normal, tile, target, casts=True)


def _best(contract: Contract, normal: Normal, tile: Tile, target: Target, casts: bool) -> Choice | None:
    if tile.parts > 1:
        return None
    found = [choice for each in (normal, normal.swapped()) if (choice := _Planner(contract, each, tile, target, casts).choice())]
    return min(found, key=lambda choice: choice.cycles, default=None)


class _Planner(Pairing):
    """Where it ``casts`` the lanes are rows of the left operand, and ``rows`` are numbers that the right one has side by side."""

    def __init__(self, contract: Contract, normal: Normal, tile: Tile, target: Target, casts: bool) -> None:
        super().__init__(normal)
        self.contract, self.tile, self.target, self.casts = contract, tile, target, casts

    def choice(self) -> Choice | None:
        """The choice, or None if the axes do not pair up."""
        normal, b = self.normal, self.normal.b
        if normal.a.bounds or len(normal.m) != 1:
            return None
        still = [axis for axis in (self.n if self.casts else self.batch) if not any(axis[i] for i in b.bounds)]
        if self.casts:
            self.lane, still = normal.m[0], [axis for axis in still if axis[b.index] == 1]
            if not still or self.lane[normal.a.index] != 1:
                return None
            self.row = still[0]
            self.n.remove(self.row)
        else:
            if not still:
                return None
            self.lane, self.row = max(still, key=lambda axis: axis[0]), normal.m[0]
            self.batch.remove(self.lane)
        # A few groups of channels that lie side by side are one tile's, if there are tiles enough.
        groups = prod(axis[0] for axis in self.batch) * -(-self.lane[0] // self.tile.width) // (2 * targets.available_cores())
        channels = self.row[0]
        self.group = self.neighbours(channels, min(RUN // self.tile.bytes, groups * channels)) if self.casts else self.unit_axis
        wide = self.take()
        if wide is None or wide.slide.spread < 0:
            return None
        tall = self.take() or self._only_summed()
        if tall.slide.spread < 0:
            return None
        self.wide, self.tall = wide, tall
        return self._plan()

    def _only_summed(self) -> Pair:
        """An axis of k with no axis of the output beside it."""
        tap = self.k.pop() if self.k else self.unit_axis
        unit, *bounds = (tap[i] for i in self.of_b)
        return Pair(Slide(tap[0], 1, 1), self.unit_axis, tap, unit, tuple(bounds))

    def _order(self) -> tuple[str, str]:
        """Which neighbours either operand has in memory."""
        a, b, wide = self.normal.a.index, self.normal.b.index, self.wide
        if self.casts:
            return "pixels", "pixels"
        of_a = "lanes" if self.lane[a] == 1 else "steps" if wide.tap[a] == 1 else "gather"
        is_plain = wide.unit == 1 and all(each in (0, 1) for each in wide.bounds)
        return of_a, "lanes" if self.lane[b] == 1 else "steps" if is_plain else "gather"

    def _plan(self) -> Choice:
        normal, tile, wide, tall = self.normal, self.tile, self.wide, self.tall
        m, n, k = self.row[0], prod(axis[0] for axis in self.n), prod(axis[0] for axis in self.k)
        budget = 24 if self.target.vector_registers >= 32 else 11
        across, wide_chunks = _shared(wide.axis[0], budget)
        down, tall_chunks = _shared(tall.axis[0], budget // across)
        rows = next(count for count in range(min(m, 4, budget // (across * down)), 0, -1) if m % count == 0)
        results = rows * down * across

        # A tile has some rows of the left operand; the right one is copied for each tile again.
        threads = targets.available_cores()
        lane_tiles = -(-self.lane[0] // tile.width)
        outside = prod(axis[0] for axis in self.batch) * lane_tiles
        groups = self.group[0]
        bytes_of_row = n * down * across * tall_chunks * wide_chunks * tile.pitch * tile.bytes
        m_block = m if groups > 1 else self._rows_of_tile(rows, bytes_of_row, outside)
        m_tiles, panels = -(-m // m_block), m_block // rows

        needed = (wide.slide.taps - 1) * wide.slide.spread + (wide.axis[0] - 1) * wide.slide.pace + 1
        most = (wide.slide.taps - 1) * wide.slide.spread + (wide_chunks * across - 1) * wide.slide.pace + 1
        pitch = -(-groups * m_block // tile.width) * tile.width if self.casts else tile.width
        line_a, line_b = (-(-length // tile.width) * tile.width * each for length, each in ((wide.slide.taps, tile.width), (most, pitch)))
        rows_of_a = groups if self.casts else m_block

        def lines_of_b(block: int) -> int:
            return (block - 1) * tall.slide.spread + (tall_chunks * down - 1) * tall.slide.pace + 1

        block = tall.slide.taps
        while block > 4 and (rows_of_a * block * line_a + n * lines_of_b(block) * line_b) * tile.bytes > self.target.l2_bytes // 2:
            block = -(-block // 2)
        cut, piece, wide_piece = self._chains(block)
        if cut is None:
            block = -(-block // piece) * piece
        plane_a, plane_b = block * line_a, lines_of_b(block) * line_b

        order = self._order()
        blocks = k * -(-tall.slide.taps // block)
        steps = k * tall.slide.taps * wide.slide.taps
        copied = _COPY[order[0]] * rows_of_a * steps + _COPY[order[1]] * n * blocks * lines_of_b(block) * line_b / tile.width
        walked = groups * n * panels * tall_chunks * wide_chunks * (0.55 * results + 1.5) * steps
        tile_cycles = copied + walked + groups * n * m_block * tall.axis[0] * wide.axis[0] * 40
        tiles = outside * m_tiles

        slides = (each.slide._replace(taps=1) for each in (tall, wide))  # how many there are is a parameter
        structure = Summing(
            self.target, normal.b.dtype, *slides, rows, down, across, len(self.batch), len(self.n), len(self.k), cut,
            tuple(each != 0 for each in wide.bounds), order, self._ending(), pitch, self._unrolled(results) if self.casts else 0,
        )  # fmt: skip
        values = self._values()
        values |= {
            "m.tiles": m_tiles, "m.block": m_block, "m.panels": panels, "lane.tiles": lane_tiles, "tall.block": block,
            "tall.chunks": tall_chunks, "wide.chunks": wide_chunks, "wide.needed": needed, "wide.seen": most,
            "tall.piece": piece, "wide.piece": wide_piece, "chain": normal.chain,
            "tall.needed": (tall.axis[0] - 1) * tall.slide.pace + 1, "tall.seen": lines_of_b(1),
            "a.line": line_a, "a.plane": plane_a, "b.line": line_b, "b.plane": plane_b,
        }  # fmt: skip
        sums = groups * n * panels * tall_chunks * wide_chunks * results * tile.pitch
        scratch = self._scratch(values, {"a": rows_of_a * plane_a, "b": n * plane_b, "sums": sums, "chains": 0 if cut is None else sums})
        cycles = tile_cycles * (
            -(-tiles // threads) * threads + 0.2 * (threads - 1)
        )  # all threads wait for the last tile, as the general kernel's
        return Choice(normal, partial(summing, structure), values, tiles, tile_cycles, cycles, scratch)

    def _unrolled(self, results: int) -> int:
        """Places of the sum that share what they see: they leave few over at the end of a row, which do not share."""
        most = max(2, min(8, self.target.vector_registers - 2 - results))
        return min(range(2, most + 1), key=lambda count: (self.wide.slide.taps % count, -count))

    def _rows_of_tile(self, rows: int, bytes_of_row: int, outside: int) -> int:
        """Rows of the left operand that a tile has: their sums fit the second-level cache, and all threads have some."""
        m = block = self.row[0]
        threads = targets.available_cores()
        while block > rows and (block * bytes_of_row > self.target.l2_bytes // 4 or outside * -(-m // block) < 2 * threads):
            block = -(-block // 2 // rows) * rows
        return block

    def _ending(self) -> Ending:
        normal = self.normal
        kinds = [(each.dtype, dependence(each.index, normal.out.index, [self.wide.axis], [self.lane])) for each in normal.others]
        writes = len(self.contract.writes)
        step = self.lane[normal.out.index] if self.lane[normal.out.index] in (1, 2) else 0
        return Ending(normal.out.dtype, step, tuple(kinds[:writes]), tuple(kinds[writes:]), self.contract.epilogue)

    def _scratch(self, values: Values, areas: dict[str, int]) -> int:
        """Place what a thread keeps, some numbers of each; returns how many bytes that is."""
        size = 0
        for name, count in areas.items():
            values[f"scratch.{name}"] = size
            size += -(-count * self.tile.bytes // 64) * 64
        return size

    def _chains(self, block: int) -> tuple[int | None, int, int]:
        """The axis of k outside that chains are cut along (None if it is one of the pairs), and the places of a piece along the pairs."""
        normal, wide = self.normal, self.wide.slide.taps
        inside = len([axis for axis in normal.k if axis[0] > 1]) - 1 - normal.split
        if normal.chain == normal.k[normal.split][0] and not normal.split:
            return len(self.k), block, wide
        if inside == 0:
            return None, 1, normal.chain
        return (None, normal.chain, wide) if inside == 1 else (normal.split, block, wide)

    def _values(self) -> Values:
        normal, values = self.normal, Values()
        groups = {"batch": self.batch, "n": self.n, "k": self.k}
        axes = {f"{name}{i}": axis for name, group in groups.items() for i, axis in enumerate(group)}
        axes |= {"m": self.row, "lane": self.lane, "group": self.group}
        for name, pair in (("tall", self.tall), ("wide", self.wide)):
            axes |= {name: pair.axis, f"{name}.step": pair.tap}
            values |= {f"{name}.unit": pair.unit, f"{name}.unit.b": pair.unit, f"{name}.steps": pair.slide.taps}
            values |= {f"{name}.unit.bound{i}": each for i, each in enumerate(pair.bounds)}
        for prefix, axis in axes.items():
            for what, number in zip(normal.names, axis, strict=True):
                values[f"{prefix}.{what.removeprefix('b.')}"] = number
        # One row of the left operand may be the unit axis of a normal form, whose strides mean nothing.
        values["m.b"] = int(self.casts)
        for i, bound in enumerate(normal.b.operand.bounds):
            values |= {f"bound{i}.start": bound.start, f"bound{i}.extent": bound.extent}
        for name, operand in (("a", normal.a.operand), ("b", normal.b.operand), *self.contract.results_and_reads.items()):
            values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
        return values


def _shared(count: int, most: int) -> tuple[int, int]:
    """A count in equal shares of at most ``most``: the size of a share, and how many."""
    shares = -(-count // max(most, 1))
    return -(-count // shares), shares

"""Up to three rows by a matrix whose columns lie side by side, where vectors are short: rows of the matrix pass by in order, eight at a time.

The general kernel keeps a register tile's sums while all rows of the matrix pass, 64 bytes of each with AVX2: two chains that wait for themselves,
and a page for each step. Here the sums of some hundred columns wait in the first-level cache, each step of eight rows goes on with all of them, and
the matrix is read as it lies. A partial sum that is stored and loaded again stays the same chain.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.choice import Choice
from flambeau._codegen.contract.few_rows import Emitter, FewRows, axes_of, cheapest, described
from flambeau._codegen.contract.kernel import REMEMBERED, Code, finished
from flambeau._codegen.contract.micro import add_up
from flambeau._codegen.contract.normal import Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Module, Value, constant, i64
from flambeau._codegen.scalar import registers
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_MOST_ROWS = 3
_MOST_COLUMNS = 1024
"""Columns of a tile: their sums, and the chains that are being added up, fill a quarter of the first-level cache."""
_STEPS = 8
"""Numbers of the left operand that registers hold, for all rows together."""
_BYTES_A_CYCLE = 16.0
"""How fast the matrix passes."""


def best_passing(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The way for so few rows, if it fits."""
    if tile.parts > 1 or tile.has_masks:
        return None
    return cheapest(normal, lambda each: _choice(contract, each, tile, target))


def _choice(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    axes, a, b = axes_of(normal), normal.a, normal.b
    if axes is None:
        return None
    m, n, k = axes
    if m[0] > _MOST_ROWS or n[b.index] != 1 or n[0] < tile.lanes:
        return None
    threads = targets.available_cores()
    columns = min(_MOST_COLUMNS, -(-n[0] // (threads * tile.lanes)) * tile.lanes)
    ending, values = described(contract, normal, columns)
    values["area"] = area = columns // tile.lanes * m[0] * tile.pitch
    tiles = values["n.tiles"] * prod(axis[0] for axis in normal.batch)
    tile_cycles = 100 + k[0] * columns * b.operand.dtype.itemsize * m[0] / _BYTES_A_CYCLE
    cycles = tile_cycles * (-(-tiles // threads) * threads)
    structure = FewRows(target, a.dtype, b.dtype, m[0], len(normal.batch), ending)
    return Choice(normal, partial(passing, structure), values, tiles, tile_cycles, cycles, 2 * area * tile.bytes)


@lru_cache(maxsize=REMEMBERED)
def passing(structure: FewRows) -> Code:
    """The kernel that computes tiles of the output, each some columns of all rows."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


class _Emitter(Emitter):
    def __init__(self, module: Module, parameters: Parameters, structure: FewRows) -> None:
        super().__init__(module, parameters, structure, register_tile(structure.a, structure.target).vectors)
        self.s = structure
        self.places = [(r, v) for r in range(structure.rows) for v in range(self.tile.vectors)]

    def block(self) -> None:
        f, read, tile = self.f, self.read, self.tile
        self.chains = f.offset(self.sums, read("area"), tile.element)
        with f.loop(0, read("k.extent"), read("k.chain")) as chain:
            self._chain(chain.index)
        with f.loop(0, self.count, tile.lanes) as group:
            lanes = f.intrinsic("smin", f.sub(self.count, group.index), i64(tile.lanes))
            self.finish(self._group(self.sums, group.index), group.index, lanes)

    def _group(self, area: Value, column: Value) -> Value:
        """Where the numbers of a register tile's columns are in an area of scratch memory."""
        return self.f.offset(area, self.f.mul(column, self.s.rows * self.tile.pitch // self.tile.lanes), self.tile.element)

    def _numbers(self, area: Value, column: Value) -> list[Value]:
        """The places of a group's vectors."""
        group = self._group(area, column)
        return [self.f.offset(group, r * self.tile.pitch + v * self.tile.width, self.tile.element) for r, v in self.places]

    def _chain(self, first: Value) -> None:
        """A chain of each sum of the tile: some rows of the matrix at a time, then those that are left."""
        f, read, tile = self.f, self.read, self.tile
        with f.loop(0, self.count, tile.lanes) as group:
            for place in self._numbers(self.chains, group.index):
                f.store(constant(tile.type, 0), place)
        length = f.intrinsic("smin", f.sub(read("k.extent"), first), read("k.chain"))
        together = _STEPS // self.s.rows
        whole = f.add(first, f.binary("and", length, i64(-together)))
        with f.loop(first, whole, together) as several:
            self._pass(several.index, together)
        with f.loop(whole, f.add(first, length)) as left:
            self._pass(left.index, 1)
        with f.loop(0, self.count, tile.lanes) as group:
            chains = [f.load(place, tile.type) for place in self._numbers(self.chains, group.index)]
            add_up(f, tile, chains, self._numbers(self.sums, group.index), f.compare("ne", first, 0))

    def _pass(self, k: Value, steps: int) -> None:
        """So many steps of all chains, from step ``k`` on."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        ks = [f.add(k, step) for step in range(steps)]
        factors = []
        for each in ks:
            places = [address(f, self.a, f.add(f.mul(each, read("k.a")), f.mul(read("m.a"), r)), s.a) for r in range(s.rows)]
            factors.append([f.splat(widen(f, registers.load(f, place, s.a, 1), s.a, tile.compute), tile.width) for place in places])
        rows = [address(f, self.at["b"], f.mul(each, read("k.b")), s.b) for each in ks]
        whole = f.binary("and", self.count, i64(-tile.lanes))
        with f.loop(0, whole, tile.lanes) as group:
            self._group_of(group.index, rows, factors, [None] * tile.vectors)
        left = f.sub(self.count, whole)
        with f.when(f.compare("ne", left, 0)):
            self._group_of(whole, rows, factors, [f.lane_mask(f.sub(left, v * tile.width), tile.width) for v in range(tile.vectors)])

    def _group_of(self, column: Value, rows: list[Value], factors: list[list[Value]], masks: list[Value] | list[None]) -> None:
        """The same for the columns of a register tile."""
        f, s, tile = self.f, self.s, self.tile
        places = self._numbers(self.chains, column)
        chains = [f.load(place, tile.type) for place in places]
        for row, numbers in zip(rows, factors, strict=True):
            for v, mask in enumerate(masks):
                place = address(f, row, f.add(column, v * tile.width), s.b)
                right = registers.unpack(widen(f, registers.load(f, place, s.b, tile.width, mask), s.b, tile.compute))
                for r, number in enumerate(numbers):
                    at = r * tile.vectors + v
                    (chains[at],) = multiply_add(f, tile, [number], right, [chains[at]])
        for chain, place in zip(chains, places, strict=True):
            f.store(chain, place)

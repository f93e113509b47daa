"""Up to three rows by a matrix whose columns lie side by side, where vectors are short: rows of the matrix pass by in order, eight at a time.

The general kernel keeps a register tile's sums while all rows of the matrix pass, 64 bytes of each with AVX2: two chains that wait for themselves,
and a page for each step. Here the sums of some hundred columns wait in the first-level cache, each step of eight rows goes on with all of them, and
the matrix is read as it lies. A partial sum that is stored and loaded again stays the same chain.
"""

from __future__ import annotations

from functools import cache, partial
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence, emit_straight_ending
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished, instruction_sets
from flambeau._codegen.contract.micro import add_up
from flambeau._codegen.contract.normal import Axis, Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Module, Value, constant, i64
from flambeau._codegen.scalar import registers
from flambeau._runtime import targets
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

_MOST_ROWS = 3
_MOST_COLUMNS = 1024
"""Columns of a tile: their sums, and the chains that are being added up, fill a quarter of the first-level cache."""
_STEPS = 8
"""Numbers of the left operand that registers hold, for all rows together."""
_BYTES_A_CYCLE = 16.0
"""How fast the matrix passes."""


class Passing(NamedTuple):
    """All that the code depends on: ``batch`` counts axes."""

    target: Target
    a: dtype
    b: dtype
    rows: int
    batch: int
    ending: Ending


def best_passing(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The way for so few rows, if it fits."""
    if tile.parts > 1 or tile.has_masks:
        return None
    found = [choice for each in (normal, normal.swapped()) if (choice := _choice(contract, each, tile, target))]
    return min(found, key=lambda choice: choice.cycles, default=None)


def _choice(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    b, out = normal.b, normal.out.index
    if normal.a.bounds or b.bounds or not len(normal.m) == len(normal.n) == len(normal.k) == 1:
        return None
    (m,), (n,), (k,) = normal.m, normal.n, normal.k
    if m[0] > _MOST_ROWS or n[b.index] != 1 or n[0] < tile.lanes:
        return None
    unit: Axis = (1,) + (0,) * (len(normal.names) - 1)
    kinds = [(each.dtype, dependence(each.index, out, [m if m[0] > 1 else unit], [n])) for each in normal.others]
    writes = len(contract.writes)
    ending = Ending(normal.out.dtype, n[out] if n[out] in (1, 2) else 0, tuple(kinds[:writes]), tuple(kinds[writes:]), contract.epilogue)
    values = Values()
    axes = {f"batch{i}": axis for i, axis in enumerate(normal.batch)} | {"m": m, "n": n, "k": k}
    for prefix, axis in axes.items():
        for what, number in zip(normal.names, axis, strict=True):
            values[f"{prefix}.{what}"] = number
    threads = targets.available_cores()
    columns = min(_MOST_COLUMNS, -(-n[0] // (threads * tile.lanes)) * tile.lanes)
    blocks, area = -(-n[0] // columns), columns // tile.lanes * m[0] * tile.pitch
    values |= {"n.tiles": blocks, "n.block": columns, "k.chain": normal.chain, "area": area}
    for name, operand in (("a", normal.a.operand), ("b", b.operand), *contract.results_and_reads.items()):
        values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
    tiles = blocks * prod(axis[0] for axis in normal.batch)
    tile_cycles = 100 + k[0] * columns * b.operand.dtype.itemsize * m[0] / _BYTES_A_CYCLE
    cycles = tile_cycles * (-(-tiles // threads) * threads)
    structure = Passing(target, normal.a.dtype, b.dtype, m[0], len(normal.batch), ending)
    return Choice(normal, partial(passing, structure), values, tiles, tile_cycles, cycles, 2 * area * tile.bytes)


@cache
def passing(structure: Passing) -> Code:
    """The kernel that computes tiles of the output, each some columns of all rows."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


class _Emitter:
    def __init__(self, module: Module, parameters: Parameters, structure: Passing) -> None:
        self.s, self.tile = structure, register_tile(structure.a, structure.target)
        self.ending = emit_straight_ending(module, self.tile, structure.ending, self.tile.vectors)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.places = [(r, v) for r in range(structure.rows) for v in range(self.tile.vectors)]

    def emit(self) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        _, _, begin, end, self.sums = f.parameters
        self.chains = f.offset(self.sums, read("area"), tile.element)
        dtypes = {"a": s.a, "b": s.b} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        axes = [*[f"batch{i}" for i in range(s.batch)], "n"]
        with f.loop(begin, end) as loop:
            block, rest = f.binary("urem", loop.index, read("n.tiles")), f.binary("udiv", loop.index, read("n.tiles"))
            first = f.mul(block, read("n.block"))
            self.count = f.intrinsic("smin", f.sub(read("n.extent"), first), read("n.block"))
            indices = [*decomposed(f, read, "batch", s.batch, rest), first]
            at = {
                name: address(f, base, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), dtypes[name])
                for name, base in bases.items()
                if name != "a"
            }
            self.b = at["b"]
            self.a = address(f, bases["a"], dot(f, indices[:-1], read, [f"{axis}.a" for axis in axes[:-1]]), s.a)
            with f.loop(0, read("k.extent"), read("k.chain")) as chain:
                self._chain(chain.index)
            with f.loop(0, self.count, tile.lanes) as group:
                arguments = []
                for name in s.ending.dtypes:
                    here = address(f, at[name], f.mul(group.index, read(f"n.{name}")), dtypes[name])
                    arguments += [here, read(f"m.{name}"), read(f"n.{name}")]
                lanes = f.intrinsic("smin", f.sub(self.count, group.index), i64(tile.lanes))
                f.call(f"@{self.ending}", self._group(self.sums, group.index), i64(s.rows), lanes, *arguments)
        f.ret()

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
        rows = [address(f, self.b, f.mul(each, read("k.b")), s.b) for each in ks]
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

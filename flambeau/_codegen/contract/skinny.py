"""Few rows by a matrix whose rows are what is summed over: a matrix times a vector, a linear layer on one sample.

The matrix is read once, so that nothing pays that copies it: squares of it are transposed in registers, and each column of a square is
multiplied and added as it comes. The sums are the usual chains, one a lane, a chain after the other.
"""

from __future__ import annotations

from functools import cache, partial
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence, emit_straight_ending
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished, instruction_sets
from flambeau._codegen.contract.micro import add_up, anchors
from flambeau._codegen.contract.normal import Axis, Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Builder, Module, Value, constant, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._codegen.squares import transpose
from flambeau._runtime import targets
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

_MOST_ROWS = 4
_QUAD = 4
"""Neighbours that are loaded together: gathering quads from memory is half of the transposition, and needs no shuffle."""
_CYCLES = 90.0
"""To read and transpose a square of 16 x 16 and to multiply a row by it."""
_CYCLES_OF_SEVERAL = 58.0
"""The same where several chains go side by side."""
_BESIDE = 2
"""Chains that go side by side where a vector is short."""
_LINE = 64
"""Bytes of a line of the caches."""


class Skinny(NamedTuple):
    """All that the code depends on: ``batch`` counts axes; ``is_wide`` says that there are at least as many columns as lanes; so many
    chains go ``beside`` each other as long as there are so many whole ones."""

    target: Target
    a: dtype
    b: dtype
    rows: int
    batch: int
    beside: int
    is_wide: bool
    ending: Ending
    unsigned: str = ""


def best_skinny(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The way for few rows, if it fits."""
    if tile.parts > 1:
        return None
    found = [choice for each in (normal, normal.swapped()) if (choice := _choice(contract, each, tile, target))]
    return min(found, key=lambda choice: choice.cycles, default=None)


def _choice(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    b = normal.b
    if normal.a.bounds or b.bounds or not len(normal.m) == len(normal.n) == len(normal.k) == 1:
        return None
    (m,), (n,), (k,) = normal.m, normal.n, normal.k
    if m[0] > _MOST_ROWS or k[b.index] != 1 or k[0] < tile.width:
        return None
    out = normal.out.index
    unit: Axis = (1,) + (0,) * (len(normal.names) - 1)
    kinds = [(each.dtype, dependence(each.index, out, [m if m[0] > 1 else unit], [n])) for each in normal.others]
    writes = len(contract.writes)
    ending = Ending(normal.out.dtype, n[out] if n[out] in (1, 2) else 0, tuple(kinds[:writes]), tuple(kinds[writes:]), contract.epilogue)
    values = Values()
    axes = {f"batch{i}": axis for i, axis in enumerate(normal.batch)} | {"m": m, "n": n, "k": k}
    for prefix, axis in axes.items():
        for what, number in zip(normal.names, axis, strict=True):
            values[f"{prefix}.{what}"] = number
    blocks = -(-n[0] // tile.width)
    values |= {"n.tiles": blocks, "k.chain": normal.chain}
    for name, operand in (("a", normal.a.operand), ("b", b.operand), *contract.results_and_reads.items()):
        values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
    threads = targets.available_cores()
    tiles = blocks * prod(axis[0] for axis in normal.batch)
    squares = -(-k[0] // tile.width)
    beside = _chains_beside(tile, m[0], k[0], normal.chain, n[0] * k[0] * b.operand.dtype.itemsize, target)
    tile_cycles = 60 + squares * ((_CYCLES if beside == 1 else _CYCLES_OF_SEVERAL) * tile.width / 16 + (m[0] - 1) * 12)
    cycles = tile_cycles * (-(-tiles // threads) * threads)
    structure = Skinny(target, normal.a.dtype, b.dtype, m[0], len(normal.batch), beside, n[0] >= tile.width, ending, normal.unsigned)
    return Choice(normal, partial(skinny, structure), values, tiles, tile_cycles, cycles, m[0] * tile.pitch * tile.bytes)


def _chains_beside(tile: Tile, rows: int, k: int, chain: int, nbytes: int, target: Target) -> int:
    """How many chains go side by side.

    A short vector's chain waits for itself (4 cycles a step, in which two squares' shuffles can be done), and there are registers for more
    than one: 237 and 135 us for 1024 x 1024. Not lines of more rows (355): those of 1024 numbers are all in one set of the first-level cache,
    which has 8 ways on Zen; nor is the next block asked for early (190). A matrix beyond the third-level cache is read better by one chain and
    with its next block asked for (4096 x 4096: 4.4 and 5.2 to 6.0 ms).
    """
    line = _LINE // tile.bytes
    fits = not tile.has_masks and rows <= 2 and chain % line == 0 and tile.width % _QUAD == 0 and line % tile.width == 0
    return _BESIDE if fits and k >= _BESIDE * chain and nbytes <= target.l3_bytes else 1


@cache
def skinny(structure: Skinny) -> Code:
    """The kernel that computes tiles of the output, each a vector of lanes."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


class _Emitter:
    def __init__(self, module: Module, parameters: Parameters, structure: Skinny) -> None:
        self.s, self.tile = structure, register_tile(structure.a, structure.target, structure.unsigned)
        self.ending = emit_straight_ending(module, self.tile, structure.ending, 1)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])

    def emit(self) -> None:
        f, read, s, width = self.f, self.read, self.s, self.tile.width
        _, _, begin, end, sums = f.parameters
        dtypes = {"a": s.a, "b": s.b} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        self.spill = f.alloca(self.tile.element, width * width)
        axes = [*[f"batch{i}" for i in range(s.batch)], "n"]
        with f.loop(begin, end) as loop:
            block, rest = f.binary("urem", loop.index, read("n.tiles")), f.binary("udiv", loop.index, read("n.tiles"))
            lane = f.mul(block, width)
            lanes = f.intrinsic("smin", f.sub(read("n.extent"), lane), i64(width))
            indices = [*decomposed(f, read, "batch", s.batch, rest), lane]
            at = {
                name: address(f, base, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), dtypes[name])
                for name, base in bases.items()
                if name != "a"
            }
            self.a = address(f, bases["a"], dot(f, indices[:-1], read, [f"{axis}.a" for axis in axes[:-1]]), s.a)
            # The last block reads columns of the one before if it has fewer than there are lanes, so that all lines are equally far apart.
            shift = f.sub(i64(width), lanes) if s.is_wide else i64(0)
            self.lines = _Lines(f, address(f, at["b"], f.mul(f.sub(i64(0), shift), read("n.b")), s.b), lanes, read("n.b"), s)
            start: Value = i64(0)
            if s.beside > 1:
                start = self._whole_chains(sums)
            with f.loop(start, read("k.extent"), read("k.chain")) as chain:
                self._chain(chain.index, sums)
            arguments = []
            for name in s.ending.dtypes:
                arguments += [at[name], read(f"m.{name}"), read(f"n.{name}")]
            if s.is_wide:
                self._move(sums, shift, lanes)
            f.call(f"@{self.ending}", sums, i64(s.rows), lanes, *arguments)
        f.ret()

    def _move(self, sums: Value, shift: Value, lanes: Value) -> None:
        """Put the last ``lanes`` of each row of the sums first, with zeros after them."""
        f, tile = self.f, self.tile
        with f.when(f.compare("ne", shift, 0)):
            exist = f.lane_mask(lanes, tile.width)
            for r in range(self.s.rows):
                row = f.offset(sums, r * tile.pitch, tile.element)
                f.store(f.masked_load(f.offset(row, shift, tile.element), exist, tile.type), row)

    def _whole_chains(self, sums: Value) -> Value:
        """Whole chains, several at a time; returns the step where those begin that are left."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        chain = read("k.chain")
        together = f.mul(chain, s.beside)
        end = f.sub(read("k.extent"), f.binary("urem", read("k.extent"), together))
        line = _LINE // tile.bytes
        with f.loop(0, end, together) as several:
            with f.loop(several.index, f.add(several.index, chain), line, [constant(tile.type, 0)] * (s.rows * s.beside)) as lines:
                chains = lines.carried
                for first in range(0, line, tile.width):
                    following: list[Value] = []
                    for number in range(s.beside):
                        k = f.add(f.add(lines.index, f.mul(chain, number)), first)
                        own, factors = chains[number * s.rows : (number + 1) * s.rows], self._factors(k)
                        for column in self._square(k, None):
                            own = self._add(own, factors, column)
                            factors = [address(f, factor, read("k.a"), s.a) for factor in factors]
                        following += own
                    chains = following
                lines.carry(*chains)
            places = [f.offset(sums, r * tile.pitch, tile.element) for r in range(s.rows)]
            for number in range(s.beside):
                more = Value("true", "i1") if number else f.compare("ne", several.index, 0)
                add_up(f, tile, lines.carried[number * s.rows : (number + 1) * s.rows], places, more)
        return end

    def _chain(self, first: Value, sums: Value) -> None:
        """A chain of each sum: whole squares, then the steps that are left."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        width = tile.width
        length = f.intrinsic("smin", f.sub(read("k.extent"), first), read("k.chain"))
        whole = f.add(first, f.binary("and", length, i64(-width)))
        with f.loop(first, whole, width, [constant(tile.type, 0)] * s.rows) as squares:
            chains = squares.carried
            # The lines of the next block: one may be a page, and what prefetches by itself stops at its end (12.7 to 14.5 GB/s).
            for line in self.lines.at(f.add(squares.index, f.mul(read("n.b"), width))):
                f.prefetch(line)
            factors = self._factors(squares.index)
            for column in self._square(squares.index, None):
                chains = self._add(chains, factors, column)
                factors = [address(f, factor, read("k.a"), s.a) for factor in factors]
            squares.carry(*chains)
        left = f.sub(f.add(first, length), whole)
        with f.when(f.compare("sgt", left, 0)):
            for i, column in enumerate(self._square(whole, f.lane_mask(left, width))):
                f.store(column, f.offset(self.spill, i * width, tile.element))
        with f.loop(0, left, 1, squares.carried) as tail:
            column = f.load(f.offset(self.spill, f.mul(tail.index, width), tile.element), tile.type)
            tail.carry(*self._add(tail.carried, self._factors(f.add(whole, tail.index)), column))
        places = [f.offset(sums, r * tile.pitch, tile.element) for r in range(s.rows)]
        add_up(f, tile, tail.carried, places, f.compare("ne", first, 0))

    def _square(self, k: Value, mask: Value | None) -> list[Value]:
        """Columns of the square that starts at step ``k``."""
        f, s, tile = self.f, self.s, self.tile
        lines = self.lines.at(k)
        if mask is None and s.b is tile.compute and tile.width % _QUAD == 0:
            return _columns(f, tile, lines)
        return transpose(f, [widen(f, registers.load(f, line, s.b, tile.width, mask), s.b, tile.compute) for line in lines])

    def _factors(self, k: Value) -> list[Value]:
        """Where step ``k`` of each row of the left operand is."""
        f, read, s = self.f, self.read, self.s
        return [address(f, self.a, f.add(f.mul(k, read("k.a")), f.mul(read("m.a"), r)), s.a) for r in range(s.rows)]

    def _add(self, chains: list[Value], factors: list[Value], column: Value) -> list[Value]:
        """One step of the chains of all rows for a vector of lanes."""
        f, s, tile = self.f, self.s, self.tile
        following: list[Value] = []
        for factor, chain in zip(factors, chains, strict=True):
            number = f.splat(widen(f, registers.load(f, factor, s.a, 1), s.a, tile.compute), tile.width)
            following += multiply_add(f, tile, [number], [column], [chain])
        return following


class _Lines:
    """Where the lanes' lines are, the first at ``start`` and one ``apart`` from the other.

    A few of them have address registers, and reach the others as x86 scales an index: an address for each of 16 is loaded from memory each time.
    Of fewer columns than there are lanes, the last one is read by the lanes that do not exist.
    """

    def __init__(self, f: Builder, start: Value, lanes: Value, apart: Value, s: Skinny) -> None:
        self.f, self.s, self.width = f, s, register_tile(s.a, s.target, s.unsigned).width
        rows, self.reached = anchors(self.width)
        last = f.sub(lanes, 1)
        if not s.is_wide:
            rows, self.reached = list(range(self.width)), [(row, 0) for row in range(self.width)]
        at = [i64(row) if s.is_wide else f.intrinsic("smin", i64(row), last) for row in rows]
        self.starts = [address(f, start, f.mul(row, apart), s.b) for row in at]
        self.steps = {reach: f.mul(apart, reach) for _, reach in self.reached if reach}

    def at(self, k: Value) -> list[Value]:
        """The addresses of element ``k`` of each line."""
        here = [address(self.f, start, k, self.s.b) for start in self.starts]
        return [address(self.f, here[anchor], self.steps[reach], self.s.b) if reach else here[anchor] for anchor, reach in self.reached]


def _columns(f: Builder, tile: Tile, lines: list[Value]) -> list[Value]:
    """The columns of a square. Each load fetches a quad; quads of every fourth line become a vector, and four of these are transposed."""
    columns = []
    for first in range(0, tile.width, _QUAD):
        rows = []
        for i in range(_QUAD):
            quads = [f.load(f.offset(line, first, tile.element), vector(tile.element, _QUAD)) for line in lines[i::_QUAD]]
            while len(quads) > 1:
                quads = [f.shuffle(low, high, range(2 * low.width)) for low, high in zip(quads[::2], quads[1::2], strict=True)]
            rows += quads
        columns += transpose(f, rows)
    return columns

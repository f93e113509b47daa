"""Few rows by a matrix whose rows are what is summed over: a matrix times a vector, a linear layer on one sample.

The matrix is read once, so that nothing pays that copies it: squares of it are transposed in registers, and each column of a square is
multiplied and added as it comes. The sums are the usual chains, one a lane, a chain after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.blocking import is_crowded
from flambeau._codegen.contract.choice import Choice
from flambeau._codegen.contract.few_rows import Emitter, FewRows, axes_of, cheapest, described
from flambeau._codegen.contract.kernel import REMEMBERED, Code, finished
from flambeau._codegen.contract.micro import add_up, anchors
from flambeau._codegen.contract.normal import Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Builder, Module, Value, constant, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._codegen.squares import transpose
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_MOST_ROWS = (4, 8)
"""Rows that have registers for their sums beside a square, among 16 and among 32 (5 rows by 1024 x 4096: 1.40 ms packed, 0.91 so; 8: 1.38, 1.19)."""
_AHEAD = 3
"""Squares between what is multiplied and what is asked for, in the lines that are being read (4096 x 4096 by a vector, beside others: 4.33 ms asking
for the next block's lines, 4.07 asking for none, 3.65 four squares ahead; of 1024 x 1024 two squares are better by 5 %)."""
_CYCLES = 90.0
"""To read and transpose a square of 16 x 16 and to multiply a row by it."""
_CYCLES_OF_SEVERAL = (58.0, 72.0)
"""The same where several chains go side by side, of short vectors and of long ones."""
_BESIDE = 2
"""Chains that go side by side where a vector is short."""
_SHORT_LINE = 512
"""Bytes of a row of the matrix up to which several vectors of columns ask for the next block's: what prefetches by itself hardly begins (4096 x 64:
40 and 32 us; but 256 x 256, in the second-level cache, 9.5 and 10.5, and 300 x 700 23.5 and 25.6)."""
_LINE = 64
"""Bytes of a line of the caches."""


@dataclass(frozen=True)
class Skinny(FewRows):
    """``is_wide`` says that there are at least as many columns as lanes; so many chains go ``beside`` each other as long as there are so many whole ones.
    A tile has so many ``vectors`` of columns, and ``asks`` for lines before it reads them."""

    beside: int = 1
    is_wide: bool = True
    vectors: int = 1
    asks: bool = True


def best_skinny(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The way for few rows, if it fits."""
    return cheapest(normal, lambda each: _choice(contract, each, tile, target)) if tile.parts == 1 else None


def _choice(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    axes, a, b = axes_of(normal), normal.a, normal.b
    if axes is None:
        return None
    m, n, k = axes
    if m[0] > _MOST_ROWS[tile.has_masks] or k[b.index] != 1 or k[0] < tile.width:
        return None
    nbytes = n[0] * k[0] * b.operand.dtype.itemsize
    vectors = _vectors_beside(tile, m[0], n[0], n[b.index] * b.operand.dtype.itemsize, nbytes, target)
    lanes = vectors * tile.width
    ending, values = described(contract, normal, lanes)
    threads = targets.available_cores()
    tiles = values["n.tiles"] * prod(axis[0] for axis in normal.batch)
    squares = -(-k[0] // tile.width)
    beside = 1 if vectors > 1 else _chains_beside(tile, m[0], k[0], normal.chain, nbytes, target)
    asks = vectors == 1 or (nbytes > target.l2_bytes and k[0] * b.operand.dtype.itemsize <= _SHORT_LINE)
    square = _CYCLES if beside == vectors == 1 else _CYCLES_OF_SEVERAL[tile.has_masks]
    tile_cycles = 60 + squares * (square * tile.width / 16 + (m[0] - 1) * 12) * vectors
    cycles = tile_cycles * (-(-tiles // threads) * threads)
    structure = Skinny(target, a.dtype, b.dtype, m[0], len(normal.batch), ending, normal.bundle, beside, n[0] >= lanes, vectors, asks)
    return Choice(normal, partial(skinny, structure), values, tiles, tile_cycles, cycles, m[0] * tile.pitch * tile.bytes)


def _vectors_beside(tile: Tile, rows: int, columns: int, apart: int, nbytes: int, target: Target) -> int:
    """How many vectors of columns go side by side, if their lines, so many bytes ``apart``, do not evict each other: short vectors' chains wait for themselves."""
    lanes = 2 * tile.width
    if tile.has_masks or tile.vectors < 2 or tile.width < 4 or rows > 2 or columns < lanes or nbytes > target.l3_bytes:
        return 1
    return 1 if is_crowded([number * apart for number in range(2 * lanes)], target) else 2


def _chains_beside(tile: Tile, rows: int, k: int, chain: int, nbytes: int, target: Target) -> int:
    """How many chains go side by side.

    A short vector's chain waits for itself (4 cycles a step, in which two squares' shuffles can be done), and there are registers for more
    than one: 237 and 135 us for 1024 x 1024. Not lines of more rows (355): those of 1024 numbers are all in one set of the first-level cache,
    which has 8 ways on Zen; nor is the next block asked for early (190). A matrix beyond the third-level cache is read better by one chain and
    with its next block asked for (4096 x 4096: 4.4 and 5.2 to 6.0 ms). Long vectors' chains wait for themselves, too, if the matrix is in the second-level
    cache (512 x 512: 28 and 25 us; 1024 x 1024: 167 and 171).
    """
    line = _LINE // tile.bytes
    fits = rows <= 2 and chain % line == 0 and tile.width > 2 and line % tile.width == 0
    return _BESIDE if fits and k >= _BESIDE * chain and nbytes <= (target.l2_bytes if tile.has_masks else target.l3_bytes) else 1


@lru_cache(maxsize=REMEMBERED)
def skinny(structure: Skinny) -> Code:
    """The kernel that computes tiles of the output, each a vector of lanes."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


class _Emitter(Emitter):
    def __init__(self, module: Module, parameters: Parameters, structure: Skinny) -> None:
        super().__init__(module, parameters, structure, structure.vectors)
        self.s = structure
        self.spill = self.f.alloca(self.tile.element, structure.vectors * self.tile.width**2)

    def block(self) -> None:
        f, read, s, width = self.f, self.read, self.s, self.tile.width
        # The last block reads columns of the one before if it has fewer than there are lanes, so that all lines are equally far apart.
        shift = f.sub(i64(s.vectors * width), self.count) if s.is_wide else i64(0)
        first = address(f, self.at["b"], f.mul(f.sub(i64(0), shift), read("n.b")), s.b)
        self.lines = _Lines(f, first, self.count, read("n.b"), s)
        start = self._whole_chains(self.sums) if s.beside > 1 else i64(0)
        with f.loop(start, read("k.extent"), read("k.chain")) as chain:
            self._chain(chain.index, self.sums)
        if s.is_wide:
            self._move(self.sums, shift, self.count)
        self.finish(self.sums, i64(0), self.count)

    def _move(self, sums: Value, shift: Value, lanes: Value) -> None:
        """Put the last ``lanes`` of each row of the sums first, with zeros after them."""
        f, tile = self.f, self.tile
        with f.when(f.compare("ne", shift, 0)):
            exist = [f.lane_mask(f.sub(lanes, v * tile.width), tile.width) for v in range(self.s.vectors)]
            for number, row in enumerate(self._places(sums)):
                f.store(f.masked_load(f.offset(row, shift, tile.element), exist[number // self.s.rows], tile.type), row)

    def _whole_chains(self, sums: Value) -> Value:
        """Whole chains, several at a time; returns the step where those begin that are left."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        chain = read("k.chain")
        together = f.mul(chain, s.beside)
        end = f.sub(read("k.extent"), f.binary("urem", read("k.extent"), together))
        line = _LINE // tile.bytes
        with f.loop(0, end, together) as several:
            with f.loop(several.index, f.add(several.index, chain), line, [constant(tile.type, 0)] * (s.rows * s.beside)) as lines:
                chains = [*lines.carried]
                # A line is read to its end before the next one (2048 x 2048: 1.43 and 1.29 ms), of 64 bits chain by chain (1024 x 512: 102 and 108 us).
                squares = [(number, step) for number in range(s.beside) for step in range(0, line, tile.width)]
                for number, step in squares if tile.bytes < 8 else sorted(squares, key=lambda square: square[1]):
                    k = f.add(f.add(lines.index, f.mul(chain, number)), step)
                    rows, factors = slice(number * s.rows, (number + 1) * s.rows), self._factors(k)
                    for column in self._square(0, k, None):
                        chains[rows] = self._add(chains[rows], factors, column)
                        factors = [address(f, factor, read("k.a"), s.a) for factor in factors]
                lines.carry(*chains)
            places = self._places(sums)
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
        with f.loop(first, whole, width, [constant(tile.type, 0)] * (s.vectors * s.rows)) as squares:
            if s.asks:
                # With short vectors the lines of the next block: one may be a page, and what prefetches by itself stops at its end (12.7 to 14.5 GB/s).
                ahead = i64(_AHEAD * width) if tile.has_masks else f.mul(read("n.b"), s.vectors * width)
                for line in [line for v in range(s.vectors) for line in self.lines.at(v, f.add(squares.index, ahead))]:
                    f.prefetch(line)
            chains: list[Value] = []
            for v in range(s.vectors):
                own, factors = squares.carried[v * s.rows : (v + 1) * s.rows], self._factors(squares.index)
                for column in self._square(v, squares.index, None):
                    own = self._add(own, factors, column)
                    factors = [address(f, factor, read("k.a"), s.a) for factor in factors]
                chains += own
            squares.carry(*chains)
        left = f.sub(f.add(first, length), whole)
        with f.when(f.compare("sgt", left, 0)):
            mask = f.lane_mask(left, width)
            for v in range(s.vectors):
                for i, column in enumerate(self._square(v, whole, mask)):
                    f.store(column, f.offset(self.spill, (i * s.vectors + v) * width, tile.element))
        with f.loop(0, left, 1, squares.carried) as tail:
            columns, factors = (
                f.offset(self.spill, f.mul(tail.index, s.vectors * width), tile.element),
                self._factors(f.add(whole, tail.index)),
            )
            chains = []
            for v in range(s.vectors):
                column = f.load(f.offset(columns, v * width, tile.element), tile.type)
                chains += self._add(tail.carried[v * s.rows : (v + 1) * s.rows], factors, column)
            tail.carry(*chains)
        add_up(f, tile, tail.carried, self._places(sums), f.compare("ne", first, 0))

    def _places(self, sums: Value) -> list[Value]:
        """Where the sums of each vector of columns are, row by row."""
        f, tile = self.f, self.tile
        return [f.offset(sums, r * tile.pitch + v * tile.width, tile.element) for v in range(self.s.vectors) for r in range(self.s.rows)]

    def _square(self, v: int, k: Value, mask: Value | None) -> list[Value]:
        """Columns of the square of a vector of lanes that starts at step ``k``."""
        f, s, tile = self.f, self.s, self.tile
        lines = self.lines.at(v, k)
        if mask is None and s.b is tile.compute and tile.width > 2:
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
        self.f, self.s, self.width = f, s, register_tile(s.a, s.target, s.bundle).width
        rows, self.reached = anchors(self.width)
        last = f.sub(lanes, 1)
        if not s.is_wide:
            rows, self.reached = list(range(self.width)), [(row, 0) for row in range(self.width)]
        at = [i64(row) if s.is_wide else f.intrinsic("smin", i64(row), last) for row in rows]
        self.starts = [[address(f, start, f.mul(f.add(row, v * self.width), apart), s.b) for row in at] for v in range(s.vectors)]
        self.steps = {reach: f.mul(apart, reach) for _, reach in self.reached if reach}

    def at(self, v: int, k: Value) -> list[Value]:
        """The addresses of element ``k`` of each line of a vector of lanes."""
        here = [address(self.f, start, k, self.s.b) for start in self.starts[v]]
        return [address(self.f, here[anchor], self.steps[reach], self.s.b) if reach else here[anchor] for anchor, reach in self.reached]


def _columns(f: Builder, tile: Tile, lines: list[Value]) -> list[Value]:
    """The columns of a square. Halves of lines are loaded into places, which is the last exchange of halves of a transposition, and needs no shuffle.

    Both halves of a line follow each other: sixteen lines that are pages apart are more than the first-level cache has ways for.
    """
    half = tile.width // 2
    loaded = [[f.load(f.offset(line, first, tile.element), vector(tile.element, half)) for first in (0, half)] for line in lines]
    columns = []
    for halves in zip(*loaded, strict=True):
        columns += transpose(f, [f.shuffle(*pair, range(tile.width)) for pair in zip(halves[:half], halves[half:], strict=True)])
    return columns

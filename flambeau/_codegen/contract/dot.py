"""One row by one column: the product of two vectors, or of the vectors of two batches.

A chain waits for itself at each step, so that several chains of a sum go side by side, a number at a time. (As lanes of a vector they would have to be
transposed, of both operands.)
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, widen
from flambeau._codegen.contract.choice import Choice
from flambeau._codegen.contract.few_rows import Emitter, FewRows, axes_of, described
from flambeau._codegen.contract.kernel import REMEMBERED, Code, finished
from flambeau._codegen.contract.normal import Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Module, Value, constant, i64
from flambeau._codegen.scalar import registers
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_BESIDE = (4, 2, 1)
"""How many chains go side by side, the most that have registers for their distances first."""
_LATENCY = 4
"""Cycles of a step of a chain that goes alone."""


def best_dot(contract: Contract, normal: Normal, tile: Tile, target: Target) -> Choice | None:
    """The way for one row and one column, if that is what there is."""
    axes = axes_of(normal)
    if axes is None or tile.parts > 1 or contract.bundle or axes[0][0] > 1 or axes[1][0] > 1:
        return None
    k = axes[2][0]
    ending, values = described(contract, normal, 1)
    threads, tiles = targets.available_cores(), prod(axis[0] for axis in normal.batch)
    tile_cycles = 60.0 + k * max(1.0, _LATENCY / -(-k // normal.chain))
    structure = FewRows(target, normal.a.dtype, normal.b.dtype, 1, len(normal.batch), ending)
    cycles = tile_cycles * (-(-tiles // threads) * threads)
    return Choice(normal, partial(dot, structure), values, tiles, tile_cycles, cycles, tile.pitch * tile.bytes)


@lru_cache(maxsize=REMEMBERED)
def dot(structure: FewRows) -> Code:
    """The kernel that computes tiles of the output, each a number."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure, 1).emit()
    return finished(module, parameters)


class _Emitter(Emitter):
    def block(self) -> None:
        f, tile, extent, chain = self.f, self.tile, self.read("k.extent"), self.read("k.chain")
        # To minus zero what is added remains as it is.
        start, total = i64(0), constant(tile.element, -0.0 if tile.compute.is_floating_point else 0)
        for beside in _BESIDE:
            together = f.mul(chain, beside)
            left = f.sub(extent, start)
            end = f.sub(extent, f.binary("urem", left, together)) if beside > 1 else extent
            with f.loop(start, end, together, [total]) as groups:
                length = chain if beside > 1 else f.intrinsic("smin", f.sub(extent, groups.index), chain)
                total = groups.carried[0]
                for sum_ in self._chains(groups.index, length, beside):
                    total = f.add(total, sum_)
                groups.carry(total)
            start, total = end, groups.carried[0]
        f.store(constant(tile.type, 0), self.sums)
        f.store(total, self.sums)
        self.finish(self.sums, i64(0), i64(1))

    def _chains(self, first: Value, length: Value, count: int) -> list[Value]:
        """So many chains of so many steps, the first from step ``first`` on."""
        f, read, chain = self.f, self.read, self.read("k.chain")
        zeros = [constant(self.tile.element, 0)] * count
        operands = (("a", self.a), ("b", self.at["b"]))
        steps = {name: read(f"k.{name}") for name, _ in operands}
        starts = [address(f, place, f.mul(first, steps[name]), self.dtypes[name]) for name, place in operands]
        further = {name: [f.mul(f.mul(chain, number), step) for number in range(1, count)] for name, step in steps.items()}
        with f.loop(0, length, 1, [*starts, *zeros]) as loop:
            *places, following = *loop.carried[:2], loop.carried[2:]
            numbers = [
                [self._number(name, place)] + [self._number(name, address(f, place, each, self.dtypes[name])) for each in further[name]]
                for name, place in zip(steps, places, strict=True)
            ]
            sums = [multiply_add(f, self.tile, [left], [right], [sum_])[0] for left, right, sum_ in zip(*numbers, following, strict=True)]
            loop.carry(*[address(f, place, steps[name], self.dtypes[name]) for name, place in zip(steps, places, strict=True)], *sums)
        return loop.carried[2:]

    def _number(self, name: str, place: Value) -> Value:
        value = widen(self.f, registers.load(self.f, place, self.dtypes[name], 1), self.dtypes[name], self.tile.compute)
        assert isinstance(value, Value)
        return value

"""What the ways for few rows have in common (``skinny.py``, ``passing.py``): which contractions they fit, and the walk over tiles of columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from flambeau._codegen.contract.arithmetic import register_tile
from flambeau._codegen.contract.choice import Choice, Values
from flambeau._codegen.contract.ending import Ending, dependence, emit_straight_ending
from flambeau._codegen.contract.kernel import SIGNATURE, base_address
from flambeau._codegen.contract.normal import Axis, Normal
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Module, Value, i64
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype


@dataclass(frozen=True)
class FewRows:
    """All that the code depends on: ``batch`` counts axes."""

    target: Target
    a: dtype
    b: dtype
    rows: int
    batch: int
    ending: Ending
    bundle: str = ""


def cheapest(normal: Normal, choose: Callable[[Normal], Choice | None]) -> Choice | None:
    """The cheaper orientation of those that ``choose`` offers a way for."""
    found = [choice for each in (normal, normal.swapped()) if (choice := choose(each))]
    return min(found, key=lambda choice: choice.cycles, default=None)


def axes_of(normal: Normal) -> tuple[Axis, Axis, Axis] | None:
    """The axes of rows, columns and steps if there is one of each, without bounds."""
    if normal.a.bounds or normal.b.bounds or not len(normal.m) == len(normal.n) == len(normal.k) == 1:
        return None
    return normal.m[0], normal.n[0], normal.k[0]


def described(contract: Contract, normal: Normal, block: int) -> tuple[Ending, Values]:
    """What becomes of the sums, and the parameters of a kernel whose tiles are ``block`` columns."""
    (m,), (n,), (k,) = normal.m, normal.n, normal.k
    out, writes = normal.out.index, len(contract.writes)
    unit: Axis = (1,) + (0,) * (len(normal.names) - 1)
    kinds = [(each.dtype, dependence(each.index, out, [m if m[0] > 1 else unit], [n])) for each in normal.others]
    ending = Ending(normal.out.dtype, n[out] if n[out] in (1, 2) else 0, tuple(kinds[:writes]), tuple(kinds[writes:]), contract.epilogue)
    values = Values()
    axes = {f"batch{i}": axis for i, axis in enumerate(normal.batch)} | {"m": m, "n": n, "k": k}
    for prefix, axis in axes.items():
        for what, number in zip(normal.names, axis, strict=True):
            values[f"{prefix}.{what}"] = number
    values |= {"n.tiles": -(-n[0] // block), "n.block": block, "k.chain": normal.chain}
    for name, operand in (("a", normal.a.operand), ("b", normal.b.operand), *contract.results_and_reads.items()):
        values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
    return ending, values


class Emitter(ABC):
    """Writes a kernel whose tiles are blocks of columns of all rows, ``vectors`` of which are finished at a time."""

    def __init__(self, module: Module, parameters: Parameters, structure: FewRows, vectors: int) -> None:
        self.tile = register_tile(structure.a, structure.target, structure.bundle)
        self.ending = emit_straight_ending(module, self.tile, structure.ending, vectors)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.few = structure

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.few
        _, _, begin, end, self.sums = f.parameters
        self.dtypes = {"a": s.a, "b": s.b} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in self.dtypes}
        axes = [*[f"batch{i}" for i in range(s.batch)], "n"]
        with f.loop(begin, end) as loop:
            block, rest = f.binary("urem", loop.index, read("n.tiles")), f.binary("udiv", loop.index, read("n.tiles"))
            first = f.mul(block, read("n.block"))
            self.count = f.intrinsic("smin", f.sub(read("n.extent"), first), read("n.block"))
            indices = [*decomposed(f, read, "batch", s.batch, rest), first]
            self.at = {
                name: address(f, base, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), self.dtypes[name])
                for name, base in bases.items()
                if name != "a"
            }
            self.a = address(f, bases["a"], dot(f, indices[:-1], read, [f"{axis}.a" for axis in axes[:-1]]), s.a)
            self.block()
        f.ret()

    @abstractmethod
    def block(self) -> None:
        """Compute and finish the columns of a tile, ``count`` from where they are ``at``."""

    def finish(self, sums: Value, column: Value, lanes: Value) -> None:
        """Let become of the ``sums`` of some columns what should."""
        f, arguments = self.f, []
        for name in self.few.ending.dtypes:
            here = address(f, self.at[name], f.mul(column, self.read(f"n.{name}")), self.dtypes[name])
            arguments += [here, self.read(f"m.{name}"), self.read(f"n.{name}")]
        f.call(f"@{self.ending}", sums, i64(self.few.rows), lanes, *arguments)

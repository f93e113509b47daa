"""What the kernels of both directions share: where a tile's operands begin, and a block's scores."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._codegen.attention.blocks import NO_DIAGONAL, emit_gather_columns, emit_gather_rows, emit_scatter_rows
from flambeau._codegen.attention.structure import LANES, Structure
from flambeau._codegen.contract.kernel import SIGNATURE, base_address
from flambeau._codegen.contract.micro import Walk, emit_micro
from flambeau._codegen.contract.packing import address
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.ir import Builder, Module, Value, constant, i64
from flambeau._types.dtype import dtype


class Kernel:
    """A kernel being written: the functions that it calls, and its own code in ``f``.

    Its tiles are numbered by batch, then by blocks of queries, then by blocks of keys. ``table``, ``params`` and ``scratch`` are those of
    the kernel's interface (``docs/design/0001-architecture.md``).
    """

    def __init__(self, structure: Structure, dtypes: dict[str, dtype]) -> None:
        self.structure, self.tile, self.dtypes = structure, structure.tile, dtypes
        if structure.mask is not None:
            self.dtypes = {**dtypes, "mask": structure.mask.dtype}
        self.module, self.parameters = Module(structure.target.instruction_sets), Parameters()
        # Of operands whose rows are known to be neighbours several steps are taken at once.
        walks = {self.tile.rows: Walk(step=1, b=self.tile.lanes)}
        self.micros = {rows: emit_micro(self.module, self.tile, rows, False, walk=walks.get(rows, Walk())) for rows in self.tile.variants}
        self.gather_rows = emit_gather_rows(self.module, self.tile, structure.dtype)
        self.gather_columns = emit_gather_columns(self.module, self.tile, structure.dtype)
        self.scatter_rows = emit_scatter_rows(self.module, self.tile, structure.out)
        self.one = self.module.table(self.tile.element, [1.0])
        self.f = self.module.function("kernel", SIGNATURE)
        self.read = self.parameters.reader(self.f, self.f.parameters[1])

    def call(self, name: str, *arguments: Value | int) -> None:
        self.f.call(f"@{name}", *[i64(each) if isinstance(each, int) else each for each in arguments])

    def area(self, name: str) -> Value:
        """A part of the scratch memory."""
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def bases(self) -> dict[str, Value]:
        return {name: base_address(self.f, self.read, name) for name in self.dtypes}

    def at_batch(self, bases: dict[str, Value], linear: Value) -> dict[str, Value]:
        """Where each operand begins for a position in the batch."""
        f, axes = self.f, self.structure.batch
        batch = decomposed(f, self.read, "batch", axes, linear)
        return {
            name: address(f, base, dot(f, batch, self.read, [f"batch{axis}.{name}" for axis in range(axes)]), self.dtypes[name])
            for name, base in bases.items()
        }

    def row(self, at: dict[str, Value], name: str, index: Value) -> Value:
        """The address of a row of an operand."""
        return address(self.f, at[name], self.f.mul(index, self.read(f"{name}.row")), self.dtypes[name])

    def element(self, start: Value, index: Value) -> Value:
        """The address of a number in the compute dtype."""
        return self.f.offset(start, index, self.tile.element)

    def fill(self, start: Value, count: Value, number: float) -> None:
        """Set numbers; up to a whole vector more."""
        f = self.f
        with f.loop(0, count, self.tile.width) as loop:
            f.store(constant(self.tile.type, number), self.element(start, loop.index))

    def scale(self) -> Value:
        """What queries are multiplied with: the bits of a float64 among the parameters."""
        number = self.f.cast("bitcast", self.read("scale"), "double")
        return number if self.tile.element == "double" else self.f.cast("fptrunc", number, "float")

    def diagonal(self, query: Value, key: Value) -> Value:
        """Query ``query + r`` sees the keys up to ``key + r + diagonal``."""
        return self.f.sub(query, key) if self.structure.is_causal else i64(NO_DIAGONAL)

    def limit(self, exist: Value, diagonal: Value) -> tuple[list[Value], Value]:
        """Which columns of a block count, as the parameters ``limit``, ``slope`` and ``exist``; and whether all do, and are whole groups of
        ``LANES``."""
        f = self.f
        whole = f.compare("eq", f.binary("and", exist, LANES - 1), 0)
        if not self.structure.is_causal:
            return [exist, i64(0), exist], whole
        first = f.add(diagonal, 1)
        return [first, i64(1), exist], f.binary("and", whole, f.compare("sge", first, exist))

    def mask_at(self, at: dict[str, Value], query: Value, key: Value) -> list[Value]:
        """The mask from a query and a key on: address, and strides by query and by key."""
        if self.structure.mask is None:
            return [Value("null", "ptr"), i64(0), i64(0)]
        start = address(self.f, self.row(at, "mask", query), self.f.mul(key, self.read("mask.key")), self.dtypes["mask"])
        return [start, self.read("mask.row"), self.read("mask.key")]


def choose(f: Builder, kernel: Kernel, whole: Value, names: Sequence[str], *arguments: Value) -> None:
    """Call the first of two functions if a block is whole, else the second."""
    for name, condition in zip(names, (whole, f.binary("xor", whole, 1)), strict=True):
        with f.when(condition):
            kernel.call(name, *arguments)

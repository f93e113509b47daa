"""All steps of a recurrent layer by one kernel: a tile is a few sequences from their first step to their last.

Sequences do not depend on each other, so that threads need not meet between steps, and what goes from one step to the next stays in the
first-level cache. A step is a product with the layer's packed weight, by the micro-kernels of contractions, and the rule of ``steps.py`` on
the sums. The gradient goes the other way round: first the rule, then the product.

Data of all steps lie one below the other: ``offsets[t]`` is the first row of step t, and its rows are those of the first sequences. A sequence
that has no row at a step keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from flambeau._codegen import scalar
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import emit_micro, panels_of_rows
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._codegen.steps import STEPS
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype


class Recurrence(NamedTuple):
    """All that the code of a kernel depends on.

    Attributes:
        step: a key of ``STEPS``
        backward: whether it computes the gradient
        biased: whether the products have a bias
        even: whether the units fill whole vectors
        bundle: what a number of the products' operands is (``Contract``); of pairs, the units are an even number of bfloat16
        wanted: which results are stored
    """

    target: Target
    dtype: dtype
    step: str
    backward: bool
    biased: bool
    even: bool
    wanted: tuple[bool, ...]
    bundle: str = ""


def names(step: str, backward: bool, biased: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The operands and the results of a kernel, in order.

    Forward: ``inputs`` (rows, gates · units), the packed ``weight``, the ``state`` before the first step (1 + cells, sequences, units), first
    the output, and ``bias``. What is ``saved`` for the gradient (saves + 1, rows, units), last the output before each step, the ``outputs`` of all
    steps (rows, units), and the ``last`` state.
    Backward: gradients of the ``outputs``, the packed ``weight``, gradients of the last ``state``, and what was ``saved``. Gradients of the gates
    as the ``inputs`` and, if that differs, as the ``products`` reach them, and of the first state, which comes ``last`` here.
    """
    if not backward:
        return ("inputs", "weight", "state", *["bias"] * biased), ("saved", "outputs", "last")
    return ("outputs", "weight", "state", "saved"), ("inputs", *["products"] * (not STEPS[step].sums), "last")


class _Number:
    """A number of a unit in each lane, rounded to its dtype after each operation as tensors are."""

    def __init__(self, f: Builder, of: dtype, value: Value) -> None:
        self.f, self.of, self.value = f, of, value

    def constant(self, number: float) -> _Number:
        splat = scalar.splat_constant(self.of, number, self.value.width)
        assert isinstance(splat, Value)
        return _Number(self.f, self.of, splat)

    def _emit(self, name: str, *operands: _Number) -> _Number:
        result = scalar.emit(self.f, name, self.of, *[each.value for each in operands])
        assert isinstance(result, Value)
        return _Number(self.f, self.of, result)

    def __add__(self, other: _Number) -> _Number:
        return self._emit("add", self, other)

    def __sub__(self, other: _Number) -> _Number:
        return self._emit("sub", self, other)

    def __rsub__(self, other: float) -> _Number:
        return self._emit("sub", self.constant(other), self)

    def __mul__(self, other: _Number) -> _Number:
        return self._emit("mul", self, other)

    @staticmethod
    def call(name: str, x: _Number, *others: _Number) -> _Number:
        """A function that rules use; see ``steps.Call``."""
        zero = x.constant(0.0)
        if name == "relu":
            return x._emit("maximum", x, zero)
        if name == "gate":
            return _Number(x.f, x.of, x.f.select(x._emit("gt", *others, zero).value, x.value, zero.value))
        return x._emit(name, x)


@cache
def recurrence(structure: Recurrence) -> Code:
    """The kernel. After its parameters follow ``offsets``, one for each step and one for the end; its last name says where."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Kernel(module, parameters, structure).emit()
    return finished(module, parameters)


class _Kernel:
    def __init__(self, module: Module, parameters: Parameters, structure: Recurrence) -> None:
        self.structure = structure
        self.rule = STEPS[structure.step]
        self.of = structure.dtype
        self.tile: Tile = register_tile(self.of, structure.target, structure.bundle)
        self.micro = {rows: emit_micro(module, self.tile, rows, masked=False, adds=True) for rows in self.tile.variants}
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.operands, self.results = names(structure.step, structure.backward, structure.biased)
        # Numbers wait in the dtype that is computed in, but for what is multiplied in bundles.
        self.kept = {"factors": self.of if structure.bundle else self.of.compute, "sums": self.of.compute, "kept": self.of.compute}

    def emit(self) -> None:
        f, read, backward = self.f, self.read, self.structure.backward
        _, params, begin, end, _ = f.parameters
        stored = [name for name, wanted in zip(self.results, self.structure.wanted, strict=True) if wanted]
        self.into = {name: base_address(f, read, "to." + name) for name in stored}
        self.source = {name: base_address(f, read, name) for name in self.operands}
        # What goes from step to step, a row for each sequence of the tile: what is multiplied, the sums, and the numbers of each unit.
        # The gradient has one more of these: what reaches the output of the step before, but for the products.
        self.numbers = self.rule.cells + backward
        self.scratch = {area: f.offset(f.parameters[4], read(f"scratch.{area}"), "i8") for area in ("factors", "sums", "kept")}
        offsets = f.offset(params, read("offsets"), "i64")
        with f.loop(begin, end) as tiles:
            self.first = f.mul(tiles.index, read("block"))
            rows = f.intrinsic("smin", f.sub(read("sequences"), self.first), read("block"))
            self._each(rows, self._start)
            with f.loop(0, read("steps")) as steps:
                t = f.add(read("start"), f.mul(steps.index, read("pace")))
                offset = f.load(f.offset(offsets, t, "i64"), "i64")
                count = f.sub(f.sub(f.load(f.offset(offsets, f.add(t, 1), "i64"), "i64"), offset), self.first)
                here = f.intrinsic("smin", count, rows)
                self.row = f.add(offset, self.first)
                with f.when(f.compare("sgt", here, 0)):
                    if backward:
                        self._each(here, self._backward)
                    self._multiply(here)
                    if not backward:
                        self._each(here, self._forward)
            self._each(rows, self._finish)
        f.ret()

    # -- loops -----------------------------------------------------------------------------------------------------

    def _each(self, rows: Value, body: Callable[[], None]) -> None:
        """``body`` for each of the first sequences of the tile and each vector of units."""
        f, units, width = self.f, self.read("units"), self.tile.width
        with f.loop(0, rows) as sequences, f.loop(0, units, width) as vectors:
            mask = None if self.structure.even else f.lane_mask(f.sub(units, vectors.index), width)
            self.sequence, self.unit, self.mask = sequences.index, vectors.index, mask
            body()

    def _multiply(self, rows: Value) -> None:
        """``sums = factors @ weight`` for the first sequences of the tile, a panel of the weight after the other; in chains as contractions."""
        f, read, tile = self.f, self.read, self.tile
        zeros = f.module.table(tile.element, [0] * tile.pitch)
        depth, row_step, sum_step = read("depth"), read("factors.row"), read("sums.row")
        with (
            f.loop(0, read("panels")) as panels,
            f.loop(0, depth, read("chain")) as chains,
            panels_of_rows(f, tile, rows) as (row, _, here),
        ):
            a = f.offset(self.scratch["factors"], f.add(f.mul(row, row_step), chains.index), tile.element)
            b = f.offset(self.source["weight"], f.mul(f.add(f.mul(panels.index, depth), chains.index), tile.pitch), tile.element)
            length = f.intrinsic("smin", f.sub(depth, chains.index), read("chain"))
            c = f.offset(self.scratch["sums"], f.add(f.mul(row, sum_step), f.mul(panels.index, tile.pitch)), tile.element)
            more = f.compare("ne", chains.index, 0)
            for size, micro in self.micro.items():
                with f.when(f.compare("eq", here, size)):
                    f.call(f"@{micro}", a, row_step, i64(1), b, i64(tile.pitch), length, zeros, i64(0), c, sum_step, more)

    # -- memory ----------------------------------------------------------------------------------------------------

    def _place(self, base: Value, row: Value, count: int, number: int) -> Value:
        """Where number ``number`` of ``count`` of the current units is in ``row`` of an array."""
        f = self.f
        at = f.add(f.mul(f.add(f.mul(row, count), number), self.read("units")), self.unit)
        return f.offset(base, at, scalar.memory_type(self.of))

    def _load(self, name: str, row: Value, count: int = 1, number: int = 0) -> _Number:
        place = self._place(self.source[name], row, count, number)
        return self._number(scalar.load(self.f, place, self.of, self.tile.width, self.mask))

    def _store(self, number: _Number, name: str, row: Value, count: int = 1, position: int = 0) -> None:
        if name in self.into:
            scalar.store(self.f, number.value, self._place(self.into[name], row, count, position), self.of, self.mask)

    def _own(self, area: str, number: int) -> Value:
        """Where a number of the current units is in scratch memory."""
        f = self.f
        row = f.mul(self.read(f"{area}.row"), self.tile.bytes // self.kept[area].itemsize)
        at = f.add(f.mul(self.sequence, row), f.mul(self.read("units"), number))
        return f.offset(self.scratch[area], f.add(at, self.unit), scalar.memory_type(self.kept[area]))

    def _recall(self, area: str, number: int = 0) -> _Number:
        return self._number(scalar.load(self.f, self._own(area, number), self.kept[area], self.tile.width, self.mask))

    def _recall_all(self) -> list[_Number]:
        return [self._recall("kept", number) for number in range(self.numbers)]

    def _keep(self, number: _Number, area: str, position: int = 0) -> None:
        scalar.store(self.f, number.value, self._own(area, position), self.kept[area], self.mask)

    def _number(self, value: scalar.Operand) -> _Number:
        assert isinstance(value, Value)
        return _Number(self.f, self.of, value)

    def _rounded(self, number: _Number) -> _Number:
        return self._number(scalar.round_to(self.f, number.value, self.of))

    # -- what is done for each unit --------------------------------------------------------------------------------

    def _state(self, number: int) -> Value:
        """The row of a number of the state, in arrays of states."""
        f = self.f
        return f.add(f.mul(self.read("sequences"), number), f.add(self.first, self.sequence))

    def _saved(self, number: int) -> Value:
        """The row of a number that is saved for the gradient."""
        f = self.f
        return f.add(f.mul(self.read("rows"), number), f.add(self.row, self.sequence))

    def _start(self) -> None:
        hidden, *cells = [self._load("state", self._state(number)) for number in range(1 + self.rule.cells)]
        if self.structure.backward:
            self._keep(hidden.constant(0.0), "sums")
            cells.insert(0, hidden)
        else:
            self._keep(hidden, "factors")
        self._keep_all(cells)

    def _forward(self) -> None:
        f, rule, gates = self.f, self.rule, self.rule.gates
        row = f.add(self.row, self.sequence)
        products = [self._recall("sums", gate) for gate in range(gates)]
        if self.structure.biased:
            biases = [self._load("bias", i64(0), gates, gate) for gate in range(gates)]
            products = [self._number(f.add(x.value, bias.value)) for x, bias in zip(products, biases, strict=True)]
        products = [self._rounded(x) for x in products]
        inputs = [self._load("inputs", row, gates, gate) for gate in range(gates)]
        before = self._recall("factors")
        hidden, cells, saved = rule.forward(_Number.call, inputs, products, before, self._recall_all())
        self._keep(hidden, "factors")
        self._keep_all(cells)
        self._store(hidden, "outputs", row)
        for number, each in enumerate((*saved, before)):
            self._store(each, "saved", self._saved(number))

    def _backward(self) -> None:
        rule = self.rule
        row = self.f.add(self.row, self.sequence)
        *saved, before = [self._load("saved", self._saved(number)) for number in range(rule.saves + 1)]
        reached, *cells = self._recall_all()
        grad = self._load("outputs", row) + self._rounded(self._recall("sums")) + reached
        of_inputs, of_products, direct, cells = rule.backward(_Number.call, grad, cells, saved, before)
        for gate, (of_input, of_product) in enumerate(zip(of_inputs, of_products, strict=True)):
            self._store(of_input, "inputs", row, rule.gates, gate)
            self._store(of_product, "products", row, rule.gates, gate)
            self._keep(of_product, "factors", gate)
        self._keep_all([grad.constant(0.0) if direct is None else direct, *cells])

    def _finish(self) -> None:
        if self.structure.backward:
            hidden, *cells = self._recall_all()
            hidden = self._rounded(self._recall("sums")) + hidden
        else:
            hidden, *cells = [self._recall("factors"), *self._recall_all()]
        for number, each in enumerate((hidden, *cells)):
            self._store(each, "last", self._state(number))

    def _keep_all(self, numbers: Sequence[_Number]) -> None:
        for position, number in enumerate(numbers):
            self._keep(number, "kept", position)

"""What becomes of a block of scores: weights and their sums on the way forward, gradients of scores on the way back."""

from __future__ import annotations

from flambeau._codegen.attention.structure import LANES, ROWS, Structure
from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.packing import address
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.scalar import cast, registers
from flambeau._codegen.vmath.exponential import exp_of_reduced, power_of_two, reduce, scale

_NEGLIGIBLE = {"float": -87.0, "double": -708.0}
"""Below this ``exp`` is (nearly) no normal number, and so counts as 0."""

LIMIT = [("i64", "limit"), ("i64", "slope"), ("i64", "exist"), ("i64", "columns")]
LIMIT += [("ptr", "mask"), ("i64", "mask_row"), ("i64", "mask_key")]
"""Of the ``columns`` columns the first ``exist`` exist, of which the first ``limit + r * slope`` count for row r, whose mask begins at ``mask
+ r * mask_row``."""


def weight(x: Lanes) -> Lanes:
    """``exp(x)`` for ``x <= 0``; NaN stays."""
    r, shifted = reduce(x)
    e = exp_of_reduced(r)
    one_instruction = "avx512f" in x.builder.module.features and x.width * x.bits == 512
    e = scale(e, shifted) if one_instruction else e * power_of_two(shifted)
    return (x < _NEGLIGIBLE[x.element]).select(0.0, e)


def _larger(f: Builder, a: Value, b: Value) -> Value:
    return f.select(f.compare("ogt", a, b), a, b)


def largest(f: Builder, value: Value) -> Value:
    """The largest lane, in every lane."""
    distance = value.width // 2
    while distance:
        value = _larger(f, value, f.shuffle(value, value, [lane ^ distance for lane in range(value.width)]))
        distance //= 2
    return value


def folded(f: Builder, parts: list[Value]) -> Value:
    """The sum of the lanes of several vectors, folded by halves; one lane."""
    while len(parts) > 1:
        half = len(parts) // 2
        parts = [f.add(a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
    (value,) = parts
    while value.width > 1:
        half = value.width // 2
        value = f.add(f.shuffle(value, value, range(half)), f.shuffle(value, value, range(half, 2 * half)))
    return value


class Rows:
    """Rows of a block of scores, read in groups of ``LANES`` columns; ``limited`` if some do not count."""

    def __init__(self, f: Builder, structure: Structure, pitch: int, limited: bool, parameters: list[Value]) -> None:
        self.f, self.tile, self.mask, self.pitch, self.is_limited = f, structure.tile, structure.mask, pitch, limited
        self.limit, self.slope, self.exist, self.columns, self.mask_start, self.mask_row, self.mask_key = parameters
        self.parts = range(0, LANES, structure.tile.width)

    @property
    def rewrites(self) -> bool:
        return self.is_limited or self.mask is not None

    def places(self, block: Value, row: Value, column: Value) -> list[Value]:
        """The addresses of the vectors of a group."""
        start = self.f.add(self.f.mul(row, self.pitch), column)
        return [self.f.offset(block, self.f.add(start, part), self.tile.element) for part in self.parts]

    def load(self, places: list[Value]) -> list[Value]:
        return [self.f.load(place, self.tile.type) for place in places]

    def counting(self, row: Value, column: Value) -> list[Value | None]:
        """Which lanes of a group count, if not all."""
        f, width = self.f, self.tile.width
        if not self.is_limited:
            return [None for _ in self.parts]
        # As integers of as many bits as the scores have, so that comparing them is one instruction.
        left = f.sub(f.intrinsic("smin", f.add(self.limit, f.mul(row, self.slope)), self.exist), column)
        element = f"i{8 * self.tile.bytes}"
        left = f.splat(left if element == "i64" else f.cast("trunc", left, element), width)
        return [f.compare("slt", constant_vector(element, range(part, part + width)), left) for part in self.parts]

    def scores(self, places: list[Value], counting: list[Value | None], row: Value, column: Value) -> list[Value]:
        """The scores of a group with the mask, and -∞ where a column does not count."""
        values = self.load(places)
        if self.mask is not None:
            start = address(self.f, self.mask_start, self.f.mul(row, self.mask_row), self.mask.dtype)
            values = [
                self._masked(value, start, self.f.add(column, part), counts)
                for value, part, counts in zip(values, self.parts, counting, strict=True)
            ]
        nothing = constant(self.tile.type, float("-inf"))
        return [value if counts is None else self.f.select(counts, value, nothing) for value, counts in zip(values, counting, strict=True)]

    def _masked(self, score: Value, start: Value, column: Value, counts: Value | None) -> Value:
        f, mask, width = self.f, self.mask, self.tile.width
        assert mask is not None
        place = address(f, start, f.mul(column, self.mask_key), mask.dtype)
        if mask.adjacent:
            value = registers.load(f, place, mask.dtype, width, counts)
        else:
            value = registers.load_strided(f, place, self.mask_key, mask.dtype, width, counts)
        assert isinstance(value, Value)
        if value.element == "i1":
            return f.select(value, score, constant(score.type, float("-inf")))
        value = cast(f, value, mask.dtype.compute, self.tile.compute)
        assert isinstance(value, Value)
        return f.add(score, value)


def emit_softmax(module: Module, structure: Structure, pitch: int, limited: bool) -> str:
    """A function that makes weights of the scores of some rows; returns its name.

    ``softmax(scores, rows, maxima, sums, factors, …LIMIT)``: ``maxima`` has the largest score of each row so far, and ``sums`` its ``LANES``
    sums of weights, which are scaled to the new maxima by the ``factors`` that are left for other sums.
    """
    name = "softmax_limited" if limited else "softmax"
    signature = [("ptr", "scores"), ("i64", "rows"), ("ptr", "maxima"), ("ptr", "sums"), ("ptr", "factors")]
    f = module.function(name, signature + LIMIT, linkage="internal", attributes="noinline")
    scores, count, maxima, sums, factors = f.parameters[:5]
    tile = structure.tile
    rows = Rows(f, structure, pitch, limited, f.parameters[5:])
    safe = f.alloca(tile.element, ROWS)
    nothing = constant(tile.type, float("-inf"))

    with f.loop(0, count) as row:
        with f.loop(0, rows.columns, LANES, carried=[nothing for _ in rows.parts]) as group:
            places = rows.places(scores, row.index, group.index)
            values = rows.scores(places, rows.counting(row.index, group.index), row.index, group.index)
            if rows.rewrites:
                for value, place in zip(values, places, strict=True):
                    f.store(value, place)
            group.carry(*[_larger(f, value, most) for value, most in zip(values, group.carried, strict=True)])
        most = group.carried
        while len(most) > 1:
            most = [_larger(f, a, b) for a, b in zip(most[::2], most[1::2], strict=True)]
        place = f.offset(maxima, row.index, tile.element)
        before = f.load(place, tile.element)
        now = _larger(f, f.extract(largest(f, most[0]), 0), before)
        # A row of which nothing counts is compared with 0, so that its weights are 0 and not NaN.
        now_safe = f.select(f.compare("oeq", now, float("-inf")), constant(tile.element, 0.0), now)
        f.store(f.sub(before, now_safe), f.offset(factors, row.index, tile.element))
        f.store(now_safe, f.offset(safe, row.index, tile.element))
        f.store(now, place)
    with f.loop(0, count, tile.width) as row:
        place = f.offset(factors, row.index, tile.element)
        f.store(weight(Lanes(f, f.load(place, tile.type))).value, place)
    with f.loop(0, count) as row:
        most, factor = (_splat(f, tile, each, row.index) for each in (safe, factors))
        nothing = constant(tile.type, 0.0)
        with f.loop(0, rows.columns, LANES, carried=[nothing for _ in rows.parts]) as group:
            places = rows.places(scores, row.index, group.index)
            weights = [weight(Lanes(f, f.sub(value, most))).value for value in rows.load(places)]
            for value, place in zip(weights, places, strict=True):
                f.store(value, place)
            group.carry(*[f.add(total, value) for total, value in zip(group.carried, weights, strict=True)])
        start = f.offset(sums, f.mul(row.index, LANES), tile.element)
        for part, value in zip(rows.parts, group.carried, strict=True):
            place = f.offset(start, part, tile.element)
            f.store(f.fma(f.load(place, tile.type), factor, value), place)
    f.ret()
    return name


def _splat(f: Builder, tile: Tile, array: Value, index: Value) -> Value:
    """An element of an array in every lane."""
    return f.splat(f.load(f.offset(array, index, tile.element), tile.element), tile.width)


def emit_finish(module: Module, structure: Structure) -> str:
    """``finish(rows, maxima, sums, inverses)``: the maxima that weights are compared with, and 1 over the sums of weights (0 where
    nothing counts)."""
    tile, name = structure.tile, "finish"
    parameters = [("i64", "rows"), ("ptr", "maxima"), ("ptr", "sums"), ("ptr", "inverses")]
    f = module.function(name, parameters, linkage="internal", attributes="noinline")
    count, maxima, sums, inverses = f.parameters
    zero, one = constant(tile.element, 0.0), constant(tile.element, 1.0)
    with f.loop(0, count) as row:
        start = f.offset(sums, f.mul(row.index, LANES), tile.element)
        total = folded(f, [f.load(f.offset(start, part, tile.element), tile.type) for part in range(0, LANES, tile.width)])
        inverse = f.select(f.compare("oeq", total, 0.0), zero, f.binary("fdiv", one, total))
        f.store(inverse, f.offset(inverses, row.index, tile.element))
        place = f.offset(maxima, row.index, tile.element)
        most = f.load(place, tile.element)
        f.store(f.select(f.compare("oeq", most, float("-inf")), zero, most), place)
    f.ret()
    return name


def emit_gradients(module: Module, structure: Structure, pitch: int, limited: bool) -> str:
    """A function that makes weights of scores again, and of the gradients of weights those of scores; returns its name.

    ``gradients(scores, grads, rows, maxima, deltas, …LIMIT)``: a weight is ``p = exp(score - maximum)``, and the gradient of its
    score ``p (grad - delta)``.
    """
    name = "gradients_limited" if limited else "gradients"
    signature = [("ptr", "scores"), ("ptr", "grads"), ("i64", "rows"), ("ptr", "maxima"), ("ptr", "deltas")]
    f = module.function(name, signature + LIMIT, linkage="internal", attributes="noinline")
    scores, grads, count, maxima, deltas = f.parameters[:5]
    tile = structure.tile
    rows = Rows(f, structure, pitch, limited, f.parameters[5:])
    zero = constant(tile.type, 0.0)
    with f.loop(0, count) as row:
        most, delta = (_splat(f, tile, each, row.index) for each in (maxima, deltas))
        with f.loop(0, rows.columns, LANES) as group:
            places, others = (rows.places(each, row.index, group.index) for each in (scores, grads))
            counting = rows.counting(row.index, group.index)
            values = rows.scores(places, counting, row.index, group.index)
            for value, place, other, counts in zip(values, places, others, counting, strict=True):
                p = weight(Lanes(f, f.sub(value, most))).value
                grad = f.load(other, tile.type)
                if counts is not None:
                    grad = f.select(counts, grad, zero)  # nobody has written the others: subnormal numbers would take long
                grad = f.mul(p, f.sub(grad, delta))
                f.store(p, place)
                f.store(grad if counts is None else f.select(counts, grad, zero), other)
    f.ret()
    return name

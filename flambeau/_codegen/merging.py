"""Merging kernels: of a line whose parts are in order, each two neighbouring parts (*runs*) become one.

Items are what ``sorting.py`` makes of elements: unsigned integers that all differ, so that there is one order only. A tile is a block of
the merged line: how many items of each run lie before it is found by a binary search along its diagonal, and nothing else is shared
between tiles. Four quarters of a block are merged side by side, whose chains of load, comparison and step hide each other's latency;
there is no branch to mispredict.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._codegen.loops import finish

BLOCK = 1 << 14
"""Items of a tile; the length of a run is a multiple of it."""
_WAYS = 4


@dataclass
class _Pair:
    """Two neighbouring runs: where they begin and how long they are."""

    left: Value
    right: Value
    left_length: Value
    right_length: Value


@lru_cache(maxsize=16)
def merge_kernel(item: str, last: bool) -> tuple[str, str]:
    """Merges the runs of each line of items (of type ``item``); the ``last`` round writes the positions in them, as int64.

    Parameters: ``[slot, bytes of the items, slot, bytes of the result, length, run, inner, blocks]``; the lines of items lie one behind
    the other, with a readable item behind the last; those of the last result as in ``sort_kernel``. A tile is one of the blocks of a line.
    """
    module = Module()
    f = module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )
    _Merge(f, item, last).emit()
    return finish(module)


class _Merge:
    def __init__(self, f: Builder, item: str, last: bool) -> None:
        self.f = f
        self.item = item
        self.wide = item == "i128"
        self.last = last

    def _word(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.f.parameters[1], position, "i64"), "i64")

    def _buffer(self, position: int) -> Value:
        f = self.f
        return f.offset(f.load(f.offset(f.parameters[0], self._word(position), "ptr"), "ptr"), self._word(position + 1), "i8")

    def emit(self) -> None:
        f = self.f
        source, target = self._buffer(0), self._buffer(2)
        length, run, self.inner, blocks = (self._word(position) for position in range(4, 8))
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            line = f.binary("udiv", tiles.index, blocks)
            begin = f.mul(f.sub(tiles.index, f.mul(line, blocks)), i64(BLOCK))
            items = f.offset(source, f.mul(line, length), self.item)
            self.result = self._line_of_result(target, line, length)
            both = f.add(run, run)
            first = f.mul(f.binary("udiv", begin, both), both)
            left = f.intrinsic("smin", run, f.sub(length, first))
            right = f.sub(f.intrinsic("smin", both, f.sub(length, first)), left)
            start = f.offset(items, first, self.item)
            pair = _Pair(start, f.offset(start, left, self.item), left, right)
            count = f.intrinsic("smin", i64(BLOCK), f.sub(length, begin))
            whole = f.compare("eq", count, BLOCK)
            quarter = BLOCK // _WAYS
            with f.when(whole):
                self._merge(pair, first, [f.add(f.sub(begin, first), way * quarter) for way in range(_WAYS)], i64(quarter))
            with f.when(f.binary("xor", whole, 1)):
                self._merge(pair, first, [f.sub(begin, first)], count)
        f.ret()

    def _line_of_result(self, target: Value, line: Value, length: Value) -> Value:
        f = self.f
        if not self.last:
            return f.offset(target, f.mul(line, length), self.item)
        outer = f.binary("udiv", line, self.inner)
        within = f.sub(line, f.mul(outer, self.inner))
        return f.offset(target, f.add(f.mul(f.mul(outer, self.inner), length), within), "i64")

    def _merge(self, pair: _Pair, first: Value, diagonals: list[Value], count: Value) -> None:
        """Write ``count`` items from each diagonal on (the number of items before it in the merged pair, which begins at ``first``)."""
        f = self.f
        taken = [self._taken(pair, diagonal) for diagonal in diagonals]
        with f.loop(0, count, 1, taken) as steps:
            following = []
            for diagonal, left in zip(diagonals, steps.carried, strict=True):
                place = f.add(diagonal, steps.index)
                right = f.sub(place, left)
                one, other = self._at(pair.left, left), self._at(pair.right, right)
                keys = self._key(one), self._key(other)
                is_left = f.binary("and", f.compare("ule", *keys), f.compare("ne", left, pair.left_length))
                takes_left = f.binary("or", is_left, f.compare("eq", right, pair.right_length))
                if self.wide:
                    self._copy(self._chosen(takes_left, one, other), f.add(first, place))
                else:
                    self._write(self._chosen(takes_left, *keys), f.add(first, place))
                following.append(f.add(left, f.cast("zext", takes_left, "i64")))
            steps.carry(*following)

    def _chosen(self, condition: Value, one: Value, other: Value) -> Value:
        """A selection that no branch is made of: it would be mispredicted every other time, at ten times the cost of the rest."""
        f = self.f
        f.module.metadata["!1"] = "!{}"
        return f.value(f"select i1 {condition.text}, {one.type} {one.text}, {other.type} {other.text}, !unpredictable !1", one.type)

    def _at(self, run: Value, index: Value) -> Value:
        return self.f.offset(run, index, self.item)

    def _key(self, item: Value) -> Value:
        """What items are compared by: of equal keys, the one of the left run has the smaller position."""
        f = self.f
        return f.load(f.offset(item, 1, "i64") if self.wide else item, "i64")

    def _copy(self, item: Value, place: Value) -> None:
        """Write a wide item that lies at an address."""
        f = self.f
        if self.last:
            self._write(f.load(item, "i64"), place)
        else:
            f.store(f.load(item, "<2 x i64>"), f.offset(self.result, place, self.item))

    def _write(self, item: Value, place: Value) -> None:
        """Write an item, or the position in it."""
        f = self.f
        if self.last:
            f.store(f.binary("and", item, (1 << 32) - 1), f.offset(self.result, f.mul(place, self.inner), "i64"))
        else:
            f.store(item, f.offset(self.result, place, self.item))

    def _taken(self, pair: _Pair, diagonal: Value) -> Value:
        """How many items of the left run are among the first ``diagonal`` of the merged pair."""
        f = self.f
        low = f.intrinsic("smax", f.sub(diagonal, pair.right_length), i64(0))
        high = f.intrinsic("smin", diagonal, pair.left_length)
        halvings = f.sub(i64(64), f.intrinsic("ctlz", f.sub(high, low), Value("false", "i1")))
        with f.loop(0, halvings, 1, [low, high]) as search:
            low, high = search.carried
            middle = f.binary("lshr", f.add(low, high), 1)
            open = f.compare("slt", low, high)
            opposite = f.sub(f.sub(diagonal, middle), 1)
            before = f.compare("ule", self._key(self._at(pair.left, middle)), self._key(self._at(pair.right, opposite)))
            after = f.add(middle, 1)
            search.carry(
                f.select(f.binary("and", open, before), after, low),
                f.select(f.binary("and", open, f.binary("xor", before, 1)), middle, high),
            )
        return search.carried[0]

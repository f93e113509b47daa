"""Steps of k that exist: what is padding for all rows of a panel is not multiplied.

Of the products of a 3 x 3 convolution of 7 x 7 images, padded by 1, 18 in 100 have padding as a factor, of 14 x 14 images 9. A panel whose rows are one place of
several images lacks whole taps at the border. So each panel has a *list* of the steps that some of its rows have: where they are in either operand.

A product with padding adds 0 to a sum, so that leaving it out changes no bit; unless the other factor is infinite or no number, which makes it NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.frame import Frame, function
from flambeau._codegen.contract.micro import MOST_ADDRESSES, WORDS, panels_of_rows
from flambeau._codegen.contract.normal import Normal
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._runtime.targets import Target

MOST_LISTS = 16
"""Lists that a thread keeps; panels that would need another one have the list of all steps. 3 x 3 windows have 9."""
WORTH_LISTING = 0.97
"""The part of products that exist up to which each panel of rows has a list of its steps (3 x 3 windows of 64 x 64 places)."""
_SOME_ROWS = 1024
"""Rows of which it is counted what they need."""
_MOST_BOUNDS = 4
KEY = 2 * _MOST_BOUNDS + 1
"""Words of the key of a list, and of its length behind it."""


class Listing(NamedTuple):
    """Steps and rows of a contraction along one bound: the least and the greatest coordinate of a step, and beyond; see ``listing``."""

    start: int
    extent: int
    low: int
    high: int


def listing(normal: Normal, chunk: int) -> list[Listing] | None:
    """The bounds of the left operand by which steps are left out of a block of ``chunk`` places; ``None`` if that depends on more than the row and the step."""
    a, (cut, *inner) = normal.a, normal.k[normal.split :]
    if not a.bounds or normal.b.bounds or len(a.bounds) > _MOST_BOUNDS:
        return None
    if any(axis[i] for axis in (*normal.batch, *normal.k[: normal.split]) for i in a.bounds):
        return None
    if chunk < cut[0] and any(cut[i] for i in a.bounds):
        return None
    found = []
    for i, bound in zip(a.bounds, a.operand.bounds, strict=True):
        moves = [(axis[0] - 1) * axis[i] for axis in (cut, *inner)]
        found.append(Listing(bound.start, bound.extent, sum(min(move, 0) for move in moves), sum(max(move, 0) for move in moves) + 1))
    return found


def existing(normal: Normal, rows: int, has_runs: bool) -> float:
    """Which part of the products panels of so many rows need, about; they do not cross the innermost axis if it ``has_runs``."""
    innermost = normal.m[-1]
    if not any(innermost[i] for i in normal.a.bounds) and innermost[0] % rows == 0:
        moves, rows = normal.m[:-1], 1
    else:
        moves = normal.m
    places = tuple((axis[0], *[axis[i] for i in normal.a.bounds]) for axis in moves)
    taps = tuple(tuple((axis[0], axis[i]) for axis in normal.k if axis[i]) for i in normal.a.bounds)
    ranges = tuple((bound.start, bound.extent) for bound in normal.a.operand.bounds)
    return _existing(places, taps, ranges, rows, innermost[0] if has_runs else 0)


@lru_cache(maxsize=1024)
def _existing(
    moves: tuple[tuple[int, ...], ...],
    taps: tuple[tuple[tuple[int, int], ...], ...],
    ranges: tuple[tuple[int, int], ...],
    rows: int,
    run: int,
) -> float:
    steps = [tuple(_all(each)) for each in taps]
    if prod(map(_of_each_place, range(1, len(ranges) + 1), steps, ranges, [moves] * len(ranges))) > WORTH_LISTING:
        return 1.0
    count = min(_SOME_ROWS, prod(axis[0] for axis in moves))
    places = []
    for number, (start, _) in enumerate(ranges, 1):
        places.append([start + place for place in _all([(axis[0], axis[number]) for axis in moves], count)])
    needed, begin = 0.0, 0
    while begin < count:
        end = min(begin + rows, count, begin + run - begin % run if run else count)
        part = 1.0
        for place, step, (_, extent) in zip(places, steps, ranges, strict=True):
            least, most = min(place[begin:end]), max(place[begin:end])
            part *= sum(-most <= each < extent - least for each in step) / len(step)
        needed += part * (end - begin)
        begin = end
    return needed / count


def is_across(images: int, target: Target) -> bool:
    """Whether rows go across so many images: a step reads more lines of memory then, for which there is time if a multiply-add takes long."""
    return target.multiplies_once and images % MOST_ADDRESSES == 0


def _of_each_place(number: int, steps: tuple[int, ...], bound: tuple[int, int], moves: tuple[tuple[int, ...], ...]) -> float:
    """The part of the steps along one bound that exist, if each place has a list of its own."""
    start, extent = bound
    places = _all([(axis[0], axis[number]) for axis in moves if axis[number]])
    return sum(0 <= start + place + step < extent for place in places for step in steps) / (len(places) * len(steps))


def _all(moves: Sequence[tuple[int, int]], most: int = 1 << 62) -> list[int]:
    """The first places of a nest of axes, each an extent and a step."""
    places = [0]
    for extent, step in reversed(moves):
        places = [place + i * step for i in range(min(extent, -(-most // len(places)))) for place in places]
    return places[:most]


def across_images(normal: Normal) -> Normal | None:
    """The same with rows in another order, so that those of a panel are one place of several images; ``None`` if they are anyway, or cannot be."""
    free = [axis for axis in normal.m if not any(axis[i] for i in normal.a.bounds)]
    placed = [axis for axis in normal.m if any(axis[i] for i in normal.a.bounds)]
    if len(free) != 1 or not placed or normal.m[-1] is free[0]:
        return None
    return replace(normal, m=[*placed, *free])


def emit_lists(module: Module, tile: Tile, has_runs: bool) -> str:
    """A function that finds the list of each panel of a tile's rows, ``lists(frame)``; returns its name."""
    module.include(_lists(module.features, tile, has_runs))
    return "lists"


@cache
def _lists(features: frozenset[str], tile: Tile, has_runs: bool) -> Module:
    module = Module(features)
    f, frame = function(module, "lists")
    _Emitter(f, frame).emit(tile, has_runs)
    f.ret()
    return module


def list_of(f: Builder, frame: Frame, number: Value) -> tuple[Value, Value]:
    """The address of a panel's list, and how many steps of a block of k it has."""
    entry = f.offset(frame.scratch("a.which"), f.mul(number, 2), "i64")
    count, length = f.load(f.offset(entry, 1, "i64"), "i64"), frame.number("length")
    return f.load(entry, "i64"), f.intrinsic("smax", f.binary("udiv", f.mul(count, length), frame.parameter("split.chunk")), i64(1))


class _Emitter:
    """Writes the function. Parameters from ``lists.places`` on are the number of bounds and of each ``extent``, ``low`` and ``high`` (``Listing``)."""

    def __init__(self, f: Builder, frame: Frame) -> None:
        self.f, self.frame = f, frame
        self.places = f.offset(frame.memory("params"), frame.parameter("lists.places"), "i64")
        self.bounds = self._at(self.places, 0)
        self.size = f.mul(frame.parameter("split.chunk"), frame.parameter("inner"))
        self.key = f.alloca("i64", 2 * _MOST_BOUNDS)
        self.keys, self.lists = frame.scratch("a.keys"), frame.scratch("a.lists")

    def _at(self, pointer: Value, index: Value | int) -> Value:
        return self.f.load(self.f.offset(pointer, index, "i64"), "i64")

    def emit(self, tile: Tile, has_runs: bool) -> None:
        f, frame = self.f, self.frame
        with f.when(f.compare("eq", frame.number("known"), 0)):
            with f.loop(0, self.bounds) as loop:  # the first list has all steps
                limits = f.offset(self.places, f.add(f.mul(loop.index, 3), 1), "i64")
                self._set(loop.index, self._at(limits, 1), self._at(limits, 2))
            self._make(i64(0))
        run = (frame.number("first_row"), frame.parameter("a.run")) if has_runs else ()
        which = frame.scratch("a.which")
        with panels_of_rows(f, tile, frame.number("rows"), *run) as (row, number, here):
            self._find_key(row, here)
            found = self._find()
            entry = f.offset(which, f.mul(number, 2), "i64")
            f.store(f.cast("ptrtoint", self._list(found), "i64"), entry)
            f.store(self._at(self._key_of(found), 2 * _MOST_BOUNDS), f.offset(entry, 1, "i64"))

    def _set(self, bound: Value, low: Value, high: Value) -> None:
        place = self.f.offset(self.key, self.f.mul(bound, 2), "i64")
        self.f.store(low, place)
        self.f.store(high, self.f.offset(place, 1, "i64"))

    def _key_of(self, number: Value) -> Value:
        """Where the key of a list is, and behind it how many steps the list has."""
        return self.f.offset(self.keys, self.f.mul(number, KEY), "i64")

    def _list(self, number: Value) -> Value:
        return self.f.offset(self.lists, self.f.mul(number, self.f.mul(self.f.add(self.size, 1), WORDS)), "i64")

    def _find_key(self, row: Value, here: Value) -> None:
        """Between which coordinates a step must be that some row of a panel has: of each bound from the first one on, and up to the last one."""
        f, frame = self.f, self.frame
        with f.loop(0, self.bounds) as loop:
            lanes = f.offset(frame.scratch("a.lanes"), f.mul(f.add(loop.index, 1), frame.parameter("m.apart")), "i8")
            first = self._at(lanes, row)
            with f.loop(1, here, carried=[first, first]) as rows:
                place, (least, most) = self._at(lanes, f.add(row, rows.index)), rows.carried
                rows.carry(f.intrinsic("smin", least, place), f.intrinsic("smax", most, place))
            least, most = rows.carried
            limits = f.offset(self.places, f.add(f.mul(loop.index, 3), 1), "i64")
            low = f.intrinsic("smax", f.sub(i64(0), most), self._at(limits, 1))
            high = f.intrinsic("smin", f.sub(self._at(limits, 0), least), self._at(limits, 2))
            self._set(loop.index, low, high)

    def _find(self) -> Value:
        """The number of the list with the key; makes it if there is none yet."""
        f, known = self.f, self.frame.number("known")
        words = f.mul(self.bounds, 2)
        with f.loop(0, known, carried=[i64(-1)]) as loop:
            with f.loop(0, words, carried=[i64(0)]) as word:
                other = self._at(self._key_of(loop.index), word.index)
                word.carry(f.binary("or", word.carried[0], f.binary("xor", other, self._at(self.key, word.index))))
            loop.carry(f.select(f.compare("eq", word.carried[0], 0), loop.index, loop.carried[0]))
        found = loop.carried[0]
        is_new = f.binary("and", f.compare("slt", found, 0), f.compare("slt", known, MOST_LISTS))
        with f.when(is_new):
            self._make(known)
        return f.intrinsic("smax", f.select(is_new, known, found), i64(0))

    def _make(self, number: Value) -> None:
        """Make the list of the key."""
        f, frame = self.f, self.frame
        place, steps, key = self._list(number), frame.scratch("a.steps"), self._key_of(number)
        apart, distance = frame.parameter("steps.apart"), frame.parameter("b.ks")
        with f.loop(0, self.size, carried=[i64(0)]) as step:
            with f.loop(0, self.bounds, carried=[Value("true", "i1")]) as bound:
                coordinate = self._at(f.offset(steps, f.mul(f.add(bound.index, 1), apart), "i8"), step.index)
                limits = f.offset(self.key, f.mul(bound.index, 2), "i64")
                inside = f.binary(
                    "and", f.compare("sge", coordinate, self._at(limits, 0)), f.compare("slt", coordinate, self._at(limits, 1))
                )
                bound.carry(f.binary("and", bound.carried[0], inside))
            entry = f.offset(place, f.mul(step.carried[0], WORDS), "i64")
            f.store(self._at(steps, step.index), entry)
            f.store(f.mul(step.index, distance), f.offset(entry, 1, "i64"))
            step.carry(f.add(step.carried[0], f.cast("zext", bound.carried[0], "i64")))
        with f.when(f.compare("eq", step.carried[0], 0)):  # micro-kernels take a step at least: one of padding
            f.store(self._at(steps, 0), place)
            f.store(i64(0), f.offset(place, 1, "i64"))
        with f.loop(0, 2 * _MOST_BOUNDS) as word:
            f.store(self._at(self.key, word.index), f.offset(key, word.index, "i64"))
        f.store(step.carried[0], f.offset(key, 2 * _MOST_BOUNDS, "i64"))
        frame.set("known", f.add(number, 1))

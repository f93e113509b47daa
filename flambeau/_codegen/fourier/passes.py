"""The functions that a kernel of Fourier transforms consists of: passes over all numbers of a tile.

Between passes numbers lie in scratch memory, real and imaginary parts in a *plane* each, as an array ``[n][lanes]``. A pass of *radix* r
makes of ``x`` the array ``y``, with ``n = r m`` of what is left to be transformed and s = lanes times what has been::

    y[r p + k][q] = exp(-2 pi i p k / n) * sum over j < r of x[p + m j][q] exp(-2 pi i j k / r)        p < m, q < s

After the last pass (m = 1) the frequencies are in order: this is Stockham's arrangement of the fast Fourier transform. q is across the lanes
of vectors; in the first pass over a single row (s = 1) p is, and what comes out is transposed in registers.

All strides count real numbers. A stride that memory is walked by belongs to an index; ``plane`` is the distance of the imaginary parts.
In memory that is in *pairs* real and imaginary parts lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flambeau._codegen import scalar
from flambeau._codegen.fourier.butterflies import Complex, add, product, sub, transform
from flambeau._codegen.ir import Builder, Module, Value, constant, i64, vector
from flambeau._codegen.squares import transpose
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

FINE = 16
"""Neighbouring lanes whose factors between the two halves of a long transform stand in a table."""


@dataclass(frozen=True)
class Numbers:
    """What is computed with: the parts' dtype and how many lanes a vector has."""

    dtype: DType
    width: int

    @property
    def element(self) -> str:
        return "float" if self.dtype is dt.float32 else "double"

    @property
    def type(self) -> str:
        return vector(self.element, self.width)

    @property
    def pair(self) -> DType:
        return self.dtype.to_complex()


class Place:
    """An array of complex numbers in memory: its address, the stride of its first index, and the distance of the imaginary parts.

    The distance is ``None`` for pairs. Parts are ``swapped`` where the transform is the inverse one, which is the transform of
    numbers with real and imaginary parts exchanged.
    """

    def __init__(self, f: Builder, numbers: Numbers, base: Value, step: Value, plane: Value | None, swapped: bool = False) -> None:
        self.f, self.numbers, self.base, self.step, self.plane, self.swapped = f, numbers, base, step, plane, swapped

    def at(self, index: Value, lane: Value | int = 0) -> Value:
        """The address of a lane of a row."""
        f = self.f
        row = f.offset(self.base, f.mul(index, self.step), self.numbers.element)
        if isinstance(lane, int):
            return f.offset(row, lane, self.numbers.element) if lane else row
        return f.offset(row, lane if self.plane is not None else f.mul(lane, 2), self.numbers.element)

    def load(self, place: Value, mask: Value | None = None) -> Complex:
        f, numbers = self.f, self.numbers
        if self.plane is None:
            found = scalar.load(f, place, numbers.pair, numbers.width, mask)
            assert isinstance(found, tuple)
            re, im = found
        else:
            other = f.offset(place, self.plane, numbers.element)
            re, im = (f.load(each, numbers.type) if mask is None else f.masked_load(each, mask, numbers.type) for each in (place, other))
        return (im, re) if self.swapped else (re, im)

    def store(self, number: Complex, place: Value, mask: Value | None = None) -> None:
        f, numbers = self.f, self.numbers
        re, im = (number[1], number[0]) if self.swapped else number
        if self.plane is None:
            scalar.store(f, (re, im), place, numbers.pair, mask)
        else:
            for part, each in ((re, place), (im, f.offset(place, self.plane, numbers.element))):
                if mask is None:
                    f.store(part, each)
                else:
                    f.masked_store(part, each, mask)


@dataclass(frozen=True)
class Kind:
    """What an array looks like to a pass; see ``Place``. What is ``ragged`` may have fewer lanes than vectors do.

    Of rows that lie ``ahead`` the next are asked for, those that follow where a pass over rows is: they are many streams, which a processor does not tell
    apart on its own.
    """

    pairs: bool = False
    swapped: bool = False
    ragged: bool = False
    ahead: bool = False

    @property
    def name(self) -> str:
        return ("pairs" if self.pairs else "planes") + "_swapped" * self.swapped + "_ragged" * self.ragged + "_ahead" * self.ahead


PLANES = Kind()

_ARRAYS = [
    ("ptr", "source"),
    ("i64", "source_step"),
    ("i64", "source_plane"),
    ("ptr", "target"),
    ("i64", "target_step"),
    ("i64", "target_plane"),
]


class Function:
    """A function that goes from one array to another, being written. Its further parameters are by name."""

    def __init__(self, module: Module, numbers: Numbers, name: str, source: Kind, target: Kind, more: Sequence[tuple[str, str]]) -> None:
        self.f = f = module.function(name, [*_ARRAYS, *more], linkage="internal", attributes="noinline")
        base, step, plane, to, to_step, to_plane = f.parameters[:6]
        self.numbers = numbers
        self.source = Place(f, numbers, base, step, None if source.pairs else plane, source.swapped)
        self.target = Place(f, numbers, to, to_step, None if target.pairs else to_plane, target.swapped)
        self.given = {label: value for (_, label), value in zip(more, f.parameters[6:], strict=True)}

    def number(self, place: Value, index: Value | int) -> Value:
        """A number of a table in each lane."""
        f = self.f
        return f.splat(f.load(f.offset(place, index, self.numbers.element), self.numbers.element), self.numbers.width)

    def within(self, index: Value, count: Value) -> Value:
        """Where the vector at ``index`` begins: the last ones overlap."""
        f = self.f
        return f.intrinsic("smin", index, f.intrinsic("smax", f.sub(count, self.numbers.width), i64(0)))

    def scale(self) -> Value:
        """The scale, which is given as the bits of a float64, in each lane."""
        f = self.f
        number = f.cast("bitcast", self.given["scale"], "double")
        return f.splat(number if self.numbers.element == "double" else f.cast("fptrunc", number, "float"), self.numbers.width)


def emit_pass(module: Module, numbers: Numbers, radix: int, source: Kind, target: Kind, *, turns: bool, scales: bool) -> str:
    """A pass whose lanes are neighbours q; returns its name.

    ``pass(arrays, source_leap, target_leap, table, m, s, scale)``: x[j] is ``source_leap`` behind x[j - 1], and y[k] ``target_leap`` behind y[k - 1]; the steps
    are those of p, of which there is one if the target looks ahead. The table has ``exp(-2 pi i p k / n)`` for ``p < m`` and ``0 < k < r``, if it ``turns``. It can multiply by a scale. If s is less
    than a vector and nothing is ragged, a whole one is computed, and what it writes too much is overwritten by what follows.
    """
    name = f"pass{radix}_{source.name}_to_{target.name}" + "_turned" * turns + "_scaled" * scales
    if module.has_function(name):
        return name
    more = [("i64", "source_leap"), ("i64", "target_leap"), ("ptr", "table"), ("i64", "m"), ("i64", "s"), ("i64", "scale")]
    function = Function(module, numbers, name, source, target, more)
    f, given = function.f, function.given
    scale = function.scale() if scales else None
    ragged = source.ragged or target.ragged
    with f.loop(0, given["m"]) as places, f.loop(0, given["s"], numbers.width) as vectors:
        p = places.index
        q = vectors.index if ragged else function.within(vectors.index, given["s"])
        mask = f.lane_mask(f.sub(given["s"], q), numbers.width) if ragged else None
        table = f.offset(given["table"], f.mul(p, 2 * (radix - 1)), numbers.element)
        x = [
            function.source.load(place, mask if source.ragged else None)
            for place in _along(function, function.source.at(p, q), "source_leap", radix)
        ]
        y = transform(f, x)
        for k, place in enumerate(_along(function, function.target.at(p, q), "target_leap", radix)):
            number = y[k]
            if turns and k:
                number = product(f, number, (function.number(table, 2 * k - 2), function.number(table, 2 * k - 1)))
            if scale is not None:
                number = f.mul(number[0], scale), f.mul(number[1], scale)
            function.target.store(number, place, mask if target.ragged else None)
            if target.ahead:
                _ask(function, f.offset(place, function.target.step, numbers.element), writes=True)
    f.ret()
    return name


def _ask(function: Function, place: Value, *, writes: bool) -> None:
    """Ask for a vector of pairs."""
    for start in range(0, 2 * function.numbers.width, 64 // function.numbers.dtype.itemsize):
        function.f.prefetch(function.f.offset(place, start, function.numbers.element), writes=writes)


def _along(function: Function, place: Value, leap: str, count: int) -> Iterator[Value]:
    """So many places, each a leap behind the one before."""
    for number in range(count):
        if number:
            place = function.f.offset(place, function.given[leap], function.numbers.element)
        yield place


def emit_first(module: Module, numbers: Numbers, radix: int, source: Kind) -> str:
    """The first pass over a row of ``radix * m`` numbers, m at least a vector, into planes; its lanes are neighbours p. Returns its name.

    ``first(arrays, source_leap, table, m)``: the table has for each ``0 < k < r`` the real parts of ``exp(-2 pi i p k / n)``, and then the imaginary ones, for all p. What
    lies after the row in the planes, up to a vector of it, is overwritten.
    """
    name = f"first{radix}_{source.name}"
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, source, PLANES, [("i64", "source_leap"), ("ptr", "table"), ("i64", "m")])
    f, m, width = function.f, function.given["m"], numbers.width
    with f.loop(0, m, width) as vectors:
        p = function.within(vectors.index, m)
        x = []
        for place in _along(function, function.source.at(i64(0), p), "source_leap", radix):
            x.append(function.source.load(place))
            if source.ahead:
                _ask(function, f.offset(place, function.source.step, numbers.element), writes=False)
        table = f.offset(function.given["table"], p, numbers.element)
        y = transform(f, x)
        for k in range(1, radix):
            factor = []
            for _ in range(2):
                factor.append(f.load(table, numbers.type))
                table = f.offset(table, m, numbers.element)
            y[k] = product(f, y[k], (factor[0], factor[1]))
        start = f.offset(function.target.base, f.mul(p, radix), numbers.element)
        for part in range(2):
            base = start if not part else f.offset(start, f.parameters[5], numbers.element)
            _store_columns(f, numbers, [number[part] for number in y], base)
    f.ret()
    return name


def _store_columns(f: Builder, numbers: Numbers, vectors: Sequence[Value], base: Value) -> None:
    """Lane l of the vectors at ``base + l * len(vectors)``, in an order in which what is too much is overwritten."""
    width, count = numbers.width, len(vectors)
    half = max(2, width // 2)
    nothing = Value("poison", numbers.type)
    squares = []
    for start in range(0, count, half):
        rows = list(vectors[start : start + half])
        squares.append(transpose(f, rows + [nothing] * (half - len(rows))))
    for lane in range(width):
        first = lane // half * half
        for start, square in zip(range(0, count, half), squares, strict=True):
            piece = f.shuffle(square[lane % half], square[lane % half], range(first, first + half))
            f.store(piece, f.offset(base, lane * count + start, numbers.element))


def emit_multiply(module: Module, numbers: Numbers, source: Kind, target: Kind, scales: bool) -> str:
    """The numbers of a row times those of a table; returns its name.

    ``multiply(arrays, table, count, whole, scale)``: the table has pairs. It can multiply by a scale as well. What follows in the target, up to ``whole`` numbers, is
    set to 0 (in planes, and up to a vector more of it).
    """
    name = f"multiply_{source.name}_to_{target.name}" + "_scaled" * scales
    if module.has_function(name):
        return name
    more = [("ptr", "table"), ("i64", "count"), ("i64", "whole"), ("i64", "scale")]
    function = Function(module, numbers, name, source, target, more)
    f, given, width, start = function.f, function.given, numbers.width, i64(0)
    scale = function.scale() if scales else None

    def step(at: Value, mask: Value | None) -> None:
        factor = scalar.load(f, f.offset(given["table"], f.mul(at, 2), numbers.element), numbers.pair, width, mask)
        assert isinstance(factor, tuple)
        number = product(f, function.source.load(function.source.at(start, at), mask), factor)
        if scale is not None:
            number = f.mul(number[0], scale), f.mul(number[1], scale)
        function.target.store(number, function.target.at(start, at), None if not target.pairs else mask)

    full = f.binary("and", given["count"], i64(-width))
    with f.loop(0, full, width) as vectors:
        step(vectors.index, None)
    with f.when(f.compare("slt", full, given["count"])):
        step(full, f.lane_mask(f.sub(given["count"], full), width))
    if not target.pairs:
        nothing = constant(numbers.type, 0.0)
        with f.loop(f.add(full, width), given["whole"], width) as vectors:
            function.target.store((nothing, nothing), function.target.at(start, vectors.index))
        with f.when(f.compare("eq", full, given["count"])):
            function.target.store((nothing, nothing), function.target.at(start, full))
    f.ret()
    return name


# -- rows and lanes ------------------------------------------------------------------------------------------------------


def emit_gather(module: Module, numbers: Numbers, narrow: bool) -> str:
    """Bring rows of pairs into the lanes of planes; returns its name.

    ``gather(arrays, count, rows, ahead)``: ``count`` numbers (fewer than a half vector, if ``narrow``) of ``rows`` rows, ``source_step`` apart; at
    most as many rows as lanes. As many rows behind them, and as much memory ``ahead``, which will be written, are asked for. The lanes of other rows repeat the last one, and if it is narrow, a half vector of numbers is written.
    """
    name = "gather" + "_narrow" * narrow
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, PLANES, PLANES, [("i64", "count"), ("i64", "rows"), ("ptr", "ahead")])
    f, target = function.f, function.target

    def run(lines: Sequence[Value], start: Value, mask: Value | None) -> None:
        _look_ahead(function, lines, start)
        columns = _load_columns(f, numbers, lines, mask)
        place = target.at(start)
        for number in range(numbers.width // 2):
            target.store((columns[2 * number], columns[2 * number + 1]), place)
            place = f.offset(place, target.step, numbers.element)

    _each_run(function, function.source, narrow, run)
    f.ret()
    return name


def emit_scatter(module: Module, numbers: Numbers, narrow: bool, turns: bool) -> str:
    """The way back of ``gather``, from planes to rows; returns its name.

    ``scatter(arrays, count, rows, coarse, fine)``: if it ``turns``, number k of lane l is multiplied by number k of ``coarse`` and by ``fine[k][l]``, which has
    real and imaginary parts of ``FINE`` lanes.
    """
    name = "scatter" + "_narrow" * narrow + "_turned" * turns
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, PLANES, PLANES, [("i64", "count"), ("i64", "rows"), ("ptr", "coarse"), ("ptr", "fine")])
    f, source = function.f, function.source

    def run(lines: Sequence[Value], start: Value, mask: Value | None) -> None:
        columns: list[Value] = []
        place = source.at(start)
        for number in range(numbers.width // 2):
            index = f.add(start, number)
            if narrow:
                place = source.at(f.intrinsic("smin", index, f.sub(function.given["count"], 1)))
            value = source.load(place)
            if turns:
                value = product(f, value, _factor(function, index))
            columns += value
            if not narrow:
                place = f.offset(place, source.step, numbers.element)
        # What lanes hold that are no rows goes to the last one, before that itself.
        _store_rows(f, numbers, columns, list(reversed(list(enumerate(lines)))), mask)

    _each_run(function, function.target, narrow, run)
    f.ret()
    return name


def _look_ahead(function: Function, lines: Sequence[Value], start: Value) -> None:
    """Ask for the same run of the rows to come, and for as much memory that will be written: a processor does not see so many rows come."""
    f, numbers = function.f, function.numbers
    following = f.mul(function.source.step, numbers.width)
    ahead = f.offset(function.given["ahead"], f.mul(start, 2 * numbers.width), numbers.element)
    bytes_of_vector = numbers.width * numbers.dtype.itemsize
    for number, line in enumerate(lines):
        f.prefetch(f.offset(line, following, numbers.element))
        if number * bytes_of_vector % 64 == 0:
            f.prefetch(f.offset(ahead, number * numbers.width, numbers.element), writes=True)


def _load_columns(f: Builder, numbers: Numbers, places: Sequence[Value], mask: Value | None) -> list[Value]:
    """The columns of a square of vectors at these places. Halves of vectors are loaded into place, which is cheaper than to exchange them."""
    width, half = numbers.width, numbers.width // 2
    if mask is not None or half == 1:
        return transpose(f, [f.load(place, numbers.type) if mask is None else f.masked_load(place, mask, numbers.type) for place in places])
    columns: list[Value] = []
    for start in (0, half):
        halves = [f.load(f.offset(place, start, numbers.element), vector(numbers.element, half)) for place in places]
        columns += transpose(f, [f.shuffle(*pair, range(width)) for pair in zip(halves[:half], halves[half:], strict=True)])
    return columns


def _store_rows(f: Builder, numbers: Numbers, columns: Sequence[Value], places: Sequence[tuple[int, Value]], mask: Value | None) -> None:
    """Row l of a square of columns at the place l, in the order in which places are given."""
    half = numbers.width // 2
    if mask is not None or half == 1:
        rows = transpose(f, list(columns))
        for row, place in places:
            if mask is None:
                f.store(rows[row], place)
            else:
                f.masked_store(rows[row], place, mask)
        return
    squares = [transpose(f, list(columns[start : start + half])) for start in (0, half)]
    for row, place in places:
        for start, square in zip((0, half), squares, strict=True):
            first = row // half * half
            f.store(f.shuffle(square[row % half], square[row % half], range(first, first + half)), f.offset(place, start, numbers.element))


def _each_run(function: Function, place: Place, narrow: bool, body: Callable[[Sequence[Value], Value, Value | None], None]) -> None:
    """``body(lines, start, mask)`` for each run of as many numbers as a vector holds (the last ones overlap): where they are in the row of each lane, the number
    that they start with, and a mask if they are but a part of a vector."""
    f, numbers, count, rows = function.f, function.numbers, function.given["count"], function.given["rows"]
    width = numbers.width
    whole = f.compare("sge", rows, width)

    def lines(start: Value, ends: bool) -> list[Value]:
        found = [f.freeze(f.offset(place.base, f.mul(start, 2), numbers.element))]  # else 16 addresses would be kept, on the stack
        for lane in range(1, width):
            if ends:
                step = f.select(f.compare("slt", i64(lane), rows), place.step, i64(0))
                found.append(f.offset(found[-1], step, numbers.element))
            elif lane % 8:
                found.append(f.offset(found[lane // 8 * 8], f.mul(place.step, lane % 8), numbers.element))
            else:
                found.append(f.freeze(f.offset(found[lane - 8], f.mul(place.step, 8), numbers.element)))
        return found

    if narrow:
        body(lines(i64(0), True), i64(0), f.lane_mask(f.mul(count, 2), width))
        return
    for condition, ends in ((whole, False), (f.binary("xor", whole, 1), True)):
        with f.when(condition), f.loop(0, count, width // 2) as runs:
            start = f.intrinsic("smin", runs.index, f.sub(count, width // 2))
            body(lines(start, ends), start, None)


def _factor(function: Function, index: Value) -> Complex:
    """The factors of ``scatter`` for a number of every lane."""
    f, numbers, given = function.f, function.numbers, function.given
    coarse = f.offset(given["coarse"], f.mul(index, 2), numbers.element)
    fine = f.offset(given["fine"], f.mul(index, 2 * FINE), numbers.element)
    neighbours = f.load(fine, numbers.type), f.load(f.offset(fine, FINE, numbers.element), numbers.type)
    return product(f, (function.number(coarse, 0), function.number(coarse, 1)), neighbours)


# -- real numbers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fold:
    """How the transform of 2 h real numbers follows from that of h complex ones, whose parts are neighbours; or, if it ``opens``, the way back.

    ``conjugated`` are the frequencies of the real numbers. ``swapped`` are parts of the complex numbers that it opens into.
    """

    opens: bool
    conjugated: bool
    swapped: bool = False

    @property
    def name(self) -> str:
        return ("open" if self.opens else "fold") + "_conjugated" * self.conjugated + "_swapped" * self.swapped


def emit_fold_lanes(module: Module, numbers: Numbers, fold: Fold) -> str:
    """A fold of whole vectors of lanes, from planes to planes (possibly the same); returns its name.

    ``fold(arrays, table, h, s, scale)``: the table has the real parts of ``exp(-pi i k / h)`` for ``k <= h / 2``, and then the imaginary ones.
    """
    name = fold.name + "_lanes"
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, PLANES, PLANES, [("ptr", "table"), ("i64", "h"), ("i64", "s"), ("i64", "scale")])
    f, h, source, target = function.f, function.given["h"], function.source, function.target
    sines = f.offset(function.given["table"], f.add(f.binary("lshr", h, 1), 1), numbers.element)
    scale = _fold_scale(function, fold)
    with f.loop(0, function.given["s"], numbers.width) as vectors:
        q = vectors.index
        low = source.load(source.at(i64(0), q))
        first, last = _edges(f, fold, low, source.load(source.at(h, q)) if fold.opens else None, scale)
        target.store(first, target.at(i64(0), q))
        if last is not None:
            target.store(last, target.at(h, q))
        with f.loop(1, f.add(f.binary("lshr", h, 1), 1)) as pairs:
            k, m = pairs.index, f.sub(h, pairs.index)
            factor = function.number(function.given["table"], k), function.number(sines, k)
            x, y = _folded(f, fold, source.load(source.at(k, q)), source.load(source.at(m, q)), factor, scale)
            target.store(x, target.at(k, q))
            target.store(y, target.at(m, q))
    f.ret()
    return name


def emit_fold_row(module: Module, numbers: Numbers, fold: Fold) -> str:
    """A fold of a row whose frequencies are pairs, and whose complex numbers are planes; like ``emit_fold_lanes``, without lanes. Returns its name."""
    name = fold.name + "_row"
    if module.has_function(name):
        return name
    source, target = (Kind(pairs=True), PLANES) if fold.opens else (PLANES, Kind(pairs=True))
    function = Function(module, numbers, name, source, target, [("ptr", "table"), ("i64", "h"), ("i64", "s"), ("i64", "scale")])
    f, h, width = function.f, function.given["h"], numbers.width
    count = f.add(f.binary("lshr", h, 1), 1)
    scale = _fold_scale(function, fold)
    nothing = i64(0)
    with f.loop(0, count, width) as vectors:
        k = f.intrinsic("smin", vectors.index, f.sub(count, width))
        m = f.sub(f.sub(h, k), width - 1)
        cosines = f.offset(function.given["table"], k, numbers.element)
        factor = f.load(cosines, numbers.type), f.load(f.offset(cosines, count, numbers.element), numbers.type)
        low, high = function.source.load(function.source.at(nothing, k)), function.source.load(function.source.at(nothing, m))
        x, y = _folded(f, fold, low, _reversed(f, high), factor, scale)
        function.target.store(x, function.target.at(nothing, k))
        function.target.store(_reversed(f, y), function.target.at(nothing, m))
    _fold_edges(function, fold)
    f.ret()
    return name


def _fold_edges(function: Function, fold: Fold) -> None:
    """The first and the last number of a row, which the vectors had wrong."""
    f, h = function.f, function.given["h"]
    one = Numbers(function.numbers.dtype, 1)
    source, target = (Place(f, one, each.base, each.step, each.plane, each.swapped) for each in (function.source, function.target))
    number = f.cast("bitcast", function.given["scale"], "double")
    scale = None if fold.opens else number if one.element == "double" else f.cast("fptrunc", number, "float")
    lows = source.load(source.at(i64(0)))
    highs = source.load(source.at(i64(0), h)) if fold.opens else None
    first, last = _edges(f, fold, lows, highs, scale)
    target.store(first, target.at(i64(0)))
    if last is not None:
        target.store(last, target.at(i64(0), h))


def _reversed(f: Builder, x: Complex) -> Complex:
    re, im = (f.shuffle(part, part, list(reversed(range(part.width)))) for part in x)
    return re, im


def _fold_scale(function: Function, fold: Fold) -> Value | None:
    return None if fold.opens else function.scale()


def _edges(f: Builder, fold: Fold, low: Complex, high: Complex | None, scale: Value | None) -> tuple[Complex, Complex | None]:
    """Numbers 0 and h, which are real where they are frequencies: what they have as imaginary parts is not looked at."""
    if high is not None:
        x = f.add(low[0], high[0]), f.sub(low[0], high[0])
        return ((x[1], x[0]) if fold.swapped else x), None
    assert scale is not None
    nothing = constant(low[0].type, 0.0)
    return (f.mul(f.add(*low), scale), nothing), (f.mul(f.sub(*low), scale), nothing)


def _folded(f: Builder, fold: Fold, x: Complex, y: Complex, factor: Complex, scale: Value | None) -> tuple[Complex, Complex]:
    """Numbers k and h - k from those. With ``even = x + conj(y)``, ``odd = x - conj(y)`` and w the factor they are ``even + t odd`` and
    ``conj(even - t odd)``, where t is ``-i w`` (and everything is halved), or to open ``i / w``."""
    if fold.opens and fold.conjugated:
        x, y = (x[0], f.neg(x[1])), (y[0], f.neg(y[1]))
    mirrored = y[0], f.neg(y[1])
    even, odd = add(f, x, mirrored), sub(f, x, mirrored)
    cosine, sine = factor  # the sine of a negative angle
    turn = (sine, cosine) if fold.opens else (sine, f.neg(cosine))
    odd = product(f, odd, turn)
    x, y = add(f, even, odd), sub(f, even, odd)
    y = y[0], f.neg(y[1])
    if scale is not None:
        half = f.mul(scale, 0.5)
        x, y = ((f.mul(each[0], half), f.mul(each[1], half)) for each in (x, y))
    if fold.conjugated and not fold.opens:
        x, y = (x[0], f.neg(x[1])), (y[0], f.neg(y[1]))
    if fold.swapped:
        x, y = (x[1], x[0]), (y[1], y[0])
    return x, y

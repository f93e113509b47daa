"""Short rows: two passes over a few rows at a time, whose lanes are numbers of one row or, where a row has not enough of them, of several.

A row of ``n = a b`` numbers is transformed by a pass of radix a, whose lanes are neighbours p < b, and one of radix b, whose lanes are neighbours q < a; see
``passes.py``. In between, the rows of a *group* lie in planes as ``[p][row][q]``, so that vectors are full wherever a and b divide them or fill them:
rows come from memory and go there as they lie, and are transposed once, in registers, on their way into the planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau._codegen.fourier.butterflies import Complex, product, transform
from flambeau._codegen.fourier.passes import PLANES, Function, Kind, Numbers, Place
from flambeau._codegen.ir import Builder, Module, Value, constant_vector, vector
from flambeau._codegen.squares import transpose


@dataclass(frozen=True)
class Group:
    """The rows that are done together: a pass over c neighbours takes as many rows as fill a vector with them."""

    a: int
    b: int
    width: int

    @property
    def n(self) -> int:
        return self.a * self.b

    @property
    def rows(self) -> int:
        return max(self.together(self.a), self.together(self.b))

    def together(self, count: int) -> int:
        return max(1, self.width // count) if self.width % count == 0 else 1

    def runs(self, count: int) -> list[tuple[int, int]]:
        """The first row and the first neighbour of each vector over ``count`` neighbours of all rows; those at an end overlap."""
        starts = [*range(0, count - self.width + 1, self.width)] or [0]
        if count > self.width and count % self.width:
            starts.append(count - self.width)
        return [(row, start) for row in range(0, self.rows, self.together(count)) for start in starts]

    def columns(self, row: int, p: int) -> dict[int, int]:
        """Where what lanes of the first pass hold begins in between, whose rows and neighbours start with these."""
        across = min(self.b, self.width)
        return {lane: ((p + lane % across) * self.rows + row + lane // across) * self.a for lane in range(self.together(self.b) * across)}

    def places(self, row: int, q: int) -> list[int]:
        """Where the vectors of the second pass begin in between."""
        return [(j * self.rows + row) * self.a + q for j in range(self.b)]

    @property
    def stays(self) -> bool:
        """Whether a group stays in registers from the first pass to the second."""
        return not (self.a & self.a - 1 or self.b & self.b - 1) and self.n * self.rows <= 8 * self.width


def emit_both(module: Module, numbers: Numbers, group: Group, source: Kind, target: Kind, *, scales: bool) -> str:
    """Both passes over ``rows`` rows of groups that stay in registers; returns its name.

    ``both(arrays, table, rows, scale)``; see ``emit_first_of_two`` and ``emit_last_of_two``.
    """
    name = f"both{group.a}of{group.n}_{source.name}_to_{target.name}" + "_scaled" * scales
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, source, target, [("ptr", "table"), ("i64", "rows"), ("i64", "scale")])
    f, width = function.f, numbers.width
    scale = function.scale() if scales else None
    size = min(group.a, width)
    with f.loop(0, function.given["rows"], group.rows) as groups:
        lines = _lines(function, function.source, source, groups.index, group)
        pieces: dict[int, tuple[int, Complex]] = {}  # of ``size`` numbers: by their position, the vectors that they are in, and where
        for row, p in group.runs(group.b):
            y = _first(function, source, lines, row, p, group)
            for start in range(0, group.a, size):
                squares = [transpose(f, [number[part] for number in y[start : start + size]]) for part in range(2)]
                for lane, column in group.columns(row, p).items():
                    pieces[column + start] = lane // size, (squares[0][lane % size], squares[1][lane % size])
        lines = _lines(function, function.target, target, groups.index, group, writes=True)
        for row, q in group.runs(group.a):
            x = [_gathered(f, [pieces[place + each] for each in range(0, width, size)], size) for place in group.places(row, q)]
            _last(function, target, x, lines, row, q, group, scale)
    f.ret()
    return name


def emit_first_of_two(module: Module, numbers: Numbers, group: Group, source: Kind) -> str:
    """The first pass over ``rows`` rows, ``source_step`` apart; returns its name.

    ``first(arrays, table, rows)``: the table is that of ``emit_first``. If there are more rows in a group than are left, the last one is repeated.
    """
    name = f"first{group.a}of{group.n}_{source.name}"
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, source, PLANES, [("ptr", "table"), ("i64", "rows")])
    f = function.f
    with f.loop(0, function.given["rows"], group.rows) as groups:
        lines = _lines(function, function.source, source, groups.index, group)
        into = f.offset(function.target.base, f.mul(groups.index, group.n), numbers.element)
        for row, p in group.runs(group.b):
            y = _first(function, source, lines, row, p, group)
            for part in range(2):
                base = f.offset(into, f.parameters[5], numbers.element) if part else into
                _store_columns(f, numbers, [number[part] for number in y], base, group.columns(row, p))
    f.ret()
    return name


def emit_last_of_two(module: Module, numbers: Numbers, group: Group, target: Kind, *, scales: bool) -> str:
    """The second pass over ``rows`` rows, which are written ``target_step`` apart; returns its name.

    ``last(arrays, rows, scale)``. In planes up to a vector behind a row may be overwritten.
    """
    name = f"last{group.b}of{group.n}_{target.name}" + "_scaled" * scales
    if module.has_function(name):
        return name
    function = Function(module, numbers, name, PLANES, target, [("i64", "rows"), ("i64", "scale")])
    f = function.f
    scale = function.scale() if scales else None
    with f.loop(0, function.given["rows"], group.rows) as groups:
        lines = _lines(function, function.target, target, groups.index, group, writes=True)
        start = f.offset(function.source.base, f.mul(groups.index, group.n), numbers.element)
        for row, q in group.runs(group.a):
            x = [function.source.load(f.offset(start, place, numbers.element)) for place in group.places(row, q)]
            _last(function, target, x, lines, row, q, group, scale)
    f.ret()
    return name


def _first(function: Function, source: Kind, lines: Sequence[Value], row: int, p: int, group: Group) -> list[Complex]:
    """A radix of rows from ``row`` on and their neighbours from p on."""
    f, numbers = function.f, function.numbers
    across = min(group.b, numbers.width)
    x = [_load(function, source, lines[row : row + group.together(group.b)], p + group.b * j, across, group) for j in range(group.a)]
    y = transform(f, x)
    for k in range(1, group.a):
        places = [f.offset(function.given["table"], (2 * k - 2 + part) * group.b + p, numbers.element) for part in range(2)]
        re, im = (_repeated(f, f.load(place, vector(numbers.element, across)), numbers.width) for place in places)
        y[k] = product(f, y[k], (re, im))
    return y


def _last(
    function: Function, target: Kind, x: Sequence[Complex], lines: Sequence[Value], row: int, q: int, group: Group, scale: Value | None
) -> None:
    """The second radix of rows from ``row`` on and their neighbours from q on, and where it goes."""
    f = function.f
    for k, number in enumerate(transform(f, x)):
        if scale is not None:
            number = f.mul(number[0], scale), f.mul(number[1], scale)
        _store(function, target, number, lines[row : row + group.together(group.a)], group.a * k + q, group)


def _gathered(f: Builder, pieces: Sequence[tuple[int, Complex]], size: int) -> Complex:
    """A vector of pieces of ``size`` lanes, each of them one of those of a vector (of two different ones)."""
    sources = list({number[0].text: number for _, number in pieces}.values())
    order = []
    for block, number in pieces:
        first = block * size + (0 if number[0].text == sources[0][0].text else number[0].width)
        order += range(first, first + size)
    if order == list(range(len(order))):
        return sources[0]
    re, im = (f.shuffle(sources[0][part], sources[-1][part], order) for part in range(2))
    return re, im


# -- memory --------------------------------------------------------------------------------------------------------------


def _lines(function: Function, place: Place, kind: Kind, first: Value, group: Group, *, writes: bool = False) -> list[Value]:
    """Where the rows of a group are; to look ahead, as many rows behind them as there are given are asked for."""
    f, element, count = function.f, function.numbers.element, function.given["rows"]
    rows = [f.intrinsic("smin", f.add(first, row), f.sub(count, 1)) if row else first for row in range(group.rows)]
    lines = [f.offset(place.base, f.mul(row, place.step), element) for row in rows]
    if kind.ahead:
        behind = f.mul(count, place.step)
        for line in lines:
            for start in range(0, 2 * group.n, 64 // function.numbers.dtype.itemsize):
                f.prefetch(f.offset(f.offset(line, behind, element), start, element), writes=writes)
    return lines


def _load(function: Function, kind: Kind, lines: Sequence[Value], at: int, across: int, group: Group) -> Complex:
    """Numbers of each line, side by side; lanes beyond them may hold what follows in the row, but nothing from behind it."""
    f, numbers = function.f, function.numbers
    width = numbers.width
    count = across if len(lines) > 1 else min(width, group.n - at)

    def joined(places: Sequence[Value], size: int, whole: int) -> Value:
        if whole == size * len(places):
            pieces = [f.load(place, vector(numbers.element, size)) for place in places]
        else:
            mask = constant_vector("i1", [lane < size for lane in range(whole)])
            pieces = [f.masked_load(place, mask, vector(numbers.element, whole)) for place in places]
        while len(pieces) > 1:
            pieces = [_joined(f, *pair) for pair in zip(pieces[::2], pieces[1::2], strict=True)]
        return pieces[0]

    if kind.pairs:
        value = joined([f.offset(line, 2 * at, numbers.element) for line in lines], 2 * count, 2 * width)
        re, im = (f.shuffle(value, value, range(part, 2 * width, 2)) for part in range(2))
    else:
        places = [f.offset(line, at, numbers.element) for line in lines]
        others = [f.offset(place, function.source.plane, numbers.element) for place in places]
        re, im = joined(places, count, width), joined(others, count, width)
    return (im, re) if kind.swapped else (re, im)


def _store(function: Function, kind: Kind, number: Complex, lines: Sequence[Value], at: int, group: Group) -> None:
    """To each line as many numbers as it has in the lanes; what is too much is overwritten by what follows, but does not reach beyond the row."""
    f, numbers = function.f, function.numbers
    re, im = (number[1], number[0]) if kind.swapped else number
    across = numbers.width // len(lines)
    if not kind.pairs:
        for line, first in zip(lines, range(0, numbers.width, across), strict=True):
            for part, place in ((re, line), (im, f.offset(line, function.target.plane, numbers.element))):
                piece = f.shuffle(part, part, range(first, first + across)) if across < numbers.width else part
                f.store(piece, f.offset(place, at, numbers.element))
        return
    both = f.shuffle(re, im, [lane // 2 + lane % 2 * numbers.width for lane in range(2 * numbers.width)])
    count = min(across, group.n - at)
    for line, first in zip(lines, range(0, 2 * numbers.width, 2 * across), strict=True):
        place = f.offset(line, 2 * at, numbers.element)
        piece = f.shuffle(both, both, range(first, first + 2 * across)) if across < numbers.width else both
        if count < across:
            f.masked_store(piece, place, constant_vector("i1", [lane < 2 * count for lane in range(2 * across)]))
        else:
            f.store(piece, place)


def _joined(f: Builder, left: Value, right: Value) -> Value:
    return f.shuffle(left, right, range(left.width + right.width))


def _repeated(f: Builder, value: Value, width: int) -> Value:
    """The lanes again and again; if they do not fill a vector, what is left means nothing."""
    return f.shuffle(value, value, [lane % value.width for lane in range(width)]) if value.width < width else value


def _store_columns(f: Builder, numbers: Numbers, vectors: Sequence[Value], base: Value, columns: dict[int, int]) -> None:
    """Lane l of the vectors at ``base + columns[l]``, in an order in which what is too much is overwritten."""
    size, half = len(vectors), max(2, numbers.width // 2)
    if size < half and half % size == 0:
        half = size
    nothing = Value("poison", numbers.type)
    starts = range(0, size, half)
    squares = [transpose(f, [*vectors[start : start + half], *[nothing] * (start + half - size)]) for start in starts]
    for lane, column in sorted(columns.items(), key=lambda item: item[1]):
        first = lane // half * half
        for start, square in zip(starts, squares, strict=True):
            piece = f.shuffle(square[lane % half], square[lane % half], range(first, first + half))
            f.store(piece, f.offset(base, column + start, numbers.element))

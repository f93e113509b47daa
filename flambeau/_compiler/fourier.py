"""Fourier transforms along an axis: the nodes that one becomes, and the kernel calls that ``fourier`` nodes become.

Before: the transform of 2²⁰ complex numbers. After: that of each column of a matrix (1024, 1024), written as rows and turned by factors on the way, and
that of each column of what has come of it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from flambeau._codegen.fourier.kernel import Transform, fourier
from flambeau._codegen.fourier.passes import Fold
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.frequencies import division, fills_rows, folds, is_short, sections
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node, base_of
from flambeau._runtime import targets
from flambeau._types import layout as lay

_WORK = 1 << 14
"""Numbers that a thread should claim at once."""
_BLOCK_BYTES = 1 << 17
"""Of scratch memory for a block of lines, unless one vector of them takes more."""
_SHORT = 32
"""Rows of more numbers are done a vector of them at a time, so that what is read ahead stays in the first-level cache."""
_VECTORS = 2
"""At most so many vectors of lines make a tile."""
_LINE = 64
_LANES = 8
_SHORT_ROWS = 512
"""Numbers of the short rows that are a tile, at least."""


class Lines:
    """An array whose axes lie in memory in a known order, on the way through transforms along some of them."""

    def __init__(self, graph: Graph, node: Node) -> None:
        node = graph.lying(node)
        if not node.layout.dense:
            node = graph.copy(node, lay.row_major(node.shape))
        self.graph = graph
        self.order = sorted(range(node.ndim), key=lambda axis: (-node.strides[axis], axis))
        self.node = node.permute(self.order)

    def result(self) -> Node:
        """The array, with its axes as they were."""
        return self.node.permute([self.order.index(axis) for axis in range(len(self.order))])

    def is_last(self, axes: Sequence[int]) -> bool:
        """Whether these axes are the innermost ones."""
        return set(self.order[len(self.order) - len(axes) :]) == set(axes)

    def along(self, axis: int) -> tuple[Node, int]:
        """The array as (before, along the axis, behind it), and where the axis is."""
        at = self.order.index(axis)
        shape = self.node.shape
        return self.node.reshape((prod(shape[:at]), shape[at], prod(shape[at + 1 :]))), at

    def become(self, found: Node, axis: int, moved: bool) -> None:
        """Go on with a result ``(before, along the axis, behind)``, or if the axis has ``moved`` to the end, ``(before, behind, along)``."""
        at = self.order.index(axis)
        shape = list(self.node.shape)
        del shape[at]
        self.order.remove(axis)
        at = len(self.order) if moved else at
        shape.insert(at, found.shape[2 if moved else 1])
        self.order.insert(at, axis)
        self.node = found.reshape(tuple(shape))


def complex_lines(lines: Lines, axis: int, table: Node, forward: bool, scale: float, moves: bool) -> None:
    """The transform of complex numbers along an axis, which ``moves`` to the end of the order of memory or stays where it is."""
    source, _ = lines.along(axis)
    found = _transform(lines.graph, source, table, 0, forward, scale, moves)
    lines.become(found, axis, moves)


def real_lines(lines: Lines, axis: int, table: Node, forward: bool, scale: float) -> None:
    """Half of the transform of real numbers along an axis, which moves to the end of the order of memory."""
    graph = lines.graph
    source, _ = lines.along(axis)
    outer, n, inner = source.shape
    half = n // 2 + 1
    if folds(n):
        shape, dtype = (outer, inner, half), source.dtype.to_complex()
        found = graph.make("fourier", (_dense(graph, source), table), ("fold", n // 2, 0, forward, scale, True), dtype, shape)
    else:
        found = _transform(graph, graph.cast(source, source.dtype.to_complex()), table, 0, forward, scale, True)
        found = found.slice(2, 0, half)
    lines.become(found, axis, True)


def real_results(lines: Lines, axis: int, table: Node, forward: bool, scale: float, n: int) -> None:
    """The n real numbers along an axis whose transform's half is given; the axis moves to the end of the order of memory."""
    graph = lines.graph
    source, _ = lines.along(axis)
    outer, half, inner = source.shape
    if folds(n):
        shape, dtype = (outer, inner, n), source.dtype.to_real()
        found = graph.make("fourier", (_dense(graph, source), table), ("open", n // 2, 0, forward, scale, True), dtype, shape)
    else:
        found = graph.map("real", _transform(graph, _mirrored(graph, source, n), table, 0, forward, scale, True))
    lines.become(found, axis, True)


def _mirrored(graph: Graph, half: Node, n: int) -> Node:
    """All frequencies of real numbers along the middle axis: those of the upper half are the conjugates of those of the lower."""
    outer, count, inner = half.shape
    half = graph.lying(half)
    zero = half.slice(1, 0, 1)
    first = graph.cast(graph.map("real", zero), half.dtype)
    pieces = [first]
    if count > 1:
        pieces.append(half.slice(1, 1, count - 1))
        if n % 2 == 0:
            last = half.slice(1, count - 1, 1)
            pieces[-1:] = [half.slice(1, 1, count - 2), graph.cast(graph.map("real", last), half.dtype)]
        rest = n - count
        layout = half.layout
        strides = (layout.strides[0], -layout.strides[1], layout.strides[2])
        turned = lay.layout((outer, rest, inner), strides, layout.offset + rest * layout.strides[1], half.dtype)
        pieces.append(graph.map("conj", graph.view(half, turned)))
    return graph.concat([piece for piece in pieces if piece.shape[1]], 1)


def _transform(graph: Graph, source: Node, table: Node, at: int, forward: bool, scale: float, moves: bool) -> Node:
    """Along the middle axis of three, as (outer, n, inner) or, if it ``moves``, (outer, inner, n); the length's table begins at ``at`` (real numbers)."""
    outer, n, inner = source.shape
    how = division(n)
    shape = (outer, inner, n) if moves else (outer, n, inner)
    if n == 1:
        return (source * graph.constant(scale, source.dtype)).reshape(shape)
    if how.convolution:
        return _convolution(graph, source, table, at, how.convolution, forward, scale, moves)
    if any(how.halves):
        return _halves(graph, source, table, at, how.halves, forward, scale, moves)
    attrs = ("plain", n, at, forward, scale, moves)
    return graph.make("fourier", (_dense(graph, source), table), attrs, source.dtype, shape)


def _halves(graph: Graph, source: Node, table: Node, at: int, halves: tuple[int, int], forward: bool, scale: float, moves: bool) -> Node:
    """As a matrix of ``halves``: down its columns, times factors, transposed, and down the columns again."""
    outer, n, inner = source.shape
    first, second = halves
    lines = outer * inner
    matrix = _dense(graph, source.permute((0, 2, 1))).reshape((lines, first, second))
    shape = (lines, second, first)
    found = graph.make("fourier", (matrix, table), ("first half", n, at, forward, 1.0, True), source.dtype, shape)
    found = graph.make("fourier", (found, table), ("second half", n, at, forward, scale, False), source.dtype, shape)
    return _placed(found.reshape((outer, inner, n)), moves)


def _convolution(graph: Graph, source: Node, table: Node, at: int, length: int, forward: bool, scale: float, moves: bool) -> Node:
    """By the identity ``2 j k = j² + k² - (k - j)²``, along rows."""
    outer, n, inner = source.shape
    if division(length).is_direct:
        rows = _dense(graph, source.permute((0, 2, 1))).reshape((outer * inner, n, 1))
        found = graph.make("fourier", (rows, table), ("convolution", n, at, forward, scale, True), source.dtype, (outer * inner, 1, n))
        return _placed(found.reshape((outer, inner, n)), moves)
    places, _ = sections(n, False)
    chirp, spectrum = (table.slice(0, (at + places[name]) // 2, size) for name, size in (("chirp", n), ("spectrum", length)))
    if not forward:
        chirp, spectrum = graph.map("conj", chirp), graph.map("conj", spectrum)
    inside = at + min(place for name, place in places.items() if name.startswith("inner."))
    x = graph.copy(source.permute((0, 2, 1)) * chirp).reshape((outer * inner, n, 1))
    x = graph.copy(graph.pad(x, (0, 0, 0), (0, length - n, 0)))
    x = _transform(graph, x, table, inside, True, 1.0, True) * spectrum
    x = _transform(graph, x.reshape((outer * inner, length, 1)), table, inside, False, 1.0, True)
    x = x.slice(2, 0, n) * chirp
    if scale != 1.0:
        x = x * graph.constant(scale, x.dtype)
    return _placed(graph.copy(x).reshape((outer, inner, n)), moves)


def _dense(graph: Graph, node: Node) -> Node:
    node = graph.lying(node)
    return node if node.layout.contiguous else graph.copy(node, lay.row_major(node.shape))


def _placed(rows: Node, moves: bool) -> Node:
    """(outer, inner, n) as it was asked for."""
    return rows if moves else _dense(rows.graph, rows.permute((0, 2, 1)))


# -- kernels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What a ``fourier`` node asks of its kernel.

    Attributes:
        length: of the transform that the passes are of
        prefix: what the names of its table's sections begin with
        swaps, fold: see ``Transform``
        stride: real numbers from one number along the axis to the next, of source and result, on a line that is contiguous
        count: how many pairs are read from a line, and written to it
    """

    length: int
    prefix: str
    swaps: tuple[bool, bool]
    fold: Fold | None
    stride: tuple[int, int]
    count: tuple[int, int]


def _job(node: Node) -> _Job:
    what, n, _, forward, _, _ = node.attrs
    inverse = not forward
    if what == "fold":
        return _Job(n, "", (False, False), Fold(False, inverse), (1, 2), (n, n + 1))
    if what == "open":
        return _Job(n, "", (True, True), Fold(True, forward, True), (2, 1), (n + 1, n))
    count = node.args[0].shape[1]
    if what == "first half":
        return _Job(count, "one.", (inverse, False), None, (2, 2), (count, count))
    if what == "second half":
        return _Job(count, "two.", (False, inverse), None, (2, 2), (count, count))
    if what == "convolution":
        return _Job(division(n).convolution, "inner.", (inverse, inverse), None, (2, 2), (count, count))
    return _Job(n, "", (inverse, inverse), None, (2, 2), (count, count))


@dataclass
class _Tiles:
    """How a transform is divided: see ``Transform`` for the first of these; lines side by side that a tile has, and their distance in planes."""

    reads: str
    writes: str
    ragged: bool
    narrow: tuple[bool, bool]
    block: int
    pitch: int
    count: int
    values: dict[str, int]


def _by_row(node: Node, job: _Job) -> _Tiles:
    lines = [stride * count for stride, count in zip(job.stride, _lengths(node), strict=True)]
    values = {"source.outer": lines[0], "target.outer": lines[1]}
    return _Tiles("row", "row", False, (False, False), 1, 1, node.args[0].shape[0], values)


def _by_short_rows(node: Node, job: _Job) -> _Tiles:
    lines = [stride * count for stride, count in zip(job.stride, _lengths(node), strict=True)]
    outer = node.args[0].shape[0]
    block = max(_LANES, _SHORT_ROWS // job.length // _LANES * _LANES)
    blocks = -(-outer // block)
    values = {"source.lane": lines[0], "target.lane": lines[1], "lanes": outer, "blocks": blocks}
    return _Tiles("short", "short", False, (False, False), block, block, blocks, values)


def _lengths(node: Node) -> tuple[int, int]:
    """The size of the axis, of the source and of the result."""
    moves = node.attrs[-1]
    return node.args[0].shape[1], node.shape[2 if moves else 1]


def _by_block(node: Node, job: _Job, radices: tuple[int, ...], width: int) -> _Tiles:
    what, *_, moves = node.attrs
    outer, _, inner = node.args[0].shape
    lines = [stride * count for stride, count in zip(job.stride, _lengths(node), strict=True)]
    half = width // 2
    if inner == 1:
        pitch = width if job.length > _SHORT else _pitch(outer, job.length, width, node.dtype.to_real().itemsize)
        blocks = -(-outer // pitch)
        values = {"source.lane": lines[0], "target.lane": lines[1], "lanes": outer, "blocks": blocks}
        narrow = job.count[0] < half, job.count[1] < half
        return _Tiles("rows", "rows", False, narrow, pitch, pitch, blocks, values)
    reads, writes = "reals" if what == "fold" else "lanes", "rows" if moves else "lanes"
    pitch = _pitch(inner, job.length, width, node.dtype.to_real().itemsize)
    block = 0
    if len(radices) > 1 and what != "first half":  # lanes may be done twice; then none of the blocks shall have less than a vector
        block = next((size for size in range(pitch, width - 1, -1) if (inner - 1) % size + 1 >= width), 0)
    ragged = not block and inner % width != 0
    block = block or pitch
    blocks = -(-inner // block)
    values = {
        "source.outer": lines[0] * inner, "source.step": 2 * inner, "source.plane": inner, "source.lane": job.stride[0],
        "target.outer": lines[1] * inner, "target.step": 2 * inner, "target.lane": lines[1] if moves else 2, "lanes": inner, "blocks": blocks,
    }  # fmt: skip
    return _Tiles(reads, writes, ragged, (False, moves and job.count[1] < half), block, pitch, blocks * outer, values)


def _pitch(lanes: int, length: int, width: int, itemsize: int) -> int:
    """How many lines are done side by side: whole vectors of them, more where lines are short."""
    fitting = _BLOCK_BYTES // (4 * length * itemsize * width)
    return width * max(1, min(fitting, _VECTORS, -(-lanes // width)))


def lower(node: Node) -> list[KernelCall]:
    """The call of a ``fourier`` node's kernel."""
    if not node.numel:
        return []
    what, n, at, _, scale, _ = node.attrs
    job, target, part = _job(node), targets.current(), node.dtype.to_real()
    radices = division(job.length).radices
    width = target.lanes(8 * part.itemsize)
    rows = node.args[0].shape[2] == 1 and what != "first half"
    if rows and what != "convolution" and is_short(radices):
        tiles = _by_short_rows(node, job)
    elif rows and fills_rows(job.length, radices):
        tiles = _by_row(node, job)
    else:
        tiles = _by_block(node, job, radices, width)
    ahead = node.args[0].numel * node.args[0].dtype.itemsize + node.numel * node.dtype.itemsize > target.l2_bytes
    code = fourier(
        Transform(
            target, part, radices, tiles.reads, tiles.writes, job.swaps, job.fold, scale != 1.0, ahead, what == "convolution", what == "first half", tiles.ragged, tiles.narrow
        )
    )  # fmt: skip
    line = _LINE // part.itemsize
    plane = -(-(max(job.length + 1, width) * tiles.pitch + 2 * width) // line) * line + line  # planes lie a line more than that apart
    real = job.fold is not None
    places, _ = sections(2 * n if real else n, real)
    values = tiles.values | {
        f"{name.removeprefix(job.prefix)}.table": place for name, place in places.items() if not _is_other(name, job.prefix)
    }
    values |= {f"m{number}": job.length // prod(radices[: number + 1]) for number in range(len(radices))}
    values |= {
        "length": job.length, "count": job.count[0], "count_out": job.count[1], "block": tiles.block, "pitch": tiles.pitch, "plane": plane,
        "scale": struct.unpack("=q", struct.pack("=d", scale))[0],
    }  # fmt: skip
    nodes: dict[str, Node] = {"target": node}
    for name, argument in zip(("source", "table"), node.args, strict=True):
        nodes[name], view = base_of(argument)
        values[f"{name}.bytes"] = view.attrs[0] * argument.dtype.itemsize if view is not None else 0
    values["table.bytes"] += at * part.itemsize
    params = [values.get(name, 0) for name in code.parameters]
    buffers: list[tuple[int, Node | str]] = [
        (position, nodes[name.removesuffix(".slot")]) for position, name in enumerate(code.parameters) if name.endswith(".slot")
    ]
    grain = max(1, _WORK // (job.length * tiles.block))
    return [KernelCall(code.name, code.source, params, buffers, tiles.count, grain, 4 * plane * part.itemsize, (node,))]


def _is_other(section: str, prefix: str) -> bool:
    """Whether a section of a table is that of another transform than the one whose sections begin with this."""
    return "." in section and not section.startswith(prefix or "-")

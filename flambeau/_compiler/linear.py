"""Decompositions and triangular systems of batches of real matrices: the ``linear`` nodes that operators make, and their kernel calls.

The arguments of a node are matrices whose columns lie together, (batch, columns, rows) and row-major, and so are its results.

Before: ``lu`` of a matrix of 1024 by 1024.
After: a call that loads it into memory where columns begin at multiples of a vector, 32 times a panel and what it does to the columns
behind it, in blocks that threads share, and a call that stores it. Of many matrices, or a small one: one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from flambeau._codegen import linear
from flambeau._codegen.contract.arithmetic import register_tile
from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.linear import jacobi, lanes
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node, base_of
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

_LINE = 64
_SHARED = 256
"""From so many rows and columns on threads share a matrix, if there are fewer matrices than threads."""
_COLUMNS = 56
"""Columns of a block that a thread updates, or solves for, at once: a few panels of the micro-kernels, so that a panel of rows is read from the
first-level cache."""
_REFLECTED = 8 * _COLUMNS
"""Columns that are reflected at once, unless there are threads for less: all panels are prepared for each block of them (with a quarter of these 512² took a fifth longer)."""
_FEW = 16
"""So many columns are reflected by one reflection after the other: a panel of them would take longer to prepare."""
_ROTATED = 48
"""Rows of the largest matrix that is rotated in lanes: at 64² LAPACK is as fast."""
ALGORITHMS = {
    "lu": linear.lu,
    "cholesky": linear.cholesky,
    "qr": linear.qr,
    "substitution": linear.substitution,
    "reflection": linear.reflection,
    "permutation": linear.permutation,
    "tridiagonal": linear.tridiagonal,
    "merge": linear.merge,
}

LANES = {"lu": lanes.lu, "cholesky": lanes.cholesky, "substitution": lanes.substitution, "eigh": jacobi.eigh, "singular": jacobi.singular}
"""The same for many small matrices."""


# -- nodes ---------------------------------------------------------------------------------------------------------------


def supports(dtype: DType) -> bool:
    """Whether there are kernels for matrices of a dtype."""
    return dtype in (dt.float32, dt.float64)


def columns_of(graph: Graph, matrices: Node) -> Node:
    """Matrices (*, rows, columns) as their columns (batch, columns, rows), in row-major memory."""
    turned = graph.lying(matrices.transpose(-2, -1))
    turned = turned if turned.layout.contiguous else graph.copy(turned)
    return turned.reshape((prod(turned.shape[:-2]), *turned.shape[-2:]))


def matrices_of(columns: Node, batch: Sequence[int]) -> Node:
    """What ``columns_of`` made of matrices with these leading dimensions."""
    return columns.reshape((*batch, *columns.shape[1:])).transpose(-2, -1)


def as_they_lie(graph: Graph, matrices: Node) -> tuple[Node, ...]:
    """Matrices (*, rows, columns) for a decomposition or a ``substitution``, and its flags: they are not copied if they lie by rows."""
    lying = graph.lying(matrices)
    if lying.layout.contiguous:
        return lying.reshape((prod(lying.shape[:-2]), *lying.shape[-2:])), "turned"
    return (columns_of(graph, matrices),)


def _shape(a: Node, flags: Sequence[str]) -> tuple[int, int, int]:
    """The batch, the columns and the rows of the matrices that an algorithm has as its first argument."""
    batch, columns, rows = a.shape
    return (batch, rows, columns) if "turned" in flags else (batch, columns, rows)


def lu(graph: Graph, a: Node, *flags: str) -> tuple[Node, Node, Node]:
    """The packed decomposition of (batch, columns, rows), pivots (batch, steps) from 1 (int32), and info (batch,) (int32)."""
    batch, columns, rows = shape = _shape(a, flags)
    results = ((a.dtype, shape), (dt.int32, (batch, min(rows, columns))), (dt.int32, (batch,)))
    packed, pivots, info = _linear(graph, "lu", flags, (a,), results)
    return packed, pivots, info


def cholesky(graph: Graph, a: Node, *flags: str) -> tuple[Node, Node]:
    """The lower factor of (batch, columns, rows), and info (batch,) (int32)."""
    factor, info = _linear(graph, "cholesky", flags, (a,), ((a.dtype, a.shape), (dt.int32, a.shape[:1])))
    return factor, info


def substitution(graph: Graph, a: Node, b: Node, *flags: str, pivots: Node | None = None) -> Node:
    """The solution, like b (batch, columns, rows), of systems with triangular a (batch, rows, rows); see ``_codegen.linear.substitution``."""
    flags = (*flags, "pivoted") if pivots is not None else flags
    return _linear(graph, "substitution", flags, (a, b, *(() if pivots is None else (pivots,))), ((b.dtype, b.shape),))[0]


def inverse(graph: Graph, packed: Node, pivots: Node) -> Node:
    """The inverse, (batch, columns, rows), of matrices whose LU decomposition is given: ``U^-1 L^-1 P``, of which L^-1 has zeros that are not computed."""
    batch, rows, _ = packed.shape
    if _are_many(batch, rows):
        one = graph.iota(packed.shape, 2).equals(graph.iota(packed.shape, 1))
        lower = substitution(graph, packed, graph.cast(one, packed.dtype), "unit", pivots=pivots)
        return substitution(graph, packed, lower, "upper")
    result = ((packed.dtype, packed.shape),)
    lower = _linear(graph, "substitution", ("unit", "identity"), (packed,), result)[0]
    return _linear(graph, "substitution", ("upper", "ordered"), (packed, lower, permutation(graph, pivots, rows)), result)[0]


def _are_many(batch: int, size: int) -> bool:
    """Whether matrices are small, and enough of them to be a lane each."""
    return size <= lanes.LARGEST and batch >= lanes.FEWEST


def qr(graph: Graph, a: Node, *flags: str) -> tuple[Node, Node]:
    """R and reflections packed as (batch, columns, rows), and taus (batch, steps)."""
    batch, columns, rows = shape = _shape(a, flags)
    packed, taus = _linear(graph, "qr", flags, (a,), ((a.dtype, shape), (a.dtype, (batch, min(rows, columns)))))
    return packed, taus


def reflection(graph: Graph, packed: Node, taus: Node, b: Node | int, adjoint: bool = False) -> Node:
    """The product of reflections with b (batch, columns, rows), or the first columns of it alone if b is their number."""
    flags = ("adjoint",) * adjoint
    if isinstance(b, int):
        result = (packed.dtype, (packed.shape[0], b, packed.shape[2]))
        return _linear(graph, "reflection", (*flags, "identity"), (packed, taus), (result,))[0]
    return _linear(graph, "reflection", flags, (packed, taus, b), ((b.dtype, b.shape),))[0]


def eigh(graph: Graph, a: Node) -> tuple[Node, Node]:
    """Eigenvalues (batch, n) in increasing order, and vectors as columns (batch, n, n), of matrices that ``are_small``."""
    values, vectors = _linear(graph, "eigh", (), (a,), ((a.dtype, a.shape[:2]), (a.dtype, a.shape)))
    return values, vectors


def singular(graph: Graph, a: Node) -> tuple[Node, Node, Node]:
    """Singular values (batch, columns) in decreasing order, and left (like a) and right vectors as columns, of (batch, columns, rows) that ``are_small``.

    There are no more columns than rows; the left vectors of values that are 0 are 0.
    """
    batch, columns, _ = a.shape
    results = ((a.dtype, (batch, columns)), (a.dtype, a.shape), (a.dtype, (batch, columns, columns)))
    values, left, right = _linear(graph, "singular", (), (a,), results)
    return values, left, right


def are_small(batch: int, size: int, dtype: DType) -> bool:
    """Whether rotations in lanes are the faster way to eigenvalues, which take a time of ``size ** 3`` for as many matrices as a vector has lanes.

    LAPACK takes about as long as ``size ** 2`` elements for each: a sixth of the lanes are worth it for 24², a third for 32², three quarters for 48².
    """
    tiles = -(-batch // register_tile(dtype, targets.current()).width)
    return size <= 8 or (size <= _ROTATED and 196 * batch >= tiles * size**2)


def tridiagonal(graph: Graph, a: Node) -> tuple[Node, ...]:
    """Of symmetric matrices (batch, n, n), whose lower triangle is used, times ``scale`` (batch,): reflections packed as (batch, n - 1, n - 1), their taus
    (batch, n - 1), the diagonal (batch, n) and what is beside it (batch, n - 1) of their tridiagonal form, and scale.
    """
    batch, size, _ = a.shape
    shapes = ((batch, size - 1, size - 1), (batch, size - 1), (batch, size), (batch, size - 1), (batch,))
    return _linear(graph, "tridiagonal", (), (a,), tuple((a.dtype, shape) for shape in shapes))


def merge(graph: Graph, d: Node, edges: Node, joint: Node, *flags: str) -> tuple[Node, Node, Node]:
    """Eigenvalues (batch, n) in increasing order, vectors (batch, element, vector), and the first and last row of these (batch, 2, n), of two halves d (batch, n) with
    the edges (batch, 2, 2, n / 2) of their vectors, which meet in ``joint`` (batch, 1): see ``_codegen.linear.merging``.
    """
    batch, size = d.shape
    results = tuple((d.dtype, shape) for shape in (d.shape, (batch, size, size), (batch, 2, size)))
    values, vectors, ends = _linear(graph, "merge", flags, (d, edges, joint), results)
    return values, vectors, ends


def permutation(graph: Graph, pivots: Node, rows: int) -> Node:
    """The order of rows (batch, rows) (int64) that pivots (batch, steps) make, from 0."""
    return _linear(graph, "permutation", (), (pivots,), ((dt.int64, (pivots.shape[0], rows)),))[0]


def _linear(
    graph: Graph, algorithm: str, flags: tuple[str, ...], args: tuple[Node, ...], results: tuple[tuple[DType, tuple[int, ...]], ...]
) -> tuple[Node, ...]:
    call = graph.make("linear", args, (algorithm, flags, results), dt.bool, ())
    return tuple(graph.make("item", (call,), (number,), *result) for number, result in enumerate(results))


def operations(node: Node) -> int:
    """About how many multiplications and additions a ``linear`` node does."""
    algorithm, _, results = node.attrs
    batch, columns, rows = (*results[0][1], 1)[:3]
    steps = min(columns, rows)
    decomposition = batch * (2 * rows * columns * steps - (rows + columns) * steps**2 + 2 * steps**3 // 3)
    if algorithm in ("lu", "qr"):
        return decomposition * (2 if algorithm == "qr" else 1)
    if algorithm == "reflection":
        return 4 * batch * columns * rows * node.args[1].shape[1]
    return {
        "eigh": 36 * batch * columns**3,
        "singular": 60 * node.args[0].numel * columns,
        "cholesky": batch * rows**3 // 3,
        "substitution": batch * columns * rows**2,
        "permutation": 0,
        "tridiagonal": 4 * batch * columns**3 // 3,
        "merge": 100 * batch * columns**2,
    }[algorithm]


# -- kernel calls --------------------------------------------------------------------------------------------------------

_NAMES = {
    "lu": (("a",), ("packed", "pivots", "info")),
    "cholesky": (("a",), ("factor", "info")),
    "substitution": (("a", "b", "pivots"), ("solution",)),
    "permutation": (("pivots",), ("order",)),
    "qr": (("a",), ("packed", "taus")),
    "reflection": (("packed", "taus", "b"), ("product",)),
    "eigh": (("a",), ("values", "vectors")),
    "singular": (("a",), ("values", "left", "vectors")),
    "tridiagonal": (("a",), ("packed", "taus", "diagonal", "beside", "scale")),
    "merge": (("a", "edges", "joint"), ("values", "vectors", "edges")),
}
"""The operands and the results of each algorithm."""


def lower(node: Node, needed: Sequence[Node]) -> list[KernelCall]:
    """The kernel calls of a ``linear`` node; ``needed`` are the nodes that the program needs."""
    return _Lowering(node, needed).calls()


class _Lowering:
    def __init__(self, node: Node, needed: Sequence[Node]) -> None:
        self.node = node
        self.algorithm, self.flags, results = node.attrs
        self.target = targets.current()
        self.dtype, self.blocked = node.args[0].dtype, False
        operands, outcomes = _NAMES[self.algorithm]
        items = {each.attrs[0]: each for each in needed if each.kind == "item" and each.args[0] is node}
        self.places: dict[str, Node | str] = {}
        self.values: dict[str, int] = {}
        self.temporaries: dict[str, int] = {}
        for name, argument in zip(operands, node.args, strict=False):
            self.places[name], view = base_of(argument)
            self.values[f"{name}.bytes"] = view.attrs[0] * argument.dtype.itemsize if view is not None else 0
        for number, name in enumerate(outcomes):
            self.places[f"to.{name}"] = items.get(number, f"unused {name}")
            if number not in items:
                dtype, shape = results[number]
                self.temporaries[f"unused {name}"] = prod(shape) * dtype.itemsize
        self.nodes = (node, *items.values())

    def calls(self) -> list[KernelCall]:
        if not all(prod(shape) for _, shape in self.node.attrs[2]):
            return []
        if self.algorithm in LANES:
            batch, columns, rows = self.node.attrs[2][0][1] if self.algorithm == "substitution" else _shape(self.node.args[0], self.flags)
            if self.algorithm not in ALGORITHMS or _are_many(batch, max(rows, columns)):
                return self._many(batch, rows, columns)
        return getattr(self, "_" + self.algorithm)()

    def _many(self, batch: int, rows: int, columns: int) -> list[KernelCall]:
        """A call for many small matrices, a lane for each."""
        width = register_tile(self.dtype, self.target).width
        self.values |= {"batch": batch, "rows": rows, "columns": columns, "steps": min(rows, columns)}
        rotates = self.algorithm not in ALGORITHMS
        others = {"vectors": columns * columns * width, "moved": columns * width} if rotates else {"factor": rows * rows * width}
        scratch = self._areas("scratch", work=rows * (columns + 1) * width, **others)
        return [self._call("lanes", -(-batch // width), max(1, 2048 // (rows * rows * columns)), scratch)]

    def _areas(self, prefix: str, start: int = 0, **sizes: int) -> int:
        """Lay areas of so many numbers out behind each other; gives where they end, in bytes."""
        for name, size in sizes.items():
            self.values[f"{prefix}.{name}"] = start
            start += -(-size * self.dtype.itemsize // _LINE) * _LINE
        return start

    def _call(self, part: str, tiles: int, grain: int = 1, scratch: int = 0, **values: int) -> KernelCall:
        structure = linear.Structure(self.target, self.dtype, self.blocked, part, self.flags)
        code: Code = (LANES if part == "lanes" else ALGORITHMS)[self.algorithm](structure)
        given = self.values | values
        params = [given.get(name, 0) for name in code.parameters]
        buffers = [
            (position, self.places[name.removesuffix(".slot")]) for position, name in enumerate(code.parameters) if name.endswith(".slot")
        ]
        temporaries = {name: self.temporaries.pop(name) for _, name in buffers if isinstance(name, str) and name in self.temporaries}
        return KernelCall(code.name, code.source, params, buffers, tiles, grain, scratch, self.nodes, temporaries)

    def _panel_areas(self, rows: int) -> dict[str, int]:
        """The numbers that a panel leaves for updates."""
        packed = (rows + register_tile(self.dtype, self.target).lanes) * linear.BLOCK
        if self.algorithm not in ("qr", "reflection"):
            return {"packed": packed}
        self.values["v.pitch"] = pitch = linear.pitch(rows, self.dtype, self.target, self.blocked)
        return {"v": pitch * linear.BLOCK, "lines": rows * linear.BLOCK, "packed": packed, "t": linear.BLOCK**2}

    def _own_areas(self, columns: int) -> dict[str, int]:
        """The numbers that a call needs for itself."""
        if self.algorithm == "lu":
            return {"order": self.values["rows"] + register_tile(self.dtype, self.target).width}
        if self.algorithm not in ("qr", "reflection"):
            return {}
        sums = max(linear.TOGETHER * linear.BLOCK, columns)
        return {"sums": sums, "scaled": linear.TOGETHER * linear.BLOCK, "square": linear.BLOCK**2}

    # -- decompositions --------------------------------------------------------------------------------------------

    def _decomposition(self) -> list[KernelCall]:
        batch, columns, rows = _shape(self.node.args[0], self.flags)
        steps = min(rows, columns)
        self.blocked = max(rows, columns) > linear.BLOCK
        pitch = linear.pitch(rows, self.dtype, self.target, self.blocked)
        self.values |= {"rows": rows, "columns": columns, "steps": steps, "pitch": pitch}
        areas, own = self._panel_areas(rows), self._own_areas(columns)
        if steps < _SHARED or batch >= targets.available_cores():
            start = self._areas("scratch", work=pitch * columns, **own)
            return [self._call("whole", batch, max(1, 4096 // (rows * columns * steps)), self._areas("area", start, **areas))]
        start = -(-pitch * columns * self.dtype.itemsize // _LINE) * _LINE
        return self._parts(batch, columns, steps, self._areas("area", start, **areas), self._areas("scratch", **own))

    _lu = _cholesky = _qr = _decomposition

    def _parts(self, batch: int, columns: int, steps: int, size: int, scratch: int) -> list[KernelCall]:
        """The calls that threads share a matrix by."""
        self.places["work"], self.temporaries["work"] = "work", batch * size
        self.values |= {"block": _COLUMNS, "work.size": size}
        blocks = -(-columns // _COLUMNS)
        calls = [self._call("load", batch * blocks, blocks=blocks)]
        for first in range(0, steps, linear.BLOCK):
            last = min(first + linear.BLOCK, steps)
            calls.append(self._call("panel", batch, scratch=scratch, first=first, last=last))
            rest = -(-(columns - last) // _COLUMNS)
            if rest:
                calls.append(self._call("update", batch * rest, scratch=scratch, first=first, last=last, blocks=rest))
        return [*calls, self._call("store", batch * blocks, scratch=scratch, blocks=blocks)]

    # -- what is done to columns -----------------------------------------------------------------------------------

    def _substitution(self) -> list[KernelCall]:
        rows, width = self.node.args[0].shape[2], register_tile(self.dtype, self.target).width
        self.blocked = rows > linear.BLOCK
        return self._columns(_COLUMNS, rows, rows, diagonal=linear.BLOCK * (linear.BLOCK + width), negated=linear.BLOCK * _COLUMNS)

    def _reflection(self) -> list[KernelCall]:
        _, width, rows = self.node.args[0].shape
        few = self.node.attrs[2][0][1][1] <= (linear.BLOCK if "identity" in self.flags else _FEW)
        self.blocked = max(rows, width) > linear.BLOCK and not few
        steps = self.node.args[1].shape[1]
        self.values |= {"width": width, "steps": steps}
        columns = self.node.attrs[2][0][1][1]
        blocks = min(max(-(-columns // _REFLECTED), targets.available_cores()), -(-columns // (2 * _COLUMNS)))
        return self._columns(-(-columns // blocks), rows, steps)

    def _columns(self, most: int, rows: int, steps: int, **areas: int) -> list[KernelCall]:
        """A call that computes columns of the result, ``most`` of them a tile."""
        batch, columns, _ = self.node.attrs[2][0][1]
        pitch = linear.pitch(rows, self.dtype, self.target, self.blocked)
        block = min(columns, most)
        blocks = -(-columns // block)
        self.values |= {"rows": rows, "columns": columns, "pitch": pitch, "block": block, "blocks": blocks}
        start = self._areas("scratch", work=pitch * block, **areas, **self._own_areas(block))
        scratch = self._areas("area", start, **self._panel_areas(rows))
        return [self._call("whole", batch * blocks, max(1, 4096 // (rows * steps * block)), scratch)]

    def _tridiagonal(self) -> list[KernelCall]:
        batch, size, _ = self.node.args[0].shape
        self.blocked = size > linear.BLOCK
        pitch = linear.pitch(size, self.dtype, self.target, self.blocked)
        self.values |= {"rows": size, "pitch": pitch}
        lanes = register_tile(self.dtype, self.target).lanes
        areas = {"both": 3 * linear.BLOCK * pitch, "packed": (size + lanes) * 2 * linear.BLOCK, "sums": 2 * linear.BLOCK}
        return [self._call("whole", batch, 1, self._areas("scratch", work=pitch * (size + linear.GROUP), **areas))]

    def _merge(self) -> list[KernelCall]:
        batch, size = self.node.args[0].shape
        width = register_tile(self.dtype, self.target).width
        blocks = -(-size // width)
        padded = (blocks + 2) * width
        work = self._areas("area", **dict.fromkeys(linear.RESULTS, padded), total=1)
        self.places["work"], self.temporaries["work"] = "work", batch * work
        self.values |= {"rows": size, "blocks": blocks, "work.size": work}
        scratch = self._areas("scratch", column=size * width)
        grain = max(1, 512 // size)
        calls = [self._call("sort", batch, max(1, 4096 // size))]
        return [*calls, *(self._call(part, batch * blocks, grain, scratch) for part in ("roots", "weights", "vectors"))]

    def _permutation(self) -> list[KernelCall]:
        batch, steps = self.node.args[0].shape
        rows = self.node.attrs[2][0][1][1]
        self.values |= {"rows": rows, "steps": steps}
        return [self._call("whole", batch, max(1, 4096 // rows))]

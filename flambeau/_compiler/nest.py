"""From a cluster to a loop kernel: which digits are looped over in which order, which one is spread over the lanes.

Before: a cluster with digits (n, c, h, w), reading x of strides (c·h·w, h·w, w, 1) and a bias of strides (0, 1, 0, 0).
After: outer digits n and c, the vector digit h·w (two digits merged, since every access moves alike along them), and the numbers
that a kernel of that structure needs: extents, strides, buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import compress, product
from math import prod

from flambeau._codegen import loops
from flambeau._codegen.loops import (
    ACROSS,
    BLOCK,
    CHUNK,
    COLUMNS,
    EFFECTS,
    LANES,
    REVERSED,
    ROWS,
    STRIDED,
    VECTOR,
    Access,
    Instr,
    LoopSpec,
    Parameters,
)
from flambeau._codegen.loops.spec import COSTLY, LIGHT, accesses_of, bounds_of
from flambeau._compiler import moving, repeating, staging, streaming, weaving
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.digits import Cluster, Dims, digit_strides, domain_key
from flambeau._compiler.node import Node, base_of, is_uniform
from flambeau._compiler.walk import Affine, Walk
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType

_WORK = 1 << 15
"""Element operations that a thread should claim at once."""
MOST_KEPT = 1 << 14
"""The longest row of which results are kept in scratch memory from one phase to the next."""
MOST_WRITTEN = 81
"""The most positions of a sliding window that are written out, one after another. Means over 7×7 of channels-last images take 0.2 ms so, and 1.0
as loops; over 9×9 1.3 and 6.2, and the kernel 0.1 s to be compiled."""
MOST_PLAIN = 8
"""The same of another reduction, whose length is often that of a batch: each would be a kernel of its own. Sums over 16 and 32 rows take 0.3 µs longer
as loops (up to 8 %), and their kernels 15 ms and not 400 to be compiled."""
MOST_OF_ROW = 16
"""The same of neighbours in memory: as rows of their own they fill 7 of 16 lanes and are folded one by one. On Zen 3 a softmax of 2,700 rows of 7; 10; 16
takes 56; 55; 83 µs so, and 204; 154; 152 as rows; their sums 9 to 20 µs, and 25 to 45. The kernel takes 5 to 45 ms to be compiled."""
MOST_OF_LONG_ROW = 31
"""The same if there are ``ENOUGH`` elements; costly functions of the positions are a loop then. On Zen 3, ms for 400,000 elements as rows and so: softmax of rows of 17, 20 and 28 1.8,
1.6 and 1.1, and 0.7, 0.6 and 0.6; their sums 0.27, 0.20 and 0.15, and 0.12, 0.12 and 0.07. Rows of 40 and more are no quicker so."""
MOST_FROM_TABLE = 16
"""The same of places that a table gives, as resizing and pooling to a size have them: from 60 to 7 there are 12. As loops that takes four times as long."""
ENOUGH = 1 << 16
"""Of fewer elements none of those is written out: over 8 rows of 784 that saves 1 µs, and over 4 of 128² 6 of 16, in a kernel for each batch."""
COSTLIER = 128
"""As so many elements counts one of a row for each costly function of it and each reduction but the first: as rows 500 softmaxes of 5 take 55 µs, written
out 12, and all of a call for 64 of 10 7.6 µs and 5.4."""
MOST_ROLLED, LEAST_ROLLED = 1 << 15, 8
"""Of fewer elements the positions of a short row are a loop if so many costly functions were to be written out: cross entropy of 1,600 rows of 10 takes up to
10 µs longer (of 80), of 64 as long, and its kernel 25 ms and not 125 to be compiled; of 2,700 rows of 7 20 µs (of 155), and 30 ms and not 210; softmax of 128 rows
of 10 takes as long, its logarithm 1 µs longer (of 6), and their kernels 50 to 90 ms and not 210 to 390."""
MOST_OF_MANY, MANY = 32, 1 << 22
"""With so many elements up to so many are written out all the same: the sum over 32 images of 64×56² takes 1.6 ms so, and 3.3 as loops."""
MOST_INSTRUCTIONS = 1100
"""The most instructions of a reduction that is written out."""
MOST_TOGETHER, LEAST_TOGETHER = 128, 2 * VECTOR
"""The longest rows of which several take each phase in turn (``loops/short_rows.py``), and how many there are at least."""
LEAST_TURNED = 12
"""The shortest rows that a window reads and writes in squares (``loops/turned.py``) and not lane by lane: on Zen 3 softmax of 25,000 rows of 16 takes 0.77 ms lane by lane and 0.46 in
squares, and their sums 0.11 and 0.07; of rows of 8 0.57 and 0.72."""
MOST_INTERLEAVED = 4
"""The longest stride that is read with consecutive loads and shuffles."""

ROWS_INSIDE = 16
"""Rows of a tile for which what they have in common is computed once."""

FEW_ROWS = 8
"""So many places of the last outer digit are few: a tile has those of the one before, too."""

_SIZE_DTYPES = (dt.float32, dt.float64, dt.int64, dt.int32)
"""The dtypes in which operators compute with sizes."""


class Nest:
    """The loop nest of one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        stored: Collection[int],
        home: dict[int, Cluster],
        is_fresh: Callable[[Node], bool] = lambda node: False,
        stays_cached: bool = False,
    ) -> None:
        self.cluster = cluster
        self.is_fresh = is_fresh
        self.stays_cached = stays_cached
        self.stored = stored
        self.home = home
        self.accesses: list[Affine] = []
        self._access_numbers: dict[tuple, int] = {}
        self.body: list[Instr] = []
        self._known: dict[tuple, int] = {}
        self._of_node: dict[int, int] = {}
        self.extras: dict[int, list[int]] = {}
        self.reaches: dict[int, tuple[int, ...]] = {}  # of the indices of gathers, where they are known
        self._emit_nodes()
        moving.as_bits(self)

    # -- the body --------------------------------------------------------------------------------------------------

    def _emit_nodes(self) -> None:
        checks, checked = 0, set()
        for node in self.cluster.nodes:
            if node.kind == "update":
                dims = self.cluster.dims[node.index]
                value = self._read(node.args[1], dims)
                strides, offset = node.attrs
                access = self._access(node.dtype, node, digit_strides(dims, strides, self.cluster.extents), offset, weight=4)
                self._instr(Instr("store", node.dtype, (value,), (access,)))
                continue
            if node.kind == "check":
                dims = self.cluster.dims[node.index]
                steps = lay.row_major(node.shape)
                position = self._access(None, None, digit_strides(dims, steps, self.cluster.extents), 0)
                arguments = tuple(self._read(argument, dims) for argument in node.args)
                if (arguments, position) not in checked:  # the backward pass checks what the forward pass does
                    checked.add((arguments, position))
                    self._instr(Instr("check", dt.bool, arguments, (position, checks)))
                checks += 1
                continue
            number = self._node(node)
            self._of_node[node.index] = number
            if node.index in self.stored and not (node.kind == "reduce" and self.cluster.closed):
                access = self._access(node.dtype, node, self.cluster.strides(node), 0, weight=4)
                self._instr(Instr("store", node.dtype, (number,), (access,)))

    def _node(self, node: Node) -> int:
        dims = self.cluster.dims[node.index]
        if node.kind == "map":
            return self._instr(Instr("map", node.dtype, tuple(self._read(argument, dims) for argument in node.args), (node.attrs[0],)))
        if node.kind == "cast":
            return self._instr(Instr("cast", node.dtype, (self._read(node.args[0], dims),)))
        if node.kind == "reduce":
            return self._instr(
                Instr("reduce", node.dtype, (self._read(node.args[0], self.cluster.dims[domain_key(node)]),), (node.attrs[0],))
            )
        strides, offset, index_strides, reach = node.attrs
        indices = tuple(self._read(index, dims) for index in node.args[1:])
        access = self._access(node.dtype, base_of(node.args[0])[0], digit_strides(dims, strides, self.cluster.extents), offset)
        near = tuple(stride == 1 for stride in index_strides)
        number = self._instr(Instr("gather", node.dtype, indices, (access, len(indices), near)), extra=list(index_strides))
        self.reaches[number] = reach
        return number

    def _instr(self, instr: Instr, extra: list[int] | None = None) -> int:
        """Append an instruction (once, if it is pure)."""
        key = (instr, tuple(extra or ()))
        if instr.op not in EFFECTS and key in self._known:
            return self._known[key]
        self.body.append(instr)
        number = len(self.body) - 1
        self._known[key] = number
        if extra is not None:
            self.extras[number] = extra
        return number

    def _access(self, dtype: DType | None, buffer: Node | None, strides: dict[int, int], offset: int, weight: int = 1) -> int:
        strides = {digit: stride for digit, stride in strides.items() if stride and self.cluster.extents[digit] != 1}
        key = (dtype, buffer.index if buffer is not None else -1, tuple(sorted(strides.items())), offset, weight > 1)
        number = self._access_numbers.get(key)
        if number is None:
            self.accesses.append(Affine(dtype, buffer, strides, offset, weight))
            number = self._access_numbers[key] = len(self.accesses) - 1
        return number

    def _read(self, argument: Node, dims: Dims) -> int:
        """The instruction that gives an argument at ``dims``."""
        if argument.kind == "constant":
            return self._constant(argument)
        if argument.kind == "iota":
            steps = tuple(int(axis == argument.attrs[0]) for axis in range(argument.ndim))
            return self._instr(
                Instr("index", dt.int64, (), (self._access(None, None, digit_strides(dims, steps, self.cluster.extents), 0),))
            )
        base, view = base_of(argument)
        if base.kind == "constant":
            return self._within(view, dims, self._constant(base), whole=base.dtype is dt.bool and base.attrs[0] is True)
        if base.kind == "number":
            return self._within(view, dims, self._instr(Instr("number", base.dtype, (), ()), extra=[base.attrs[0]]))
        if base.kind == "iota":
            assert view is not None and not view.attrs[1]
            return self._read_iota_view(base, view, dims)
        if is_uniform(base) and self.home.get(base.index) is not self.cluster:  # even if another cluster stores it, which may run later
            value = self._instr(
                Instr(
                    base.kind,
                    base.dtype,
                    tuple(self._read(each, ((),) * each.ndim) for each in base.args),
                    base.attrs[:1] if base.kind == "map" else (),
                )
            )
            return self._within(view, dims, value)
        if self.home.get(base.index) is self.cluster and base.index in self._of_node:
            return self._of_node[base.index]
        if view is None:
            access = self._access(base.dtype, base, digit_strides(dims, base.strides, self.cluster.extents), 0)
            return self._instr(Instr("load", base.dtype, (), (access, ())))
        access = self._access(base.dtype, base, digit_strides(dims, view.strides, self.cluster.extents), view.attrs[0])
        coordinates, extents = self._bounds(view, dims)
        return self._instr(Instr("load", base.dtype, (), (access, coordinates)), extra=extents or None)

    def _bounds(self, view: Node, dims: Dims) -> tuple[tuple[int, ...], list[int]]:
        """The coordinates that a view checks, and the extents that they must lie in."""
        bounds = view.attrs[1]
        coordinates = tuple(
            self._access(None, None, digit_strides(dims, bound.coefficients, self.cluster.extents), bound.start) for bound in bounds
        )
        return coordinates, [bound.extent for bound in bounds]

    def _within(self, view: Node | None, dims: Dims, value: int, whole: bool = False) -> int:
        """What a computed value is read as through a view: 0 where the view's bounds do not hold. ``whole`` is true: the value is."""
        if view is None or not view.attrs[1]:
            return value
        coordinates, extents = self._bounds(view, dims)
        inside = self._instr(Instr("inside", dt.bool, (), (coordinates,)), extra=extents)
        if whole:
            return inside
        zero = self._instr(Instr("constant", view.dtype, (), (0,)))
        return self._instr(Instr("map", view.dtype, (inside, value, zero), ("where",)))

    def _constant(self, node: Node) -> int:
        """A number of the program. Most whole numbers are sizes (what a mean divides by): a kernel is told them when it runs, so that one
        kernel serves all sizes."""
        number = node.attrs[0]
        if node.dtype not in _SIZE_DTYPES or not 2 < abs(number) < 1 << 53 or number != int(number):
            return self._instr(Instr("constant", node.dtype, (), node.attrs))
        size = self._instr(Instr("index", dt.int64, (), (self._access(None, None, {}, int(number)),)))
        return size if node.dtype is dt.int64 else self._instr(Instr("cast", node.dtype, (size,)))

    def _read_iota_view(self, base: Node, view: Node, dims: Dims) -> int:
        """An index read through a view: where the view is affine in that index it is an index again."""
        stride = base.strides[base.attrs[0]]
        size = base.shape[base.attrs[0]]
        steps, start = [], view.attrs[0] // stride % size
        for extent, step in zip(view.shape, view.strides, strict=True):
            moved = step // stride % size if extent > 1 else 0
            if extent > 1 and step and (step % stride or step // stride >= size):
                moved = 0 if step % (stride * size) == 0 else moved
            steps.append(moved)
        return self._instr(
            Instr("index", dt.int64, (), (self._access(None, None, digit_strides(dims, steps, self.cluster.extents), start),))
        )

    # -- digits ----------------------------------------------------------------------------------------------------

    def _merge(self, digits: list[int], extents: dict[int, int]) -> list[list[int]]:
        """Group neighbouring digits (outermost first) along which every access moves as along one."""
        groups: list[list[int]] = []
        for digit in digits:
            if groups:
                last = groups[-1][-1]
                if all(each.strides.get(last, 0) == each.strides.get(digit, 0) * extents[digit] for each in self.accesses):
                    groups[-1].append(digit)
                    continue
            groups.append([digit])
        return groups

    def lower(self) -> list[KernelCall]:
        """The kernel calls of the cluster: one, or for a split reduction also those that combine its parts."""
        mode, row, walk = self._arranged()
        return self._call(self._spec(mode, row, walk), walk)

    def _arranged(self) -> tuple[str, int | None, Walk]:
        """The shape of the nest, the row digit of a tiled one, and how it goes over digits, of which neighbours along which all moves alike are one."""
        cluster = self.cluster
        extents = {digit: extent for digit, extent in enumerate(cluster.extents) if extent != 1}
        if cluster.reduced is None:
            moving.widen(self, extents)
        outer_runs, run = cluster.runs or ((), ())
        reduced = [digit for digit in outer_runs if digit in extents]
        run_digits = [digit for digit in run if digit in extents]
        main = max(
            (each for each in self.accesses if each.dtype is not None), key=lambda each: (each.weight, len(each.strides)), default=None
        )
        if cluster.closed:  # partial results lie in the order of the results
            ends = next(node for node in cluster.nodes if node.kind == "reduce")
            main = Affine(ends.dtype, ends, cluster.strides(ends), 0)
        place: Callable[[int], tuple[int, int]] = lambda digit: (-(main.strides.get(digit, 0) if main else 0), digit)
        outer = sorted((digit for digit in extents if digit not in reduced and digit not in run_digits), key=place)
        groups = [self._merge(outer, extents), self._merge(reduced, extents), self._merge(run_digits, extents)]
        sizes = {group[-1]: prod(extents[digit] for digit in group) for part in groups for group in part}
        outer, reduced, run_digits = ([group[-1] for group in part] for part in groups)
        mode, vector = self._mode(outer, reduced, run_digits, sizes)
        if mode == "map" and (short := moving.short_row(self, sizes, outer)) is not None:
            mode, vector = "copy", short
        if vector is not None and mode != "row":
            outer.remove(vector)
        row = self._row_digit(outer, vector, sizes) if mode == "map" else None
        if row is not None:
            mode = "tiled"
            outer.remove(row)
            outer.append(row)
        woven = weaving.woven(self, outer, vector, sizes) if mode == "map" else []
        outer = [digit for digit in outer if digit not in woven]
        order = [*outer, *woven, *([vector] if mode != "row" else []), *reduced, *run_digits]
        return mode, row, Walk(order, sizes, outer, vector, reduced, run_digits, woven)

    def _spec(self, mode: str, row: int | None, walk: Walk) -> LoopSpec:
        order, sizes, outer, vector, reduced, run_digits = walk.order, walk.sizes, walk.outer, walk.vector, walk.reduced, walk.run
        is_turned = mode == "window" and not reduced and len(run_digits) == 1 and sizes[run_digits[0]] >= LEAST_TURNED
        if is_turned:
            row = run_digits[0]
        accesses = tuple(
            Access(
                each.dtype,
                tuple(digit is not None and each.strides.get(digit, 0) != 0 for digit in order),
                self._step(each, vector, row, is_turned),
                walk.is_flat(each),
                mode != "copy" and streaming.is_possible(each, vector),
            )
            for each in self.accesses
        )
        fixed = [*reduced, *run_digits] if mode == "window" else [vector] if mode == "copy" and vector is not None else []
        window = tuple(sizes[digit] for digit in fixed)
        if mode == "window":
            functions = self._functions((*reduced, *run_digits), prod(window))
            keep = prod(window) > MOST_OF_ROW or (prod(sizes.values()) < MOST_ROLLED and functions >= LEAST_ROLLED)
        else:
            keep = mode == "row" and not reduced and prod(sizes[digit] for digit in run_digits) <= MOST_KEPT
        together = mode == "row" and self._are_short(walk)
        spec = LoopSpec(
            mode, len(outer), len(reduced), len(run_digits), accesses, tuple(self.body), self.cluster.closed, targets.current().instruction_sets, keep, window,
            staging.staged(self, outer, vector, sizes) if mode == "map" else (), mode == "map" and self._overlaps(),
            repeat=repeating.repeats(self, walk) if mode == "row" else "", woven=tuple(sizes[digit] for digit in walk.woven),
            halves=mode == "map" and bool(outer) and not walk.woven and self._has_halves(walk.across),
            whole=(walk.inner if together else walk.across) >= VECTOR and (together or mode in ("map", "window")) and self._is_whole(walk),
            together=together,
        )  # fmt: skip
        return spec._replace(inside=_inside(spec, walk))

    def _mode(self, outer: list[int], reduced: list[int], run: list[int], sizes: dict[int, int]) -> tuple[str, int | None]:
        """The shape of the loop nest, and its vector digit."""

        def score(digit: int) -> float:
            """How many bytes move along the lanes without gaps, less those that move with gaps."""
            total = 0.0
            for each in self.accesses:
                stride = each.strides.get(digit, 0)
                if each.dtype is not None and stride:
                    volume = prod(size for other, size in sizes.items() if other in each.strides)
                    total += volume * each.weight * each.dtype.itemsize * (1 / stride if 1 <= stride <= MOST_INTERLEAVED else -0.5)
            return total * min(1.0, sizes[digit] / VECTOR)

        best = max(outer, key=lambda digit: (score(digit), sizes[digit]), default=None)
        if self.cluster.reduced is None:
            return "map", best
        if self.cluster.closed and outer:
            best = outer[-1]  # partial results are stored as vectors of neighbouring results
        is_row = bool(run) and (best is None or score(run[-1]) >= score(best))
        wide = max((digit for digit in outer if sizes[digit] >= VECTOR // 2), key=lambda digit: (score(digit), sizes[digit]), default=None)
        if wide is not None and not self.cluster.closed:
            positions = prod(sizes[digit] for digit in (*reduced, *run))
            most = self._most_written(outer, [*reduced, *run], sizes, is_row) if positions > 1 else 1
            if 0 < positions <= most and positions * len(self._repeated((*reduced, *run))) <= MOST_INSTRUCTIONS:
                return "window", wide
        return ("row", run[-1]) if is_row else ("column", best)

    def _most_written(self, outer: list[int], reduced: list[int], sizes: dict[int, int], is_row: bool) -> int:
        """How many positions are written out at most."""
        if self._slides(outer, reduced, sizes):
            return MOST_PLAIN if is_row else MOST_WRITTEN
        volume = prod(sizes.values())
        if is_row:
            costly = sum(instr.op == "reduce" or (instr.op == "map" and instr.attrs[0] in COSTLY) for instr in self.body)
            are_few = volume < ENOUGH and prod(sizes[digit] for digit in outer) < VECTOR
            if are_few or volume * (1 + COSTLIER * (costly - 1)) < ENOUGH:
                return 1
            return MOST_OF_LONG_ROW if volume >= ENOUGH and self._may_be_longer(reduced) else MOST_OF_ROW
        return 1 if volume < ENOUGH else MOST_PLAIN if volume < MANY else MOST_OF_MANY

    def _repeated(self, inner: Collection[int]) -> list[Instr]:
        """The instructions that must be done at each position of some digits."""
        moves: list[bool] = []
        for instr in self.body:
            reads = any(self.accesses[access].strides.keys() & inner for access in accesses_of(instr))
            moves.append(reads or any(moves[argument] and self.body[argument].op != "reduce" for argument in instr.args))
        return list(compress(self.body, moves))

    def _may_be_longer(self, inner: Collection[int]) -> bool:
        return len(inner) == 1 and all(instr.op != "gather" and not instr.dtype.is_complex for instr in self.body)

    def _functions(self, inner: Collection[int], positions: int) -> int:
        """How many costly functions a nest has that writes out so many positions of some digits."""
        return positions * sum(instr.op == "map" and instr.attrs[0] in COSTLY for instr in self._repeated(inner))

    def _slides(self, outer: list[int], reduced: list[int], sizes: dict[int, int]) -> bool:
        """Whether what is reduced is a window: of several digits, at the border of something, at a few places from a table (what users give is no
        table: it is checked first), or sharing elements with its neighbours."""
        if len(reduced) > 1 and not self._holds_batches(outer, reduced):
            return True
        if any(instr.op in ("load", "inside") and instr.attrs[-1] for instr in self.body):
            return True
        is_short = prod(sizes[digit] for digit in reduced) <= MOST_FROM_TABLE  # not the pieces of a nested tensor
        if is_short and any(instr.op == "gather" and any(self.body[index].op == "load" for index in instr.args) for instr in self.body):
            return True
        for each, digit, other in product(self.accesses, outer, reduced):
            (near, count), (far, _) = sorted((abs(each.strides.get(one, 0)), sizes[one]) for one in (digit, other))
            if near and near * (count - 1) >= far:
                return True
        return False

    def _holds_batches(self, outer: list[int], reduced: list[int]) -> bool:
        """Whether one of the digits that are reduced lies outside all others, as a batch does: what batch norm reduces is no window."""
        reach = lambda each, digit: abs(each.strides.get(digit, 0))
        moved = {digit: [each for each in self.accesses if digit in each.strides] for digit in reduced}
        return any(all(reach(each, digit) > reach(each, other) for each in moved[digit] for other in outer) for digit in reduced)

    def _row_digit(self, outer: list[int], vector: int | None, sizes: dict[int, int]) -> int | None:
        """The digit along which loads lie that lie across the vector digit: blocks of both are worth transposing."""
        if vector is None or sizes[vector] < VECTOR // 2:
            return None
        for digit in outer:
            if sizes[digit] >= VECTOR // 2 and any(self._lies_across(number, vector, digit) for number in range(len(self.accesses))):
                return digit
        return None

    def _lies_across(self, number: int, vector: int, row: int, is_turned: bool = False) -> bool:
        each = self.accesses[number]
        if (
            each.dtype is None
            or each.dtype.is_complex
            or each.strides.get(row, 0) != 1
            or abs(each.strides.get(vector, 0)) <= MOST_INTERLEAVED
        ):
            return False
        return (is_turned and each.weight > 1) or self.is_only_loaded(number, bounded=False)

    def is_only_loaded(self, number: int, bounded: bool = True) -> bool:
        """Whether an access only serves loads (that have no bounds, unless they may)."""
        users = [instr for instr in self.body if instr.op in ("load", "gather", "store") and instr.attrs[0] == number]
        return all(instr.op == "load" and (bounded or not instr.attrs[1]) for instr in users)

    def _overlaps(self) -> bool:
        """Whether a place may be computed twice, since everything is written to where nothing was read. (Little work only: it is another vector.)"""
        written = (each.buffer for each in self.accesses if each.weight > 1)
        is_light = len(self.body) <= LIGHT and all(instr.op != "check" for instr in self.body)
        return is_light and all(buffer is not None and self.is_fresh(buffer) for buffer in written)

    def _is_whole(self, walk: Walk) -> bool:
        """Whether lines are as long as a vector, and their last vector may be one whose places are computed twice."""
        written = (each.buffer for each in self.accesses if each.weight > 1)
        is_fresh = all(buffer is not None and self.is_fresh(buffer) for buffer in written)
        return is_fresh and not walk.woven and not any(bounds_of(instr) or instr.op == "gather" for instr in self.body)

    def _are_short(self, walk: Walk) -> bool:
        """Whether rows are so short that to fold their lanes takes as long as to read them, and there are some."""
        if self.cluster.closed or walk.reduced or len(walk.run) > 1 or walk.inner > MOST_TOGETHER or walk.places < LEAST_TOGETHER:
            return False
        return all(instr.dtype.category in (dt.FLOAT, dt.INTEGER) for instr in self.body if instr.op == "reduce")

    def _has_halves(self, across: int) -> bool:
        """Whether lines, of which there are several, end with half of a vector (24 channels do), and have masks for it that are long code, as without AVX-512. Gathers
        by tables look at whole vectors."""
        is_masked = "avx512f" not in targets.current().instruction_sets and not self._overlaps()
        return is_masked and across % VECTOR == VECTOR // 2 and across < BLOCK and all(not bounds_of(instr) for instr in self.body)

    def _step(self, each: Affine, vector: int | None, row: int | None, is_turned: bool) -> int:
        """``Access.vector``."""
        stride = each.strides.get(vector, 0) if vector is not None else 0
        if vector is not None and row is not None and self._lies_across(self.accesses.index(each), vector, row, is_turned):
            return ACROSS
        if stride == -1 and each.dtype is not None and self.is_only_loaded(self.accesses.index(each)):
            return REVERSED
        return stride if 0 <= stride <= MOST_INTERLEAVED else STRIDED

    def _call(self, spec: LoopSpec, walk: Walk) -> list[KernelCall]:
        """The call of a kernel, and those that combine its parts if it has some."""
        parameters = Parameters(spec)
        params = [0] * parameters.count
        buffers: list[tuple[int, Node | str]] = []
        params[: len(walk.order)] = [1 if digit is None else walk.sizes[digit] for digit in walk.order]
        for (start, strides), each in zip(parameters.access, self.accesses, strict=True):
            if each.dtype is None:
                params[start + 1] = each.offset
            else:
                assert each.buffer is not None
                buffers.append((start, each.buffer))
                params[start + 1] = each.offset * each.dtype.itemsize
            for position, at in strides.items():
                params[at] = each.strides[walk.order[position]]
        for number, at in parameters.streams.items():
            params[at] = int(streaming.is_worthwhile(self, self.accesses[number], walk))
        numbers = []
        for number, position in parameters.extra.items():
            for at, value in enumerate(self.extras[number]):
                params[position + at] = value
            if self.body[number].op == "number":
                numbers.append(position)
        name, source, kept, rows_inside = loops.kernel(spec)
        tiles, work, scratch = self._tiles(spec, parameters, params, walk, kept, rows_inside)
        temporaries: dict[str, int] = {}
        combine: list[KernelCall] = []
        if spec.split:
            tiles, work, combine = self._split(spec, parameters, params, buffers, walk, tiles, temporaries)
        nodes = tuple(self.cluster.nodes)
        grain = max(1, _WORK // max(work, 1))
        return [KernelCall(name, source, params, buffers, tiles, grain, scratch, nodes, temporaries, numbers=numbers), *combine]

    def _tiles(
        self, spec: LoopSpec, parameters: Parameters, params: list[int], walk: Walk, kept: int, rows_inside: int
    ) -> tuple[int, int, int]:
        """How many tiles there are, the work of one, and the scratch memory that it needs; how large a tile is becomes a parameter."""
        sizes, outer, places, across, inner = walk.sizes, walk.outer, walk.places, walk.across, walk.inner
        cost = prod(spec.woven) * (1 + len(self.body))
        if spec.staged:
            last = max(1, sizes[outer[-1]]) if outer else 1
            params[parameters.extent] = last
            params[parameters.piece] = piece = staging.piece(self, spec.staged, places // last, across)
            scratch = 0
            for number, position in zip(spec.staged, parameters.staged, strict=True):
                params[position] = size = self.reaches[number][0]
                scratch += size * piece * self.body[number].dtype.itemsize
            return places // last * -(-across // piece), last * piece * cost, scratch
        if spec.mode in ("map", "window", "copy"):
            last, width = max(1, sizes[outer[-1]]) if outer else 1, BLOCK
            if spec.window:
                params[parameters.piece] = width
            if spec.inside:
                params[parameters.extent], rows = last, last * sizes[outer[-2]]
                return places // rows, rows * across * inner * cost, 0
            rows = max(1, min(last, max(BLOCK // max(across * inner, 1), ROWS_INSIDE * rows_inside)))
            if not rows_inside:
                rows = _tile_rows(rows, places // last, last, across * inner, cost)
            params[parameters.extent] = rows
            lines = places // last * -(-last // rows)
            if spec.mode == "window" and spec.window:
                params[parameters.piece] = width = _tile_width(across, lines)
            return lines * -(-across // width), rows * min(across, width) * inner * cost, 0
        if spec.mode == "tiled":
            rows = sizes[outer[-1]]
            return places // rows * -(-rows // ROWS) * -(-across // COLUMNS), min(rows, ROWS) * min(across, COLUMNS) * cost, 0
        if spec.mode == "row":
            params[parameters.extent] = pitch = -(-(inner + LANES) * 8 // 64) * 64
            rows = VECTOR if spec.together else 1
            return -(-places // rows), rows * inner * cost, rows * kept * pitch
        parts = -(-inner // CHUNK) if spec.split else 1
        vectors = _tile_vectors(loops.most_vectors(spec), across, places * parts)
        params[parameters.extent] = vectors
        return places * -(-across // (VECTOR * vectors)), inner * VECTOR * vectors * cost, 0

    def _split(
        self,
        spec: LoopSpec,
        parameters: Parameters,
        params: list[int],
        buffers: list[tuple[int, Node | str]],
        walk: Walk,
        tiles: int,
        temporaries: dict[str, int],
    ) -> tuple[int, int, list[KernelCall]]:
        """Buffers for the partial results of each reduction, and the calls that combine them."""
        sizes, reduced, run = walk.sizes, walk.reduced, walk.run
        results = walk.places * (walk.across if spec.mode == "column" else 1)
        length = prod(sizes[digit] for digit in run)
        parts = -(-prod(sizes[digit] for digit in reduced) // max(1, CHUNK // length)) * -(-length // CHUNK)
        combine = []
        for position, node in enumerate(node for node in self.cluster.nodes if node.kind == "reduce"):
            name = f"partial{position}"
            temporaries[name] = parts * results * node.dtype.itemsize
            at = parameters.partial + 3 * position
            buffers.append((at, name))
            params[at + 2] = results
            kernel, source = loops.combine_kernel(node.attrs[0], node.dtype, targets.current().instruction_sets)
            combine.append(
                KernelCall(
                    kernel,
                    source,
                    [0, 0, parts, results, 0, 0],
                    [(0, name), (4, node)],
                    results,
                    max(1, _WORK // max(1, parts)),
                    0,
                    (node,),
                )
            )
        width = VECTOR * params[parameters.extent] if spec.mode == "column" else 1
        return tiles * parts, CHUNK * width * len(self.body), combine


def _inside(spec: LoopSpec, walk: Walk) -> int:
    """``LoopSpec.inside``: places of a tile are found by divisions, which for two rows of 64 numbers took as long as all else."""
    if spec.mode not in ("map", "window", "copy") or spec.staged or len(walk.outer) < 2:
        return 0
    before, last = (walk.sizes[digit] for digit in walk.outer[-2:])
    return int(last <= FEW_ROWS and walk.across <= BLOCK and before * last * walk.across * walk.inner <= 2 * BLOCK)


def _tile_rows(most: int, others: int, last: int, length: int, cost: int) -> int:
    """How many lines a tile of a map has: as many as may be, as long as every core gets some, unless there is too little to do in half of them.

    A step of an LSTM of 256 units with 16 sequences spends 18 us on its gates, which were one tile.
    """
    rows = most
    while rows > 1 and rows * length * cost >= 2 * _WORK and others * -(-last // rows) * -(-length // BLOCK) < targets.available_cores():
        rows = -(-rows // 2)
    return rows


def _tile_width(results: int, others: int) -> int:
    """How many results a tile of a window has: as many as a map's, as long as every core gets some tiles."""
    width = BLOCK
    while width > 4 * VECTOR and others * -(-results // width) < 2 * targets.available_cores():
        width //= 2
    return width


def _tile_vectors(most: int, results: int, others: int) -> int:
    """How many vectors of results a tile of a column has: as many as may be, as long as every core gets some tiles."""
    vectors = max(1, min(most, -(-results // VECTOR)))
    while vectors > 1 and others * -(-results // (VECTOR * vectors)) < 2 * targets.available_cores():
        vectors //= 2
    return vectors

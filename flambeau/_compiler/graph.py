"""The graph: what a program computes, as array-level values in SSA form, and the language that operators are lowered in.

A node is a whole array.  There are few kinds:

==============  ==================================================================================================
``input``       memory that exists before the program runs
``number``      a run-time scalar: a Python number that entered arithmetic
``constant``    a number that is part of the program
``iota``        the index along one axis (int64)
``map``         a scalar operator (``_codegen/scalar.py``) applied to every element of arguments of one shape
``cast``        another dtype
``view``        other indices for the same elements: ``out[i] = arg.memory[offset + sum(i * strides)]``; with *bounds*,
                elements whose coordinates are out of range read as 0 (padding)
``gather``      ``out[i] = arg.memory[offset + sum(i * strides) + sum(index_k[i] * index_strides_k)]``
``reduce``      sum, sum of ``squares``, prod, max, min, any or all over some axes, in an order fixed by the shape
``contract``    a sum of products over some axes: matrix products and convolutions
``attention``   a result of softmax(q kᵀ) v (or ``attention_backward``: of its gradient); those of the same arguments are computed together
``scan``        running sum, product, maximum, minimum or logarithm of the sum of exponentials along an axis
``sort``        the positions (int64) of some ranks along an axis, or of a second argument's rank for each line; equal elements in their order
``empty``       memory with unspecified contents
``update``      ``arg`` with some of its memory replaced: ``memory[offset + sum(i * strides)] = value[i]``
``scatter``     ``arg`` with elements replaced or combined at computed positions, in row-major order of the index; the value is an argument, or
                rows of one at computed positions
``bitcast``     the same bytes as another dtype
``host``        a function on NumPy arrays, for what is not worth a kernel; its results are ``item`` nodes
``recur``       all steps of a recurrent layer (``recurrence.py``); its results are ``item`` nodes
``linear``      a decomposition of matrices or a triangular system (``linear.py``); its results are ``item`` nodes
``fourier``     the Fourier transform along the middle axis of three, or a part of it (``fourier.py``)
``item``        one of the results of a ``host``, ``recur`` or ``linear`` node
``check``       stops the program with an error where its first argument (bool) holds
==============  ==================================================================================================

Every node that owns memory has dense ``strides``: the order of its elements in memory.  Lowering never thinks of loops,
threads, vectors or targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau._codegen.scalar.operators import OPS
from flambeau._compiler.node import Bound, Node, is_across
from flambeau._compiler.parts import in_parts, parts_of
from flambeau._compiler.reading import before_widening, copied, rows_of
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

COMPARISONS = {
    "outside",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
}
"""Scalar operators whose result is bool whatever they are given."""

TO_REAL = {"abs", "real", "imag", "angle"}
"""Scalar operators whose result is real where their operand is complex."""


TURNED = 4096
"""So many elements that lie across the order of a reduction are turned before; of fewer, lanes are gathered."""


def _order_of(operands: Sequence[Node]) -> tuple[int, ...] | None:
    """The strides of an elementwise result: those of the first operand that is dense, so that what must be kept lies as it is read."""
    for operand in operands:
        if operand.kind not in ("constant", "number", "iota") and operand.layout.dense:
            return operand.strides
    return None


class Graph:
    """Nodes in the order in which they were made; equal nodes are made once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple, Node] = {}
        self._pass = ""
        self.checks: list[Node] = []
        self.origin: Any = None
        """The record that is being lowered (for the errors of ``check`` nodes)."""
        self.expanded: dict[tuple, tuple[Node, ...]] = {}
        """What lowerings made of something that is no node, for those who ask for the same again."""
        self.origins: dict[int, Any] = {}
        """The record that each ``host`` node was made for (the first, if there are several)."""

    def __str__(self) -> str:
        return "\n".join(map(repr, self.nodes))

    def make(
        self,
        kind: str,
        args: tuple[Node, ...],
        attrs: tuple,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
    ) -> Node:
        """The node with these fields; row-major unless strides are given."""
        if strides is None:
            strides = lay.row_major(shape)
        key = (kind, attrs, dtype, shape, strides, self._pass if kind in ("map", "cast") else "", *[argument.index for argument in args])
        node = self._known.get(key)
        if node is None:
            node = Node(self, kind, args, attrs, dtype, shape, strides)
            self.nodes.append(node)
            self._known[key] = node
        return node

    def dissolve(self) -> None:
        """Let the nodes, which refer to the graph, be freed when nobody holds them, and not by the garbage collector: that takes a tenth of a program's planning."""
        self.nodes.clear()
        self._known.clear()
        self.checks.clear()
        self.expanded.clear()

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Make elementwise nodes of a pass over the data that are not shared with those of other passes.

        What two loops have in common is kept in memory between them. In here it is computed again, which is right for what is
        cheaper to compute than to write and to read: an input less its mean.
        """
        before, self._pass = self._pass, name
        try:
            yield
        finally:
            self._pass = before

    # -- sources ---------------------------------------------------------------------------------------------------

    def input(self, slot: int, dtype: DType, numel: int) -> Node:
        """The memory of an input as a flat array."""
        return self.make("input", (), (slot,), dtype, (numel,))

    def number(self, index: int, kind: type, dtype: DType) -> Node:
        """A run-time scalar, given as ``kind`` (int, float or complex; bool is int) and used as ``dtype``."""
        return self.make("number", (), (index, kind), dtype, ())

    def constant(self, number: complex, dtype: DType, shape: tuple[int, ...] = ()) -> Node:
        kind = type(number).__name__  # 1, 1.0 and True are equal as keys but not as constants
        return self.make("constant", (), (number, kind, str(number)), dtype, shape)

    def iota(self, shape: tuple[int, ...], axis: int, dtype: DType = dt.int64) -> Node:
        """The index along ``axis``."""
        return self.cast(self.make("iota", (), (axis,), dt.int64, shape), dtype)

    def affine(self, shape: tuple[int, ...], coefficients: Sequence[int], start: int, dtype: DType = dt.int64) -> Node:
        """``start + sum(i * coefficients)``, none of which is negative."""
        most = 1 + start + sum(each * max(size - 1, 0) for each, size in zip(coefficients, shape, strict=True))
        return self.cast(self.view(self.iota((most,), 0), lay.layout(shape, tuple(coefficients), start, dt.int64)), dtype)

    def position(self, shape: tuple[int, ...], axes: Sequence[int] | None = None) -> Node:
        """The row-major position of each element among the given axes (all of them by default), int64."""
        axes = range(len(shape)) if axes is None else axes
        total = self.constant(0, dt.int64, shape)
        for axis in axes:
            total = total * self.constant(shape[axis], dt.int64) + self.iota(shape, axis)
        return total

    def empty(self, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> Node:
        """Memory with unspecified contents (each call another one)."""
        return self.make("empty", (), (len(self.nodes),), dtype, shape, strides)

    # -- elementwise -----------------------------------------------------------------------------------------------

    def map(self, op: str, *operands: Any) -> Node:
        """A scalar operator on operands that are broadcast together; numbers become constants of the nodes' dtype."""
        nodes = [operand for operand in operands if isinstance(operand, Node)]
        dtype = nodes[-1].dtype
        shape = nodes[0].shape if len(nodes) == 1 else lay.broadcast_shapes(*[node.shape for node in nodes])
        args = tuple(operand.expand(shape) if isinstance(operand, Node) else self.constant(operand, dtype, shape) for operand in operands)
        if op != "where" and any(argument.dtype is not dtype for argument in args):
            raise TypeError(f"{op}: operands of different dtypes {[argument.dtype.name for argument in args]}; cast them first")
        if not OPS[op].takes(dtype):
            raise NotImplementedError(f'"{op}" is not implemented for {dtype!r}')
        if op in COMPARISONS:
            result = dt.bool
        elif op in TO_REAL:
            result = dtype.to_real()
        elif op == "complex":
            result = dtype.to_complex()
        else:
            result = dtype
        return self.make("map", args, (op,), result, shape, _order_of(args))

    def cast(self, operand: Node, dtype: DType) -> Node:
        if operand.dtype is dtype:
            return operand
        if operand.kind == "constant" and not isinstance(operand.attrs[0], complex) and dtype is not dt.bool:
            number = operand.attrs[0]
            if dtype.category >= dt.FLOAT and isinstance(number, int):
                return self.constant(float(number), dtype, operand.shape)
        return self.make("cast", (operand,), (), dtype, operand.shape, _order_of((operand,)))

    def where(self, condition: Node, then: Any, otherwise: Any) -> Node:
        """``then`` where the condition holds, else ``otherwise``."""
        dtype = next(operand.dtype for operand in (then, otherwise) if isinstance(operand, Node))
        choices = [operand if isinstance(operand, Node) else self.constant(operand, dtype) for operand in (then, otherwise)]
        return self.map("where", condition, *choices)

    def copy(self, operand: Node, strides: tuple[int, ...] | None = None) -> Node:
        """The same elements in memory of their own."""
        return self.make("map", (operand,), ("copy",), operand.dtype, operand.shape, strides)

    # -- views -----------------------------------------------------------------------------------------------------

    def view(self, operand: Node, layout: Layout, bounds: tuple[Bound, ...] = ()) -> Node:
        """Read ``operand``'s memory (for a view, that of what it shows) through ``layout``."""
        base = operand.args[0] if operand.kind == "view" else operand
        if not bounds and base.shape == layout.shape and base.strides == layout.strides and layout.offset == 0:
            return base
        if base.kind == "constant" and not bounds:
            return self.constant(base.attrs[0], base.dtype, layout.shape)
        return self.make("view", (base,), (layout.offset, bounds), base.dtype, layout.shape, layout.strides)

    def inside(self, view: Node) -> Node:
        """Where the elements of a view lie inside the memory that it shows, rather than in padding (bool)."""
        bounds = view.attrs[1] if view.kind == "view" else ()
        return self.view(self.constant(True, dt.bool), lay.layout(view.shape, (0,) * view.ndim, 0, dt.bool), bounds)

    def windows(
        self,
        operand: Node,
        axes: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        outputs: Sequence[int],
    ) -> Node:
        """Sliding windows along ``axes``: each becomes ``outputs``, and the kernel axes are appended; padding reads as 0.

        ``out[..., o, ..., k] = operand[..., o * stride + k * dilation - padding, ...]``
        """
        return self.spans(operand, axes, [-each for each in padding], (stride, dilation), (outputs, kernel))

    def spans(
        self, operand: Node, axes: Sequence[int], starts: Sequence[int], moves: Sequence[Sequence[int]], extents: Sequence[Sequence[int]]
    ) -> Node:
        """Several axes along each of ``axes``: the first takes its place, the others are appended, those of each kind together; what is not there reads as 0.

        ``out[..., i, ..., j, k, ...] = operand[..., start + i * moves[0] + j * moves[1] + k * moves[2] + ..., ...]``
        """
        operand = operand.plain
        source = operand.layout
        shape, strides, offset = list(source.shape), list(source.strides), source.offset
        rank, bounds = source.ndim + (len(moves) - 1) * len(axes), []
        shape += [0] * (rank - source.ndim)
        strides += [0] * (rank - source.ndim)
        for number, (axis, start) in enumerate(zip(axes, starts, strict=True)):
            size, step, coefficients = source.shape[axis], source.strides[axis], [0] * rank
            offset += step * start
            first = last = start
            places = [axis, *range(source.ndim + number, rank, len(axes))]
            for place, move, extent in zip(places, moves, extents, strict=True):
                shape[place], strides[place], coefficients[place] = extent[number], step * move[number], move[number]
                reach = (extent[number] - 1) * move[number]
                first, last = first + min(reach, 0), last + max(reach, 0)
            if first < 0 or last >= size:
                bounds.append(Bound(tuple(coefficients), start, size))
        return self.view(operand, lay.layout(tuple(shape), tuple(strides), offset, operand.dtype), tuple(bounds))

    def pad(self, operand: Node, before: Sequence[int], after: Sequence[int]) -> Node:
        """Zeros around (or, for negative amounts, elements cut from) each axis."""
        operand = operand.plain
        source = operand.layout
        shape = tuple(size + low + high for size, low, high in zip(source.shape, before, after, strict=True))
        offset = source.offset - sum(low * stride for low, stride in zip(before, source.strides, strict=True))
        bounds = tuple(
            Bound(tuple(int(axis == other) for other in range(source.ndim)), -before[axis], source.shape[axis])
            for axis in range(source.ndim)
            if before[axis] > 0 or after[axis] > 0
        )
        return self.view(operand, lay.layout(shape, source.strides, offset, operand.dtype), bounds)

    def bitcast(self, operand: Node, dtype: DType, numel: int) -> Node:
        """The memory of ``operand`` as a flat array of another dtype."""
        return self.make("bitcast", (operand,), (), dtype, (numel,))

    def dense(self, operand: Node) -> Node:
        """The operand in row-major memory of its own (a copy, unless it has that)."""
        own = operand.kind not in ("view", "input", "constant", "number", "iota", "bitcast") and operand.layout.contiguous
        return operand if own else self.copy(operand)

    def lying(self, operand: Node) -> Node:
        """The operand, or a copy of it if its elements do not all lie in memory."""
        base = operand.args[0] if operand.kind == "view" else operand
        return self.copy(operand) if base.kind in ("constant", "number", "iota") else operand.plain

    # -- everything else -------------------------------------------------------------------------------------------

    def reduce(self, kind: str, operand: Node, axes: Sequence[int], *, keepdim: bool = False) -> Node:
        """Combine the elements along ``axes`` (sum, squares, prod, max, min, any, all); max and min propagate NaN."""
        if kind in ("max", "min") and operand.dtype.is_complex:
            raise NotImplementedError(f'"{kind}" is not implemented for {operand.dtype!r}, whose numbers have no order')
        axes = tuple(sorted(axes))
        if not axes:
            return operand * operand if kind == "squares" else self.copy(operand)
        if not operand.numel:  # what does not move along an axis would be read once for all of its places, of which there are none
            operand = self.constant(0, operand.dtype, operand.shape)
        is_whole = all(axis in axes or size == 1 for axis, size in enumerate(operand.shape))
        if (is_whole or operand.numel >= TURNED) and is_across(operand.layout, axes):
            operand = self._turned(operand, axes, is_whole)
        shape = tuple(size for axis, size in enumerate(operand.shape) if axis not in axes)
        result = self.make("reduce", (operand,), (kind, axes), operand.dtype, shape)
        if keepdim:
            return result.reshape(tuple(1 if axis in axes else size for axis, size in enumerate(operand.shape)))
        return result

    def _turned(self, operand: Node, axes: tuple[int, ...], is_whole: bool) -> Node:
        """What lies across a reduction: with the axes in the order of memory, if the reduction is over all of them, or nobody sees its order in
        the result; else as a copy."""
        if operand.dtype.category >= dt.FLOAT and not is_whole:
            return self.copy(operand, lay.row_major(operand.shape))
        order = list(range(operand.ndim))
        for axis, inner in zip(axes, sorted(axes, key=lambda axis: -operand.layout.strides[axis]), strict=True):
            order[axis] = inner
        return operand.permute(order)

    def gather(
        self, source: Node, layout: Layout, indices: Sequence[Node], index_strides: Sequence[int], *, sizes: Sequence[int] = ()
    ) -> Node:
        """Elements of ``source``'s memory at ``layout`` plus, for each index, ``index * stride``.

        The indices have the shape of the layout (int64) and must be in range: ``check`` them. ``sizes`` says of how much, if that is known.
        """
        base = source.args[0] if source.kind == "view" else source
        args = (base, *[index.expand(layout.shape) for index in indices])
        return self.make("gather", args, (layout.strides, layout.offset, tuple(index_strides), tuple(sizes)), base.dtype, layout.shape)

    def scatter(
        self,
        target: Node,
        layout: Layout,
        indices: Sequence[Node],
        index_strides: Sequence[int],
        value: Node,
        combine: str,
        *,
        sizes: Sequence[int] = (),
        wraps: bool = False,
        errors: Sequence[Callable[[int, int], Exception]] = (),
    ) -> Node:
        """``target`` (a node with memory of its own) with ``memory[layout + index * stride] = combine(memory[…], value)``.

        If it is a copy of something in the same order of memory, or of zeros, the copy is left to the scatter (which may do without one).
        ``combine`` is ``set``, ``sum``, ``prod``, ``max`` or ``min``; elements are taken in row-major order. The indices (int64 or int32)
        move other axes of the target than the layout does: places whose layout differs are different. Each must be in ``[0, size)`` (or
        in ``[-size, size)``, if it ``wraps``); otherwise the program stops with its ``error(position in the value, index)``.

        A value that is rows of memory, each named by an index, and perhaps times a factor, is not stored before (see ``Rows``).
        """
        shape, strides = target.shape, target.strides
        while (origin := copied(target, strides)) is not None:
            if origin.shape != shape:
                if origin.kind == "constant":  # zeros, which were made with another one
                    target = self.constant(0, target.dtype, shape)
                break
            target = origin
        found = rows_of(value) if indices and value.shape == layout.shape and layout.strides[-1:] == (1,) else None
        rows, source, named = found or (None, self.lying(value).expand(layout.shape), ())
        args = (target, source, *[self.lying(each).expand(layout.shape) for each in (*indices, *named)])
        attrs = (
            combine, layout.shape, layout.strides, layout.offset, tuple(index_strides), tuple(sizes), wraps, rows, tuple(errors), self.origin,
        )  # fmt: skip
        axis, parts = parts_of(combine, layout, target.dtype, target.numel)
        if parts > 1:
            return in_parts(self, args, attrs, strides, axis, parts)
        return self.make("scatter", args, attrs, target.dtype, target.shape, strides)

    def update(self, target: Node, layout: Layout, value: Node) -> Node:
        """``target`` (a node with memory of its own) with the elements at ``layout`` replaced."""
        return self.make("update", (target, value), (layout.strides, layout.offset), target.dtype, target.shape, target.strides)

    def concat(self, pieces: Sequence[Node], axis: int, strides: tuple[int, ...] | None = None) -> Node:
        """The pieces one after another along ``axis``."""
        shape = list(pieces[0].shape)
        shape[axis] = sum(piece.shape[axis] for piece in pieces)
        result = self.empty(pieces[0].dtype, tuple(shape), strides)
        whole = result.layout
        start = 0
        for piece in pieces:
            if piece.numel:
                result = self.update(result, lay.slice_axis(whole, axis, start, piece.shape[axis]), piece)
            start += piece.shape[axis]
        return result

    def scan(self, kind: str, operand: Node, axis: int) -> Node:
        """Running ``sum``, ``prod``, ``max``, ``min`` or ``logaddexp`` along ``axis``."""
        if kind in ("max", "min") and operand.dtype.is_complex:
            raise NotImplementedError(f'"{kind}" is not implemented for {operand.dtype!r}, whose numbers have no order')
        source = self.lying(operand)
        if not source.layout.contiguous:
            source = self.copy(source)
        return self.make("scan", (source,), (kind, axis), operand.dtype, operand.shape)

    def sort(self, operand: Node, axis: int, descending: bool, low: int, high: int, ranks: Node | None = None) -> Node:
        """The positions along ``axis`` of the elements of ranks ``[low, high)``; NaN is the largest.

        With ``ranks`` (int64, of size 1 along ``axis``) the rank of each line's element is its own; ``[low, high)`` is ``[0, 1)`` then.
        """
        sources = [self.lying(each) for each in ((operand,) if ranks is None else (operand, ranks))]
        sources = [each if each.layout.contiguous else self.copy(each) for each in sources]
        shape = (*operand.shape[:axis], high - low, *operand.shape[axis + 1 :])
        return self.make("sort", tuple(sources), (axis, descending, low, high), dt.int64, shape)

    def contract(
        self,
        a: Node,
        b: Node,
        *,
        batch: int = 0,
        m: int = 1,
        n: int = 1,
        k: int = 1,
        dtype: DType | None = None,
        order: Sequence[int] | None = None,
        bundle: str = "",
    ) -> Node:
        """``out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n]``, each of the four being that many axes.

        ``a`` has the shape ``batch + m + k``, ``b`` has ``batch + k + n``.  The sum is one chain of fused multiply-adds over k in
        row-major order, in the compute dtype of the operands. ``order`` is the order of the result's axes in memory, outermost first.
        With a ``bundle`` numbers are several ones: see ``_codegen.contract.Contract``.
        """
        shape = a.shape[: batch + m] + b.shape[batch + k :]
        if a.shape[:batch] != b.shape[:batch] or a.shape[batch + m :] != b.shape[batch : batch + k] or b.ndim != batch + k + n:
            raise ValueError(f"contract: {a.shape} and {b.shape} do not fit batch={batch}, m={m}, n={n}, k={k}")
        dtype = dtype or a.dtype
        strides = None if order is None else lay.ordered(shape, order, dtype).strides
        return self.make("contract", before_widening(a, b), (batch, m, n, k, bundle), dtype, shape, strides)

    def attention(self, q: Node, k: Node, v: Node, mask: Node | None, is_causal: bool, scale: float, dtype: DType) -> tuple[Node, Node]:
        """``softmax(q kᵀ scale + mask) v`` and what its gradient needs to know of each row.

        Args:
            q, k, v: (…, L, E), (…, S, E) and (…, S, E_v), with the same leading dimensions, none of size 0
            mask: (…, L, S), bool (whether a score counts) or a number that is added to it
            is_causal: whether row i of q sees the rows up to i of k only
            dtype: that of the result: that of q, or its compute dtype

        Returns:
            The result (…, L, E_v), and in the compute dtype (2, …, L): each row's largest score, and the inverse of its sum of
            weights, which are ``exp(score - largest)``; both are 0 where no score counts.
        """
        args = (*map(self._rows, (q, k, v)), *(() if mask is None else (self.lying(mask),)))
        return (
            self.make("attention", args, (0, is_causal, scale), dtype, (*q.shape[:-1], v.shape[-1])),
            self.make("attention", args, (1, is_causal, scale), q.dtype.compute, (2, *q.shape[:-1])),
        )

    def attention_backward(
        self, q: Node, k: Node, v: Node, statistics: Node, grad: Node, delta: Node, mask: Node | None, is_causal: bool, scale: float
    ) -> tuple[Node, Node, Node]:
        """The gradients of q, k and v, given that of the result, and ``delta``, the sum over each row of ``grad * result``."""
        args = (*map(self._rows, (q, k, v, statistics, grad, delta)), *(() if mask is None else (self.lying(mask),)))
        results = enumerate((q, k, v))
        first, second, third = (self.make("attention_backward", args, (i, is_causal, scale), q.dtype, x.shape) for i, x in results)
        return first, second, third

    def _rows(self, operand: Node) -> Node:
        """The operand in memory, with neighbours in a row side by side."""
        operand = self.lying(operand)
        return operand if operand.strides[-1] == 1 or operand.shape[-1] == 1 else self.copy(operand)

    def host(
        self, function: Callable[..., tuple], args: Sequence[Node], results: Sequence[tuple[DType, tuple[int, ...]]], *statics: Any
    ) -> tuple[Node, ...]:
        """``function(*arrays, *statics)``: NumPy arrays in (row-major), a tuple of arrays of the given dtypes and shapes out."""
        args = tuple(self.dense(argument) for argument in args)
        call = self.make("host", args, (function, tuple(statics), tuple(results)), dt.bool, ())
        self.origins.setdefault(call.index, self.origin)
        return tuple(self.make("item", (call,), (number,), dtype, shape) for number, (dtype, shape) in enumerate(results))

    def check(self, condition: Node, detail: Node, error: Callable[[int, int], Exception]) -> Node:
        """Stop with ``error(position, detail there)`` if ``condition`` holds anywhere; the first place in row-major order counts.

        What reads the same values is computed in the same loop and may see the bad ones: it must not use them as addresses.
        """
        node = self.make("check", (condition, detail.expand(condition.shape)), ((error,), self.origin), dt.bool, condition.shape)
        self.checks.append(node)
        return node

    def wide(self, operand: Node) -> Node:
        """The operand in its compute dtype (float32 for half precision)."""
        return self.cast(operand, operand.dtype.compute)

    def finish(self, node: Node, layout: Layout) -> Node:
        """The node with dtype and memory order of a record's result."""
        if node.dtype is not layout.dtype:
            node = self.cast(node, layout.dtype)
        if node.shape != layout.shape:
            raise ValueError(f"lowering gave {node}, but the shape rule said {layout!r}")
        if node.kind == "view":
            base = node.args[0]
            same = node.attrs == (0, ()) and node.strides == layout.strides and layout.dense and base.numel == node.numel
            if same and base.kind not in ("input", "constant", "number", "iota", "bitcast"):
                return base  # a value is its memory: the shape of the node that makes it does not matter
        if node.kind in ("view", "input", "constant", "number", "iota"):
            return self.copy(node, layout.strides)
        if node.strides == layout.strides:
            return node
        if node.kind in ("map", "cast", "gather", "contract", "reduce"):
            return self.make(node.kind, node.args, node.attrs, node.dtype, node.shape, layout.strides)
        return self.copy(node, layout.strides)


def number_node(graph: Graph, place: int, kind: type) -> Node:
    """A run-time scalar of a class of numbers."""
    return graph.number(place, kind, dt.complex128 if kind is complex else dt.float64 if kind is float else dt.int64)


def build(path: Sequence[Any], alive: Sequence[tuple[int, int]]) -> tuple[Graph, dict[int, Node], dict[int, Node]]:
    """The graph of the records on a trie path: ``(graph, the nodes of the slots that are alive, the inputs by slot)``."""
    graph = Graph()
    values: dict[int, Node] = {}
    inputs: dict[int, Node] = {}

    def operand_node(operand: tuple) -> Node:
        slot, layout = operand
        if isinstance(layout, type):
            return number_node(graph, slot, layout)
        value = values.get(slot)
        if value is None:
            value = graph.input(slot, layout.dtype, -1)
            inputs[slot] = value
            values[slot] = value
        if value.dtype is not layout.dtype:
            value = graph.bitcast(value, layout.dtype, -1)
        return graph.view(value, layout)

    for record in path:
        graph.origin = record
        operands = [operand_node(operand) for operand in record.operands]
        try:
            results = record.op.lower(graph, operands, record.statics, record.layouts)
        except Exception as error:
            error.record = record  # so that all else is computed
            raise
        if isinstance(results, Node):
            results = (results,)
        for number, (node, layout) in enumerate(zip(results, record.layouts, strict=True)):
            values[record.first + number] = graph.finish(node, layout)
    roots: dict[int, Node] = {}
    taken: set[int] = set()
    for slot, _ in alive:
        node = values[slot]
        if node.index in taken:  # equal values of two tensors need memory each
            node = graph.make("map", (node,), ("copy", slot), node.dtype, node.shape, node.strides)
        taken.add(node.index)
        roots[slot] = node
    return graph, roots, inputs

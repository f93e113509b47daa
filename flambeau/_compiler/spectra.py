"""Eigenvalues and vectors of symmetric matrices by divide and conquer, and singular values by these.

Before: ``eigh`` of a matrix of 128 by 128.
After: a call that makes it tridiagonal, one that rotates 16 tridiagonal matrices of 8² in lanes, four times the calls that merge two neighbours and a product of
matrices, and one that applies the reflections. All but the first and the last is in float64: equal eigenvalues, and numbers that do not matter, need no case of their own
(``_codegen/linear/merging.py``).
"""

from __future__ import annotations

from flambeau._compiler import linear
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType

_ROTATED = 16
"""Rows of the largest matrix of float64, which has half as many lanes, for which rotations are the faster way (``svd`` of 32 of 32²: 3.0 ms by them, 1.75 without)."""
_LEAF = 8
"""Rows of the largest tridiagonal matrix that is rotated, a matrix a lane."""


def eigh(graph: Graph, a: Node, dtype: DType | None = None) -> tuple[Node, Node]:
    """Eigenvalues (batch, n) in increasing order, and vectors as columns (batch, n, n), of (batch, n, n), whose lower triangle is used.

    Vectors may be in another dtype.
    """
    dtype = dtype or a.dtype
    if _are_small(a):
        values, columns = linear.eigh(graph, a)
        return values, _rounded(graph, columns, dtype)
    packed, taus, values, columns = _divided(graph, a, dtype)
    columns = _rounded(graph, columns, dtype)
    packed, taus = (graph.cast(each, dtype) for each in (packed, taus))
    turned = linear.reflection(graph, packed, taus, graph.dense(columns.slice(2, 1, a.shape[1] - 1)))
    return values, graph.concat((columns.slice(2, 0, 1), turned), 2)


def eigvalsh(graph: Graph, a: Node) -> Node:
    """The eigenvalues alone."""
    return linear.eigh(graph, a)[0] if _are_small(a) else _divided(graph, a, None)[2]


def svd(graph: Graph, a: Node, full: bool) -> tuple[Node, Node, Node]:
    """Singular values (batch, n) in decreasing order, and left (batch, n, or m if ``full``, m) and right vectors (batch, n, n) as columns, of float32 (batch, n, m), n <= m.

    Right vectors V are those of ``A^T A``, which is computed in float64, where what is lost is below what a float32 tells apart. ``A V`` is ``U S``: QR makes it
    orthogonal also where S is almost 0, and what its R has beside the diagonal is rounding errors, since columns come in the order of their norms.
    """
    values, right = eigh(graph, _negative_gram(graph, a), a.dtype)
    packed, taus = linear.qr(graph, graph.dense(graph.contract(right, a, batch=1)))
    batch, count, rows = a.shape
    step = packed.strides[0]
    diagonal = graph.view(packed, lay.layout((batch, count), (step, rows + 1), 0, a.dtype))
    left = linear.reflection(graph, packed, taus, rows if full else count)
    signs = graph.where(diagonal < 0.0, -1.0, graph.constant(1.0, a.dtype, diagonal.shape))
    if full and rows > count:
        signs = graph.concat((signs, graph.constant(1.0, a.dtype, (batch, rows - count))), 1)
    left = left * signs.unsqueeze(2).expand(left.shape)
    return _roots(graph, values, a.dtype), left, right


def svdvals(graph: Graph, a: Node) -> Node:
    """The singular values alone."""
    return _roots(graph, eigvalsh(graph, _negative_gram(graph, a)), a.dtype)


def _roots(graph: Graph, values: Node, dtype: DType) -> Node:
    """The singular values that these eigenvalues belong to."""
    return graph.cast(graph.map("sqrt", graph.map("maximum", -values, 0.0)), dtype)


def _negative_gram(graph: Graph, a: Node) -> Node:
    """``-A^T A``, whose eigenvalues come in the order of singular values."""
    wide = graph.cast(a, dt.float64)
    return -graph.contract(wide, wide.transpose(1, 2), batch=1)


def _are_small(a: Node) -> bool:
    if a.dtype is dt.float64 and a.shape[1] > _ROTATED:
        return False
    return linear.are_small(a.shape[0], a.shape[1], a.dtype)


def _divided(graph: Graph, a: Node, dtype: DType | None) -> tuple[Node, ...]:
    """The reflections that make a matrix tridiagonal, the eigenvalues, and the vectors of the tridiagonal matrix, if there is a dtype for them."""
    packed, taus, diagonal, beside, scale = linear.tridiagonal(graph, a)
    values, columns = _conquer(graph, graph.cast(diagonal, dt.float64), graph.cast(beside, dt.float64), dtype)
    values = graph.cast(values / graph.cast(scale, dt.float64).unsqueeze(1).expand(values.shape), a.dtype)
    return packed, taus, values, columns


def _conquer(graph: Graph, diagonal: Node, beside: Node, dtype: DType | None) -> tuple[Node, Node]:
    """Eigenvalues, and vectors as columns (batch, n, at least n elements), of tridiagonal matrices (batch, n) and (batch, n - 1) in float64.

    Vectors are rounded to ``dtype`` before the last product; without one they are not computed, and what stands for them means nothing.

    A matrix is that of two halves and ``|e| (1, s) (1, s)^T`` in the rows where they meet, with e the element between them and s its sign.
    """
    batch, size = diagonal.shape
    parts, leaf = _division(size)
    whole = parts * leaf
    diagonal, beside = _extended(graph, diagonal, beside, whole)
    cut = graph.where(_every(graph, beside.shape, leaf), graph.map("abs", beside), 0.0)
    diagonal = diagonal - cut - graph.pad(cut.slice(1, 0, whole - 1), (0, 1), (0, 0))
    values, columns = _leaves(graph, diagonal.reshape((batch * parts, leaf)), beside.reshape((batch * parts, leaf)))
    edges = graph.concat([columns.slice(2, row, 1).transpose(1, 2) for row in (0, leaf - 1)], 1)
    while leaf < whole:
        count, joints = values.shape[0] // 2, beside.slice(1, leaf - 1, whole // (2 * leaf), 2 * leaf)
        pairs = values.reshape((count, 2 * leaf)), edges.reshape((count, 2, 2, leaf)), graph.dense(joints).reshape((count, 1))
        values, turn, edges = linear.merge(graph, *pairs, *(() if dtype else ("edges",)))
        if dtype:
            turn, halves = turn.reshape((count, 2, leaf, 2 * leaf)), columns.reshape((count, 2, leaf, leaf))
            if 2 * leaf == whole:
                turn, halves = (_rounded(graph, each, dtype) for each in (turn, halves))
            found = graph.contract(turn.transpose(2, 3), halves, batch=2, order=(0, 2, 1, 3))
            columns = found.permute((0, 2, 1, 3)).reshape((count, 2 * leaf, 2 * leaf))
        leaf *= 2
    values = graph.scan(
        "max", graph.dense(values.reshape((batch, whole)).slice(1, 0, size)), 1
    )  # those of clusters may be out of order by their last bits
    return values, columns.slice(1, 0, size) if dtype else columns


def _division(size: int) -> tuple[int, int]:
    """Into how many matrices, and of how many rows: all have as many."""
    parts = 1
    while -(-size // parts) > _LEAF:
        parts *= 2
    return parts, -(-size // parts)


def _extended(graph: Graph, diagonal: Node, beside: Node, whole: int) -> tuple[Node, Node]:
    """With rows for eigenvalues that are larger than all others, which no other row has to do with; and as many elements beside the diagonal, the last 0."""
    size = diagonal.shape[1]
    more = graph.pad(diagonal, (0, 0), (0, whole - size))
    behind = graph.iota(more.shape, 1) >= size
    return graph.where(behind, 8.0 * size, more), graph.pad(beside, (0, 0), (0, whole - size + 1))


def _every(graph: Graph, shape: tuple[int, ...], leaf: int) -> Node:
    """Whether an element beside the diagonal is between two leaves."""
    return graph.map("remainder", graph.iota(shape, 1) + 1, leaf).equals(0)


def _leaves(graph: Graph, diagonal: Node, beside: Node) -> tuple[Node, Node]:
    count, leaf = diagonal.shape
    shape = (count, leaf, leaf)
    row, column = graph.iota(shape, 2), graph.iota(shape, 1)
    lower = graph.where(row.equals(column + 1), beside.unsqueeze(2).expand(shape), 0.0)
    return linear.eigh(graph, graph.dense(graph.where(row.equals(column), diagonal.unsqueeze(2).expand(shape), lower)))


def _rounded(graph: Graph, vectors: Node, dtype: DType) -> Node:
    """Vectors of norm 1 in a dtype; what would be next to the smallest numbers of float32, with which processors are slow, is 0."""
    if dtype is vectors.dtype:
        return vectors
    return graph.where(graph.map("abs", vectors) < 2.0**-50, 0.0, graph.cast(vectors, dtype))

"""Eigenvalues and vectors of symmetric matrices by divide and conquer, and singular values by these.

Before: ``eigh`` of a matrix of 128 by 128.
After: a call that makes it tridiagonal, one that rotates 8 tridiagonal matrices of 16² in lanes, three times the calls that merge two neighbours and a product of
matrices, and one that applies the reflections. All but the first and the last is in float64: equal eigenvalues, and numbers that do not matter, need no case of their own
(``_codegen/linear/merging.py``).
"""

from __future__ import annotations

from flambeau._compiler import linear
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._types import dtype as dt

_LEAF = 16
"""Rows of the largest tridiagonal matrix that is rotated: 8 of them are lanes, and take as long as one."""


def eigh(graph: Graph, a: Node) -> tuple[Node, Node]:
    """Eigenvalues (batch, n) in increasing order, and vectors as columns (batch, n, n), of (batch, n, n), whose lower triangle is used."""
    if _are_small(a):
        return linear.eigh(graph, a)
    packed, taus, values, columns = _divided(graph, a, vectors=True)
    columns = graph.cast(columns, a.dtype)
    turned = linear.reflection(graph, packed, taus, graph.dense(columns.slice(2, 1, a.shape[1] - 1)))
    return values, graph.concat((columns.slice(2, 0, 1), turned), 2)


def eigvalsh(graph: Graph, a: Node) -> Node:
    """The eigenvalues alone."""
    return linear.eigh(graph, a)[0] if _are_small(a) else _divided(graph, a, vectors=False)[2]


def _are_small(a: Node) -> bool:
    return linear.are_small(a.shape[0], a.shape[1], a.dtype)


def _divided(graph: Graph, a: Node, vectors: bool) -> tuple[Node, ...]:
    """The reflections that make a matrix tridiagonal, the eigenvalues, and the vectors of the tridiagonal matrix."""
    packed, taus, diagonal, beside, scale = linear.tridiagonal(graph, a)
    values, columns = _conquer(graph, graph.cast(diagonal, dt.float64), graph.cast(beside, dt.float64), vectors)
    values = graph.cast(values / graph.cast(scale, dt.float64).unsqueeze(1).expand(values.shape), a.dtype)
    return packed, taus, values, columns


def _conquer(graph: Graph, diagonal: Node, beside: Node, vectors: bool) -> tuple[Node, Node]:
    """Eigenvalues, and vectors (or nothing useful) as columns, of tridiagonal matrices (batch, n) and (batch, n - 1) in float64.

    A matrix is that of two halves and ``|e| (1, s) (1, s)^T`` in the rows where they meet, with e the element between them and s its sign.
    """
    batch, size = diagonal.shape
    parts, leaf = _division(size)
    whole = parts * leaf
    diagonal, beside = _extended(graph, diagonal, beside, whole)
    cut = graph.where(_every(graph, beside.shape, leaf), graph.map("abs", beside), 0.0)
    diagonal = diagonal - cut - graph.pad(cut.slice(1, 0, whole - 1), (0, 1), (0, 0))
    values, columns = _leaves(graph, diagonal.reshape((batch * parts, leaf)), beside.reshape((batch * parts, leaf)))
    edges = (columns.slice(2, 0, 1), columns.slice(2, leaf - 1, 1))
    ends = graph.concat([each.transpose(1, 2) for each in edges], 1)
    while leaf < whole:
        joints = beside.slice(1, leaf - 1, whole // (2 * leaf), 2 * leaf).reshape((values.shape[0] // 2,))
        values, columns, ends = _merged(graph, values, columns, ends, joints, vectors)
        leaf *= 2
    values = graph.dense(values.reshape((batch, whole)).slice(1, 0, size))
    return values, graph.dense(columns.slice(1, 0, size).slice(2, 0, size)) if vectors else columns


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


def _merged(graph: Graph, values: Node, columns: Node, ends: Node, joints: Node, vectors: bool) -> tuple[Node, Node, Node]:
    """Neighbouring matrices as one; ``joints`` are the elements between them."""
    count, half = joints.shape[0], values.shape[1]
    sides = ends.reshape((count, 2, 2, half))
    last, first = sides.select(1, 0).select(1, 1), sides.select(1, 1).select(1, 0)
    root = graph.map("sqrt", graph.map("abs", joints)).unsqueeze(1).expand((count, half))
    negative = (joints < 0.0).unsqueeze(1).expand((count, half))
    w = graph.concat((last * root, graph.where(negative, -first, first) * root), 1)
    values, turn = linear.merge(graph, graph.dense(values.reshape((count, 2 * half))), w)
    turn = turn.reshape((count, 2, half, 2 * half)).transpose(2, 3)
    outer = graph.dense(graph.concat([sides.slice(1, side, 1).select(2, side) for side in range(2)], 1))
    ends = graph.contract(turn, outer, batch=2, m=1, n=0, k=1)
    if vectors:
        found = graph.contract(turn, columns.reshape((count, 2, half, half)), batch=2, order=(0, 2, 1, 3))
        columns = found.permute((0, 2, 1, 3)).reshape((count, 2 * half, 2 * half))
    return values, columns, ends

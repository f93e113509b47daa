"""Mean and variance: what norms, ``var`` and ``std`` are made of.

Of float32 and half precision both come from one pass, in float64: sums of what is left of each element without the first of its row, and of the squares of
that. The first element is at most ``sqrt(n)`` standard deviations from the mean of n, so that the difference of both sums loses at most the bits that n
has; 29 are left to float32 for rows of 2^24 elements, however large the mean is, and no square overflows. Of float64 they are taken in two steps, a first
mean and the mean of what it leaves, with squares of elements divided by the largest.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node

Shape = tuple[int, ...]
DEEPEST = 16
"""So many elementwise operators one after another are done again for the first element of a row."""


def kept(shape: Shape, axes: Shape) -> Shape:
    """The shape of a statistic over ``axes``, which keep size 1."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def moments(graph: Graph, x: Node, axes: Shape, centered: bool = True) -> tuple[Node, Node]:
    """Mean and variance over ``axes`` in float64, keeping dimensions; without ``centered`` 0 and the mean of squares.

    ``x`` is real, and its elements are read through a view of what they are computed from: nothing is stored for the sake of the first of a row.
    """
    if x.dtype.compute is dt.float64:
        return _scaled_moments(graph, x, axes, centered)
    share = graph.constant(1.0, dt.float64) / float(prod(x.shape[axis] for axis in axes))
    shape = kept(x.shape, axes)
    start = _first(graph, x, axes, shape) if centered else None  # made before the sums, whose kernel takes it up then
    left = graph.cast(x, dt.float64)
    if start is not None:
        left = left - _first(graph, x, axes, x.shape)
    mean_square = graph.reduce("squares", left, axes, keepdim=True) * share
    if start is None:
        return graph.constant(0.0, dt.float64, shape), mean_square
    mean = graph.reduce("sum", left, axes, keepdim=True) * share
    variance = graph.map("maximum", mean_square - graph.map("square", mean), 0.0)
    return mean + start, variance


def _scaled_moments(graph: Graph, x: Node, axes: Shape, centered: bool) -> tuple[Node, Node]:
    """Mean and variance of float64, by deviations that are divided by the largest element: a mean, and the mean of what it leaves."""
    share = graph.constant(1.0, dt.float64) / float(prod(x.shape[axis] for axis in axes))
    with graph.apart("moments: magnitude"):
        inverse = 1.0 / graph.reduce("max", graph.map("abs", x), axes, keepdim=True)
        near = _if_finite(graph, graph.reduce("sum", x, axes, keepdim=True) * share) if centered else None
    scale = graph.where(graph.map("isfinite", inverse) & (inverse > 0.0), inverse, 1.0)
    with graph.apart("moments: deviations"):
        scaled = (x if near is None else x - near.expand(x.shape)) * scale.expand(x.shape)
        squares = graph.reduce("sum", graph.map("square", scaled), axes, keepdim=True)
        left = graph.reduce("sum", scaled, axes, keepdim=True) if centered else None
    variance, unit = squares * share, 1.0 / scale
    if near is None or left is None:
        return graph.constant(0.0, dt.float64, kept(x.shape, axes)), variance * unit * unit
    left = left * share
    variance = graph.map("maximum", variance - graph.map("square", left), 0.0)
    return near + left * unit, variance * unit * unit


# -- the first element of a row ----------------------------------------------------------------------------------------


def _first(graph: Graph, x: Node, axes: Shape, shape: Shape) -> Node:
    """The elements at the start of ``axes`` in float64, for each element of ``shape``: that of ``x``, or ``kept``."""
    source = x.plain
    steps = tuple(0 if axis in axes else step for axis, step in enumerate(source.strides))
    base = source.args[0] if source.kind == "view" else source
    found = _read(graph, base, lay.layout(shape, steps, source.layout.offset, x.dtype), 0)
    return _if_finite(graph, graph.cast(found, dt.float64))


def _if_finite(graph: Graph, x: Node) -> Node:
    return graph.where(graph.map("isfinite", x), x, 0.0)


def _read(graph: Graph, base: Node, layout: Layout, depth: int) -> Node:
    """What lies at ``layout`` in a node's memory. What is elementwise is done again there, as nothing else may want it stored."""
    if base.kind not in ("map", "cast") or depth == DEEPEST or any(each.kind == "view" and each.attrs[1] for each in base.args):
        return graph.view(base, layout)
    places = _places(base, layout)
    if places is None:
        return graph.view(base, layout)
    args = []
    for each in base.args:
        steps = [0] * layout.ndim
        for axis, (own, step) in places.items():
            steps[axis] = each.strides[own] * step
        source = each.args[0] if each.kind == "view" else each
        args.append(_read(graph, source, lay.layout(layout.shape, tuple(steps), each.layout.offset, each.dtype), depth + 1))
    if base.attrs[:1] == ("copy",):
        return args[0]
    return graph.make(base.kind, tuple(args), base.attrs, base.dtype, layout.shape)


def _places(base: Node, layout: Layout) -> dict[int, tuple[int, int]] | None:
    """For each axis along which a layout moves in a node's memory: along which of the node's axes, and by how many places. ``None`` if some move along
    more than one."""
    if layout.offset:
        return None
    found: dict[int, tuple[int, int]] = {}
    last = [0] * base.ndim
    for axis, (size, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)):
        if size == 1 or stride == 0:
            continue
        near = [(step, own) for own, step in enumerate(base.strides) if base.shape[own] > 1 and 0 < step <= stride]
        step, own = max(near, default=(0, -1))
        if own < 0 or stride % step:
            return None
        found[axis] = own, stride // step
        last[own] += (size - 1) * (stride // step)
    if any(place >= size for place, size in zip(last, base.shape, strict=True) if size):
        return None
    return found

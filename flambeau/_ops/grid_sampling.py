"""Sampling of images and volumes at points that a grid gives: each output is a weighted sum of a point's neighbours.

The arithmetic is written once, for tensors (whose gradients it then has) and for nodes of a graph: an operator that rounds once, and stores no
places and no weights. Positions are numbers along an axis, 0 the centre of its first element; a *place* is how far an element lies in an image.

Source: Jaderberg et al., "Spatial transformer networks", 2015; Keys, "Cubic convolution interpolation for digital image processing", 1981.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import prod
from operator import add, and_, mul
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau._ops.gathering import gather
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


class Sampling(NamedTuple):
    """How points are sampled: the mode (``bilinear``, ``nearest`` or ``bicubic``), what lies outside (``zeros``, the ``border`` or the
    ``reflection``), and whether -1 and 1 are the centres of the corner elements (otherwise their outer edges)."""

    mode: str
    padding_mode: str
    align_corners: bool


def _place_dtype(reach: int) -> DType:
    return dt.int32 if reach < 1 << 31 else dt.int64


class _Tensors:
    """The image (N, C, *) as a tensor."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.sizes = image.flatten(2), image.layout.shape[2:]
        self.steps = lay.row_major(self.sizes)
        self.whole = _place_dtype(prod(self.sizes))

    def call(self, name: str, x: Tensor) -> Tensor:
        return getattr(x, name)()

    def where(self, condition: Tensor, then: Any, otherwise: Any) -> Tensor:
        return FUNCTIONS.where(condition, then, otherwise)

    def place(self, position: Tensor, step: int) -> Tensor:
        return position.detach().to(self.whole) * step

    def at(self, places: Sequence[Tensor]) -> Tensor:
        place = reduce(add, places)
        shape = (*self.image.layout.shape[:2], *place.layout.shape[2:])
        return gather(self.image, 2, place.expand(shape).flatten(2)).view(shape)


class _Nodes:
    """The image (N, C, *) as a node; ``many`` says whether an output has so many neighbours that they hardly fit in one loop."""

    def __init__(self, graph: Graph, image: Node, many: bool) -> None:
        self.graph, self.image, self.many = graph, graph.lying(image), many
        self.sizes, self.steps = image.shape[2:], self.image.strides[2:]
        self.whole = _place_dtype(sum(size * step for size, step in zip(self.sizes, self.steps, strict=True)))

    def call(self, name: str, x: Node) -> Node:
        return self.graph.map(name, x)

    def where(self, condition: Node, then: Any, otherwise: Any) -> Node:
        return self.graph.where(condition, then, otherwise)

    def place(self, position: Node, step: int) -> Node:
        return self.graph.cast(position, self.whole) * step

    def at(self, places: Sequence[Node]) -> Node:
        image, graph = self.image, self.graph
        if not self.many:  # a gather by one index of 32 bits is the fastest
            places = [reduce(add, places)]
        strides = (*image.strides[:2], *(0 for _ in self.sizes))
        layout = lay.layout((*image.shape[:2], *places[0].shape[2:]), strides, image.layout.offset, image.dtype)
        return graph.gather(image, layout, [graph.cast(place, dt.int64) for place in places], [1] * len(places))


# -- the arithmetic --------------------------------------------------------------------------------------------------


def _sampled(hands: Any, points: Sequence[Any], how: Sampling) -> Any:
    """The image at points from -1 to 1, (N, 1 or C, *) for each axis."""
    points = [_unnormalized(point, size, how.align_corners) for point, size in zip(points, hands.sizes, strict=True)]
    if how.mode == "bicubic":
        return _bicubic(hands, points, how)
    points = [_kept_inside(hands, point, axis, how) for axis, point in enumerate(points)]
    if how.mode == "nearest":
        return _take(hands, [_place(hands, axis, hands.call("round", point)) for axis, point in enumerate(points)])
    low = [hands.call("floor", point) for point in points]
    sides = [[_place(hands, axis, floor), _place(hands, axis, floor + 1)] for axis, floor in enumerate(low)]
    shares = [(1 - fraction, fraction) for fraction in (point - floor for point, floor in zip(points, low, strict=True))]
    parts = (
        _take(hands, [side[which] for side, which in zip(sides, corner, strict=True)])
        * reduce(mul, (share[side] for share, side in zip(shares, corner, strict=True)))
        for corner in product((0, 1), repeat=len(points))
    )
    return reduce(add, parts)


def _unnormalized(point: Any, size: int, align_corners: bool) -> Any:
    """From [-1, 1] to positions of an axis of ``size``."""
    return (point + 1) / 2 * (size - 1) if align_corners else ((point + 1) * size - 1) / 2


def _kept_inside(hands: Any, point: Any, axis: int, how: Sampling) -> Any:
    """Where the element lies that stands for one outside. What is not a number is taken for 0 there, as PyTorch does."""
    last = float(hands.sizes[axis] - 1)
    if how.padding_mode == "zeros":
        return point
    low, span = (0.0, last) if how.align_corners else (-0.5, last + 1)
    if how.padding_mode == "reflection" and span:
        distance = hands.call("abs", point - low)
        turns = hands.call("floor", distance / span)
        rest = distance - turns * span
        is_odd = turns - hands.call("floor", turns / 2) * 2 > 0.5
        point = hands.where(is_odd, span - rest, rest) + low
    return hands.where(point > 0, hands.where(point < last, point, last), 0.0)


def _place(hands: Any, axis: int, position: Any) -> tuple[Any, Any]:
    """How far a whole position of an axis lies in an image, and whether it is inside; the first position stands for one that is not."""
    inside = (position >= 0) & (position <= float(hands.sizes[axis] - 1))
    return hands.place(hands.where(inside, position, 0.0), hands.steps[axis]), inside


def _take(hands: Any, places: Sequence[tuple[Any, Any]]) -> Any:
    """The values at places, with zeros outside."""
    return hands.where(reduce(and_, (inside for _, inside in places)), hands.at([place for place, _ in places]), 0.0)


def _bicubic(hands: Any, points: Sequence[Any], how: Sampling) -> Any:
    low = [hands.call("floor", point) for point in points]
    weights = [_cubic_weights(point - floor) for point, floor in zip(points, low, strict=True)]
    taps = [
        [_place(hands, axis, _kept_inside(hands, floor + float(offset), axis, how)) for offset in range(-1, 3)]
        for axis, floor in enumerate(low)
    ]
    lines = []
    for i in range(4):
        parts = [_take(hands, [taps[0][i], taps[1][j]]) * weights[1][j] for j in range(4)]
        lines.append(reduce(add, parts) * weights[0][i])
    return reduce(add, lines)


def _cubic_weights(t: Any) -> list[Any]:
    """Keys' kernel with a = -0.75 at the distances 1 + t, t, 1 - t and 2 - t."""
    a = -0.75

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


# -- the operator ----------------------------------------------------------------------------------------------------


def _infer(operands: tuple, statics: tuple) -> Layout:
    image, grid = operands
    return lay.contiguous((*image.shape[:2], *grid.shape[1:-1]), image.dtype)


def _lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    image, grid = operands
    rank, shape = image.ndim - 2, layouts[0].shape
    how = Sampling(*statics)
    points = [grid.select(grid.ndim - 1, rank - 1 - axis).unsqueeze(1) for axis in range(rank)]  # x belongs to the last axis
    many = how.mode == "bicubic" or rank > 2
    if not many:  # places and weights are not stored: a loop over channels, inside of that over points, has them in registers
        points = [point.expand(shape) for point in points]
    return _sampled(_Nodes(graph, image, many), points, how)


GRID_SAMPLE = Operator("_grid_sample", ("input", "grid"), Sampling._fields, infer=_infer, lower=_lower)
"""Without a gradient: what is recorded for one is made of tensors."""


def sampled_at(image: Tensor, grid: Tensor, how: Sampling) -> Tensor:
    """The values of ``image`` (N, C, *) at the points of ``grid`` (N, *, rank), whose numbers are from -1 to 1, x first.

    Half precision is rounded at each step, as PyTorch does: places are not what they would be otherwise.
    """
    tape, dtype = LOCAL.tape, image.layout.dtype
    is_recorded = tape.batched or (tape.grad and (image.requires_grad or grid.requires_grad))
    if not is_recorded and dtype.compute is dtype is grid.layout.dtype:
        return GRID_SAMPLE(image, grid, statics=tuple(how))
    rank = image.layout.ndim - 2
    points = [grid[..., rank - 1 - axis].unsqueeze(1) for axis in range(rank)]
    found = _sampled(_Tensors(image), points, how)
    if how.mode != "nearest" or not grid.requires_grad:
        return found
    rounded = FUNCTIONS.where(points[0].isfinite(), points[0].round(), 0.0)  # whose gradient is 0, as that of all else of a grid is here
    return found - (rounded - rounded)


PUBLIC = ()
METHODS = ()

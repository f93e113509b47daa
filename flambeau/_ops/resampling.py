"""Resampling along axes: each output is a weighted sum of a few neighbouring inputs.

Resizing of images, pooling to a given size, and the gradients of both are one operator. A *rule* says which inputs an output is made of and how
much each counts; along an axis of ``old`` elements that becomes one of ``new``,

    out[o] = sum over t of weight[t, o] * input[first[o] + t]

with as many terms as the widest output has. Terms of weight 0 are left out, whatever the input holds there. The adjoint has the same form: the
outputs that an input takes part in are neighbours, too. Several axes are resampled one after the other.

Sources: Keys, "Cubic convolution interpolation for digital image processing", 1981; Duchon, "Lanczos filtering in one and two dimensions", 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau._ops.creation import from_array
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


class Rule(NamedTuple):
    """How an axis is resampled.

    Attributes:
        kind: a key of ``KINDS``
        old, new: sizes
        scale: what the size was multiplied by, where that was given and ``new`` was not
        align_corners: whether the centres of the first and last elements coincide (otherwise their outer edges do)
    """

    kind: str
    old: int
    new: int
    scale: float | None = None
    align_corners: bool = False

    def ratio(self, wide: Any) -> Any:
        """By how much the input's position grows from one output to the next."""
        if self.align_corners:
            return wide(self.old - 1) / wide(self.new - 1) if self.new > 1 else wide(0)
        return wide(1.0 / self.scale) if self.scale is not None and self.scale > 0 else wide(self.old) / wide(self.new)


Rules = tuple[tuple[int, Rule], ...]
"""Axes, each with its rule."""


class Spans(NamedTuple):
    """The inputs ``start`` to ``stop`` of each output, with weights (out, widest span) that are 0 behind the end of a span."""

    start: np.ndarray
    stop: np.ndarray
    weight: np.ndarray


# -- rules -----------------------------------------------------------------------------------------------------------


def adaptive_windows(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows of adaptive pooling start and stop: ``floor(o * old / new)`` and ``ceil((o + 1) * old / new)``."""
    outputs = np.arange(new)
    return outputs * old // new, -(-(outputs + 1) * old // new)


def _sums(rule: Rule, wide: Any) -> Spans:
    start, stop = adaptive_windows(rule.old, rule.new)
    return Spans(start, stop, _weighed(start, stop, lambda position, output: wide(1)))


def _nearest(rule: Rule, wide: Any, shift: float = 0.0) -> Spans:
    place = np.floor((np.arange(rule.new).astype(wide) + wide(shift)) * rule.ratio(wide)).astype(np.int64).clip(0, rule.old - 1)
    return Spans(place, place + 1, np.ones((rule.new, 1), wide))


def _centres(rule: Rule, wide: Any) -> np.ndarray:
    """Where the centre of each output lies, in inputs."""
    outputs, ratio, half = np.arange(rule.new).astype(wide), rule.ratio(wide), wide(0.5)
    return outputs * ratio if rule.align_corners else (outputs + half) * ratio - half


def _linear(rule: Rule, wide: Any) -> Spans:
    centre = np.maximum(_centres(rule, wide), wide(0))
    low = np.floor(centre).astype(np.int64).clip(0, rule.old - 1)
    fraction = np.clip(centre - low.astype(wide), wide(0), wide(1))
    fraction[low == rule.old - 1] = 0  # there is no neighbour to go to; who stands on an input needs none, and its gradient has a term less
    return Spans(low, low + 1 + (fraction > 0), np.stack([wide(1) - fraction, fraction], 1))


def _cubic(rule: Rule, wide: Any) -> Spans:
    centre = _centres(rule, wide)
    low = np.floor(centre)
    places = low.astype(np.int64)[:, None] + np.arange(-1, 3)
    weights = cubic(np.abs((centre - low)[:, None] - np.arange(-1, 3).astype(wide)), -0.75).astype(wide)
    inside = places.clip(0, rule.old - 1)
    start, stop = inside[:, 0], inside[:, -1] + 1
    gathered = np.zeros((rule.new, int((stop - start).max())), wide)
    np.add.at(gathered, (np.arange(rule.new)[:, None], inside - start[:, None]), weights)  # what lies outside counts for the border
    return Spans(start, stop, gathered)


def _filtered(rule: Rule, half: float, kernel: Callable[[np.ndarray], np.ndarray]) -> Spans:
    """A filter that is as much wider as the axis shrinks; the weights of an output sum to 1."""
    ratio = rule.ratio(float)
    stretch = max(ratio, 1.0)
    centre = ratio * (np.arange(rule.new) + 0.5)
    start = (centre - half * stretch + 0.5).astype(np.int64).clip(0, None)
    stop = (centre + half * stretch + 0.5).astype(np.int64).clip(None, rule.old)
    weight = _weighed(start, stop, lambda position, output: kernel(np.abs(position - centre[output] + 0.5) / stretch))
    return Spans(start, stop, weight / weight.sum(1, keepdims=True))


def _weighed(start: np.ndarray, stop: np.ndarray, weight: Callable[[np.ndarray, np.ndarray], Any]) -> np.ndarray:
    """``weight(position, output)`` at each position of each output's span."""
    position = start[:, None] + np.arange(int((stop - start).max()))
    return np.where(position < stop[:, None], weight(position, np.arange(len(start))[:, None]), 0)


def cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel at distance ``x``."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


def lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


NEAREST = ("nearest", "nearest-exact")
"""The kinds of which an output is one input."""

KINDS: dict[str, Callable[[Rule, Any], Spans]] = {
    "sums": _sums,
    "nearest": _nearest,
    "nearest-exact": lambda rule, wide: _nearest(rule, wide, 0.5),
    "linear": _linear,
    "cubic": _cubic,
    "wide linear": lambda rule, wide: _filtered(rule, 1.0, triangle),
    "wide cubic": lambda rule, wide: _filtered(rule, 2.0, lambda x: cubic(x, -0.5)),
    "wide lanczos": lambda rule, wide: _filtered(rule, 3.0, lanczos),
}
"""Functions that give the spans of a rule, computed in NumPy's float32 or float64 (``wide``)."""


def _turned(spans: Spans, old: int) -> Spans:
    """The spans of the adjoint: for each input the outputs that it takes part in."""
    start = np.searchsorted(spans.stop, np.arange(old), side="right")
    stop = np.searchsorted(spans.start, np.arange(old), side="right")
    stop = np.maximum(start, stop)

    def weight(output: np.ndarray, position: np.ndarray) -> np.ndarray:
        output = output.clip(0, len(spans.start) - 1)
        return spans.weight[output, (position - spans.start[output]).clip(0, spans.weight.shape[1] - 1)]

    return Spans(start, stop, _weighed(start, stop, weight))


FEW = 4
"""More terms are rounded up to a multiple of it, since terms are written out in a kernel: another size is less often another kernel then."""


@lru_cache(maxsize=512)
def tables(rule: Rule, is_adjoint: bool, dtype: DType) -> tuple[Tensor, Tensor]:
    """``first`` (out,) and ``weight`` (terms, out), so that ``first + terms`` is nowhere more than there is."""
    spans = KINDS[rule.kind](rule, np.float64 if dtype is dt.float64 else np.float32)
    size = rule.old
    if is_adjoint:
        spans, size = _turned(spans, rule.old), rule.new
    terms = max(1, int((spans.stop - spans.start).max()))
    terms = min(terms if terms <= FEW else -(-terms // FEW) * FEW, size)
    first = np.minimum(spans.start, size - terms)
    output, term = np.indices((len(first), terms))
    place = first[:, None] + term - spans.start[:, None]
    inside = (place >= 0) & (place < (spans.stop - spans.start)[:, None])
    padded = np.pad(spans.weight, ((0, 0), (0, 1)))
    weight = np.where(inside, padded[output, np.where(inside, place, -1)], 0)
    return from_array(first), from_array(np.ascontiguousarray(weight.T).astype(dtype.numpy), dtype)


# -- the operator ----------------------------------------------------------------------------------------------------


def _infer(operands: tuple, statics: tuple) -> Layout:
    source, first, _ = operands
    shape = (*source.shape[: statics[0]], first.shape[0], *source.shape[statics[0] + 1 :])
    return lay.ordered(shape, lay.memory_order(source), source.dtype) if source.dense else lay.contiguous(shape, source.dtype)


def _lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axis = statics[0]
    source, first, weight = graph.lying(operands[0]), operands[1], operands[2]
    terms, size = weight.shape
    layout = source.layout
    shape = (*layout.shape[:axis], size, *layout.shape[axis + 1 :], terms)
    strides = (*layout.strides[:axis], 0, *layout.strides[axis + 1 :], layout.strides[axis])
    row = tuple(size if other == axis else 1 for other in range(len(shape) - 1))
    layout = lay.layout(shape, strides, layout.offset, source.dtype)
    parts = graph.gather(source, layout, [first.reshape((*row, 1)).expand(shape)], [source.strides[axis]])
    weight = weight.permute((1, 0)).reshape((*row, terms)).expand(shape)
    products = graph.where(weight.differs(0.0), graph.wide(parts) * weight, 0.0)
    total = products.sum((len(shape) - 1,)) if terms > 1 else products.reshape(shape[:-1])
    return graph.cast(total, layouts[0].dtype)


RESAMPLE = Operator("_resample", ("input", "first", "weight"), ("axis", "rule", "is_adjoint"), infer=_infer, lower=_lower)


def _along(input: Tensor, axis: int, rule: Rule, is_adjoint: bool) -> Tensor:
    return RESAMPLE(input, *tables(rule, is_adjoint, input.layout.dtype.compute), statics=(axis, rule, is_adjoint))


RESAMPLE.gradient(input=lambda grad, axis, rule, is_adjoint: _along(grad, axis, rule, not is_adjoint))


ALONG_MEMORY = 3
"""An element that is resampled along the last axis, where neighbouring lanes read from places that a table gives, takes as long as so many others."""


def in_order(sizes: Mapping[int, tuple[int, int]]) -> list[int]:
    """The order in which axes go from old sizes to new ones with the least to do, as a contiguous tensor lies (however this one does: sums have
    one order, whatever the layout).

    From 60² to 7² columns come first, which leaves a ninth of the rows to those that lie along memory; from 7² to 60² rows come first.
    """
    last = max(sizes)

    def work(order: tuple[int, ...]) -> float:
        now, total = {axis: old for axis, (old, _) in sizes.items()}, 0.0
        for axis in order:
            old, now[axis] = sizes[axis]
            total += prod(now.values()) * (1 + old / max(now[axis], 1)) * (ALONG_MEMORY if axis == last else 1)
        return total

    return list(min(permutations(sorted(sizes, reverse=True)), key=work))


@lru_cache(maxsize=512)
def _ordered(rules: Rules) -> Rules:
    by_axis = dict(rules)
    return tuple((axis, by_axis[axis]) for axis in in_order({axis: (rule.old, rule.new) for axis, rule in rules}))


def resample(input: Tensor, rules: Rules) -> Tensor:
    """The tensor resampled along axes, which rise, each by its rule. Half precision is rounded once."""
    if all(rule.kind in NEAREST for _, rule in rules):
        return _pick(input, rules)
    return _in_turn(input, _ordered(rules), False)


def _in_turn(input: Tensor, order: Rules, is_adjoint: bool) -> Tensor:
    """One axis after the other, in one operator if there are few terms of rows of memory."""
    dtype = input.layout.dtype
    if all(input.layout.strides[axis] > 1 for axis, _ in order):
        operands, terms = _all_tables(order, is_adjoint, dtype.compute)
        if terms <= MOST_TOGETHER:
            return TOGETHER(input, *operands, statics=(order, is_adjoint))
    result = FUNCTIONS.cast(input, dtype.compute)
    for axis, rule in order:
        result = _along(result, axis, rule, is_adjoint)
    return FUNCTIONS.cast(result, dtype)


@lru_cache(maxsize=512)
def _all_tables(order: Rules, is_adjoint: bool, dtype: DType) -> tuple[list[Tensor], int]:
    """The tables of axes one after the other, and how many terms an output has in all."""
    operands = [each for _, rule in order for each in tables(rule, is_adjoint, dtype)]
    return operands, prod(each.layout.shape[0] for each in operands[1::2])


# -- few terms of rows: all axes together --------------------------------------------------------------------------------

MOST_TOGETHER = 8
"""Terms of an output in all: with more, less is to be done one axis after the other."""


def _infer_together(operands: tuple, statics: tuple) -> Layout:
    rules, is_adjoint = statics
    return _with_sizes(operands[0], {axis: rule.old if is_adjoint else rule.new for axis, rule in rules})


def _with_sizes(source: Layout, sizes: Mapping[int, int]) -> Layout:
    shape = tuple(sizes.get(axis, size) for axis, size in enumerate(source.shape))
    return lay.ordered(shape, lay.memory_order(source), source.dtype) if source.dense else lay.contiguous(shape, source.dtype)


def _lower_together(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """The same sums of sums as one axis after the other gives: of the first axis inside, of the last outside."""
    source, shape = graph.lying(operands[0]), layouts[0].shape
    axes = [axis for axis, _ in statics[0]]
    rows = [tuple(size if other == axis else 1 for other, size in enumerate(shape)) for axis in axes]
    firsts, weights = operands[1::2], operands[2::2]

    def summed(level: int, terms: tuple[int, ...]) -> Node:
        if level < 0:
            return graph.wide(at_places(graph, source, shape, axes, firsts, terms))
        parts = []
        for term in range(weights[level].shape[0]):
            weight = weights[level].select(0, term).reshape(rows[level]).expand(shape)
            parts.append(graph.where(weight.differs(0.0), summed(level - 1, (term, *terms)) * weight, 0.0))
        return _folded(parts) if len(parts) > 1 else parts[0]

    total = summed(len(axes) - 1, ())
    if len(weights) and any(weight.shape[0] > 1 for weight in weights):
        total = total + 0.0  # a reduction starts with 0, which only turns -0 into it (and inside of another so does that one)
    return graph.cast(total, layouts[0].dtype)


def _folded(parts: list[Node]) -> Node:
    """The sum in the order of a reduction: by halves, as ``docs/design/0003-reductions.md`` has it for lanes."""
    half = 1 << (len(parts) - 1).bit_length() >> 1
    while half:
        for lane in range(min(len(parts) - half, half)):
            parts[lane] = parts[lane] + parts[lane + half]
        parts, half = parts[:half], half // 2
    return parts[0]


TOGETHER = Operator("_resample_together", ("input", "tables..."), ("rules", "is_adjoint"), infer=_infer_together, lower=_lower_together)
TOGETHER.gradient(input=lambda grad, rules, is_adjoint: _in_turn(grad, rules[::-1], not is_adjoint))


# -- one neighbour: all axes together ----------------------------------------------------------------------------------


def at_places(
    graph: Graph, source: Node, shape: tuple[int, ...], axes: Sequence[int], places: Sequence[Node], ahead: Sequence[int] | None = None
) -> Node:
    """A node read along axes at places that are vectors (of other sizes), or so many elements ahead of them."""
    source = graph.lying(source)
    steps = [source.strides[axis] for axis in axes]
    strides = tuple(0 if axis in axes else stride for axis, stride in enumerate(source.strides))
    rows = [tuple(size if other == axis else 1 for other, size in enumerate(shape)) for axis in axes]
    offset = source.layout.offset + (sum(map(mul, ahead, steps)) if ahead else 0)
    indices = [place.reshape(row).expand(shape) for place, row in zip(places, rows, strict=True)]
    return graph.gather(source, lay.layout(shape, strides, offset, source.dtype), indices, steps)


def _lower_pick(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return at_places(graph, operands[0], layouts[0].shape, [axis for axis, _ in statics[0]], operands[1:])


PICK = Operator(
    "_pick",
    ("input", "places..."),
    ("rules",),
    infer=lambda operands, statics: _with_sizes(operands[0], {axis: rule.new for axis, rule in statics[0]}),
    lower=_lower_pick,
)


def _pick(input: Tensor, rules: Rules) -> Tensor:
    dtype = dt.float64 if input.layout.dtype is dt.float64 else dt.float32
    return PICK(input, *_all_tables(rules, False, dtype)[0][::2], statics=(rules,))


PICK.gradient(input=lambda grad, rules: _in_turn(grad, _ordered(rules)[::-1], True))


PUBLIC = ()
METHODS = ()

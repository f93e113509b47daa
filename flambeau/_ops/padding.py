"""Padding with what the tensor holds (``reflect``, ``replicate``, ``circular``), and the adjoint that folds such a border back.

Along one axis a padded position is taken from one position of the source, which a table says: padding is a gather, in one pass. These positions
fall into a few *runs*, in each of which they rise by 1, fall by 1, or stay: three runs for an axis that is padded on both sides. The adjoint adds
strided views up, one for each run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from operator import add
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flambeau._ops.copying import suggested_format
from flambeau._ops.creation import from_array
from flambeau._ops.operator import Operator
from flambeau._ops.resampling import at_places
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Amounts = tuple[tuple[int, int], ...]
"""What is added before and after each axis, from the first; a negative amount takes elements away."""

MODES = ("reflect", "replicate", "circular")


class Run(NamedTuple):
    """``length`` positions of a padded axis from ``target``, taken from ``source``, ``source + step``, …"""

    target: int
    source: int
    step: int
    length: int


def positions(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """From where along an axis of ``size`` each element is taken once it has ``before`` and ``after`` more of them."""
    place = _unclipped(size, (before, after))
    if mode == "replicate":
        return place.clip(0, size - 1)
    if mode == "reflect":
        return size - 1 - np.abs(size - 1 - np.abs(place))
    first, last = max(0, -before), size - max(0, -after)  # what negative amounts take away does not come back
    return first + (place - first) % max(last - first, 1)


def _unclipped(size: int, sides: tuple[int, int]) -> np.ndarray:
    return np.arange(-sides[0], size + sides[1])


def runs(mode: str, size: int, before: int, after: int) -> tuple[Run, ...]:
    """The runs of an axis of ``size`` that gets ``before`` and ``after`` more positions."""
    return _runs(positions(mode, size, before, after).tolist(), 0)


def borders(mode: str, size: int, before: int, after: int) -> tuple[Run, ...]:
    """The runs of the positions that are more."""
    places = positions(mode, size, before, after).tolist()
    return _runs(places[:before], 0) + _runs(places[before + size :], before + size)


def _runs(places: list[int], first: int) -> tuple[Run, ...]:
    """The runs of places that the positions from ``first`` on are taken from."""
    found: list[Run] = []
    for target, place in enumerate(places, first):
        last = found[-1] if found else None
        if last is not None and last.length == 1 and abs(place - last.source) <= 1:
            found[-1] = Run(last.target, last.source, place - last.source, 2)
        elif last is not None and last.length > 1 and place == last.source + last.step * last.length:
            found[-1] = last._replace(length=last.length + 1)
        else:
            found.append(Run(target, place, 1, 1))
    return tuple(found)


@lru_cache(maxsize=512)
def _table(mode: str, size: int, before: int, after: int) -> Tensor:
    return from_array(positions(mode, size, before, after))


NARROW, SMALL = 64, 2048
"""The rows of a small plane that are shorter than a few vectors are not walked one by one: a table says for the whole plane whence its elements
come. (A border of 1 around 16² is 36 vectors by rows, and 21 so.)"""


@lru_cache(maxsize=512)
def plane(mode: str, sizes: tuple[int, int], amounts: Amounts) -> Tensor:
    """From where in a row-major plane each element of the padded one is taken."""
    rows, columns = (positions(mode, size, *sides) for size, sides in zip(sizes, amounts, strict=True))
    return from_array((rows[:, None] * sizes[1] + columns).reshape(-1))


@lru_cache(maxsize=512)
def inside_plane(sizes: tuple[int, int], amounts: Amounts) -> Tensor:
    """Which elements of a padded row-major plane lie within the plane (bool)."""
    places = map(_unclipped, sizes, amounts)
    found = [(place >= 0) & (place < size) for size, place in zip(sizes, places, strict=True)]
    return from_array((found[0][:, None] & found[1]).reshape(-1))


def at_plane(graph: Graph, source: Node, shape: tuple[int, ...], places: Node) -> Node:
    """The last two axes of a node read at places of what they are together."""
    last = len(shape) - 2
    flat = source.joined(last, last + 1)
    return at_places(graph, flat, (*shape[:last], shape[last] * shape[last + 1]), [last], [places]).reshape(shape)


def is_small_plane(source: Layout, amounts: Amounts) -> bool:
    """Whether what is padded are the last two axes, along which the source is small and lies row by row."""
    if _padded(amounts) != [source.ndim - 2, source.ndim - 1] or source.ndim == 2:
        return False
    height, width = (size + sum(sides) for size, sides in zip(source.shape[-2:], amounts[-2:], strict=True))
    return width <= NARROW and height * width <= SMALL and source.strides[-2:] == (source.shape[-1], 1)


# -- padding ---------------------------------------------------------------------------------------------------------


def _infer_border(operands: tuple, statics: tuple) -> Layout:
    mode, amounts = statics
    source = operands[0]
    shape = tuple(size + before + after for size, (before, after) in zip(source.shape, amounts, strict=True))
    plain = lay.contiguous(shape, source.dtype)
    return plain if mode == "circular" else suggested_format(source).layout(plain)


def _lower_border(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axes, shape = _padded(statics[1]), layouts[0].shape
    if len(operands) == 2 < 1 + len(axes):
        return at_plane(graph, operands[0], shape, operands[1])
    return at_places(graph, operands[0], layouts[0].shape, axes, operands[1:]) if axes else graph.copy(operands[0])


def _padded(amounts: Amounts) -> list[int]:
    return [axis for axis, sides in enumerate(amounts) if sides != (0, 0)]


PAD_BORDER = Operator("_pad_border", ("input", "places..."), ("mode", "amounts"), infer=_infer_border, lower=_lower_border)


def _pad(input: Tensor, mode: str, amounts: Amounts) -> Tensor:
    if is_small_plane(input.layout, amounts):
        return PAD_BORDER(input, plane(mode, input.layout.shape[-2:], amounts[-2:]), statics=(mode, amounts))
    tables = [_table(mode, input.layout.shape[axis], *amounts[axis]) for axis in _padded(amounts)]
    return PAD_BORDER(input, *tables, statics=(mode, amounts))


# -- its adjoint -----------------------------------------------------------------------------------------------------


def _infer_fold(operands: tuple, statics: tuple) -> Layout:
    padded = operands[0]
    shape = tuple(size - before - after for size, (before, after) in zip(padded.shape, statics[1], strict=True))
    return lay.ordered(shape, lay.memory_order(padded), padded.dtype)


def _lower_fold(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Each run is added to where it was taken from: a thin border to the edges of what it is around, else all axes together if these are rows of
    memory, or axis by axis; the sum is rounded once."""
    mode, amounts = statics
    source, shape = operands[0], layouts[0].shape
    if all(0 <= number <= shape[axis] // _THIN for axis, sides in enumerate(amounts) for number in sides):
        return graph.cast(_fold_borders(graph, source, mode, amounts, lay.memory_order(layouts[0])), layouts[0].dtype)
    found = {axis: runs(mode, shape[axis], *amounts[axis]) for axis in _padded(amounts)}
    if all(source.strides[axis] > 1 and all(run.step for run in parts) for axis, parts in found.items()):
        return graph.cast(_fold_axes(graph, source, shape, found), layouts[0].dtype)
    result, order = graph.wide(source), lay.memory_order(layouts[0])
    for axis, parts in found.items():
        result = _fold_axes(graph, result, (*result.shape[:axis], shape[axis], *result.shape[axis + 1 :]), {axis: parts})
        result = graph.finish(result, lay.ordered(result.shape, order, result.dtype))
    return graph.cast(result, layouts[0].dtype)


def _fold_borders(graph: Graph, padded: Node, mode: str, amounts: Amounts, order: Sequence[int]) -> Node:
    """What is inside of borders, with these added to its edges: those of an axis as far as it is inside along all others, where those before are folded.

    Few elements are written twice, and only borders read in another order than they lie in.
    """
    sizes = [size - sum(sides) for size, sides in zip(padded.shape, amounts, strict=True)]
    inside = [(before, size) for (before, _), size in zip(amounts, sizes, strict=True)]
    total = graph.copy(graph.wide(_within(padded, inside)), lay.ordered(tuple(sizes), order, padded.dtype.compute).strides)
    for axis in _padded(amounts):
        done = [sides if each < axis else (0, 0) for each, sides in enumerate(amounts)]
        for run in borders(mode, sizes[axis], *amounts[axis]):
            start, step = (run.target + run.length - 1, -1) if run.step < 0 else (run.target, 1)
            part = padded.slice(axis, start, run.length, step)
            part = _within(part, [(0, part.shape[each]) if each <= axis else inside[each] for each in range(part.ndim)])
            part = _fold_borders(graph, part, mode, tuple(done), order) if any(map(sum, done)) else graph.wide(part)
            if run.step == 0:
                part = part.sum((axis,), keepdim=True)
            low = min(run.source, run.source + run.step * (run.length - 1))
            shown = lay.slice_axis(total.layout, axis, low, part.shape[axis], 1)
            total = graph.update(total, shown, graph.view(total, shown) + part)
    return total


def _within(node: Node, ranges: Sequence[tuple[int, int]]) -> Node:
    """A part of a node: of each axis so many positions from the first one on."""
    for axis, (start, size) in enumerate(ranges):
        if size != node.shape[axis]:
            node = node.slice(axis, start, size)
    return node


def _fold_axes(graph: Graph, padded: Node, shape: tuple[int, ...], found: Mapping[int, tuple[Run, ...]]) -> Node:
    """The sums of runs along axes, that of the first axis inside, of the last outside, as one axis after the other gives them."""

    def summed(axes: Sequence[int], chosen: dict[int, Run]) -> Node:
        if not axes:
            return graph.wide(_put_back(graph, padded, shape, chosen))
        *inner, axis = axes
        parts = [summed(inner, {axis: run, **chosen}) for run in found[axis]]
        return reduce(add, parts) if parts else graph.constant(0, padded.dtype.compute, shape)

    total = summed(tuple(found), {})
    return graph.copy(total) if total.kind == "view" else total


def _put_back(graph: Graph, padded: Node, shape: tuple[int, ...], chosen: Mapping[int, Run]) -> Node:
    """One run of each axis in the place that it was taken from, among zeros."""
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, run in chosen.items():
        start, step = (run.target + run.length - 1, -1) if run.step < 0 else (run.target, 1)
        padded = padded.slice(axis, start, run.length, step)
        if run.step == 0:
            padded = padded.sum((axis,), keepdim=True)
        before[axis] = min(run.source, run.source + run.step * (run.length - 1))
        after[axis] = shape[axis] - before[axis] - padded.shape[axis]
    return graph.pad(padded, before, after)


_THIN = 8
"""A border is thin if it is at most such a part of what it is around."""

FOLD_BORDER = Operator("_pad_border_backward", ("grad_output",), ("mode", "amounts"), infer=_infer_fold, lower=_lower_fold)

PAD_BORDER.gradient(input=lambda grad, mode, amounts: FOLD_BORDER(grad, statics=(mode, amounts)))
FOLD_BORDER.gradient(grad_output=lambda grad, mode, amounts: _pad(grad, mode, amounts))


# -- functions -------------------------------------------------------------------------------------------------------


def pad_border(input: Tensor, mode: str, amounts: Amounts) -> Tensor:
    """The tensor with a border of its own elements.

    Args:
        input: any shape.
        mode: ``"reflect"`` (without the border element), ``"replicate"`` (the border element) or ``"circular"``.
        amounts: ``(before, after)`` for each axis, from the first.

    Raises:
        RuntimeError: more is asked for than the mode can take from the axis.
    """
    _check(mode, input.layout.shape, amounts)
    return _pad(input, mode, amounts)


def fold_border(padded: Tensor, mode: str, amounts: Amounts) -> Tensor:
    """The adjoint of :func:`pad_border`: each element of the border is added to the one that it would have been taken from."""
    _check(mode, tuple(size - before - after for size, (before, after) in zip(padded.layout.shape, amounts)), amounts)
    return FOLD_BORDER(padded, statics=(mode, amounts))


def _check(mode: str, shape: tuple[int, ...], amounts: Amounts) -> None:
    for axis, (size, (before, after)) in enumerate(zip(shape, amounts, strict=True)):
        if before == 0 and after == 0:
            continue
        where = f"padding {(before, after)} at dimension {axis} of input {list(shape)}"
        if mode == "reflect" and max(before, after) >= size:
            raise RuntimeError(
                f"Padding size should be less than the corresponding input dimension, but got: {where}. Mode 'reflect' mirrors at the border "
                f"without repeating it, so an extent of {size} gives at most {max(size - 1, 0)} on each side"
            )
        if mode == "replicate" and size == 0:
            raise RuntimeError(f"Expected a dimension of non-zero size, of which there is a border to repeat, but got: {where}")
        if mode == "circular" and max(before, after) > size:
            raise RuntimeError(
                f"Padding value causes wrapping around more than once: {where}. Mode 'circular' takes at most {size} on each side"
            )
        if size + before + after < 0:
            raise RuntimeError(f"The padded size must not be negative: {size} + {before} + {after} = {size + before + after}, for {where}")
        if mode == "circular" and max(before, after) > 0 and size + min(before, 0) + min(after, 0) <= 0:
            raise RuntimeError(f"Nothing is left to continue circularly: {where}")
    padded = [size + sum(sides) for size, sides in zip(shape, amounts, strict=True) if sides != (0, 0)]
    if mode != "circular" and padded and not any(padded):
        raise RuntimeError(f"Nothing is left of input {list(shape)} after padding {list(amounts)}: an output of 0 is too small")


PUBLIC = ()
METHODS = ()

"""Positions along a dimension: what an index must be, how what it names is addressed, and the error for one out of range.

An index out of range is found when the index is computed, before anything is written; the error names the value, its place in the index
and the user's line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flambeau._ops.registry import new_tensor
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import ArgumentError, IndexOutOfBoundsError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def unravel(position: int, shape: tuple[int, ...]) -> list[int]:
    """The index of a row-major position."""
    index = []
    for size in reversed(shape):
        index.append(position % size)
        position //= size
    return index[::-1]


def out_of_bounds(
    name: str, dim: int, size: int, shape: tuple[int, ...], *, within: tuple[int, ...] | None = None, axes: Sequence[int] = ()
) -> Callable[[int, int], Exception]:
    """The error for a value of an index of ``shape``, given its row-major position and the value.

    Positions are ``within`` a larger shape, if one is given; ``axes`` are its axes that the index has.
    """

    def make(position: int, value: int) -> Exception:
        place = unravel(position, shape if within is None else within)
        if within is not None:
            place = [min(place[axis], extent - 1) for axis, extent in zip(axes, shape, strict=True)]
        return IndexOutOfBoundsError(
            f"{name}: index {value} is out of bounds for dimension {dim} with size {size} (at position {place} of an index of shape {list(shape)})"
        )

    return make


def compact(index: Node) -> Node:
    """An index without the repetitions that ``expand`` made; expanding it gives the same elements."""
    if index.kind == "view":
        for axis, stride in enumerate(index.strides):
            if stride == 0 and index.shape[axis] > 1:
                index = index.slice(axis, 0, 1)
    return index


def check_range(graph: Graph, index: Node, size: int, make: Callable[[int, int], Exception], *, wraps: bool = False) -> Node:
    """Check that an index lies in ``[0, size)`` (or, if it wraps, in ``[-size, size)``); returns it as int64, counted from the front.

    What is returned is in range even where the check fails, so that it is safe to read there.
    """
    index = graph.cast(index, dt.int64)
    bad = graph.map("outside", index, -size if wraps else 0, size)
    graph.check(bad, index, make)
    if wraps:
        index = graph.where(index < 0, index + size, index)
    return graph.where(bad, 0, index)


def check_index(name: str, self: Layout, index: Layout, dim: int, src: Layout | None) -> None:
    if index.numel == 0:
        return
    if index.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, but got {index.dtype!r}")
    for what, other in (("self", self), ("src", src)):
        if other is None:
            continue
        if max(other.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as {what} tensor: index has shape {list(index.shape)}, {what} {list(other.shape)} ({name})"
            )
        for axis, (size, limit) in enumerate(zip(index.shape, other.shape, strict=False)):
            if size > limit and (axis != dim or what == "src"):
                apart = f" apart from dimension {dim}" if what == "self" else ""
                raise RuntimeError(
                    f"Expected index {list(index.shape)} to be no larger than {what} {list(other.shape)}{apart} ({name}: dimension {axis} has {size} > {limit})"
                )
    check_room(f"{name}()", self, dim, index)


def check_room(name: str, self: Layout, dim: int, index: Layout) -> None:
    """Check that there is anything to index; if not, there is no place that would be safe to read or write in a kernel, either."""
    if index.numel and self.ndim and self.shape[dim] == 0:
        raise IndexOutOfBoundsError(
            f"{name}: an index of shape {list(index.shape)} is out of bounds for dimension {dim} with size 0, whatever its values: self has "
            f"shape {list(self.shape)}"
        )


def places_along(source: Layout, shape: tuple[int, ...], dim: int) -> tuple[Layout, int]:
    """The layout with which ``source`` is read at an index of ``shape``, but for ``dim``, and the stride along ``dim``."""
    strides = tuple(0 if axis == dim else stride for axis, stride in enumerate(source.strides)) or (0,)
    return lay.layout(shape, strides[: len(shape)], source.offset, source.dtype), source.strides[dim] if source.strides else 0


# -- a vector of positions --------------------------------------------------------------------------------------------


def spread(index: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    """A vector of positions along ``dim``, expanded to index a tensor of ``shape``."""
    if not shape:
        return index.reshape(())
    layout = index.layout
    spread = layout.memo.get(("spread", dim, shape))  # 0.4 µs with it, 1.1 without
    if spread is None:
        full = (*shape[:dim], layout.numel, *shape[dim + 1 :])
        strides = tuple([layout.strides[0] if axis == dim else 0 for axis in range(len(full))])
        spread = layout.memo["spread", dim, shape] = lay.layout(full, strides, layout.offset, layout.dtype)
    return new_tensor(index.memory, spread)


def require_tensor(name: str, what: str, value: Any) -> None:
    if not isinstance(value, TensorBase):
        raise ArgumentError(f"{name}(): argument '{what}' must be Tensor, not {type(value).__name__}")


def vector_of(name: str, index: Tensor) -> Tensor:
    require_tensor(name, "index", index)
    layout = index.layout
    if layout.ndim == 1 and layout.dtype is dt.int64:
        return index
    if layout.ndim > 1:
        raise (RuntimeError if name == "index_fill" else IndexError)(  # as PyTorch does
            f"{name}(): Index is supposed to be a vector, but got dim: {layout.ndim} with type: {layout.dtype!r} and size: {list(layout.shape)}"
        )
    if name in ("index_copy", "index_fill") and layout.dtype is not dt.int64:
        raise (IndexError if name == "index_fill" else RuntimeError)(f"{name}(): Expected dtype int64 for index, but got {layout.dtype!r}")
    if layout.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index, but got {layout.dtype!r}")
    return index if index.layout.ndim else index.reshape(1)

"""Layouts: how the elements of a tensor lie in its storage.

A layout is a shape, strides, an offset (in elements, as PyTorch counts them) and a dtype.  Layouts are interned: two
equal layouts are one object, so that comparing and hashing them in the recording path costs nothing.  The functions
below are the arithmetic of views: each takes a layout and gives the layout of the view, or raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from operator import index
from sys import getrefcount
from typing import Any

from flambeau._types.dtype import dtype as DType
from flambeau._types.dtype import required

_TABLE: dict[tuple, Layout] = {}
_CONTIGUOUS: dict[tuple, Layout] = {}  # those of new tensors by shape and dtype, which every creation asks for
_TABLE_LIMIT = 200_000


class Layout:
    """Shape, strides, offset and dtype; made by ``layout()``, compared by identity."""

    __slots__ = ("contiguous", "dense", "dtype", "memo", "ndim", "numel", "offset", "shape", "strides")

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: DType
    ndim: int
    numel: int
    contiguous: bool  # row-major, without gaps (a dimension of size 1 may have any stride)
    dense: bool  # every element of an unbroken piece of memory exactly once, in some order
    memo: dict  # results of view functions on this layout

    def __repr__(self) -> str:
        return f"Layout({self.shape}, {self.strides}, {self.offset}, {self.dtype.name})"

    def __str__(self) -> str:
        return "torch.strided"  # what programs print of ``tensor.layout``

    def __reduce__(self) -> tuple:
        return layout, (self.shape, self.strides, self.offset, self.dtype)

    @property
    def byte_strides(self) -> tuple[int, ...]:
        """The strides in bytes."""
        found = self.memo.get("byte strides")
        if found is None:
            found = self.memo["byte strides"] = tuple([stride * self.dtype.itemsize for stride in self.strides])
        return found

    @property
    def extent(self) -> int:
        """The number of elements from the start of the storage to the end of the last element."""
        if self.numel == 0:
            return 0
        return self.offset + 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


_MOST = (1 << 63) - 1


def layout(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, dtype: DType) -> Layout:
    """The layout with these fields: always the same object for the same fields."""
    key = (shape, strides, offset, dtype)
    found = _TABLE.get(key)
    if found is not None:
        return found
    if dtype.__class__ is not DType and (given := required(dtype)) is not dtype:
        return layout(shape, strides, offset, given)
    if isinstance(sum(shape) + sum(strides) + offset, float):  # native code takes them for ints
        raise TypeError(f"sizes, strides and offsets must be ints, but got {shape}, {strides} and {offset}")
    self = Layout()
    self.shape, self.strides, self.offset, self.dtype = key
    self.ndim = len(shape)
    self.numel = prod(shape)
    if self.numel > _MOST:
        raise RuntimeError(f"a tensor of shape {list(shape)} would have {self.numel} elements, more than can be counted in 64 bits")
    self.contiguous = self.numel == 0 or _is_row_major(shape, strides)
    self.dense = self.contiguous or _is_dense(shape, strides)
    self.memo = {}
    if len(_TABLE) >= _TABLE_LIMIT:  # layouts in use stay valid; equal ones made later are merely other objects
        _TABLE.clear()
        _CONTIGUOUS.clear()
    _TABLE[key] = self
    return self


def contiguous(shape: tuple[int, ...], dtype: DType) -> Layout:
    """The row-major layout of a new tensor."""
    key = (shape, dtype)
    found = _CONTIGUOUS.get(key)
    if found is None:
        dtype = required(dtype)
        dtype.numpy  # noqa: B018 (a dtype of quantized tensors raises an error: an operator makes none)
        found = layout(shape, row_major(shape), 0, dtype)
        if found.numel * dtype.itemsize > _MOST:
            raise RuntimeError(
                f"a tensor of shape {list(shape)} and {dtype!r} would have {found.numel * dtype.itemsize} bytes, more than there can be"
            )
        _CONTIGUOUS[key] = found
    return found


def contiguous_layouts() -> dict[tuple, Layout]:
    """What ``contiguous`` gave before, by shape and dtype."""
    return _CONTIGUOUS


def forget_unused() -> None:
    """Forget the layouts that only this table and the memory of other layouts know, and what layouts remember."""
    _CONTIGUOUS.clear()
    for each in list(_TABLE.values()):
        each.memo.clear()
    for key in list(_TABLE):
        if getrefcount(_TABLE.get(key)) <= _ALONE:
            _TABLE.pop(key, None)


_ALONE = next(getrefcount(table.get(0)) for table in [{0: object()}])
"""What ``getrefcount`` gives for something that only a table refers to."""


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous tensor, by PyTorch's rule that a size of 0 counts as 1."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides, strict=True) if size != 1):
        if stride != step:
            return False
        step *= size
    return True


def may_overlap(layout: Layout) -> bool:
    """Whether two indices may name one element (an expanded dimension, say)."""
    if layout.dense or layout.numel <= 1:
        return False
    reach = 0  # the farthest element that the dimensions so far can reach
    for stride, size in sorted((stride, size) for size, stride in zip(layout.shape, layout.strides, strict=True) if size != 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def memory_order(layout: Layout) -> list[int]:
    """The dimensions from the outermost in memory to the innermost; ties keep their order."""
    return sorted(range(layout.ndim), key=lambda axis: (-layout.strides[axis], axis))


# -- axes and shapes -------------------------------------------------------------------------------------------------


def wrap_axis(axis: int, ndim: int) -> int:
    """An axis counted from the front.

    Raises:
        IndexError: it is out of range; a tensor without dimensions has the axes -1 and 0.
        TypeError: it is no int.
    """
    if axis.__class__ is not int:
        axis = _integer(axis)
    limit = ndim or 1
    if not -limit <= axis < limit:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {axis})")
    return axis + limit if axis < 0 else axis


def _integer(axis: Any) -> int:
    """An axis that is not Python's own int; one of NumPy's must not find its way into a key, where it equals the int."""
    if axis.__class__ is bool:
        raise TypeError(f"dim must be an int, not {axis}")
    try:
        return index(axis)
    except TypeError:
        raise TypeError(f"dim must be an int, not {axis!r}") from None


def wrap_axes(axes: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, in increasing order; ``None`` or none at all means all of them."""
    if axes is None:
        return tuple(range(ndim))
    if isinstance(axes, int) or hasattr(axes, "__index__") or not hasattr(axes, "__iter__"):
        if axes.__class__ is int and -ndim <= axes < ndim:
            return (axes % ndim,)
        axis = wrap_axis(axes, ndim)
        return (axis,) if ndim else ()
    wrapped = [wrap_axis(axis, ndim) for axis in axes]
    for axis in wrapped:
        if wrapped.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    if not wrapped:
        return tuple(range(ndim))
    return tuple(sorted(axis for axis in wrapped if ndim))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that operands of these shapes have together.

    Raises:
        RuntimeError: two sizes differ and neither is 1.
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        lead = ndim - len(shape)
        for position, size in enumerate(shape):
            axis = lead + position
            if size == result[axis] or size == 1:
                continue
            if result[axis] != 1:
                listed = " and ".join(str(list(each)) for each in shapes)
                raise RuntimeError(
                    f"The size of tensor a ({result[axis]}) must match the size of tensor b ({size}) at non-singleton dimension {axis}"
                    f" (shapes {listed}: sizes must be equal or 1, counted from the last dimension)"
                )
            result[axis] = size
    return tuple(result)


# -- views -----------------------------------------------------------------------------------------------------------


def expand(source: Layout, shape: tuple[int, ...]) -> Layout:
    """The view that repeats dimensions of size 1 (and new leading ones) with stride 0; -1 keeps a size."""
    lead = len(shape) - source.ndim
    if lead < 0:
        raise RuntimeError(
            f"expand({list(shape)}): the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({source.ndim}, of shape {list(source.shape)})"
        )
    sizes, strides = [], []
    for axis, size in enumerate(shape):
        if axis < lead:
            if size < 0:
                raise RuntimeError(f"The expanded size of the tensor ({size}) isn't allowed in a leading, non-existing dimension {axis}")
            sizes.append(size)
            strides.append(0)
            continue
        old = source.shape[axis - lead]
        if size in (-1, old):
            sizes.append(old)
            strides.append(source.strides[axis - lead])
        elif old == 1 and size >= 0:
            sizes.append(size)
            strides.append(0)
        else:
            raise RuntimeError(
                f"The expanded size of the tensor ({size}) must match the existing size ({old}) at non-singleton dimension {axis}.  "
                f"Target sizes: {list(shape)}.  Tensor sizes: {list(source.shape)}"
            )
    return layout(tuple(sizes), tuple(strides), source.offset, source.dtype)


def permute(source: Layout, axes: Sequence[int]) -> Layout:
    shape, strides = source.shape, source.strides
    return layout(tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes), source.offset, source.dtype)


def slice_axis(source: Layout, axis: int, start: int, length: int, step: int = 1) -> Layout:
    """``length`` elements along ``axis`` from ``start``, ``step`` apart; the bounds are the caller's to check."""
    shape = (*source.shape[:axis], length, *source.shape[axis + 1 :])
    strides = (*source.strides[:axis], source.strides[axis] * step, *source.strides[axis + 1 :])
    return layout(shape, strides, source.offset + start * source.strides[axis], source.dtype)


def select(source: Layout, axis: int, index: int) -> Layout:
    """The slice at ``index`` of ``axis``, without that axis."""
    shape, strides = source.shape, source.strides
    return layout(
        shape[:axis] + shape[axis + 1 :], strides[:axis] + strides[axis + 1 :], source.offset + index * strides[axis], source.dtype
    )


def unsqueeze(source: Layout, axis: int) -> Layout:
    shape, strides = source.shape, source.strides
    stride = shape[axis] * strides[axis] if axis < source.ndim else 1
    return layout((*shape[:axis], 1, *shape[axis:]), (*strides[:axis], stride, *strides[axis:]), source.offset, source.dtype)


def squeeze(source: Layout, axes: Sequence[int]) -> Layout:
    keep = [axis for axis in range(source.ndim) if axis not in axes or source.shape[axis] != 1]
    return permute(source, keep)


def infer_size(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """``shape`` with its one -1 replaced so that it has ``numel`` elements.

    Raises:
        RuntimeError: it cannot.
    """
    known = 1
    unknown = -1
    for axis, size in enumerate(shape):
        if size == -1:
            if unknown >= 0:
                raise RuntimeError("only one dimension can be inferred")
            unknown = axis
        elif size < 0:
            raise RuntimeError(f"invalid shape dimension {size}")
        else:
            known *= size
    if unknown < 0:
        if known != numel:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return tuple(shape)
    if known == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 can be any value and is ambiguous"
        )
    if numel % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return (*shape[:unknown], numel // known, *shape[unknown + 1 :])


def view_strides(source: Layout, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides with which ``shape`` shows the same elements in the same order, or ``None`` if no strides do.

    A dimension of the new shape may cross dimensions of the old one only where these are contiguous to each other.
    """
    if source.numel == 0:
        return source.strides if shape == source.shape else row_major(shape)
    strides = [0] * len(shape)
    chunks: list[tuple[int, int]] = []  # (size, innermost stride) of maximal contiguous runs of dimensions, innermost first
    for size, stride in zip(reversed(source.shape), reversed(source.strides), strict=True):
        if chunks and (size == 1 or stride == chunks[-1][0] * chunks[-1][1]):
            chunks[-1] = (chunks[-1][0] * size, chunks[-1][1])
        elif chunks and chunks[-1][0] == 1:
            chunks[-1] = (size, stride)
        else:
            chunks.append((size, stride))
    axis = len(shape) - 1
    for size, stride in chunks or [(1, 1)]:
        filled = 1
        while axis >= 0 and (filled < size or shape[axis] == 1):
            strides[axis] = filled * stride
            filled *= shape[axis]
            axis -= 1
        if filled != size:
            return None
    return tuple(strides) if axis < 0 else None


def view(source: Layout, shape: tuple[int, ...]) -> Layout | None:
    """The view of another shape, or ``None`` where only a copy can have it."""
    if shape == source.shape:
        return source
    strides = view_strides(source, shape)
    return None if strides is None else layout(shape, strides, source.offset, source.dtype)


def reshaped(source: Layout, wanted: tuple[int, ...]) -> Layout | None:
    """As ``view``, of a shape with one -1 at most; remembered, since it takes 2 µs.

    Raises:
        RuntimeError: the shape has another number of elements.
    """
    found = source.memo.get(wanted, False)
    if found is False:
        found = source.memo[wanted] = view(source, infer_size(wanted, source.numel))
    return found


def like(source: Layout, dtype: DType) -> Layout:
    """The layout of a new tensor that keeps the memory order of ``source`` (``torch.preserve_format``)."""
    if source.dense:
        return layout(source.shape, source.strides, 0, dtype)
    return elementwise(source.shape, dtype, (source,))


def ordered(shape: tuple[int, ...], order: Sequence[int], dtype: DType) -> Layout:
    """A dense layout whose dimensions lie in memory in ``order``, outermost first."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return layout(shape, tuple(strides), 0, dtype)


def elementwise(shape: tuple[int, ...], dtype: DType, operands: Sequence[Layout]) -> Layout:
    """The layout of the result of an elementwise operator, by PyTorch's rule.

    The result is dense.  If all operands of the full shape have the same dense strides it has these; otherwise its dimensions
    are ordered by the strides of the operands: the first operand that distinguishes two dimensions decides.
    """
    full = [operand for operand in operands if operand.shape == shape]
    if full and len(full) == len(operands):
        strides = full[0].strides
        if full[0].contiguous and all(operand.contiguous for operand in full):
            return contiguous(shape, dtype)
        if full[0].dense and all(operand.strides == strides for operand in full):
            return layout(shape, strides, 0, dtype)
    ndim = len(shape)
    padded = []
    for operand in operands:
        lead = ndim - operand.ndim
        padded.append(
            [
                0 if axis < lead or (operand.shape[axis - lead] == 1 and shape[axis] != 1) else operand.strides[axis - lead]
                for axis in range(ndim)
            ]
        )
    order = list(range(ndim - 1, -1, -1))  # innermost first, as the operands will have it

    def outer_than(first: int, second: int) -> int:
        """1 if ``first`` lies outside ``second``, -1 if inside, 0 if no operand tells."""
        for strides in padded:
            a, b = strides[first], strides[second]
            if a == 0 or b == 0:
                continue
            if a != b:
                return 1 if a > b else -1
            if shape[first] != shape[second]:
                return 1 if shape[first] > shape[second] else -1
        return 0

    for position in range(1, ndim):  # an insertion sort, since "no operand tells" is not transitive
        current = position
        for candidate in range(position - 1, -1, -1):
            relation = outer_than(order[candidate], order[current])
            if relation > 0:
                order[candidate], order[current] = order[current], order[candidate]
                current = candidate
            elif relation < 0:
                break
    return ordered(shape, list(reversed(order)), dtype)

"""Where a condition holds: ``nonzero``, and what ``x[mask]`` reads. How many places there are depends on the data, which the call computes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import into
from flambeau._ops.creation import adopt_array, from_array, new_empty
from flambeau._runtime import places
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor
    from flambeau._types.layout import Layout

FEW = 8192
"""Up to so many elements a kernel of one thread finds the places (1,024 in 3 µs). NumPy finds those of more: it needs 12 µs for its calls."""


def nonzero(input: Tensor, *, as_tuple: bool = False, out: Tensor | None = None) -> Any:
    """The positions of the elements that are not 0, one a row; or, as a tuple, a vector for each dimension.

    Example::

        >>> flambeau.nonzero(flambeau.tensor([[0, 2], [3, 0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    if 0 < input.layout.numel <= FEW and input.layout.ndim in (1, 2):
        return _few(input) if as_tuple else into(out, _few(input, rows=True)[0])
    array = truth(input)._array()  # of bools NumPy finds the places of a million in 2 ms, of numbers in 9
    found = _unravelled(np.flatnonzero(array), array.shape)
    if as_tuple:
        return tuple(_vector(each) for each in found)
    count = found.shape[1]
    result = _vector(found[: array.ndim])
    result.layout = lay.layout((count, array.ndim), (1, count), 0, dt.int64)
    return into(out, result)


def _few(input: Tensor, rows: bool = False) -> tuple[Tensor, ...]:
    """The places in a vector or a matrix of few elements, as vectors; or as one matrix, in whose memory these lie one behind the other."""
    mask = truth(input)
    height, width = (1, *input.layout.shape)[-2:]
    axes = input.layout.ndim
    room = new_empty(lay.contiguous((2, height * width), dt.int64))  # which is enough, if all are true
    at, size = room.data_ptr(), 8 * height * width
    count = places.kernel("find")(mask.data_ptr(), at, at + size, height, width)
    if not rows:
        return tuple([copied(at + size * axis, lay.contiguous((count,), dt.int64)) for axis in range(2 - axes, 2)])
    result = new_empty(lay.layout((count, axes), (1, count), 0, dt.int64))
    target = result.data_ptr()
    for axis in range(axes if count else 0):
        ctypes.memmove(target + 8 * count * axis, at + size * (axis + 2 - axes), 8 * count)
    return (result,)


def copied(address: int, layout: Layout) -> Tensor:
    """A tensor of what lies at an address."""
    result = new_empty(layout)
    if layout.numel:
        ctypes.memmove(result.data_ptr(), address, layout.numel * layout.dtype.itemsize)
    return result


def truth(input: Tensor) -> Tensor:
    """Whether each element is not 0, in the order of their indices in memory."""
    mask = input.detach()
    return (mask if mask.layout.dtype is dt.bool else mask != 0).contiguous()


def _unravelled(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Row-major positions, which rise, as a line of them for each dimension (one for none)."""
    if len(shape) < 2:
        return flat[None]
    found = np.empty((len(shape), len(flat)), np.int64)
    split, source = places.kernel("split"), flat.ctypes.data
    for axis in range(len(shape) - 1, 0, -1):
        above = found[axis - 1].ctypes.data
        split(source, above, found[axis].ctypes.data, shape[axis], len(flat))
        source = above
    return found


def _vector(positions: np.ndarray) -> Tensor:
    """Positions that NumPy has just found, as a tensor on the same memory."""
    if not positions.size or not positions.flags.c_contiguous:
        return from_array(positions)
    result = adopt_array(positions)
    result.memory.exported = False
    return result


def _without_record(*tensors: Tensor) -> bool:
    """Whether what is computed of tensors at once needs no record: they have memory, and no gradient flows to any of them."""
    if LOCAL.tape.batched or any(tensor.memory.device is not CPU for tensor in tensors):
        return False
    return not LOCAL.tape.grad or all(tensor.node is None for tensor in tensors)


def insert_few(input: Tensor, mask: Tensor, source: Tensor) -> Tensor | None:
    """``masked_scatter`` of few elements, all of one shape but for ``source``; nothing where it must be a record, or the source is too short."""
    layout = input.layout
    few = 0 < layout.numel <= FEW and mask.layout.shape == layout.shape and layout.dtype.itemsize <= 8 and source.layout.numel > 0
    if not few or not _without_record(input, mask, source):
        return None
    given, where = source.contiguous(), truth(mask)
    result = copied(input.contiguous().data_ptr(), lay.contiguous(layout.shape, layout.dtype))
    addresses = [each.data_ptr() for each in (where, given, result)]
    kernel = places.kernel("insert", f"uint{8 * layout.dtype.itemsize}")
    return result if kernel(*addresses, layout.numel, given.layout.numel) >= 0 else None


def select_few(self: Tensor, mask: Tensor) -> Tensor | None:
    """``self[mask]`` for a mask of the same shape and of few elements, without a record; nothing where it must be a record."""
    layout = self.layout
    few = 0 < layout.numel <= FEW and mask.layout.shape == layout.shape and layout.dtype.itemsize <= 8
    if not few or not _without_record(self, mask):
        return None
    source, where = self.contiguous(), truth(mask)
    found = new_empty(lay.contiguous((layout.numel,), layout.dtype))
    count = places.kernel("select", f"uint{8 * layout.dtype.itemsize}")(where.data_ptr(), source.data_ptr(), found.data_ptr(), layout.numel)
    return copied(found.data_ptr(), lay.contiguous((count,), layout.dtype))

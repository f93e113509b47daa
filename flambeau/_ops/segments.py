"""Reductions of segments of a dimension that follow each other, given by their lengths or by where they begin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau._ops.choice import where
from flambeau._ops.counting import searchsorted
from flambeau._ops.creation import full, zeros
from flambeau._ops.joining import cat
from flambeau._ops.positions import require_tensor
from flambeau._ops.ranges import arange
from flambeau._ops.running import cumsum, diff
from flambeau._ops.scattering import scatter_reduce
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

_REDUCTIONS = {"sum": ("sum", 0.0), "mean": ("sum", 0.0), "prod": ("prod", 1.0), "max": ("amax", -math.inf), "min": ("amin", math.inf)}
"""How each combines elements, and with what it begins."""


def segment_reduce(data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None, offsets: Tensor | None = None,
                   axis: int = 0, unsafe: bool = False, initial: float | None = None) -> Tensor:  # fmt: skip
    """The sum, mean, product, maximum or minimum of each segment of a dimension.

    Args:
        data: ``(*, N, **)``, of floating-point numbers
        reduce: ``"sum"``, ``"mean"``, ``"prod"``, ``"max"`` or ``"min"``
        lengths: ``(*, S)``, how long each segment is; they must add up to ``N``, unless ``unsafe``
        offsets: ``(*, S + 1)``, where each segment begins, and where the last one ends
        axis: the position of ``N``
        initial: what each segment begins with; an empty one is that, or else the reduction's neutral element (NaN for the mean)

    Returns:
        ``(*, S, **)``

    Raises:
        RuntimeError: an unknown reduction; neither lengths nor offsets, or not of these shapes, or no integers; lengths that are negative or
            do not add up to ``N``; data of integers.

    Example::

        >>> flambeau.segment_reduce(flambeau.arange(6.0), "sum", lengths=flambeau.tensor([2, 3, 1]))
        tensor([1., 9., 5.])
    """
    require_tensor("segment_reduce", "data", data)
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"segment_reduce(): reduce must be one of {', '.join(_REDUCTIONS)}, but got {reduce!r}")
    if not data.is_floating_point():
        raise RuntimeError(f"segment_reduce(): data must be of a floating-point dtype, but got {data.dtype!r}")
    axis = lay.wrap_axis(axis, data.ndim)
    if indices is not None:
        raise RuntimeError("segment_reduce(): segments are given by lengths or offsets, not by indices")
    given, what = (lengths, "lengths") if lengths is not None else (offsets, "offsets")
    if given is None:
        raise RuntimeError("segment_reduce(): either lengths or offsets must be given")
    require_tensor("segment_reduce", what, given)
    leading, size = data.shape[:axis], data.shape[axis]
    if given.ndim != axis + 1 or given.shape[:-1] != leading:
        raise RuntimeError(
            f"segment_reduce(): {what} of shape {list(given.shape)} must have the dimensions of data before axis {axis}, {list(leading)}, and one more"
        )
    if given.dtype not in (dt.int32, dt.int64):
        raise RuntimeError(f"segment_reduce(): {what} must be of int32 or int64, but got {given.dtype!r}")
    if lengths is not None:
        if not unsafe:
            _check_lengths(lengths, size)
        offsets = cat([zeros(*leading, 1, dtype=dt.int64, device=data.device), cumsum(lengths, -1)], -1)
    else:
        lengths = diff(given)
    return _reduced(data, reduce, lengths, offsets, axis, initial)


def _check_lengths(lengths: Tensor, size: int) -> None:
    if lengths.numel() and lengths.min().item() < 0:
        raise RuntimeError("segment_reduce(): lengths must not be negative")
    totals = lengths.sum(-1)
    if not (totals == size).all().item():
        raise RuntimeError(f"segment_reduce(): lengths must add up to the size of the dimension, {size}, but add up to {totals.tolist()}")


def _reduced(data: Tensor, reduce: str, lengths: Tensor, offsets: Tensor, axis: int, initial: float | None) -> Tensor:
    """What lies before the first offset or behind the last one falls into a segment of its own, which is left out."""
    how, neutral = _REDUCTIONS[reduce]
    segments, size = lengths.shape[-1], data.shape[axis]
    place = arange(size, device=data.device).to(offsets.dtype).expand(*data.shape[:axis], size).contiguous()
    segment = searchsorted(offsets.contiguous(), place, right=True) - 1
    segment = where(segment < 0, segments, segment)
    trailing = (1,) * (data.ndim - axis - 1)
    shape = (*data.shape[:axis], segments + 1, *data.shape[axis + 1 :])
    start = full(shape, neutral if initial is None else initial, dtype=data.dtype, device=data.device)
    index = segment.reshape(*segment.shape, *trailing).expand(data.shape)
    result = scatter_reduce(start, axis, index, data, how).narrow(axis, 0, segments).contiguous()
    if reduce != "mean":
        return result
    count = lengths.reshape(*lengths.shape, *trailing)
    return result / (count if initial is None else count.clamp(min=1))


PUBLIC = ("segment_reduce",)
METHODS = ()

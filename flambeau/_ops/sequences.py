"""Nested sequences of numbers, arrays and tensors, which ``tensor`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from flambeau._ops.arguments import number
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.promotion import number_dtype, promote_types


def dtype_of_arrays(data: Any) -> DType | None:
    """The promoted dtype of nested sequences that begin with an array or a tensor; ``None`` for others, whose dtype is that of numbers."""
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, float) or not isinstance(first, (np.ndarray, np.generic, TensorBase)):  # ``np.float64`` is Python's ``float``, too
        return None
    return _promoted(data)


def _promoted(data: Any) -> DType:
    if isinstance(data, (list, tuple)):
        return reduce(promote_types, map(_promoted, data))
    if isinstance(data, TensorBase):
        return data.layout.dtype
    if isinstance(data, (np.ndarray, np.generic)) and not isinstance(data, float):
        return dt.from_numpy(data.dtype)
    return number_dtype(next(kind for kind in (bool, int, float, complex) if isinstance(data, kind)))


def flatten(data: Any) -> tuple[list, tuple[int, ...]]:
    """The numbers in nested sequences, and the shape."""
    shape: list[int] = []
    level: Any = [data]
    while level and (
        isinstance(level[0], (Sequence, np.ndarray, TensorBase)) and not isinstance(level[0], (str, bytes)) and not _scalar(level[0])
    ):
        length = len(level[0])
        deeper: list = []
        for item in level:
            if _scalar(item) or not hasattr(item, "__len__"):
                raise TypeError(f"not a sequence: expected a sequence of length {length} at dim {len(shape)}")
            if len(item) != length:
                raise ValueError(f"expected sequence of length {length} at dim {len(shape)} (got {len(item)})")
            deeper.extend(item.tolist() if isinstance(item, (np.ndarray, TensorBase)) else item)
        shape.append(length)
        level = deeper
    flat = []
    for item in level:
        if isinstance(item, TensorBase) and item.layout.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        if isinstance(item, (TensorBase, np.generic)):
            item = item.item()
        if item.__class__ not in (bool, int, float, complex):
            if isinstance(item, (Sequence, str, bytes)):
                if isinstance(item, (str, bytes)):
                    raise TypeError(f"new(): invalid data type '{item.__class__.__name__}'")
                raise TypeError(f"expected a number at dim {len(shape)}, got a sequence of length {len(item)}")
            try:
                item = number(item)
            except TypeError:
                raise RuntimeError(f"Could not infer dtype of {item.__class__.__name__}") from None
        flat.append(item)
    return flat, tuple(shape)


def _scalar(item: Any) -> bool:
    return (isinstance(item, TensorBase) and item.layout.ndim == 0) or (isinstance(item, np.ndarray) and item.ndim == 0)

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


def promoted(data: Any) -> DType:
    """The dtype in which all meet that nested sequences hold: tensors, arrays, NumPy's numbers and Python's."""
    if isinstance(data, (list, tuple)):
        kinds = [promoted(each) for each in data]
        return reduce(promote_types, kinds) if kinds else number_dtype(float)
    if isinstance(data, TensorBase):
        return data.layout.dtype
    if isinstance(data, (np.ndarray, np.generic)):  # before Python's numbers: ``np.float64`` is a ``float``, too
        return dt.from_numpy(data.dtype)
    return number_dtype(next(kind for kind in (bool, int, float, complex) if isinstance(data, kind)))


def flatten(data: Any) -> tuple[list, tuple[int, ...], bool]:
    """The numbers in nested sequences, the shape, and whether some come from tensors or from NumPy, which have a dtype."""
    shape: list[int] = []
    have_dtype = False
    level: Any = [data]
    while level and (isinstance(level[0], (Sequence, np.ndarray)) and not isinstance(level[0], (str, bytes)) and not _scalar(level[0])):
        length = len(level[0])
        deeper: list = []
        for item in level:
            if _scalar(item) or not hasattr(item, "__len__"):
                raise TypeError(f"not a sequence: expected a sequence of length {length} at dim {len(shape)}")
            if len(item) != length:
                raise ValueError(f"expected sequence of length {length} at dim {len(shape)} (got {len(item)})")
            is_array = isinstance(item, np.ndarray)
            have_dtype |= is_array
            deeper.extend(item.tolist() if is_array else item)
        shape.append(length)
        level = deeper
    flat = []
    for item in level:
        if isinstance(item, TensorBase) and item.layout.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        if isinstance(item, (TensorBase, np.generic, np.ndarray)):
            item, have_dtype = item.item(), True
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
    return flat, tuple(shape), have_dtype


def _scalar(item: Any) -> bool:
    return isinstance(item, TensorBase) or (isinstance(item, np.ndarray) and item.ndim == 0)

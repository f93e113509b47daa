"""One element as a Python number: what ``Tensor.item`` does until native code does it (``_tape/native/``)."""

from __future__ import annotations

import ctypes
from typing import Any

from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types.encoding import numbers_in

_CELLS = {
    dt.float32: ctypes.c_float, dt.float64: ctypes.c_double, dt.int64: ctypes.c_int64, dt.int32: ctypes.c_int32, dt.bool: ctypes.c_bool,
}  # fmt: skip
"""How ``item()`` reads the common dtypes: an array of NumPy's costs ten times as much."""


def item(tensor: TensorBase) -> Any:
    """The one element of a tensor.

    Raises:
        RuntimeError: there are more elements, or none.
    """
    layout = tensor.layout
    if layout.numel != 1:
        raise RuntimeError(f"a Tensor with {layout.numel} elements cannot be converted to Scalar")
    buffer = tensor.memory.materialize()
    dtype = layout.dtype
    cell = _CELLS.get(dtype)
    if cell is not None:
        return cell.from_address(buffer.address + layout.offset * dtype.itemsize).value
    return numbers_in(buffer.view(dtype.numpy, 1, layout.offset * dtype.itemsize), dtype).item()

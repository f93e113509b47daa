"""What users pass, as NumPy: the only place that knows what a tensor can do.

A tensor is whatever has ``detach``. The call takes a *snapshot*, a copy that is recorded like any other operator; its numbers
are asked for later, by whoever encodes the event. They may be pending on the tape of the thread that logged them, and only
that thread may be made to compute them: the background thread leaves a snapshot alone until it is *ready*.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def is_tensor(value) -> bool:
    return hasattr(value, "detach")


def is_array(value) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def is_ready(value) -> bool:
    """Whether the elements can be read without computing anything; of one of ours, it is known from its storage."""
    storage: Any = getattr(value, "memory", None)
    if not hasattr(storage, "tape"):
        return True
    # A flush clears the tape first and sets the buffer, or the error, later.
    return storage.tape is None and (storage.buffer is not None or storage.error is not None)


def dtype_name(value) -> str:
    """``"float32"`` for NumPy's dtype and for a tensor's."""
    return str(value.dtype).rpartition(".")[2]


def shape(value) -> tuple[int, ...]:
    """The shape that ``snapshot`` of it has; costs no computing."""
    return tuple(value.shape) if is_array(value) else (1,)


def size(value) -> int:
    """How many elements there are; costs no computing."""
    return math.prod(value.shape)


def snapshot(value):
    """A copy that later changes in place cannot reach; bfloat16, which NumPy lacks, as float32; a number as an array."""
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if is_tensor(value):
        value = value.detach()
        return value.float() if dtype_name(value) == "bfloat16" else value.clone()
    if np.isscalar(value):
        return np.array([value])
    raise NotImplementedError(f"expected a tensor, a NumPy array or a number, got {type(value).__name__}")


def array(value) -> np.ndarray:
    """The elements of an array, a tensor or a number; bfloat16 as float32."""
    if is_tensor(value):
        value = value.detach()
        return (value.float() if dtype_name(value) == "bfloat16" else value).numpy()
    return value if isinstance(value, np.ndarray) else np.array([value])


def scalar(value):
    """A float, or the snapshot of a tensor of one element that is not ready."""
    if is_tensor(value):
        count, ready = value.numel(), is_ready(value)
    elif isinstance(value, np.ndarray):
        count, ready = value.size, True
    elif isinstance(value, (int, float, np.number, np.bool_, str)):
        return float(value)
    else:
        raise NotImplementedError(f"a scalar must be a number or a tensor or array of one element, got {type(value).__name__}")
    if count != 1:
        raise AssertionError(f"a scalar must have one element, got shape {tuple(value.shape)}")
    return float(value.item()) if ready else value.detach().clone()


def number(value) -> float:
    """The float of what ``scalar`` returned."""
    return value if type(value) is float else float(value.item())


def step(value) -> int:
    """A global step as the 64-bit integer that an event holds; a fraction is cut off, with a warning."""
    result = int(value)
    if isinstance(value, str):
        raise ValueError(f"global_step must be a whole number, got {value!r}")
    if result != value:
        warnings.warn(f"global_step must be a whole number, got {value!r}: the event is at step {result}", UserWarning, stacklevel=4)
    if not _INT64_MIN <= result <= _INT64_MAX:
        raise ValueError(f"global_step must fit a 64-bit integer, got {result}")
    return result

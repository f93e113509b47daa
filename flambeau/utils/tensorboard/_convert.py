"""What users pass, as NumPy: the only place that knows what a tensor can do.

A tensor is whatever has ``detach``. At the call it is *snapshotted* (``detach().clone()``, which on the tape computes nothing);
its numbers are asked for later, by whoever encodes the event.
"""

from __future__ import annotations

import numpy as np

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def is_tensor(value) -> bool:
    return hasattr(value, "detach")


def is_array(value) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def snapshot(value, name: str = "value"):
    """A copy that later in-place changes of ``value`` cannot reach; numbers become arrays of one element."""
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if is_tensor(value):
        return value.detach().clone()
    if np.isscalar(value):
        return np.array([value])
    raise NotImplementedError(f"{name} must be a tensor, a NumPy array or a number, got {type(value).__name__}")


def array(value) -> np.ndarray:
    """The numbers of an array, a tensor (computed now, if they have not been) or a scalar; bfloat16 becomes float32."""
    if isinstance(value, np.ndarray):
        return value
    if is_tensor(value):
        value = value.detach()
        if "bfloat16" in str(value.dtype):
            value = value.float()
        if hasattr(value, "cpu"):
            value = value.cpu()
        return value.numpy()
    return np.array([value])


def shape(value) -> tuple[int, ...]:
    """The shape that ``snapshot`` of it has; costs no computing."""
    return tuple(value.shape) if is_array(value) else (1,)


def size(value) -> int:
    """How many elements there are; costs no computing."""
    return int(np.prod(value.shape, dtype=np.int64))


def scalar(value):
    """A float, or the snapshot of a tensor of one element."""
    if isinstance(value, (int, float, np.number, np.bool_, str)):
        return float(value)
    if not is_array(value):
        raise NotImplementedError(f"a scalar must be a number or a tensor or array of one element, got {type(value).__name__}")
    if size(value) != 1:
        raise AssertionError(f"a scalar must have one element, got shape {tuple(value.shape)}")
    if isinstance(value, np.ndarray):
        return float(value.item())
    return value.detach().clone()


def number(value) -> float:
    """The float of what ``scalar`` returned."""
    return value if type(value) is float else float(value.item())


def step(value) -> int:
    """A global step as the 64-bit integer that an event holds."""
    result = int(value)
    if not _INT64_MIN <= result <= _INT64_MAX:
        raise ValueError(f"global_step must fit a 64-bit integer, got {result}")
    return result

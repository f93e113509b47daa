"""Tensors shared with other libraries in the same memory, by the DLPack protocol."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor
from flambeau import from_dlpack as from_dlpack
from flambeau._types.dlpack import DLDeviceType as DLDeviceType

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of a tensor's memory, to be taken once.

    Raises:
        BufferError: the tensor is elsewhere than on the CPU, or of a dtype that NumPy lacks
    """
    return tensor.detach().__dlpack__()

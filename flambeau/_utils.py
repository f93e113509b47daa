"""What packages take from PyTorch's own helpers, although the module's name begins with an underscore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._serialization.nested import _rebuild_nested_tensor
from flambeau._serialization.tensors import (
    _rebuild_meta_tensor_no_storage,
    _rebuild_parameter,
    _rebuild_parameter_with_state,
    _rebuild_qtensor,
    _rebuild_sparse_tensor,
    _rebuild_tensor,
    _rebuild_tensor_v2,
    _rebuild_tensor_v3,
)

__all__ = ["_flatten_dense_tensors", "_get_device_index", "_take_tensors", "_unflatten_dense_tensors"]
__all__ += ["_rebuild_nested_tensor", "_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_qtensor", "_rebuild_sparse_tensor"]
__all__ += [
    "_rebuild_meta_tensor_no_storage",
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
]  # pickles of PyTorch's name them


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """The elements of all tensors in one vector."""
    return flambeau.cat([tensor.reshape(-1) for tensor in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of a vector's parts with the shapes of ``tensors``."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def _take_tensors(tensors: Iterable[Tensor], size_limit: int) -> Iterator[list[Tensor]]:
    """Lists of tensors of one type with up to so many bytes."""
    pending: dict[str, list[Tensor]] = {}
    sizes: dict[str, int] = {}
    for tensor in tensors:
        kind = tensor.type()
        size = tensor.numel() * tensor.element_size()
        if pending.get(kind) and sizes[kind] + size > size_limit:
            yield pending.pop(kind)
            sizes[kind] = 0
        pending.setdefault(kind, []).append(tensor)
        sizes[kind] = sizes.get(kind, 0) + size
    yield from pending.values()


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The number of a device: -1 for the CPU, where that is allowed."""
    if isinstance(device, int):
        return device
    place = flambeau.device(device) if device is not None else None
    if place is not None and place.index is not None and place.type != "cpu":
        return place.index
    if allow_cpu or optional:
        return -1
    raise ValueError(f"Expected a torch.device with a specified index or an integer, but got: {device}")

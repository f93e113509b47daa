"""Lists of tensors in groups of one device and dtype, for optimizers outside that update many parameters by one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau._types.device import device as Device
from flambeau._types.dtype import dtype as DType

__all__: list[str] = []


def _group_tensors_by_device_and_dtype(
    tensorlistlist: Sequence[Sequence[Any]], with_indices: bool = False
) -> dict[tuple[Device, DType], tuple[list[list[Any]], list[int]]]:
    """Several lists of equal lengths, cut up by the device and dtype of the first list's tensors.

    Returns:
        For each device and dtype the lists' parts, and (``with_indices``) where their elements stood.

    Raises:
        RuntimeError: there is no list, a list is of another length (an empty one stays empty), or the first has ``None`` in it
    """
    if not tensorlistlist:
        raise RuntimeError("_group_tensors_by_device_and_dtype() needs at least one list of tensors")
    first = tensorlistlist[0]
    for each in tensorlistlist:
        if each and len(each) != len(first):
            raise RuntimeError(f"the lists must be of one length or empty, but there are {len(first)} and {len(each)} elements")
    if not all(isinstance(each, Tensor) for each in first):
        raise RuntimeError("the first list must hold tensors alone")
    groups: dict[tuple[Device, DType], list[int]] = {}
    for place, tensor in enumerate(first):
        groups.setdefault((tensor.device, tensor.dtype), []).append(place)
    return {
        key: ([[each[place] for place in places] if each else [] for each in tensorlistlist], places if with_indices else [])
        for key, places in groups.items()
    }


def _get_foreach_kernels_supported_devices() -> list[str]:
    """On which devices one call for many tensors is worth choosing by itself: on none, since what is recorded becomes one program anyway."""
    return []


def _get_fused_kernels_supported_devices() -> list[str]:
    """Where ``fused=True`` is accepted."""
    return ["cpu"]

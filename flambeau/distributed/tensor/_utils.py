"""Which part of a distributed tensor a process has, under the name that others' libraries import."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.placement_types import Placement
from flambeau.distributed.tensor.spec import local_shape_and_offset

__all__ = ["compute_local_shape_and_global_offset"]


def compute_local_shape_and_global_offset(
    global_shape: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement], skip_offset: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of what this process has of a tensor of ``global_shape``, and where in the whole it begins (nothing with ``skip_offset``)."""
    shape, offset = local_shape_and_offset(global_shape, mesh, placements)
    return shape, () if skip_offset else offset

"""What a distributed tensor is besides the piece of it that a process has: its mesh, placements, shape and strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau._tensor.size import Size
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.placement_types import Placement, Replicate, Shard, _StridedShard

__all__ = ["DTensorSpec", "contiguous_strides", "local_shape_and_offset", "normalized"]


class DTensorSpec:
    """Mesh, placements, shape and strides.

    Attributes:
        mesh: the processes
        placements: how the tensor lies along each dimension of the mesh
        shape, stride, numel: of the whole tensor
    """

    __slots__ = ("mesh", "numel", "placements", "shape", "stride")

    def __init__(
        self, mesh: DeviceMesh, placements: Sequence[Placement], shape: Sequence[int], stride: Sequence[int] | None = None
    ) -> None:
        self.mesh = mesh
        self.placements = tuple(placements)
        self.shape = Size(shape)
        self.numel = self.shape.numel()
        self.stride = tuple(contiguous_strides(shape) if stride is None else stride)

    device_mesh = property(lambda self: self.mesh, doc="The processes.")
    ndim = property(lambda self: len(self.shape), doc="The number of dimensions of the tensor.")

    def with_placements(self, placements: Sequence[Placement]) -> DTensorSpec:
        """The same tensor, lying in another way."""
        return DTensorSpec(self.mesh, placements, self.shape, self.stride)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTensorSpec) and (self.mesh, self.placements, self.shape) == (other.mesh, other.placements, other.shape)

    def __hash__(self) -> int:
        return hash((self.mesh, self.placements, self.shape))

    def __repr__(self) -> str:
        return f"Spec({''.join(map(str, self.placements))} on {list(self.shape)})"


def contiguous_strides(shape: Sequence[int]) -> list[int]:
    """The strides of a tensor whose elements lie in order without gaps."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return strides[::-1]


def normalized(placements: Sequence[Placement] | None, mesh: DeviceMesh, ndim: int) -> tuple[Placement, ...]:
    """Placements with dimensions counted from the front; whole in each process, if none are given.

    Raises:
        ValueError: they are not as many as the mesh has dimensions
        IndexError: the tensor does not have the dimension that one names
        TypeError: one is no placement
    """
    if placements is None:
        return (Replicate(),) * mesh.ndim
    placements = tuple(placements)
    if len(placements) != mesh.ndim:
        raise ValueError(
            f"`placements` must have the same length as `device_mesh.ndim`! Found placements length: {len(placements)}, and "
            f"device_mesh.ndim: {mesh.ndim}."
        )
    found: list[Placement] = []
    for each in placements:
        if not isinstance(each, Placement):
            raise TypeError(f"placements are Shard(dim), Replicate() or Partial(), not {each!r}")
        if isinstance(each, (Shard, _StridedShard)):
            if not -ndim <= each.dim < ndim:
                raise IndexError(f"{each!r}: the tensor has {ndim} dimensions")
            options = {"split_factor": each.split_factor} if isinstance(each, _StridedShard) else {}
            each = type(each)(each.dim % ndim, **options)
        found.append(each)
    return tuple(found)


def local_shape_and_offset(
    shape: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement], coordinate: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of what a process has, and where in the whole tensor its first piece begins.

    Args:
        coordinate: the process's place in the mesh; this one's, by default. One that is not in the mesh has nothing.
    """
    place: Any = mesh.get_coordinate() if coordinate is None else coordinate
    sizes, offsets = list(shape), [0] * len(shape)
    if place is None:
        return (0,) * len(sizes) if sizes else (0,), tuple(offsets)
    for axis, placement in enumerate(placements):
        if isinstance(placement, (Shard, _StridedShard)):
            dim = placement.dim
            pieces = placement.pieces(sizes[dim], mesh.size(axis))[place[axis]]
            sizes[dim] = sum(end - start for start, end in pieces)
            offsets[dim] += pieces[0][0]
    return tuple(sizes), tuple(offsets)

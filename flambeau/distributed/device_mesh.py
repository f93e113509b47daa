"""Processes as a grid, whose rows and columns are groups."""

from __future__ import annotations

from collections.abc import Sequence
from threading import local
from typing import Any

import numpy

import flambeau
from flambeau.distributed.world import (
    GroupMember,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    init_process_group,
    is_initialized,
    member,
    new_group,
)

__all__ = ["DeviceMesh", "init_device_mesh"]


class _Entered(local):
    """The meshes whose ``with`` blocks this thread is in."""

    def __init__(self) -> None:
        self.stack: list[DeviceMesh] = []


_ENTERED = _Entered()


def current_mesh() -> DeviceMesh | None:
    """The mesh of the innermost ``with mesh:``."""
    return _ENTERED.stack[-1] if _ENTERED.stack else None


class DeviceMesh:
    """A grid of processes. All processes of the job make it, in the same order.

    Args:
        device_type: ``"cpu"``
        mesh: the ranks, in an array of any number of dimensions
        mesh_dim_names: names of the dimensions

    Example::

        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("replicas", "shards"))
        distributed.all_reduce(x, group=mesh.get_group("shards"))
    """

    def __init__(self, device_type: str, mesh: Any, *, mesh_dim_names: Sequence[str] | None = None, _groups: Any = None) -> None:
        self.device_type = device_type
        self._ranks = numpy.array(mesh.tolist() if isinstance(mesh, flambeau.Tensor) else mesh, dtype=numpy.int64)
        self.mesh_dim_names = tuple(mesh_dim_names) if mesh_dim_names is not None else None
        if self.mesh_dim_names is not None and len(self.mesh_dim_names) != self._ranks.ndim:
            raise ValueError(f"{len(self.mesh_dim_names)} names are given for the {self._ranks.ndim} dimensions of the mesh")
        if not is_initialized():
            init_process_group()
        if len(set(self._ranks.flat)) < self._ranks.size or self._ranks.size > get_world_size():
            raise RuntimeError(
                f"a mesh of {self._ranks.size} different ranks is wanted of {get_world_size()} processes: {self._ranks.tolist()}"
            )
        self._groups = self._make_groups() if _groups is None else _groups
        places = numpy.argwhere(self._ranks == get_rank())
        self._place: list[int] | None = places[0].tolist() if len(places) else None
        self._flattened: dict[str, DeviceMesh] = {}
        self._parent: DeviceMesh | None = None

    def _make_groups(self) -> list[Any]:
        """For each dimension the group of the processes that differ in it only."""
        groups: list[Any] = []
        for dim in range(self._ranks.ndim):
            own = GroupMember.NON_GROUP_MEMBER
            for line in numpy.moveaxis(self._ranks, dim, -1).reshape(-1, self._ranks.shape[dim]):
                whole = sorted(line) == list(range(get_world_size()))
                made = member(None) if whole else new_group(line.tolist())
                own = made if get_rank() in line else own
            groups.append(own)
        return groups

    @property
    def mesh(self) -> flambeau.Tensor:
        """The ranks."""
        return flambeau.tensor(self._ranks.tolist())

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._ranks.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self._ranks.shape

    def size(self, mesh_dim: int | None = None) -> int:
        """The number of processes, in all or along a dimension."""
        return self._ranks.size if mesh_dim is None else self._ranks.shape[mesh_dim]

    def _dim(self, dim: int | str | None) -> int:
        if dim is None:
            if self.ndim > 1:
                raise RuntimeError(
                    f"Found the DeviceMesh have {self.ndim} dimensions. Optional kwarg `mesh_dim` needs to be specified when mesh.ndim > 1."
                )
            return 0
        if isinstance(dim, int):
            if not -self.ndim <= dim < self.ndim:
                raise IndexError(f"the mesh has {self.ndim} dimensions, of which {dim} is none: {self}")
            return dim % self.ndim
        if dim not in (self.mesh_dim_names or ()):
            raise KeyError(f"Invalid mesh_dim_name {dim}: the mesh has {self.mesh_dim_names}")
        return self.mesh_dim_names.index(dim)

    def get_group(self, mesh_dim: int | str | None = None) -> Any:
        """The group of the processes that differ from this one in one dimension only; ``NON_GROUP_MEMBER`` if it is not in the mesh."""
        return self._groups[self._dim(mesh_dim)]

    def get_all_groups(self) -> list[Any]:
        """The groups of all dimensions."""
        return list(self._groups)

    def get_rank(self) -> int:
        """This process's number in the job."""
        return get_rank()

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's place along a dimension."""
        dim = self._dim(mesh_dim)
        if self._place is None:
            raise RuntimeError(f"rank {get_rank()} is not in {self}")
        return get_process_group_ranks(self._groups[dim]).index(get_rank())

    def get_coordinate(self) -> list[int] | None:
        """This process's place in the mesh; ``None`` if it is not in it."""
        return self._place

    @staticmethod
    def from_group(group: Any, device_type: str, mesh: Any = None, *, mesh_dim_names: Sequence[str] | None = None) -> DeviceMesh:
        """A mesh of groups that exist: of one, or of one for each dimension of ``mesh``.

        Raises:
            ValueError: there are several groups, and no ``mesh`` that says where each process is
        """
        groups = list(group) if isinstance(group, (list, tuple)) else [group]
        if mesh is None:
            if len(groups) > 1:
                raise ValueError("Must pass mesh if passing multiple ProcessGroups")
            mesh = get_process_group_ranks(groups[0])
        return DeviceMesh(device_type, mesh, mesh_dim_names=mesh_dim_names, _groups=groups)

    def _flatten(self, mesh_dim_name: str | None = None) -> DeviceMesh:
        """All dimensions as one, which is found under its name (the names together, by default). All processes of the job call this."""
        name = mesh_dim_name or "_".join(self.mesh_dim_names or ())
        if name not in self._flattened:
            self._flattened[name] = self if self.ndim == 1 else DeviceMesh(self.device_type, self._ranks.reshape(-1), mesh_dim_names=[name])
        return self._flattened[name]

    def __enter__(self) -> DeviceMesh:
        _ENTERED.stack.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _ENTERED.stack.pop()

    def __getitem__(self, names: str | tuple[str, ...]) -> DeviceMesh:
        """The part of the mesh with some dimensions, in which this process is."""
        if isinstance(names, str) and names in self._flattened:
            return self._flattened[names]
        if isinstance(names, str) and (names,) == self.mesh_dim_names:
            return self
        dims = [self._dim(name) for name in ((names,) if isinstance(names, str) else names)]
        place = self.get_coordinate()
        index = tuple(slice(None) if dim in dims else (place[dim] if place is not None else 0) for dim in range(self.ndim))
        kept = sorted(dims)
        part = self._ranks[index].transpose([kept.index(dim) for dim in dims])
        found = DeviceMesh(
            self.device_type, part, mesh_dim_names=[self.mesh_dim_names[dim] for dim in dims], _groups=[self._groups[dim] for dim in dims]
        )
        found._parent = self._parent or self
        return found

    def __repr__(self) -> str:
        names = self.mesh_dim_names
        shape = self.shape if names is None else "(" + ", ".join(f"{name}={size}" for name, size in zip(names, self.shape)) + ")"
        lines = [self._ranks[tuple(slice(None) if each == dim else 0 for each in range(self.ndim))] for dim in range(self.ndim)]
        steps = tuple([int(line[1] - line[0]) if len(line) > 1 else 1 for line in lines])
        return f"DeviceMesh({shape}, {self.device_type!r}, stride={steps})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DeviceMesh) and self.mesh_dim_names == other.mesh_dim_names and numpy.array_equal(self._ranks, other._ranks)
        )

    def __hash__(self) -> int:
        return hash((self._ranks.tobytes(), self._ranks.shape, self.mesh_dim_names))


def init_device_mesh(
    device_type: str, mesh_shape: Sequence[int], *, mesh_dim_names: Sequence[str] | None = None, backend_override: Any = None
) -> DeviceMesh:
    """A mesh of all processes in the order of their ranks; they meet as ``env://`` says if they have not met yet.

    Raises:
        RuntimeError: the names are not as many as the dimensions, or not different, or there are not as many processes
    """
    if mesh_dim_names is not None:
        if len(set(mesh_dim_names)) != len(mesh_dim_names):
            raise RuntimeError(f"Each mesh_dim_name must be unique. Found repeated mesh_dim_name in mesh_dim_names {mesh_dim_names}")
        if len(mesh_dim_names) != len(mesh_shape):
            raise RuntimeError("mesh_shape and mesh_dim_names should have same length!")
    ranks = numpy.arange(int(numpy.prod(mesh_shape))).reshape(tuple(mesh_shape))
    return DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names)

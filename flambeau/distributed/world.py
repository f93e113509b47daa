"""The groups that this process belongs to, and how it comes to belong to them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flambeau.distributed.process_group import ProcessGroup
from flambeau.distributed.rendezvous import rendezvous
from flambeau.distributed.store import PrefixStore, Store

__all__ = [
    "Backend", "GroupMember", "destroy_process_group", "get_backend", "get_backend_config", "get_default_backend_for_device", "get_global_rank", "get_group_rank",
    "get_node_local_rank", "get_pg_count", "get_process_group_ranks", "get_rank", "get_world_size", "group", "init_process_group", "is_available", "is_backend_available",
    "is_gloo_available", "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "is_ucc_available", "is_xccl_available", "new_group",
    "new_subgroups", "new_subgroups_by_enumeration",
]  # fmt: skip

default_pg_timeout = timedelta(minutes=30)


class Backend(str):
    """The name of a way in which processes communicate; there is one of Flambeau's own, which answers to ``gloo``."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    XCCL = "xccl"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI]  # noqa: RUF012
    default_device_backend_map = {"cpu": GLOO}  # noqa: RUF012

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish: {name}")
        return super().__new__(cls, name.lower())


class GroupMember:
    """What stands for a group: ``WORLD`` is all processes, ``NON_GROUP_MEMBER`` a group that this process is not in."""

    WORLD: ProcessGroup | None = None
    NON_GROUP_MEMBER = -100


class _MetaGroup(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        return GroupMember.WORLD


class group(metaclass=_MetaGroup):
    """``group.WORLD`` is all processes."""


class _Groups:
    """The groups of this process.

    Attributes:
        members: the groups that it is in
        made: how many groups the job has made; all processes count the same
        made_locally: how many their members alone have made, by their ranks; the members count the same
        store: where new groups find each other
    """

    def __init__(self) -> None:
        self.members: list[ProcessGroup] = []
        self.made = 0
        self.made_locally: Counter[str] = Counter()
        self.store: Store | None = None


_GROUPS = _Groups()


def is_available() -> bool:
    """Whether processes can train together: yes."""
    return True


def is_initialized() -> bool:
    """Whether this process is part of a group."""
    return GroupMember.WORLD is not None


def is_gloo_available() -> bool:
    """Whether there is a backend that answers to ``gloo``: yes, Flambeau's own."""
    return True


def is_mpi_available() -> bool:
    """Whether there is MPI: no."""
    return False


def is_nccl_available() -> bool:
    """Whether there is NCCL, for GPUs: no."""
    return False


is_ucc_available = is_xccl_available = is_nccl_available


def is_backend_available(backend: str) -> bool:
    """Whether a backend can be used."""
    return backend.lower() == Backend.GLOO


def is_torchelastic_launched() -> bool:
    """Whether this process was started by ``torch.distributed.run``."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _checked_backend(backend: str | None) -> str:
    """The name of the backend: what is for the CPU in ``"cpu:gloo,cuda:nccl"``, and ``gloo`` without one.

    Raises:
        RuntimeError: it is one that PyTorch may have, and that is not here
        AssertionError: PyTorch does not know it either
    """
    if backend is None or backend == Backend.UNDEFINED:
        return Backend.GLOO
    if ":" in backend:
        by_device = dict(part.split(":") for part in backend.lower().split(","))
        backend = by_device.get("cpu", next(iter(by_device.values())))
    backend = backend.lower()
    if backend == Backend.GLOO:
        return Backend.GLOO
    if backend in Backend.backend_list:
        raise RuntimeError(
            f"Distributed package doesn't have {backend.upper()} built in: Flambeau's processes communicate by backend='gloo'"
        )
    raise AssertionError(f"Unknown backend type {backend}")


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Store | None = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
    _ranks: list[int] | None = None,
) -> None:
    """Meet the other processes of the job, and make of them the group ``group.WORLD``.

    Args:
        backend: ``"gloo"``, which is the default and the only one
        init_method: where to meet: ``"env://"`` (the default: environment variables say it), ``"tcp://host:port"`` or ``"file:///path"``
        timeout: how long collectives may take (half an hour)
        world_size, rank: how many processes there are, and this one's number
        store: where to meet, instead of ``init_method``

    Raises:
        ValueError: the group exists, or what is needed to meet is missing
        RuntimeError: another process did not come in time, or the backend is not here
    """
    if GroupMember.WORLD is not None:
        raise ValueError("trying to initialize the default process group twice!")
    name = _checked_backend(backend)
    if store is not None and init_method is not None:
        raise ValueError("Cannot specify both init_method and store.")
    timeout = default_pg_timeout if timeout is None else timeout
    if not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    if store is None:
        store, rank, world_size = next(rendezvous(init_method or "env://", rank, world_size, timeout=timeout))
    elif world_size <= 0:
        raise ValueError("world_size must be positive if using store")
    elif rank < 0:
        raise ValueError("rank must be non-negative if using store")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is none of the {world_size} of the group: ranks are 0 to {world_size - 1}")
    store.set_timeout(timeout)
    turn = store.add(f"turn/{rank}", 1)  # a store that outlives the group holds addresses of the one before
    _GROUPS.made, _GROUPS.store = 1, PrefixStore(f"groups/{turn}", store)
    _GROUPS.made_locally.clear()
    made = ProcessGroup(PrefixStore("0", _GROUPS.store), range(world_size), rank, timeout, group_name or "0", name)
    _GROUPS.members.append(made)
    GroupMember.WORLD = made


def destroy_process_group(group: Any = None) -> None:
    """Leave a group, or all of them. Others that still wait for this process get an error.

    Raises:
        ValueError: there is no such group
    """
    if outside(group):
        return
    leaving = member(group)
    if leaving is GroupMember.WORLD:
        for each in reversed(_GROUPS.members):
            each.close()
        _GROUPS.members.clear()
        _GROUPS.store = None
        GroupMember.WORLD = None
    else:
        leaving.close()
        _GROUPS.members.remove(leaving)


def member(group: Any) -> ProcessGroup:
    """The group that an argument means.

    Raises:
        ValueError: there is none
    """
    world = GroupMember.WORLD
    if world is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    if group is None or group is world:
        return world
    if not isinstance(group, ProcessGroup) or group not in _GROUPS.members:
        raise ValueError(f"Invalid process group specified: {group!r}")
    return group


def outside(group: Any) -> bool:
    """Whether an argument means a group that this process is not in."""
    return isinstance(group, int) and group == GroupMember.NON_GROUP_MEMBER


def warn_outside(name: str) -> Any:
    """Say that a call does nothing."""
    warnings.warn(f"Running {name} on global rank {get_rank()} which does not belong to the given group.", stacklevel=3)
    return None


def get_rank(group: Any = None) -> int:
    """This process's number in a group; -1 if it is not in it."""
    return -1 if outside(group) else member(group).rank()


def get_world_size(group: Any = None) -> int:
    """How many processes a group has; -1 if this one is not in it."""
    return -1 if outside(group) else member(group).size()


def get_backend(group: Any = None) -> str:
    """The name of a group's backend.

    Raises:
        ValueError: this process is not in the group
    """
    if outside(group):
        raise ValueError("Invalid process group specified: this process is not in it")
    return Backend(member(group).backend)


def get_backend_config(group: Any = None) -> str:
    """The backend of each kind of device."""
    return f"cpu:{get_backend(group)}"


def get_default_backend_for_device(device: Any) -> str:
    """The backend of a kind of device."""
    return Backend.GLOO


def get_pg_count() -> int:
    """How many groups this process is in."""
    return len(_GROUPS.members)


def get_process_group_ranks(group: Any) -> list[int]:
    """The numbers in the job of a group's processes."""
    return list(member(group).ranks)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The number in the job of a process of a group.

    Raises:
        ValueError: the group has no such process
    """
    ranks = member(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return ranks[group_rank]


def get_group_rank(group: Any, global_rank: int) -> int:
    """The number in a group of a process of the job.

    Raises:
        ValueError: it is not in the group
    """
    ranks = member(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return ranks.index(global_rank)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its machine, as ``torch.distributed.run`` says.

    Raises:
        RuntimeError: it does not say, and there is no fallback
    """
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is None:
        raise RuntimeError(
            "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work, "
            "assuming you are not running in a multi-device context and want the code to run locally instead."
        )
    return int(fallback_rank)


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
) -> Any:
    """A group of some processes. All processes of the job must call this, in the same order, also those that will not be in it.

    Args:
        ranks: their numbers in the job; all, by default
        timeout: how long its collectives may take

    Returns:
        The group, or ``GroupMember.NON_GROUP_MEMBER`` if this process is not in it.

    Raises:
        ValueError: a number is twice in ``ranks`` or none of the job's
    """
    world = member(None)
    chosen = list(range(world.size())) if ranks is None else sorted(ranks)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"ranks must be different, but got {list(ranks)}")
    for each in chosen:
        if not 0 <= each < world.size():
            raise ValueError(f"Rank {each} is out of range. Valid ranks are 0 to {world.size() - 1} (world_size={world.size()})")
    name = _checked_backend(backend or world.backend)
    if use_local_synchronization:  # the others do not call this, and do not count it
        key = " ".join(map(str, chosen))
        number = f"local {key}: {_GROUPS.made_locally[key]}"
        _GROUPS.made_locally[key] += 1
    else:
        number = str(_GROUPS.made)
        _GROUPS.made += 1
    if world.rank() not in chosen:
        return GroupMember.NON_GROUP_MEMBER
    store = PrefixStore(number, _GROUPS.store)
    made = ProcessGroup(store, chosen, chosen.index(world.rank()), timeout or default_pg_timeout, number, name)
    if group_desc is not None:
        made.group_desc = group_desc
    _GROUPS.members.append(made)
    return made


def new_subgroups(
    group_size: int | None = None, group: Any = None, timeout: timedelta | None = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """Groups of ``group_size`` consecutive processes: this process's own, and all.

    Raises:
        ValueError: the number of processes is no multiple of ``group_size``
    """
    size = get_world_size()
    if group_size is None:
        group_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if size < group_size:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({size})")
    if size % group_size:
        raise ValueError(f"The world size ({size}) must be divisible by '{group_size=}'")
    parts = [list(range(start, start + group_size)) for start in range(0, size, group_size)]
    return new_subgroups_by_enumeration(parts, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: Sequence[Sequence[int]], timeout: timedelta | None = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """Groups of given processes: the one that this process is in (or ``None``), and all.

    Raises:
        ValueError: there is none, or a process is in two
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    every = [rank for ranks in ranks_per_subgroup_list for rank in ranks]
    if len(set(every)) < len(every):
        raise ValueError(f"The rank {max(every, key=every.count)} has appeared in several subgroups")
    groups = [new_group(ranks, timeout, backend, pg_options, group_desc=group_desc) for ranks in ranks_per_subgroup_list]
    return next((each for each in groups if isinstance(each, ProcessGroup)), None), groups

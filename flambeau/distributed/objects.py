"""Collectives of Python objects, which are sent as pickles.

Only processes that have proved to belong to the group can send something, so that a pickle never comes from a stranger; but each
process of the job can make the others run code, as with PyTorch.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.distributed.collective_calls import check_list, group_rank
from flambeau.distributed.mailbox import Message
from flambeau.distributed.point_to_point import other_rank
from flambeau.distributed.process_group import ProcessGroup
from flambeau.distributed.work import Work
from flambeau.distributed.world import member, outside, warn_outside

__all__ = [
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list", "send_object_list",
]  # fmt: skip

_TAG = -2
"""The tag of messages of objects; users' tags are not negative."""


def _pickled(value: Any) -> numpy.ndarray:
    return numpy.frombuffer(pickle.dumps(value), numpy.uint8)


def _exchange(members: ProcessGroup, outgoing: Sequence[numpy.ndarray | None], label: str) -> list[numpy.ndarray]:
    """What each process sends, as bytes of our own; how many is not known before."""
    found: list[numpy.ndarray] = []

    def job() -> None:
        arrays = members.mesh.exchange(outgoing, [None] * members.size(), label.encode())
        found.extend(array.copy() for array in arrays)

    members.run(job, [], label, False)
    return found


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Fill a list with the objects of all processes."""
    if outside(group):
        return warn_outside("all_gather_object")
    members = member(group)
    found = _exchange(members, [_pickled(obj)] * members.size(), "all_gather_object()")
    for number, array in enumerate(found):
        object_list[number] = pickle.loads(array)
    return None


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None, group: Any = None, group_dst: int | None = None
) -> None:
    """Fill a list of one process (0, by default) with the objects of all.

    Raises:
        ValueError: that process gives no list, or another one does
    """
    if outside(group):
        return warn_outside("gather_object")
    members = member(group)
    root = group_rank(members, dst, group_dst, "gather_object", default=0)
    receives = members.rank() == root
    check_list("object_gather_list", object_gather_list, receives, "destination")
    mine = _pickled(obj)
    found = _exchange(members, [mine if peer == root else None for peer in range(members.size())], f"gather_object(to {root})")
    if receives:
        for number, array in enumerate(found):
            object_gather_list[number] = pickle.loads(array)
    return None


def broadcast_object_list(
    object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None, group_src: int | None = None
) -> None:
    """Replace the objects in the list of every process by those of one (0, by default)."""
    if outside(group):
        return warn_outside("broadcast_object_list")
    members = member(group)
    root = group_rank(members, src, group_src, "broadcast_object_list", default=0)
    sends = members.rank() == root
    found = _exchange(
        members,
        [_pickled(list(object_list)) if sends else None] * members.size(),
        f"broadcast_object_list({len(object_list)}, from {root})",
    )
    if not sends:
        object_list[:] = pickle.loads(found[root])
    return None


def scatter_object_list(
    scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None, src: int | None = None, group: Any = None,
    group_src: int | None = None,
) -> None:  # fmt: skip
    """Set the first object of every process's list to one of those that one process (0, by default) has.

    Raises:
        ValueError: there is no place for it, or not an object for each process
    """
    if outside(group):
        return warn_outside("scatter_object_list")
    members = member(group)
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    root = group_rank(members, src, group_src, "scatter_object_list", default=0)
    outgoing: list[numpy.ndarray | None] = [None] * members.size()
    if members.rank() == root:
        if scatter_object_input_list is None or len(scatter_object_input_list) != members.size():
            raise ValueError(f"Expected argument scatter_object_input_list to have an object for each of {members.size()} processes.")
        outgoing = [_pickled(each) for each in scatter_object_input_list]
    found = _exchange(members, outgoing, f"scatter_object_list(from {root})")
    scatter_object_output_list[0] = pickle.loads(found[root])
    return None


def send_object_list(
    object_list: list[Any], dst: int | None = None, group: Any = None, device: Any = None, group_dst: int | None = None, use_batch: bool = False
) -> None:  # fmt: skip
    """Send objects to another process, which has to call ``recv_object_list``.

    Raises:
        ValueError: they would be sent to this process itself
    """
    if outside(group):
        return warn_outside("send_object_list")
    members = member(group)
    peer = other_rank(members, dst, group_dst, "send_object_list", "destination")
    members.mailbox.send(peer, _TAG, _pickled(list(object_list)), "objects")
    return None


def recv_object_list(
    object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None, group_src: int | None = None, use_batch: bool = False
) -> int:  # fmt: skip
    """Fill a list with the objects that another process (any, by default) sends, and return its number in the job.

    Raises:
        ValueError: this process would send them to itself
        RuntimeError: there are not as many, or nothing comes in time
    """
    if outside(group):
        warn_outside("recv_object_list")
        return -1
    members = member(group)
    peer = None if src is None and group_src is None else other_rank(members, src, group_src, "recv_object_list", "source")
    received: list[Message] = []
    future = members.mailbox.receive(peer, _TAG, received.append)
    Work(future, [], members.timeout.total_seconds(), "recv_object_list", lambda: members.mailbox.cancel(future)).wait()
    objects = pickle.loads(received[0].payload)
    if len(objects) != len(object_list):
        raise RuntimeError(f"recv_object_list: rank {received[0].sender} sends {len(objects)} objects, {len(object_list)} are expected")
    object_list[:] = objects
    return members.ranks[received[0].sender]

"""Messages from one process to another: ``send``, ``recv``, and both in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import Tensor
from flambeau.distributed.arrays import Targets, check_tensor, describe, readable
from flambeau.distributed.collective_calls import group_rank
from flambeau.distributed.mailbox import Message
from flambeau.distributed.process_group import ProcessGroup
from flambeau.distributed.work import Work
from flambeau.distributed.world import member, outside, warn_outside

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "recv", "send"]


def other_rank(members: ProcessGroup, of_all: int | None, of_group: int | None, name: str, role: str) -> int:
    """``group_rank`` of a process that must not be this one.

    Raises:
        ValueError: it is
    """
    peer = group_rank(members, of_all, of_group, name)
    if peer == members.rank():
        raise ValueError(f"Invalid {role} rank: {role} rank should not be the same as the rank of the current process.")
    return peer


def _check_tag(tag: int) -> None:
    """Negative tags are those of messages of our own."""
    if tag < 0:
        raise RuntimeError(f"Tag must be nonnegative, but got {tag}")


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """Send a tensor to another process, which has to receive it with the same tag.

    Raises:
        ValueError: it would be sent to this process itself
        RuntimeError: the other process is gone, or the tag is negative
    """
    check_tensor(tensor, "tensor")
    _check_tag(tag)
    if outside(group):
        return warn_outside("send")
    members = member(group)
    peer = other_rank(members, dst, group_dst, "send", "destination")
    members.mailbox.send(peer, tag, _bytes(tensor), describe(tensor))
    return None


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> Work | None:
    """``send`` in the background; the tensor must not be changed before the ``wait()`` of what is returned."""
    check_tensor(tensor, "tensor")
    _check_tag(tag)
    if outside(group):
        return warn_outside("isend")
    members = member(group)
    peer = other_rank(members, dst, group_dst, "isend", "destination")
    future = members.mailbox.send_later(peer, tag, _bytes(tensor), describe(tensor))
    return Work(future, [tensor], members.timeout.total_seconds(), "isend")


def _bytes(tensor: Tensor) -> Any:
    return readable(tensor).view("uint8")


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> Work | None:
    """``recv`` in the background; the tensor is there after the ``wait()`` of what is returned."""
    check_tensor(tensor, "tensor")
    _check_tag(tag)
    if outside(group):
        return warn_outside("irecv")
    members = member(group)
    peer = None if src is None and group_src is None else other_rank(members, src, group_src, "recv", "source")
    targets = Targets([tensor])
    wanted, dtype, count = describe(tensor), tensor.dtype.name, tensor.numel()

    def deliver(message: Message) -> int:
        target = targets.arrays[0]
        if message.label.partition("[")[0] != dtype or message.payload.nbytes != target.nbytes:
            raise RuntimeError(f"recv: rank {message.sender} sends {message.label}, but is received into {wanted} ({count} elements)")
        target.view("uint8")[...] = message.payload
        targets.finish()
        return members.ranks[message.sender]

    future = members.mailbox.receive(peer, tag, deliver)
    return Work(future, [tensor], members.timeout.total_seconds(), "recv", lambda: members.mailbox.cancel(future))


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> int:
    """Fill a tensor with what another process sends with the same tag.

    Args:
        src: the sender's number in the job; any sender, by default
        group_src: or its number in the group

    Returns:
        The sender's number in the job; -1 if this process is not in the group.

    Raises:
        RuntimeError: the sender is gone, nothing comes in time, or it has another dtype or size
    """
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    return work.source_rank()


class P2POp:
    """An ``isend`` or ``irecv`` for ``batch_isend_irecv``.

    Args:
        op: ``isend`` or ``irecv``
        tensor: what is sent, or is filled
        peer: the other process's number in the job
        group_peer: or its number in the group
    """

    def __init__(
        self, op: Callable, tensor: Tensor, peer: int | None = None, group: Any = None, tag: int = 0, group_peer: int | None = None
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError("Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or ``torch.distributed.irecv``.")
        check_tensor(tensor, "tensor")
        self.op, self.tensor, self.group, self.tag = op, tensor, group, tag
        self.group_peer = group_rank(member(group), peer, group_peer, "P2POp")
        self.peer = member(group).ranks[self.group_peer]

    def __repr__(self) -> str:
        return f"P2POp({self.op.__name__}, {describe(self.tensor)}, peer={self.peer}, tag={self.tag})"


def batch_isend_irecv(p2p_op_list: Sequence[P2POp]) -> list[Work]:
    """Start several messages, and return what to wait for.

    Raises:
        ValueError: the list is empty, or holds something else
    """
    if not p2p_op_list or not all(isinstance(each, P2POp) for each in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``.")
    works = [each.op(each.tensor, group=each.group, tag=each.tag, **_peer(each)) for each in p2p_op_list]
    return [work for work in works if work is not None]


def _peer(operation: P2POp) -> dict[str, int]:
    return {"group_dst" if operation.op is isend else "group_src": operation.group_peer}

"""The collectives that all processes of a group call together, on tensors."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy

from flambeau import Tensor
from flambeau.distributed import collectives
from flambeau.distributed.arrays import Targets, check_tensor, check_tensors, describe, readable
from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.process_group import ProcessGroup
from flambeau.distributed.reduction import ReduceOp, reducer
from flambeau.distributed.work import Work
from flambeau.distributed.world import GroupMember, get_group_rank, member, outside, warn_outside
from flambeau.futures import Future

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_single", "all_reduce", "all_reduce_coalesced", "all_to_all", "all_to_all_single", "barrier",
    "broadcast", "gather", "monitored_barrier", "reduce", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter",
]  # fmt: skip


def group_rank(group: ProcessGroup, of_all: int | None, of_group: int | None, name: str, default: int | None = None) -> int:
    """A process's number in a group, given that or its number in the job.

    Raises:
        ValueError: both are given or none is, or the process is not in the group
        RuntimeError: there is no such process
    """
    if of_all is not None and of_group is not None:
        raise ValueError("Can't specify both group_rank and global_rank")
    if of_group is None:
        if of_all is None:
            if default is None:
                raise ValueError("Must specify global_rank or group_rank")
            return default
        if group is not GroupMember.WORLD:
            return get_group_rank(group, of_all)
        of_group = of_all
    if not 0 <= of_group < group.size():
        raise RuntimeError(f"{name}: invalid rank: {of_group}; the group has ranks 0 to {group.size() - 1}")
    return of_group


def check_list(name: str, given: Sequence | None, wanted: bool, role: str) -> None:
    """Raise a ``ValueError`` unless a list is given by the one process that needs it, and by no other."""
    if wanted and not given:
        raise ValueError(f"Argument ``{name}`` must be specified on {role} rank.")
    if given and not wanted:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{role} ranks.")


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Replace the tensor of every process by the reduction of all. All get the same bits.

    Example:
        >>> import tempfile, flambeau
        >>> from flambeau import distributed
        >>> path = tempfile.mkdtemp() + "/store"
        >>> distributed.init_process_group(init_method=f"file://{path}", rank=0, world_size=1)
        >>> x = flambeau.tensor([1.0, 2.0])
        >>> distributed.all_reduce(x)
        >>> x
        tensor([1., 2.])
        >>> distributed.destroy_process_group()
    """
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("all_reduce")
    members = member(group)
    reduce = reducer(op, tensor.dtype, "all_reduce")
    label = f"all_reduce({describe(tensor)}, {op.name})".encode()
    targets = Targets([tensor])
    job = targets.job(lambda: collectives.all_reduce(members.mesh, targets.arrays[0], reduce, label))
    return members.run(job, [tensor], "all_reduce", async_op)


def all_reduce_coalesced(tensors: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """``all_reduce`` of several tensors of one dtype.

    Raises:
        ValueError: their dtypes differ
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    check_tensors(tensors, "tensors")
    if outside(group):
        return warn_outside("all_reduce_coalesced")
    members = member(group)
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise ValueError("Invalid usage of tensors with different dtypes")
    if not tensors:
        return None
    reduce = reducer(op, tensors[0].dtype, "all_reduce_coalesced")
    label = f"all_reduce_coalesced({len(tensors)} tensors: {', '.join(map(describe, tensors))}; {op.name})"[:1000].encode()
    targets = Targets(tensors)
    job = targets.job(lambda: collectives.all_reduce_many(members.mesh, targets.arrays, reduce, label))
    return members.run(job, tensors, "all_reduce_coalesced", async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None
) -> Work | None:
    """Replace the tensor of every process by that of one.

    Args:
        src: its number in the job
        group_src: or its number in the group
    """
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("broadcast")
    members = member(group)
    root = group_rank(members, src, group_src, "broadcast")
    label = f"broadcast({describe(tensor)}, from {root})".encode()
    targets = Targets([tensor])
    job = targets.job(lambda: collectives.broadcast(members.mesh, targets.arrays[0], root, label))
    return members.run(job, [tensor], "broadcast", async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Replace the tensor of one process by the reduction of all; the others' stay as they are."""
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("reduce")
    members = member(group)
    root = group_rank(members, dst, group_dst, "reduce")
    function = reducer(op, tensor.dtype, "reduce")
    label = f"reduce({describe(tensor)}, {op.name}, to {root})".encode()
    if members.rank() == root:
        targets = Targets([tensor])
        job = targets.job(lambda: collectives.reduce(members.mesh, targets.arrays[0], function, root, label))
    else:
        array = readable(tensor)
        job = lambda: collectives.reduce(members.mesh, array, function, root, label)
    return members.run(job, [tensor], "reduce", async_op)


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Fill a list of tensors with those of all processes.

    Raises:
        RuntimeError: there are not as many as processes, or their shapes or dtypes differ
    """
    check_tensors(tensor_list, "tensor_list")
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("all_gather")
    members = member(group)
    _check_outputs(tensor_list, tensor, members, "all_gather")
    label = f"all_gather({describe(tensor)})".encode()
    array, targets = readable(tensor), Targets(tensor_list)
    job = targets.job(lambda: collectives.all_gather(members.mesh, array, targets.arrays, label))
    return members.run(job, tensor_list, "all_gather", async_op)


def _check_outputs(outputs: Sequence[Tensor], tensor: Tensor, members: ProcessGroup, name: str) -> None:
    if len(outputs) != members.size():
        raise RuntimeError(f"{name}: {len(outputs)} tensors are given for the {members.size()} processes of the group")
    for number, output in enumerate(outputs):
        if output.dtype is not tensor.dtype:
            raise RuntimeError(f"{name}: invalid tensor type at index {number} (expected {tensor.dtype}, got {output.dtype})")
        if output.layout.shape != tensor.layout.shape:
            raise RuntimeError(
                f"{name}: invalid tensor size at index {number} (expected {list(tensor.layout.shape)}, got {list(output.layout.shape)})"
            )


def all_gather_coalesced(
    output_tensor_lists: Sequence[list[Tensor]], input_tensor_list: Sequence[Tensor], group: Any = None, async_op: bool = False
) -> Work | None:
    """``all_gather`` of several tensors: a list of outputs for each process."""
    if outside(group):
        return warn_outside("all_gather_coalesced")
    check_tensors(input_tensor_list, "input_tensor_list")
    columns = [[outputs[number] for outputs in output_tensor_lists] for number in range(len(input_tensor_list))]
    works = [all_gather(outputs, tensor, group, async_op) for outputs, tensor in zip(columns, input_tensor_list, strict=True)]
    return works[-1] if works else None


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Fill one tensor with those of all processes, one after another (joined along the first dimension, or stacked).

    Raises:
        ValueError: it has not as many elements as they have together
    """
    check_tensor(output_tensor, "output_tensor")
    check_tensor(input_tensor, "input_tensor")
    if outside(group):
        return warn_outside("all_gather_into_tensor")
    members = member(group)
    _check_whole(("output", output_tensor), ("input", input_tensor), members, "all_gather_into_tensor")
    label = f"all_gather_into_tensor({describe(input_tensor)})".encode()
    array, targets = readable(input_tensor), Targets([output_tensor])
    outputs = list(targets.arrays[0].reshape(members.size(), -1))
    job = targets.job(lambda: collectives.all_gather(members.mesh, array, outputs, label))
    return members.run(job, [output_tensor], "all_gather_into_tensor", async_op)


def _check_whole(whole: tuple[str, Tensor], part: tuple[str, Tensor], members: ProcessGroup, name: str) -> None:
    """Raise a ``ValueError`` unless a tensor has the elements of as many others as there are processes."""
    (what, tensor), (of_what, other) = whole, part
    if tensor.dtype is not other.dtype:
        raise ValueError(f"{name}: the dtypes {tensor.dtype} of {what} and {other.dtype} of {of_what} differ")
    if tensor.numel() != other.numel() * members.size():
        raise ValueError(
            f"{name}: {what} tensor size ({tensor.numel()}) must be equal to world_size ({members.size()}) times "
            f"{of_what} tensor size ({other.numel()})"
        )


all_gather_single = _all_gather_base = all_gather_into_tensor


def gather(
    tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None, group: Any = None, async_op: bool = False, group_dst: int | None = None
) -> Work | None:  # fmt: skip
    """Fill a list of tensors of one process (0, by default) with those of all.

    Raises:
        ValueError: that process gives no list, or another one does
    """
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("gather")
    members = member(group)
    root = group_rank(members, dst, group_dst, "gather", default=0)
    receives = members.rank() == root
    check_list("gather_list", gather_list, receives, "destination")
    if receives:
        check_tensors(gather_list, "gather_list")
        _check_outputs(gather_list, tensor, members, "gather")
    label = f"gather({describe(tensor)}, to {root})".encode()
    array, targets = readable(tensor), Targets(gather_list or [])
    outputs = targets.arrays if receives else None
    job = targets.job(lambda: collectives.gather(members.mesh, array, outputs, root, label))
    return members.run(job, gather_list or [], "gather", async_op)


def scatter(
    tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None
) -> Work | None:  # fmt: skip
    """Fill each process's tensor with one of a list that one process (0, by default) has.

    Raises:
        ValueError: that process gives no list, or another one does
    """
    check_tensor(tensor, "tensor")
    if outside(group):
        return warn_outside("scatter")
    members = member(group)
    root = group_rank(members, src, group_src, "scatter", default=0)
    sends = members.rank() == root
    check_list("scatter_list", scatter_list, sends, "source")
    if sends:
        check_tensors(scatter_list, "scatter_list")
        _check_outputs(scatter_list, tensor, members, "scatter")
    label = f"scatter({describe(tensor)}, from {root})".encode()
    inputs = [readable(each) for each in scatter_list] if sends else None
    targets = Targets([tensor])
    job = targets.job(lambda: collectives.scatter(members.mesh, targets.arrays[0], inputs, root, label))
    return members.run(job, [tensor], "scatter", async_op)


def reduce_scatter(
    output: Tensor, input_list: list[Tensor], op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Fill each process's output with the reduction of all processes' inputs for it."""
    check_tensor(output, "output")
    check_tensors(input_list, "input_list")
    if outside(group):
        return warn_outside("reduce_scatter")
    members = member(group)
    _check_outputs(input_list, output, members, "reduce_scatter")
    function = reducer(op, output.dtype, "reduce_scatter")
    label = f"reduce_scatter({describe(output)}, {op.name})".encode()
    inputs, targets = [readable(each) for each in input_list], Targets([output])
    job = targets.job(lambda: collectives.reduce_scatter(members.mesh, targets.arrays[0], inputs, function, label))
    return members.run(job, [output], "reduce_scatter", async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """``reduce_scatter`` of the consecutive parts of one tensor.

    Raises:
        ValueError: it has not as many elements as the outputs have together
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    if outside(group):
        return warn_outside("reduce_scatter_tensor")
    members = member(group)
    _check_whole(("input", input), ("output", output), members, "reduce_scatter_tensor")
    function = reducer(op, output.dtype, "reduce_scatter_tensor")
    label = f"reduce_scatter_tensor({describe(output)}, {op.name})".encode()
    inputs, targets = list(readable(input).reshape(members.size(), -1)), Targets([output])
    job = targets.job(lambda: collectives.reduce_scatter(members.mesh, targets.arrays[0], inputs, function, label))
    return members.run(job, [output], "reduce_scatter_tensor", async_op)


reduce_scatter_single = _reduce_scatter_base = reduce_scatter_tensor


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None, async_op: bool = False) -> Work | None:
    """Send each process one tensor of a list, and fill the outputs with what they send; the shapes may differ."""
    check_tensors(output_tensor_list, "output_tensor_list")
    check_tensors(input_tensor_list, "input_tensor_list")
    if outside(group):
        return warn_outside("all_to_all")
    members = member(group)
    for name, tensors in (("output_tensor_list", output_tensor_list), ("input_tensor_list", input_tensor_list)):
        if len(tensors) != members.size():
            raise RuntimeError(f"all_to_all: {name} has {len(tensors)} tensors for the {members.size()} processes of the group")
    if len({tensor.dtype for tensor in (*output_tensor_list, *input_tensor_list)}) > 1:
        raise ValueError("Invalid usage of tensors with different dtypes")
    inputs, targets = [readable(each) for each in input_tensor_list], Targets(output_tensor_list)
    label = f"all_to_all({input_tensor_list[0].dtype.name})".encode()
    job = targets.job(lambda: collectives.all_to_all(members.mesh, targets.arrays, inputs, label))
    return members.run(job, output_tensor_list, "all_to_all", async_op)


def all_to_all_single(
    output: Tensor, input: Tensor, output_split_sizes: Sequence[int] | None = None, input_split_sizes: Sequence[int] | None = None,
    group: Any = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """``all_to_all`` of the parts of one tensor along its first dimension: equal ones, or of the given lengths.

    Raises:
        RuntimeError: the lengths do not add up to the tensor's, or it cannot be cut into equal parts
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    if outside(group):
        return warn_outside("all_to_all_single")
    members = member(group)
    if output.dtype is not input.dtype:
        raise ValueError("Invalid usage of tensors with different dtypes")
    targets = Targets([output])
    inputs = _split(readable(input), input, input_split_sizes, members.size())
    outputs = _split(targets.arrays[0], output, output_split_sizes, members.size())
    label = f"all_to_all_single({input.dtype.name})".encode()
    job = targets.job(lambda: collectives.all_to_all(members.mesh, outputs, inputs, label))
    return members.run(job, [output], "all_to_all_single", async_op)


def _split(flat: Any, tensor: Tensor, sizes: Sequence[int] | None, count: int) -> list:
    rows = tensor.layout.shape[0] if tensor.layout.shape else 1
    if not sizes:
        if rows % count:
            raise RuntimeError(f"Tensor's dim 0 ({rows}) does not divide equally across group size ({count})")
        sizes = [rows // count] * count
    elif len(sizes) != count or sum(sizes) != rows:
        raise RuntimeError(f"Split sizes {list(sizes)} don't match a tensor of {rows} rows and a group of {count} processes")
    width = len(flat) // rows if rows else 0
    starts = [sum(sizes[:number]) * width for number in range(count + 1)]
    return [flat[start:end] for start, end in zip(starts, starts[1:])]


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait until all processes of the group have called this."""
    if outside(group):
        return warn_outside("barrier")
    members = member(group)
    nothing = [None] * members.size()
    return members.run(lambda: members.mesh.exchange(nothing, [0] * members.size(), b"barrier()"), [], "barrier", async_op)


def monitored_barrier(group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
    """A ``barrier`` after which process 0 can say who did not come.

    Args:
        timeout: how long to wait
        wait_all_ranks: name all that did not come, not only the first

    Raises:
        RuntimeError: somebody did not come
    """
    if outside(group):
        return warn_outside("monitored_barrier")
    members = member(group)
    seconds = (members.timeout if timeout is None else timeout).total_seconds()
    milliseconds = int(seconds * 1000)
    token = numpy.zeros(1, numpy.uint8)
    mailbox = members.mailbox
    if members.rank() != 0:
        mailbox.send(0, _BARRIER_TAG, token, "monitored_barrier()")
        answer = mailbox.receive(0, _BARRIER_TAG, lambda message: None)
        if not _came(answer, seconds):
            mailbox.cancel(answer)
            raise RuntimeError(
                f"Rank {members.rank()} successfully reached monitoredBarrier, but received errors while waiting for an answer of rank 0"
            )
        return None
    arrivals = {peer: mailbox.receive(peer, _BARRIER_TAG, lambda message: None) for peer in range(1, members.size())}
    missing = []
    deadline = time.monotonic() + seconds
    for peer, arrival in arrivals.items():
        if not _came(arrival, deadline - time.monotonic()):
            missing.append(members.ranks[peer])
            if not wait_all_ranks:
                break
    if missing:
        for arrival in arrivals.values():
            mailbox.cancel(arrival)
        raise RuntimeError(f"Rank(s) {', '.join(map(str, missing))} failed to pass monitoredBarrier in {milliseconds} ms")
    for peer in arrivals:
        mailbox.send(peer, _BARRIER_TAG, token, "monitored_barrier()")
    return None


_BARRIER_TAG = -1
"""The tag of messages of ``monitored_barrier``; users' tags are not negative."""


def _came(arrival: Future, seconds: float) -> bool:
    try:
        arrival._future.result(max(0, seconds))
    except (DistBackendError, concurrent.futures.TimeoutError):
        return False
    return True

"""``save`` and ``async_save``: each process writes its pieces, and what several have is written once."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from io import BytesIO
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.checkpoint.api import CheckpointException
from flambeau.distributed.checkpoint.default_planner import DefaultSavePlanner
from flambeau.distributed.checkpoint.filesystem import FileSystemWriter
from flambeau.distributed.checkpoint.metadata import Metadata, MetadataIndex
from flambeau.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from flambeau.distributed.checkpoint.stateful import Stateful
from flambeau.distributed.checkpoint.storage import StorageWriter

__all__ = ["async_save", "save", "save_state_dict"]


class Processes:
    """Those that save or load together, or this one alone."""

    def __init__(self, group: Any, no_dist: bool) -> None:
        self.group, self.alone = group, no_dist or not distributed.is_initialized()
        self.rank, self.size = (0, 1) if self.alone else (distributed.get_rank(group), distributed.get_world_size(group))

    def gather(self, value: Any) -> list[Any]:
        """What all have."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value, self.group)
        return found

    def all_do(self, what: str, job: Callable[[], Any]) -> list[Any]:
        """Do something, each process its part; the results of all.

        Raises:
            CheckpointException: in some it failed
        """
        error: BaseException | None = None
        result = None
        try:
            result = job()
        except Exception as failure:
            error = failure
        if self.alone:
            if error is not None:
                raise CheckpointException(what, {0: error}) from error
            return [result]
        outcomes = self.gather((result, None if error is None else _sendable(error)))
        failures = {rank: failure for rank, (_, failure) in enumerate(outcomes) if failure is not None}
        if failures:
            raise CheckpointException(what, failures) from error
        return [each for each, _ in outcomes]


def _sendable(error: BaseException) -> BaseException:
    kind = type(error) if type(error).__module__ == "builtins" else RuntimeError
    return (
        kind(str(error))
        if kind in (ValueError, TypeError, RuntimeError, OSError, FileNotFoundError, NotImplementedError)
        else RuntimeError(repr(error))
    )


def contents_of(state_dict: dict[str, Any]) -> dict[str, Any]:
    return {key: value.state_dict() if isinstance(value, Stateful) else value for key, value in state_dict.items()}


def _writer(checkpoint_id: Any, storage_writer: Any) -> StorageWriter:
    if storage_writer is None:
        if checkpoint_id is None:
            raise RuntimeError("save() is told where by checkpoint_id=… or storage_writer=FileSystemWriter(…)")
        storage_writer = FileSystemWriter(checkpoint_id)
    if not isinstance(storage_writer, StorageWriter):
        raise TypeError(f"storage_writer is a StorageWriter, such as FileSystemWriter, not a {type(storage_writer).__name__}")
    storage_writer.reset(checkpoint_id)
    return storage_writer


def _planned(
    state_dict: dict[str, Any], writer: StorageWriter, planner: SavePlanner, processes: Processes
) -> tuple[SavePlan, Metadata | None]:
    """What this process writes, and in the first process the list; the storage is ready then."""

    def plan() -> SavePlan:
        planner.set_up_planner(state_dict=contents_of(state_dict), storage_meta=writer.storage_meta(), is_coordinator=processes.rank == 0)
        writer.set_up_storage_writer(processes.rank == 0)
        return writer.prepare_local_plan(planner.create_local_plan())

    plans = processes.all_do("planning the checkpoint", plan)
    listing: Metadata | None = None

    def share_out() -> list[SavePlan] | None:
        nonlocal listing
        if processes.rank != 0:
            return None
        ours, listing = planner.create_global_plan(plans)
        return writer.prepare_global_plan(ours)  # only now: a state that cannot be saved leaves the checkpoint that is there

    shares = processes.all_do("preparing the checkpoint", share_out)[0]
    return planner.finish_plan(shares[processes.rank]), listing


def _written(plan: SavePlan, planner: SavePlanner, writer: StorageWriter, listing: Metadata | None, processes: Processes) -> Metadata:
    results = processes.all_do("writing the checkpoint", lambda: writer.write_data(plan, planner).wait())

    def finish() -> Metadata | None:
        if listing is not None:
            writer.finish(listing, results)
        return listing

    return processes.all_do("finishing the checkpoint", finish)[0]


def save(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None, process_group: Any = None, no_dist: bool = False, use_collectives: bool = True,
) -> Metadata:  # fmt: skip
    """Save nested dictionaries of tensors, distributed tensors and other values. All processes call it.

    Of a distributed tensor each process writes its piece. An ordinary tensor is taken to be the same in all, and one writes it; values that are no
    tensors are those of process 0. Objects with ``state_dict()`` stand for their state.

    Args:
        checkpoint_id: the folder
        storage_writer: or what writes there
        planner: what decides what is saved; ``DefaultSavePlanner()`` if left out
        process_group: the processes; all, by default
        no_dist: whether this process saves alone

    Raises:
        CheckpointException: some processes failed; there is no checkpoint then

    Example:
        >>> import tempfile, flambeau
        >>> from flambeau.distributed import checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     listing = checkpoint.save({"weight": flambeau.ones(2), "epoch": 3}, checkpoint_id=folder, no_dist=True)
        ...     state = {"weight": flambeau.zeros(2), "epoch": 0}
        ...     checkpoint.load(state, checkpoint_id=folder, no_dist=True)
        >>> state
        {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    processes = Processes(process_group, no_dist)
    writer, planner = _writer(checkpoint_id, storage_writer), planner or DefaultSavePlanner()
    plan, listing = _planned(state_dict, writer, planner, processes)
    return _written(plan, planner, writer, listing, processes)


class _Background:
    """Saving in threads: one after the other, so that all processes communicate in the same order.

    Attributes:
        groups: for each group another one of the same processes, in which they communicate while the first one trains
        last: the thread that was started last
    """

    def __init__(self) -> None:
        self.groups: dict[tuple[int, ...], tuple[Any, Any]] = {}
        self.last: threading.Thread | None = None

    def group(self, group: Any) -> Any:
        """The other group."""
        ranks = tuple(distributed.get_process_group_ranks(group))
        known = self.groups.get(ranks)
        if known is None or known[0] is not distributed.group.WORLD:
            known = self.groups[ranks] = distributed.group.WORLD, distributed.new_group(list(ranks), use_local_synchronization=True)
        return known[1]

    def start(self, work: Callable[[], Any]) -> Future:
        """The future of some work, which begins when what was started before has ended."""
        future, before = Future(), self.last

        def run() -> None:
            if before is not None:
                before.join()
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self.last = threading.Thread(target=run, name="flambeau-checkpoint")
        self.last.start()
        return future


_BACKGROUND = _Background()


class _Copied(DefaultSavePlanner):
    """Gives copies of what another planner has given."""

    def __init__(self, plan: SavePlan, planner: SavePlanner) -> None:
        self._data: dict[MetadataIndex, Tensor | BytesIO] = {}
        for item in plan.items:
            data = planner.resolve_data(item)
            copied = data.detach().clone(memory_format=flambeau.contiguous_format) if isinstance(data, Tensor) else BytesIO(data.getvalue())
            self._data[item.index] = copied
        flambeau.flush()

    def resolve_data(self, write_item: WriteItem) -> Tensor | BytesIO:
        return self._data.pop(write_item.index)


def async_save(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None, process_group: Any = None, no_dist: bool = False, **others: Any,
) -> Future:  # fmt: skip
    """``save``, in a thread: the state is copied at once, and may change while it is written. Several calls write one after the other.

    Returns:
        A future, whose ``result()`` is that of ``save``.
    """
    wanted = [name for name, value in others.items() if value is not None and name not in ("async_checkpointer_type", "use_collectives")]
    if wanted:
        raise NotImplementedError(f"async_save does not support {', '.join(wanted)}")
    processes = Processes(process_group, no_dist)
    writer, planner = _writer(checkpoint_id, storage_writer), planner or DefaultSavePlanner()
    plan, listing = _planned(state_dict, writer, planner, processes)
    copied = _Copied(plan, planner)
    if not processes.alone:
        processes.group = _BACKGROUND.group(process_group)
    return _BACKGROUND.start(lambda: _written(plan, copied, writer, listing, processes))


def save_state_dict(
    state_dict: dict[str, Any], storage_writer: StorageWriter, process_group: Any = None, coordinator_rank: int = 0, no_dist: bool = False,
    planner: SavePlanner | None = None,
) -> Metadata:  # fmt: skip
    """The old name of ``save``."""
    warnings.warn("'save_state_dict' is deprecated: use save()", FutureWarning, stacklevel=2)
    return save(state_dict, storage_writer=storage_writer, planner=planner, process_group=process_group, no_dist=no_dist)

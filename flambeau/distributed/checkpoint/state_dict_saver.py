"""``save`` and ``async_save``: each process writes its pieces, and what several have is written once."""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from flambeau import Tensor, distributed
from flambeau._tensor.size import Size
from flambeau.distributed.checkpoint.api import CheckpointException
from flambeau.distributed.checkpoint.default_planner import DefaultSavePlanner, flattened
from flambeau.distributed.checkpoint.filesystem import FileSystemWriter
from flambeau.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from flambeau.distributed.checkpoint.stateful import Stateful
from flambeau.distributed.tensor.dtensor import DTensor, local_of
from flambeau.distributed.tensor.spec import local_shape_and_offset

__all__ = ["async_save", "save", "save_state_dict"]


class _Item:
    """What a process could write: a piece, or another value."""

    def __init__(self, index: MetadataIndex, value: Any, size: Size | None, chunk: ChunkStorageMetadata | None) -> None:
        self.index, self.value, self.size, self.chunk = index, value, size, chunk

    @property
    def nbytes(self) -> int:
        return self.value.numel() * self.value.element_size() if isinstance(self.value, Tensor) else 0

    def told(self) -> tuple:
        """What the other processes have to know."""
        return self.index, self.size, self.chunk, TensorProperties(self.value.dtype) if self.chunk is not None else None, self.nbytes


def _items(values: dict[str, Any], rank: int) -> list[_Item]:
    """What this process has: of values that are no tensors only the first process has any."""
    found = []
    for name, value in values.items():
        if isinstance(value, DTensor):
            sizes, offsets = local_shape_and_offset(value.shape, value.device_mesh, value.placements)
            if any(each.is_partial() for each in value.placements):
                raise ValueError(
                    f"{name!r} lies as {value.placements}, of which no process has an element: redistribute() it before it is saved"
                )
            if value.device_mesh.get_coordinate() is not None and 0 not in sizes:
                chunk = ChunkStorageMetadata(Size(offsets), Size(sizes))
                found.append(_Item(MetadataIndex(name, chunk.offsets), local_of(value).detach(), value.shape, chunk))
        elif isinstance(value, Tensor):
            chunk = ChunkStorageMetadata(Size([0] * value.dim()), value.shape)
            found.append(_Item(MetadataIndex(name, chunk.offsets, 0), value.detach(), value.shape, chunk))
        elif rank == 0:
            found.append(_Item(MetadataIndex(name), value, None, None))
    return found


def _owners(told: list[list[tuple]], to_lowest: bool) -> dict[MetadataIndex, int]:
    """Which process writes each piece: of those that have it the one that has least to write so far."""
    holders: dict[MetadataIndex, list[int]] = {}
    nbytes: dict[MetadataIndex, int] = {}
    for rank, items in enumerate(told):
        for index, _, _, _, size in items:
            holders.setdefault(index, []).append(rank)
            nbytes[index] = size
    load = [0] * len(told)
    owners = {}
    for index, ranks in sorted(holders.items(), key=lambda each: len(each[1])):  # what only one has comes first
        owners[index] = ranks[0] if to_lowest else min(ranks, key=load.__getitem__)
        load[owners[index]] += nbytes[index]
    return owners


def _listed(told: list[list[tuple]], paths: dict[str, tuple], place: Any) -> Metadata:
    """The list of the checkpoint, without where the pieces lie."""
    found: dict[str, Any] = {}
    for items in told:
        for index, size, chunk, properties, _ in items:
            if chunk is None:
                found[index.fqn] = BytesStorageMetadata()
                continue
            known = found.setdefault(index.fqn, TensorStorageMetadata(properties, size, []))
            if known.size != size:
                raise ValueError(f"the processes save {index.fqn!r} with different shapes: {list(known.size)} and {list(size)}")
            if chunk not in known.chunks:
                known.chunks.append(chunk)
    return Metadata(found, paths, {}, StorageMeta(checkpoint_id=str(place), save_id=str(uuid.uuid4())), "1.0.0")


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


def _writer(checkpoint_id: Any, storage_writer: Any) -> FileSystemWriter:
    if storage_writer is None:
        if checkpoint_id is None:
            raise RuntimeError("save() is told where by checkpoint_id=… or storage_writer=FileSystemWriter(…)")
        return FileSystemWriter(checkpoint_id)
    if not isinstance(storage_writer, FileSystemWriter):
        raise TypeError(f"storage_writer is a FileSystemWriter, not a {type(storage_writer).__name__}")
    if checkpoint_id is not None:
        storage_writer.path = type(storage_writer.path)(checkpoint_id)
    return storage_writer


def _planned(
    state_dict: dict[str, Any], writer: FileSystemWriter, planner: DefaultSavePlanner | None, processes: Processes
) -> tuple[list[_Item], Metadata]:
    """What this process writes, and the list; the folder is ready then."""
    planner = planner or DefaultSavePlanner()
    made: list[_Item] = []

    def plan() -> tuple[list[tuple], dict[str, tuple]]:
        values, paths = flattened(contents_of(state_dict), planner.flatten_state_dict)
        made.extend(_items(values, processes.rank))
        return [each.told() for each in made], paths

    told = processes.all_do("planning the checkpoint", plan)
    owners = _owners([items for items, _ in told], planner.dedup_save_to_lowest_rank)
    paths: dict[str, tuple] = {}
    for _, theirs in reversed(told):
        paths.update(theirs)
    listing = _listed([items for items, _ in told], paths, writer.path)
    # Only now: a state that cannot be saved leaves the checkpoint that is there.
    processes.all_do("preparing the checkpoint's folder", lambda: writer.prepare() if processes.rank == 0 else None)
    return [each for each in made if owners[each.index] == processes.rank], listing


def _written(writer: FileSystemWriter, contents: Iterable[tuple[MetadataIndex, Any]], listing: Metadata, processes: Processes) -> Metadata:
    places = processes.all_do("writing the checkpoint", lambda: writer.write(processes.rank, contents))
    for theirs in places:
        listing.storage_data.update(theirs)
    processes.all_do("finishing the checkpoint", lambda: writer.finish(listing) if processes.rank == 0 else None)
    return listing


def save(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_writer: FileSystemWriter | None = None,
    planner: DefaultSavePlanner | None = None, process_group: Any = None, no_dist: bool = False, use_collectives: bool = True,
) -> Metadata:  # fmt: skip
    """Save nested dictionaries of tensors, distributed tensors and other values. All processes call it.

    Of a distributed tensor each process writes its piece. An ordinary tensor is taken to be the same in all, and one writes it; values that are no
    tensors are those of process 0. Objects with ``state_dict()`` stand for their state.

    Args:
        checkpoint_id: the folder
        storage_writer: or what writes there
        planner: settings
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
    writer = _writer(checkpoint_id, storage_writer)
    items, listing = _planned(state_dict, writer, planner, processes)
    return _written(writer, ((each.index, writer.content(each.value)) for each in items), listing, processes)


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


def async_save(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_writer: FileSystemWriter | None = None,
    planner: DefaultSavePlanner | None = None, process_group: Any = None, no_dist: bool = False, **others: Any,
) -> Future:  # fmt: skip
    """``save``, in a thread: the state is copied at once, and may change while it is written. Several calls write one after the other.

    Returns:
        A future, whose ``result()`` is that of ``save``.
    """
    wanted = [name for name, value in others.items() if value is not None and name not in ("async_checkpointer_type", "use_collectives")]
    if wanted:
        raise NotImplementedError(f"async_save does not support {', '.join(wanted)}")
    processes = Processes(process_group, no_dist)
    writer = _writer(checkpoint_id, storage_writer)
    items, listing = _planned(state_dict, writer, planner, processes)
    contents = [(each.index, writer.content(each.value)) for each in items]
    if not processes.alone:
        processes.group = _BACKGROUND.group(process_group)
    return _BACKGROUND.start(lambda: _written(writer, contents, listing, processes))


def save_state_dict(
    state_dict: dict[str, Any], storage_writer: FileSystemWriter, process_group: Any = None, coordinator_rank: int = 0, no_dist: bool = False,
    planner: DefaultSavePlanner | None = None,
) -> Metadata:  # fmt: skip
    """The old name of ``save``."""
    warnings.warn("'save_state_dict' is deprecated: use save()", FutureWarning, stacklevel=2)
    return save(state_dict, storage_writer=storage_writer, planner=planner, process_group=process_group, no_dist=no_dist)

"""``load``: each process reads what its pieces need, however the tensors were cut when they were saved."""

from __future__ import annotations

import os
import warnings
from typing import Any

from flambeau.distributed.checkpoint.default_planner import DefaultLoadPlanner
from flambeau.distributed.checkpoint.filesystem import FileSystemReader
from flambeau.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from flambeau.distributed.checkpoint.state_dict_saver import Processes, contents_of
from flambeau.distributed.checkpoint.stateful import Stateful
from flambeau.distributed.checkpoint.storage import StorageReader

__all__ = ["load", "load_state_dict"]


def _reader(checkpoint_id: Any, storage_reader: Any) -> StorageReader:
    if storage_reader is None:
        if checkpoint_id is None:
            raise RuntimeError("load() is told where by checkpoint_id=… or storage_reader=FileSystemReader(…)")
        storage_reader = FileSystemReader(checkpoint_id)
    if not isinstance(storage_reader, StorageReader):
        raise TypeError(f"storage_reader is a StorageReader, such as FileSystemReader, not a {type(storage_reader).__name__}")
    storage_reader.reset(checkpoint_id)
    return storage_reader


def read_into(state: dict[str, Any], reader: StorageReader, planner: LoadPlanner, processes: Processes) -> None:
    """Load into a dictionary."""

    def plan() -> LoadPlan:
        listing = reader.read_metadata()
        planner.set_up_planner(state, listing, processes.rank == 0)
        reader.set_up_storage_reader(listing, processes.rank == 0)
        return reader.prepare_local_plan(planner.create_local_plan())

    plans = processes.all_do("planning what is loaded", plan)

    def look_at_all() -> list[LoadPlan] | None:
        return reader.prepare_global_plan(planner.create_global_plan(plans)) if processes.rank == 0 else None

    shares = processes.all_do("planning what is loaded", look_at_all)[0]
    processes.all_do("loading the checkpoint", lambda: reader.read_data(planner.finish_plan(shares[processes.rank]), planner).wait())


def load(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_reader: StorageReader | None = None,
    planner: LoadPlanner | None = None, process_group: Any = None, no_dist: bool = False,
) -> None:  # fmt: skip
    """Load into nested dictionaries: tensors are filled in place, other values exchanged. All processes call it, in any number.

    The tensors say what is read: a distributed tensor only its piece, which may have been cut in another way when it was saved. Objects with
    ``load_state_dict`` are given their state. No code of the files is run (``torch.load(weights_only=True)``).

    Args:
        checkpoint_id: the folder
        storage_reader: or what reads there
        planner: what decides what is loaded, and where it goes; ``DefaultLoadPlanner()`` if left out
        process_group: the processes; all, by default
        no_dist: whether this process loads alone

    Raises:
        CheckpointException: some processes failed: something is missing, or has another shape, or a file is damaged
    """
    reader, state = _reader(checkpoint_id, storage_reader), contents_of(state_dict)
    read_into(state, reader, planner or DefaultLoadPlanner(), Processes(process_group, no_dist))
    for key, value in state_dict.items():
        if isinstance(value, Stateful):
            value.load_state_dict(state[key])
        else:
            state_dict[key] = state[key]


def load_state_dict(
    state_dict: dict[str, Any], storage_reader: StorageReader, process_group: Any = None, coordinator_rank: int = 0, no_dist: bool = False,
    planner: LoadPlanner | None = None,
) -> None:  # fmt: skip
    """The old name of ``load``."""
    warnings.warn("'load_state_dict' is deprecated: use load()", FutureWarning, stacklevel=2)
    load(state_dict, storage_reader=storage_reader, planner=planner, process_group=process_group, no_dist=no_dist)

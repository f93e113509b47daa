"""Between checkpoints of several processes and files of ``torch.save``."""

from __future__ import annotations

import os
from typing import Any

import flambeau
from flambeau.distributed.checkpoint.default_planner import DefaultLoadPlanner, put
from flambeau.distributed.checkpoint.filesystem import FileSystemReader
from flambeau.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from flambeau.distributed.checkpoint.state_dict_loader import read_into
from flambeau.distributed.checkpoint.state_dict_saver import Processes, save

__all__ = ["dcp_to_torch_save", "torch_save_to_dcp"]


def whole_state(reader: FileSystemReader) -> dict[str, Any]:
    """All that a checkpoint holds, with whole tensors."""
    listing: Metadata = reader.read_metadata()
    found: dict[str, Any] = {}
    paths = listing.planner_data if isinstance(listing.planner_data, dict) else {}
    for name, entry in listing.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            stored = sum(info.length for index, info in listing.storage_data.items() if index.fqn == name)
            if entry.size.numel() * entry.properties.dtype.itemsize > stored:
                raise ValueError(
                    f"the checkpoint's list says that {name!r} has {entry.size.numel()} elements, for which its pieces are too small"
                )
            found[name] = flambeau.empty(entry.size, dtype=entry.properties.dtype)
        else:
            found[name] = None
    read_into(found, reader, DefaultLoadPlanner(flatten_state_dict=False), Processes(None, no_dist=True))
    state: dict[str, Any] = {}
    for name, value in found.items():
        path = paths.get(name)
        put(state, path if _is_path(path) else (name,), value)
    return state


def _is_path(path: Any) -> bool:
    """Whether this is what our ``save`` and PyTorch's say of where a value lies; other planners say other things."""
    return isinstance(path, tuple) and len(path) > 0 and all(isinstance(key, (str, int)) for key in path)


def dcp_to_torch_save(dcp_checkpoint_dir: str | os.PathLike, torch_save_path: str | os.PathLike) -> None:
    """Make of a checkpoint a file for ``torch.load``, with whole tensors, in one process."""
    flambeau.save(whole_state(FileSystemReader(dcp_checkpoint_dir)), torch_save_path)


def torch_save_to_dcp(torch_save_path: str | os.PathLike, dcp_checkpoint_dir: str | os.PathLike) -> None:
    """Make of a file of ``torch.save`` a checkpoint, in one process. No code of the file is run."""
    save(flambeau.load(torch_save_path, weights_only=True), checkpoint_id=dcp_checkpoint_dir, no_dist=True)

"""``load``: each process reads what its pieces need, however the tensors were cut when they were saved."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.size import Size
from flambeau.distributed.checkpoint.default_planner import DefaultLoadPlanner, flattened, put
from flambeau.distributed.checkpoint.filesystem import FileSystemReader
from flambeau.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from flambeau.distributed.checkpoint.state_dict_saver import Processes, contents_of
from flambeau.distributed.checkpoint.stateful import Stateful
from flambeau.distributed.tensor.dtensor import DTensor, local_of
from flambeau.distributed.tensor.spec import local_shape_and_offset

__all__ = ["load", "load_state_dict"]


def _overlap(piece: ChunkStorageMetadata, offsets: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int, int]] | None:
    """For each dimension where what two boxes share begins in each, and its size; ``None`` if they share nothing."""
    found = []
    for start, size, own_start, own_size in zip(piece.offsets, piece.sizes, offsets, sizes):
        first, end = max(start, own_start), min(start + size, own_start + own_size)
        if end <= first:
            return None
        found.append((first - start, first - own_start, end - first))
    return found


def _part(tensor: Tensor, starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    for dim, (start, size) in enumerate(zip(starts, sizes)):
        if size != tensor.shape[dim]:
            tensor = tensor.narrow(dim, start, size)
    return tensor


def fill(name: str, target: Tensor, listing: Metadata, reader: FileSystemReader) -> None:
    """Fill this process's piece of a tensor.

    Raises:
        ValueError: the tensor has another shape in the checkpoint, or the checkpoint lacks a part of it
    """
    entry: Any = listing.state_dict_metadata[name]
    if not isinstance(entry, TensorStorageMetadata):
        raise ValueError(f"{name!r} is a tensor here, and another kind of value in the checkpoint")
    if tuple(entry.size) != tuple(target.shape):
        raise ValueError(f"Size mismatch between saved {list(entry.size)} and current: {list(target.shape)} for {name}")
    sizes, offsets = tuple(target.shape), (0,) * target.dim()
    local = target.detach()
    if isinstance(target, DTensor):
        sizes, offsets = local_shape_and_offset(target.shape, target.device_mesh, target.placements)
        local = local_of(target).detach()
        if target.device_mesh.get_coordinate() is None:
            return
    filled = 0
    for number, piece in enumerate(entry.chunks):
        shared = _overlap(piece, offsets, sizes)
        if shared is None:
            continue
        info = listing.storage_data.get(MetadataIndex(name, Size(piece.offsets), number))
        if info is None:
            raise ValueError(f"the checkpoint does not say where the piece of {name!r} at {list(piece.offsets)} lies")
        saved = reader.read(info)
        if not isinstance(saved, Tensor) or tuple(saved.shape) != tuple(piece.sizes):
            raise ValueError(f"the piece of {name!r} at {list(piece.offsets)} is not what the checkpoint's list says")
        counts = [size for _, _, size in shared]
        part = _part(saved.detach(), [start for start, _, _ in shared], counts)
        with flambeau.no_grad():
            _part(local, [start for _, start, _ in shared], counts).copy_(part)
        filled += part.numel()
        flambeau.flush()
    if filled != local.numel():
        has = f"the checkpoint has {filled} of the {local.numel()} elements of {name!r} that this process needs"
        raise ValueError(has if filled < local.numel() else f"the checkpoint's pieces of {name!r} overlap")


def _read_all(state: dict[str, Any], reader: FileSystemReader, planner: DefaultLoadPlanner) -> dict[str, Any]:
    listing = reader.read_metadata()
    values, paths = flattened(state, planner.flatten_state_dict)
    missing = [name for name in values if name not in listing.state_dict_metadata]
    if missing and not planner.allow_partial_load:
        raise RuntimeError(f"Missing key in checkpoint state_dict: {', '.join(missing[:10])}{', …' if len(missing) > 10 else ''}.")
    for name, value in values.items():
        entry = listing.state_dict_metadata.get(name)
        if entry is None:
            continue
        if isinstance(value, Tensor):
            fill(name, value, listing, reader)
        elif isinstance(entry, BytesStorageMetadata):
            put(state, paths[name], reader.read(listing.storage_data[MetadataIndex(name)]))
        else:
            raise ValueError(f"{name!r} is a tensor in the checkpoint, and here a {type(value).__name__}: put a tensor of its shape there")
    return state


def load(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_reader: FileSystemReader | None = None,
    planner: DefaultLoadPlanner | None = None, process_group: Any = None, no_dist: bool = False,
) -> None:  # fmt: skip
    """Load into nested dictionaries: tensors are filled in place, other values exchanged. All processes call it, in any number.

    The tensors say what is read: a distributed tensor only its piece, which may have been cut in another way when it was saved. Objects with
    ``load_state_dict`` are given their state. No code of the files is run (``torch.load(weights_only=True)``).

    Args:
        checkpoint_id: the folder
        storage_reader: or what reads there
        planner: settings
        process_group: the processes; all, by default
        no_dist: whether this process loads alone

    Raises:
        CheckpointException: some processes failed: something is missing, or has another shape, or a file is damaged
    """
    if storage_reader is None:
        if checkpoint_id is None:
            raise RuntimeError("load() is told where by checkpoint_id=… or storage_reader=FileSystemReader(…)")
        storage_reader = FileSystemReader(checkpoint_id)
    if not hasattr(storage_reader, "read_metadata") or not hasattr(storage_reader, "read"):
        raise TypeError(f"storage_reader is a FileSystemReader, not a {type(storage_reader).__name__}")
    if checkpoint_id is not None:
        storage_reader.path = type(storage_reader.path)(checkpoint_id)
    reader, settings = storage_reader, planner or DefaultLoadPlanner()
    state = contents_of(state_dict)
    Processes(process_group, no_dist).all_do("loading the checkpoint", lambda: (_read_all(state, reader, settings), None)[1])
    for key, value in state_dict.items():
        if isinstance(value, Stateful):
            value.load_state_dict(state[key])
        else:
            state_dict[key] = state[key]


def load_state_dict(
    state_dict: dict[str, Any], storage_reader: FileSystemReader, process_group: Any = None, coordinator_rank: int = 0, no_dist: bool = False,
    planner: DefaultLoadPlanner | None = None,
) -> None:  # fmt: skip
    """The old name of ``load``."""
    warnings.warn("'load_state_dict' is deprecated: use load()", FutureWarning, stacklevel=2)
    load(state_dict, storage_reader=storage_reader, planner=planner, process_group=process_group, no_dist=no_dist)

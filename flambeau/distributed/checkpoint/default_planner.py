"""The planners that ``save`` and ``load`` use: all values that a state holds, nested dictionaries as flat ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.size import Size
from flambeau.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from flambeau.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from flambeau.distributed.tensor.dtensor import DTensor, local_of
from flambeau.distributed.tensor.spec import local_shape_and_offset

__all__ = ["DefaultLoadPlanner", "DefaultSavePlanner"]

Path = tuple[Any, ...]

# -- saving ------------------------------------------------------------------------------------------------------------


class DefaultSavePlanner(SavePlanner):
    """Saves everything: of a distributed tensor each process its piece, of what several have one of them.

    Args:
        flatten_state_dict: whether the values of nested dictionaries are saved one by one; only so can a part be loaded
        flatten_sharded_tensors, dedup_replicated_tensors, enable_plan_caching: for PyTorch's sake
        dedup_save_to_lowest_rank: whether what several processes have is saved by the first of them; else they share the work

    Attributes:
        state_dict: the values by their flat names
        mappings: for each flat name the keys that lead to the value
        is_coordinator: whether this is the first process, which alone saves values that are no tensors
        plan: this process's
    """

    def __init__(
        self, flatten_state_dict: bool = True, flatten_sharded_tensors: bool = True, dedup_replicated_tensors: bool | None = None,
        dedup_save_to_lowest_rank: bool = False, enable_plan_caching: bool = False,
    ) -> None:  # fmt: skip
        self.flatten_state_dict, self.flatten_sharded_tensors = flatten_state_dict, flatten_sharded_tensors
        self.dedup_save_to_lowest_rank = dedup_save_to_lowest_rank

    def set_up_planner(self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False) -> None:
        """Take what is saved.

        Raises:
            ValueError: two values get one flat name
        """
        self.state_dict, self.mappings = flattened(state_dict, self.flatten_state_dict)
        self.is_coordinator = is_coordinator

    def create_local_plan(self) -> SavePlan:
        """All pieces and values that this process has.

        Raises:
            ValueError: a distributed tensor has to be reduced first
        """
        self.plan = SavePlan(_write_items(self.state_dict, self.is_coordinator), planner_data=self.mappings)
        return self.plan

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        """The plans without what several would write, and the list.

        Raises:
            ValueError: the processes save a tensor with different shapes
        """
        owners = _owners(all_plans, self.dedup_save_to_lowest_rank)
        paths: dict[str, Path] = {}
        for plan in reversed(all_plans):
            paths.update(plan.planner_data or {})
        plans = [
            dataclasses.replace(plan, items=[item for item in plan.items if owners[item.index] == rank])
            for rank, plan in enumerate(all_plans)
        ]
        return plans, Metadata(_listed(all_plans), paths, {}, version="1.0.0")

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        self.plan = new_plan
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> Tensor | BytesIO:
        """What is written: what ``lookup_object`` finds, as ``transform_object`` makes it."""
        return self.transform_object(write_item, self.lookup_object(write_item.index))

    def lookup_object(self, index: MetadataIndex) -> Any:
        """The value, or this process's piece of it; for subclasses."""
        value = self.state_dict[index.fqn]
        return local_of(value).detach() if isinstance(value, DTensor) else value.detach() if isinstance(value, Tensor) else value

    def transform_object(self, write_item: WriteItem, object: Any) -> Any:
        """A tensor as it is, another value as ``torch.save`` writes it; for subclasses."""
        if write_item.type is not WriteItemType.BYTE_IO:
            return object
        stream = BytesIO()
        flambeau.save(object, stream)
        return stream


def _write_items(values: dict[str, Any], is_coordinator: bool) -> list[WriteItem]:
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
                found.append(_write_item(MetadataIndex(name, chunk.offsets), WriteItemType.SHARD, value, chunk))
        elif isinstance(value, Tensor):
            chunk = ChunkStorageMetadata(Size([0] * value.dim()), value.shape)
            found.append(_write_item(MetadataIndex(name, chunk.offsets, 0), WriteItemType.TENSOR, value, chunk))
        elif is_coordinator:
            found.append(WriteItem(MetadataIndex(name), WriteItemType.BYTE_IO))
    return found


def _write_item(index: MetadataIndex, kind: WriteItemType, value: Tensor, chunk: ChunkStorageMetadata) -> WriteItem:
    return WriteItem(index, kind, tensor_data=TensorWriteData(chunk, TensorProperties(value.dtype), value.shape))


def _owners(plans: list[SavePlan], to_lowest: bool) -> dict[MetadataIndex, int]:
    """Which process writes each piece: of those that have it the one that has least to write so far."""
    holders: dict[MetadataIndex, list[int]] = {}
    nbytes: dict[MetadataIndex, int] = {}
    for rank, plan in enumerate(plans):
        for item in plan.items:
            holders.setdefault(item.index, []).append(rank)
            nbytes[item.index] = item.tensor_storage_size() or 0
    load = [0] * len(plans)
    owners = {}
    for index, ranks in sorted(holders.items(), key=lambda each: len(each[1])):  # what only one has comes first
        owners[index] = ranks[0] if to_lowest else min(ranks, key=load.__getitem__)
        load[owners[index]] += nbytes[index]
    return owners


def _listed(plans: list[SavePlan]) -> dict[str, TensorStorageMetadata | BytesStorageMetadata]:
    found: dict[str, Any] = {}
    for item in (item for plan in plans for item in plan.items):
        name, data = item.index.fqn, item.tensor_data
        if data is None:
            found[name] = BytesStorageMetadata()
            continue
        known = found.setdefault(name, TensorStorageMetadata(data.properties, data.size, []))
        if known.size != data.size:
            raise ValueError(f"the processes save {name!r} with different shapes: {list(known.size)} and {list(data.size)}")
        if data.chunk not in known.chunks:
            known.chunks.append(data.chunk)
    return found


# -- loading -----------------------------------------------------------------------------------------------------------


class DefaultLoadPlanner(LoadPlanner):
    """Loads what a state has room for: each process what its pieces need, however they were cut when they were saved.

    Args:
        flatten_state_dict: whether the values of nested dictionaries are loaded one by one
        flatten_sharded_tensors: for PyTorch's sake
        allow_partial_load: whether what the checkpoint does not have stays as it is

    Attributes:
        original_state_dict: what is filled
        state_dict: the values in it by their flat names
        mappings: for each flat name the keys that lead to the value
        metadata: the list of the checkpoint
        is_coordinator: whether this is the first process
    """

    def __init__(self, flatten_state_dict: bool = True, flatten_sharded_tensors: bool = True, allow_partial_load: bool = False) -> None:
        self.flatten_state_dict, self.flatten_sharded_tensors = flatten_state_dict, flatten_sharded_tensors
        self.allow_partial_load = allow_partial_load

    def set_up_planner(self, state_dict: dict[str, Any], metadata: Metadata | None = None, is_coordinator: bool = False) -> None:
        """Take what is to be filled, and the list of the checkpoint."""
        self.original_state_dict, self.metadata, self.is_coordinator = state_dict, metadata, is_coordinator
        self.state_dict, self.mappings = flattened(state_dict, self.flatten_state_dict)

    def create_local_plan(self) -> LoadPlan:
        """What this process's values need.

        Raises:
            RuntimeError: the checkpoint lacks a value
            ValueError: it has another shape, or is of another kind, or a part of it is missing
        """
        assert self.metadata is not None
        listed = self.metadata.state_dict_metadata
        missing = [name for name in self.state_dict if name not in listed]
        if missing and not self.allow_partial_load:
            raise RuntimeError(f"Missing key in checkpoint state_dict: {', '.join(missing[:10])}{', …' if len(missing) > 10 else ''}.")
        return LoadPlan(
            [item for name, value in self.state_dict.items() if name in listed for item in _read_items(name, value, listed[name])]
        )

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return central_plan

    def load_bytes(self, read_item: ReadItem, value: BytesIO) -> None:
        """Put a value in its place; no code of the file is run."""
        name = read_item.dest_index.fqn
        put(self.original_state_dict, self.mappings.get(name, (name,)), flambeau.load(value, weights_only=True))

    def resolve_tensor(self, read_item: ReadItem) -> Tensor:
        """The part of a tensor that is filled: of what ``lookup_tensor`` finds what ``transform_tensor`` takes."""
        return self.transform_tensor(read_item, self.lookup_tensor(read_item.dest_index))

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        """The tensor, or this process's piece of it; for subclasses."""
        value = self.state_dict[index.fqn]
        return local_of(value).detach() if isinstance(value, DTensor) else value.detach()

    def transform_tensor(self, read_item: ReadItem, tensor: Tensor) -> Tensor:
        """The box of a tensor that an item fills; for subclasses."""
        return part(tensor, read_item.dest_offsets, read_item.lengths)

    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        """Nothing: tensors are filled in place."""


def _read_items(name: str, value: Any, entry: TensorStorageMetadata | BytesStorageMetadata) -> list[ReadItem]:
    if isinstance(value, Tensor):
        if not isinstance(entry, TensorStorageMetadata):
            raise ValueError(f"{name!r} is a tensor here, and another kind of value in the checkpoint")
        return _boxes(name, value, entry)
    if isinstance(entry, TensorStorageMetadata):
        raise ValueError(f"{name!r} is a tensor in the checkpoint, and here a {type(value).__name__}: put a tensor of its shape there")
    index, nothing = MetadataIndex(name), Size([0])
    return [ReadItem(LoadItemType.BYTE_IO, index, nothing, index, nothing, nothing)]


def _boxes(name: str, target: Tensor, entry: TensorStorageMetadata) -> list[ReadItem]:
    """The boxes of saved pieces that this process's piece of a tensor has a part in."""
    if tuple(entry.size) != tuple(target.shape):
        raise ValueError(f"Size mismatch between saved {list(entry.size)} and current: {list(target.shape)} for {name}")
    sizes, offsets = tuple(target.shape), (0,) * target.dim()
    if isinstance(target, DTensor):
        if target.device_mesh.get_coordinate() is None:
            return []
        sizes, offsets = local_shape_and_offset(target.shape, target.device_mesh, target.placements)
    items = []
    for number, piece in enumerate(entry.chunks):
        shared = _overlap(piece, offsets, sizes)
        if shared is not None:
            starts, own_starts, lengths = (Size([each[which] for each in shared]) for which in range(3))
            saved, own = MetadataIndex(name, Size(piece.offsets), number), MetadataIndex(name, Size(offsets))
            items.append(ReadItem(LoadItemType.TENSOR, own, own_starts, saved, starts, lengths))
    found, wanted = sum(item.lengths.numel() for item in items), Size(sizes).numel()
    if found != wanted:
        has = f"the checkpoint has {found} of the {wanted} elements of {name!r} that this process needs"
        raise ValueError(has if found < wanted else f"the checkpoint's pieces of {name!r} overlap")
    return items


def _overlap(piece: ChunkStorageMetadata, offsets: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int, int]] | None:
    """For each dimension where what two boxes share begins in each, and its size; ``None`` if they share nothing."""
    found = []
    for start, size, own_start, own_size in zip(piece.offsets, piece.sizes, offsets, sizes):
        first, end = max(start, own_start), min(start + size, own_start + own_size)
        if end <= first:
            return None
        found.append((first - start, first - own_start, end - first))
    return found


def part(tensor: Tensor, starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """A box of a tensor."""
    for dim, (start, size) in enumerate(zip(starts, sizes)):
        if size != tensor.shape[dim]:
            tensor = tensor.narrow(dim, start, size)
    return tensor


# -- nested dictionaries as flat ones ----------------------------------------------------------------------------------


def visit(tree: Mapping, found: Callable[[Path, Any], None], path: Path = ()) -> None:
    """Call ``found(path, value)`` for each value within nested dictionaries, and lists that hold tensors or dictionaries."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        if isinstance(value, Mapping) or (isinstance(value, list) and _holds_tensors(value)):
            visit(value, found, (*path, key))
        else:
            found((*path, key), value)


def _holds_tensors(values: list) -> bool:
    return any(isinstance(each, (Tensor, Mapping)) or (isinstance(each, list) and _holds_tensors(each)) for each in values)


def flattened(tree: Mapping, flattens: bool = True) -> tuple[dict[str, Any], dict[str, Path]]:
    """The values by flat names, the keys joined by dots, and for each name the keys.

    Raises:
        ValueError: two values get one name
    """
    values: dict[str, Any] = {}
    paths: dict[str, Path] = {}

    def found(path: Path, value: Any) -> None:
        name = ".".join(map(str, path))
        if name in values:
            raise ValueError(f"the state holds two values with the flat name {name!r}: {paths[name]} and {path}")
        values[name], paths[name] = value, path

    if flattens:
        visit(tree, found)
    else:
        for key, value in tree.items():
            found((key,), value)
    return values, paths


def put(tree: Any, path: Path, value: Any) -> None:
    """Set a value within nested dictionaries and lists, which are made if they are not there.

    Raises:
        ValueError: there is something else on the way, or a list would be too long
    """
    whole = path
    for key, following in zip(path, path[1:]):
        made: Any = [] if type(following) is int else {}
        if isinstance(tree, list):
            _lengthen(tree, key)
            if tree[key] is None:
                tree[key] = made
            tree = tree[key]
        else:
            tree = tree.setdefault(key, made)
        if not isinstance(tree, (dict, list)):
            raise ValueError(f"the checkpoint names a value {whole}, but what is at {key!r} is a {type(tree).__name__}")
    if isinstance(tree, list):
        _lengthen(tree, path[-1])
    tree[path[-1]] = value


_LONGEST = 1 << 20
"""Numbers of items of lists are not believed beyond: a damaged file could ask for any memory."""


def _lengthen(values: list, index: int) -> None:
    if not 0 <= index < _LONGEST:
        raise ValueError(f"the checkpoint names item {index} of a list")
    values.extend([None] * (index + 1 - len(values)))

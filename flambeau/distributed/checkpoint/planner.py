"""Plans: what each process writes and reads, and what says so.

A planner of one's own is mostly a subclass of those in ``default_planner.py``. Saving calls, in all processes but where it says otherwise::

    set_up_planner ─▶ create_local_plan ─▶ create_global_plan (the first process, of all plans) ─▶ finish_plan ─▶ resolve_data, for each item

and loading the same, with ``load_bytes``, or ``resolve_tensor`` and ``commit_tensor``, for each item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, auto
from io import BytesIO
from typing import Any

from flambeau import Tensor
from flambeau._tensor.size import Size
from flambeau.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, StorageMeta, TensorProperties

__all__ = [
    "BytesIOWriteData", "LoadItemType", "LoadPlan", "LoadPlanner", "ReadItem", "SavePlan", "SavePlanner", "TensorWriteData", "WriteItem", "WriteItemType",
]  # fmt: skip


class WriteItemType(Enum):
    """A whole tensor, a piece of one, or another value."""

    TENSOR = auto()
    SHARD = auto()
    BYTE_IO = auto()


class LoadItemType(Enum):
    """A tensor, or a piece of one; or another value."""

    TENSOR = auto()
    BYTE_IO = auto()


@dataclass(frozen=True)
class BytesIOWriteData:
    """How long another value is."""

    nbytes: int


@dataclass(frozen=True)
class TensorWriteData:
    """A piece of a tensor, and what the whole is."""

    chunk: ChunkStorageMetadata
    properties: TensorProperties
    size: Size


@dataclass(frozen=True)
class WriteItem:
    """What is to be written of one value."""

    index: MetadataIndex
    type: WriteItemType
    bytes_io_data: BytesIOWriteData | None = None
    tensor_data: TensorWriteData | None = None

    def tensor_storage_size(self) -> int | None:
        """The bytes of the piece; ``None`` of a value that is no tensor."""
        if self.tensor_data is None:
            return None
        return self.tensor_data.chunk.sizes.numel() * self.tensor_data.properties.dtype.itemsize


@dataclass(frozen=True)
class ReadItem:
    """What is to be read of one saved piece: the box at ``storage_offsets`` of it, to ``dest_offsets`` of what this process has."""

    type: LoadItemType
    dest_index: MetadataIndex
    dest_offsets: Size
    storage_index: MetadataIndex
    storage_offsets: Size
    lengths: Size


@dataclass(frozen=True)
class SavePlan:
    """What one process writes, with notes of the storage's and of the planner's."""

    items: list[WriteItem]
    storage_data: Any = None
    planner_data: Any = None
    usable: bool = True


@dataclass(frozen=True)
class LoadPlan:
    """What one process reads, with notes of the storage's and of the planner's."""

    items: list[ReadItem]
    storage_data: Any = None
    planner_data: Any = None


class SavePlanner(ABC):
    """What decides what is saved."""

    @abstractmethod
    def set_up_planner(self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False) -> None:
        """Take what is saved; ``is_coordinator`` says whether this is the first process."""

    @abstractmethod
    def create_local_plan(self) -> SavePlan:
        """What this process could write."""

    @abstractmethod
    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        """What each process writes of what all could write, and the list of the checkpoint."""

    @abstractmethod
    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        """This process's plan, after what all together have made of it."""

    @abstractmethod
    def resolve_data(self, write_item: WriteItem) -> Tensor | BytesIO:
        """The tensor, or the bytes of another value, that is written."""


class LoadPlanner(ABC):
    """What decides what is loaded, and where it goes."""

    @abstractmethod
    def set_up_planner(self, state_dict: dict[str, Any], metadata: Metadata | None = None, is_coordinator: bool = False) -> None:
        """Take what is to be filled, and the list of the checkpoint."""

    @abstractmethod
    def create_local_plan(self) -> LoadPlan:
        """What this process reads."""

    @abstractmethod
    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        """What each process reads, after a look at all plans."""

    @abstractmethod
    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        """This process's plan, after what all together have made of it."""

    @abstractmethod
    def load_bytes(self, read_item: ReadItem, value: BytesIO) -> None:
        """Take the bytes of a value that is no tensor."""

    def resolve_bytes(self, read_item: ReadItem) -> BytesIO:
        """Where the bytes of a value that is no tensor are written to; not asked for here.

        Raises:
            NotImplementedError: the planner does not say
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where the bytes of {read_item.dest_index.fqn!r} go: see load_bytes")

    @abstractmethod
    def resolve_tensor(self, read_item: ReadItem) -> Tensor:
        """The tensor that an item is copied to, of the size ``read_item.lengths``."""

    @abstractmethod
    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        """Take note that an item has been copied to what ``resolve_tensor`` gave."""

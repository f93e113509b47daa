"""What the file ``.metadata`` of a checkpoint says: which tensors there are, in which pieces, and where each piece lies.

Names and fields are those of PyTorch's files, which name these classes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import flambeau
from flambeau._tensor.size import Size

__all__ = [
    "BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata",
]  # fmt: skip


class _MEM_FORMAT_ENCODING(Enum):
    TORCH_CONTIGUOUS_FORMAT = 0
    TORCH_CHANNELS_LAST = 1
    TORCH_PRESERVE_FORMAT = 2


@dataclass
class ChunkStorageMetadata:
    """A piece of a tensor: where it begins, and its shape."""

    offsets: Size
    sizes: Size


@dataclass
class TensorProperties:
    """What a tensor is besides its shape."""

    dtype: Any = field(default_factory=flambeau.get_default_dtype)
    layout: Any = flambeau.strided
    requires_grad: bool = False
    memory_format: Any = flambeau.contiguous_format
    pin_memory: bool = False

    def __getstate__(self) -> tuple:
        return self.dtype, self.layout, self.requires_grad, _MEM_FORMAT_ENCODING.TORCH_CONTIGUOUS_FORMAT, self.pin_memory

    def __setstate__(self, state: tuple) -> None:
        self.dtype, self.layout, self.requires_grad, _, self.pin_memory = state
        self.memory_format = flambeau.contiguous_format

    @staticmethod
    def create_from_tensor(tensor: flambeau.Tensor) -> TensorProperties:
        """Those of a tensor."""
        return TensorProperties(dtype=tensor.dtype, requires_grad=tensor.requires_grad)


@dataclass
class TensorStorageMetadata:
    """A tensor: its properties, its shape, and its pieces."""

    properties: TensorProperties
    size: Size
    chunks: list[ChunkStorageMetadata]


@dataclass
class BytesStorageMetadata:
    """A value that is no tensor."""


@dataclass
class StorageMeta:
    """Where and by which call a checkpoint was saved."""

    checkpoint_id: str | os.PathLike | None = None
    save_id: str | None = None
    load_id: str | None = None
    modules: list[str] = field(default_factory=list)


@dataclass
class Metadata:
    """What a checkpoint holds.

    Attributes:
        state_dict_metadata: the tensors and other values by their flat names
        planner_data: for each flat name the keys that lead to the value in the nested dictionaries
        storage_data: for each piece the file, and which bytes of it
    """

    state_dict_metadata: dict[str, TensorStorageMetadata | BytesStorageMetadata]
    planner_data: Any = None
    storage_data: Any = None
    storage_meta: StorageMeta | None = None
    version: str | None = None


@dataclass(frozen=True)
class MetadataIndex:
    """A piece: the flat name of its tensor, where it begins there, and its number among the pieces (a hint)."""

    fqn: str
    offset: Size | None = None
    index: int | None = field(hash=False, compare=False, default=None)

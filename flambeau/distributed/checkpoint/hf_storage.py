"""Checkpoints as safetensors files, as the Hugging Face hub keeps them: a header in JSON, then the elements of one tensor after another.

Each process may write a file of its pieces, which then says where in the whole tensors they begin. Reading runs no code of the files.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.size import Size
from flambeau.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from flambeau.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from flambeau.distributed.checkpoint.planner import WriteItem
from flambeau.distributed.checkpoint.storage import WriteResult

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]

SUFFIX = ".safetensors"
INDEX = "model.safetensors.index.json"
PARTS = "sharded"
DTYPES = {
    "BOOL": flambeau.bool, "U8": flambeau.uint8, "I8": flambeau.int8, "I16": flambeau.int16, "I32": flambeau.int32, "I64": flambeau.int64,
    "F16": flambeau.float16, "BF16": flambeau.bfloat16, "F32": flambeau.float32, "F64": flambeau.float64, "C64": flambeau.complex64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass
class _Place:
    """Where a piece lies: the file, which bytes of it, and what they are."""

    path: Path
    start: int
    end: int
    dtype: Any
    shape: tuple[int, ...]


def write_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], sync: bool) -> int:
    """Write tensors; how many bytes they have."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise ValueError(f"{name!r}: safetensors files hold no {tensor.dtype}")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            stream.write(tensor.contiguous().reshape(-1).view(flambeau.uint8).numpy().data)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    return end


def read_header(path: Path) -> tuple[dict[str, _Place], dict[str, str]]:
    """Where a file's tensors lie, and its notes.

    Raises:
        ValueError: it is no such file, or too short for what its header says
    """
    size = path.stat().st_size
    try:
        with open(path, "rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(length)) if length <= size else None
        notes = header.pop("__metadata__", {})
        places = {name: _place(path, 8 + length, entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, struct.error) as error:
        raise ValueError(f"{path} is no safetensors file that can be read: {error!r}") from error
    end = 8 + length
    for place in sorted(places.values(), key=lambda each: (each.start, each.end)):
        if not end <= place.start <= place.end <= size:
            raise ValueError(f"{path} is damaged: its header does not fit its {size} bytes")
        end = place.end
    return places, notes


def _place(path: Path, begin: int, entry: Any) -> _Place:
    """Where a tensor lies by its entry in a header, if that makes sense; ``begin`` is where the elements of the first one do.

    Raises:
        KeyError, TypeError, ValueError: it does not
    """
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], DTYPES[entry["dtype"]]
    if not all(
        isinstance(each, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in each) for each in (shape, offsets)
    ):
        raise ValueError(f"shape {shape} and data_offsets {offsets} should be lists of integers, none below 0")
    start, end = offsets
    if Size(shape).numel() * dtype.itemsize != end - start:
        raise ValueError(f"a tensor of shape {shape} and dtype {entry['dtype']} does not have {end - start} bytes")
    return _Place(path, begin + start, begin + end, dtype, tuple(shape))


def _offsets(path: Path, places: Mapping[str, _Place], notes: Mapping[str, str]) -> dict[str, Size]:
    """Where in the whole tensors a file's pieces begin.

    Raises:
        ValueError: the file's notes make no sense
    """
    try:
        told = json.loads(notes["DCP_SHARDING_INFO"]) if "DCP_SHARDING_INFO" in notes else {}
        found = {name: told[name]["saved_offsets"] if name in told else [0] * len(place.shape) for name, place in places.items()}
        fit = all(
            len(offset) == len(places[name].shape) and all(type(each) is int and 0 <= each < 1 << 62 for each in offset)
            for name, offset in found.items()
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its DCP_SHARDING_INFO cannot be read: {error!r}") from error
    if not fit:
        raise ValueError(f"{path} is damaged: its DCP_SHARDING_INFO does not fit its tensors")
    return {name: Size(offset) for name, offset in found.items()}


def _file_name(number: int, count: int, rank: int | None = None) -> str:
    return f"{'' if rank is None else f'shard-{rank + 1:05}-'}model-{number:05}-of-{count:05}{SUFFIX}"


class HuggingFaceStorageWriter(FileSystemWriter):
    """Writes tensors into safetensors files in a folder.

    Args:
        path: the folder
        fqn_to_index_mapping: the number of the file, from 1, that each tensor goes to; one file for all, by default
        save_distributed: whether each process writes what it has of the tensors; else one has all of them
        enable_consolidation: join what the processes wrote (into the folder ``sharded``) to files of whole tensors
        thread_count, thread_count_consolidation: for PyTorch's sake
    """

    def __init__(
        self, path: str | os.PathLike, fqn_to_index_mapping: dict[str, int] | None = None, thread_count: int = 1, save_distributed: bool = False,
        enable_consolidation: bool = False, thread_count_consolidation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(Path(path) / PARTS if enable_consolidation else path)
        self.fqn_to_index_mapping, self.save_distributed, self.enable_consolidation = (
            fqn_to_index_mapping,
            save_distributed,
            enable_consolidation,
        )

    def prepare(self) -> None:
        """Make the folder, and take away other files of tensors that are there, since all are read."""
        self.path.mkdir(parents=True, exist_ok=True)
        for each in self.path.glob("*" + SUFFIX):
            each.unlink()

    def content(self, item: WriteItem, data: Any) -> Any:
        """A copy of a tensor.

        Raises:
            ValueError: the value is no tensor
        """
        if not isinstance(data, Tensor):
            raise ValueError(f"safetensors files hold tensors alone, and {item.index.fqn!r} is none")
        return data.detach().clone(memory_format=flambeau.contiguous_format)

    def write(self, rank: int, items: Iterable[tuple[MetadataIndex, Any]]) -> list[WriteResult]:
        """Write this process's pieces; the file and the bytes of each."""
        numbers = self.fqn_to_index_mapping or {}
        files: dict[int, dict[str, Tensor]] = {}
        offsets: dict[str, Any] = {}
        found = []
        for index, tensor in items:
            number = numbers.get(index.fqn, 1)
            files.setdefault(number, {})[index.fqn] = tensor
            offsets[index.fqn] = {"saved_offsets": list(index.offset or ())}
            name = _file_name(number, max(numbers.values(), default=1), rank if self.save_distributed else None)
            nbytes = tensor.numel() * tensor.element_size()
            found.append(WriteResult(index, nbytes, (name, nbytes)))
        for number, tensors in files.items():
            notes = (
                {"DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps({name: offsets[name] for name in tensors})}
                if self.save_distributed
                else {}
            )
            name = _file_name(number, max(numbers.values(), default=1), rank if self.save_distributed else None)
            write_file(self.path / name, tensors, notes, self.sync_files)
        return found

    def write_listing(self, listing: Metadata) -> None:
        """Join the pieces, or write which file has which tensor; files of pieces say themselves what they have."""
        if self.save_distributed and self.enable_consolidation:
            consolidate(self.path, self.path.parent, self.fqn_to_index_mapping or dict.fromkeys(listing.state_dict_metadata, 1))
        elif not self.save_distributed:
            places = listing.storage_data
            write_index(self.path, {index.fqn: name for index, (name, _) in places.items()}, sum(size for _, size in places.values()))


def write_index(folder: Path, files: dict[str, str], size: int) -> None:
    """Write which file has which tensor."""
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": files}, indent=2))


class HuggingFaceStorageReader(FileSystemReader):
    """Reads tensors, whole or in pieces, from the safetensors files of a folder."""

    def __init__(self, path: str | os.PathLike, thread_count: int = 1) -> None:
        super().__init__(path)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Whether there are files of tensors."""
        return any(Path(checkpoint_id).glob("*" + SUFFIX))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What tensors there are, and where their pieces lie.

        Raises:
            FileNotFoundError: there are none
            ValueError: a file is damaged
        """
        if not self.validate_checkpoint_id(self.path):
            raise FileNotFoundError(f"there is no file *{SUFFIX} in {self.path}")
        found: dict[str, Any] = {}
        storage: dict[MetadataIndex, _Place] = {}
        for path in sorted(self.path.glob("*" + SUFFIX)):
            places, notes = read_header(path)
            offsets = _offsets(path, places, notes)
            for name, place in places.items():
                offset = offsets[name]
                entry = found.setdefault(name, TensorStorageMetadata(TensorProperties(place.dtype), Size([0] * len(offset)), []))
                entry.size = Size([max(size, start + length) for size, start, length in zip(entry.size, offset, place.shape, strict=True)])
                entry.chunks.append(ChunkStorageMetadata(offset, Size(place.shape)))
                storage[MetadataIndex(name, offset)] = place
        return Metadata(found, None, storage, StorageMeta())

    def read(self, info: Any) -> Tensor:
        """A piece."""
        with open(info.path, "rb") as stream:
            stream.seek(info.start)
            content = bytearray(stream.read(info.end - info.start))
        return (
            flambeau.frombuffer(content, dtype=info.dtype).reshape(info.shape) if content else flambeau.empty(info.shape, dtype=info.dtype)
        )


def consolidate(source: Path, target: Path, files: Mapping[str, int]) -> None:
    """Join the pieces that processes wrote: files of whole tensors, and a list of which has which."""
    reader = HuggingFaceStorageReader(source)
    listing: Any = reader.read_metadata()
    names, total = {}, 0
    for number in sorted(set(files.values())):
        tensors = {}
        for name in (name for name, each in files.items() if each == number):
            entry = listing.state_dict_metadata[name]
            tensors[name] = whole = flambeau.empty(entry.size, dtype=entry.properties.dtype)
            for chunk in entry.chunks:
                box = tuple(slice(start, start + length) for start, length in zip(chunk.offsets, chunk.sizes))
                whole[box] = reader.read(listing.storage_data[MetadataIndex(name, chunk.offsets)])
            names[name] = _file_name(number, max(files.values()))
        total += write_file(target / _file_name(number, max(files.values())), tensors, {}, sync=True)
    write_index(target, names, total)

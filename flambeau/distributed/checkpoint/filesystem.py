"""Checkpoints as folders of files, which PyTorch's ``torch.distributed.checkpoint`` can read and write, too.

A process writes a file of tensors and values, one after another, each as ``torch.save`` writes it; the last thing that is written is
``.metadata``, a pickle that says what there is. **Reading runs no code of the files**: of the pickle nothing is built but the
classes of ``metadata.py``, and of the others what ``torch.load(weights_only=True)`` builds. Files are read within the folder only.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import flambeau
from flambeau._serialization.names import safe_globals
from flambeau._serialization.pickling import dump
from flambeau._serialization.unpickling import load_weights
from flambeau.distributed.checkpoint import metadata as data
from flambeau.distributed.checkpoint.default_planner import part
from flambeau.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta, TensorStorageMetadata
from flambeau.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, SavePlan, SavePlanner, WriteItem
from flambeau.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from flambeau.futures import Future

__all__ = ["FileSystemReader", "FileSystemWriter"]

SUFFIX = ".distcp"
METADATA = ".metadata"


@dataclass
class _StorageInfo:
    """Where a piece lies: the file, and which bytes of it."""

    relative_path: str
    offset: int
    length: int
    transform_descriptors: Sequence[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}


class FileSystemWriter(StorageWriter):
    """Writes checkpoints into a folder.

    Args:
        path: the folder, which is made if it is not there
        single_file_per_rank: whether a process writes one file; else one for each piece
        sync_files: whether the bytes are on the disk when the call returns
        overwrite: whether a checkpoint may be there already
        others: PyTorch's settings of threads and copies, for its sake
    """

    def __init__(
        self, path: str | os.PathLike, single_file_per_rank: bool = True, sync_files: bool = True, thread_count: int = 1,
        per_thread_copy_ahead: int = 10_000_000, cache_staged_state_dict: bool = False, overwrite: bool = True, **others: Any,
    ) -> None:  # fmt: skip
        wanted = [name for name, value in others.items() if value]
        if wanted:
            raise NotImplementedError(f"FileSystemWriter does not support {', '.join(wanted)}")
        self.path, self.save_id = Path(path), str(uuid.uuid4())
        self.single_file_per_rank, self.sync_files, self.overwrite = single_file_per_rank, sync_files, overwrite

    @property
    def checkpoint_id(self) -> str | os.PathLike:
        """The folder."""
        return self.path

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        """Begin a checkpoint, in this folder or in the one before."""
        if checkpoint_id is not None:
            self.path = Path(checkpoint_id)
        self.save_id = str(uuid.uuid4())

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing has to be known before there is a plan."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Whether the name is one of a folder that is there, or can be made where one is."""
        path = Path(checkpoint_id)
        return "://" not in str(checkpoint_id) and any(each.exists() and os.access(each, os.W_OK) for each in (path, *path.parents))

    def storage_meta(self) -> StorageMeta:
        """The folder, and what names this call."""
        return StorageMeta(checkpoint_id=str(self.path), save_id=self.save_id)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans, each with its number, of which file names are made; the folder is ready then.

        Raises:
            RuntimeError: there is a checkpoint, and ``overwrite`` is off
        """
        self.prepare()
        return [dataclasses.replace(plan, storage_data=number) for number, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this process's pieces, before it returns."""
        written: Future[list[WriteResult]] = Future()
        written.set_result(
            self.write(plan.storage_data, ((item.index, self.content(item, planner.resolve_data(item))) for item in plan.items))
        )
        return written

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the list of what there is, with where it lies."""
        metadata.storage_data = {each.index: each.storage_data for theirs in results for each in theirs}
        metadata.storage_meta = self.storage_meta()
        self.write_listing(metadata)

    def prepare(self) -> None:
        """Make the folder, and take away the list of what another checkpoint had there: whoever is interrupted leaves none.

        Raises:
            RuntimeError: there is a checkpoint, and ``overwrite`` is off
        """
        self.path.mkdir(parents=True, exist_ok=True)
        listing = self.path / METADATA
        if listing.exists():
            if not self.overwrite:
                raise RuntimeError(f"there is a checkpoint at {self.path}, and overwrite=False")
            listing.unlink()

    def content(self, item: WriteItem, data: Any) -> Any:
        """What is written of an item: a tensor as ``torch.save`` writes it, bytes as they are."""
        if not isinstance(data, flambeau.Tensor):
            return data.getbuffer()
        stream = BytesIO()
        flambeau.save(data.detach().clone(memory_format=flambeau.contiguous_format), stream)
        return stream.getbuffer()

    def write(self, rank: int, items: Iterable[tuple[MetadataIndex, Any]]) -> list[WriteResult]:
        """Write this process's pieces; where each lies."""
        found: list[WriteResult] = []
        stream: Any = None
        try:
            for number, (index, content) in enumerate(items):
                if stream is None or not self.single_file_per_rank:
                    self._finish(stream)
                    stream = None
                    name = f"__{rank}_{0 if self.single_file_per_rank else number}{SUFFIX}"
                    stream = open(self.path / name, "wb")  # noqa: SIM115
                found.append(WriteResult(index, len(content), _StorageInfo(name, stream.tell(), len(content))))
                stream.write(content)
        finally:
            self._finish(stream)
        return found

    def _finish(self, stream: Any) -> None:
        if stream is not None:
            stream.flush()
            if self.sync_files:
                os.fsync(stream.fileno())
            stream.close()

    def write_listing(self, listing: Metadata) -> None:
        """Write a list."""
        temporary = self.path / f"{METADATA}.tmp"
        with open(temporary, "wb") as stream:
            dump(listing, stream, pickle, 4, _no_storages)
            self._finish(stream)
        os.replace(temporary, self.path / METADATA)


def _no_storages(reference: Any) -> tuple:
    raise pickle.PicklingError("the list of a checkpoint holds no tensors")


class FileSystemReader(StorageReader):
    """Reads checkpoints from a folder; see above for what it does not do.

    Args:
        path: the folder
    """

    def __init__(self, path: str | os.PathLike, **others: Any) -> None:
        wanted = [name for name, value in others.items() if value]
        if wanted:
            raise NotImplementedError(f"FileSystemReader does not support {', '.join(wanted)}")
        self.path = Path(path)
        self.metadata: Metadata | None = None

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        """Read in this folder, or in the one before."""
        if checkpoint_id is not None:
            self.path = Path(checkpoint_id)

    @property
    def checkpoint_id(self) -> str | os.PathLike:
        """The folder."""
        return self.path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Whether a checkpoint is there."""
        return (Path(checkpoint_id) / METADATA).is_file()

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take the list."""
        self.metadata = metadata

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read each item, before it returns.

        Raises:
            ValueError: a file does not hold what the list says
        """
        for item in plan.items:
            info = self._place(item.storage_index)
            if item.type is LoadItemType.BYTE_IO:
                planner.load_bytes(item, BytesIO(self.read_bytes(info)))
                continue
            saved = part(self._piece(item.storage_index, info), item.storage_offsets, item.lengths)
            target = planner.resolve_tensor(item).detach()
            if target.shape != saved.shape:
                raise ValueError(
                    f"a piece of {item.dest_index.fqn!r} of size {list(saved.shape)} cannot be copied to what resolve_tensor gave, of size "
                    f"{list(target.shape)}"
                )
            with flambeau.no_grad():
                target.copy_(saved)
            planner.commit_tensor(item, target)
            flambeau.flush()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _place(self, index: MetadataIndex) -> Any:
        assert self.metadata is not None
        info = self.metadata.storage_data.get(index)
        if info is None:
            raise ValueError(f"the checkpoint does not say where the piece of {index.fqn!r} at {list(index.offset or ())} lies")
        return info

    def _piece(self, index: MetadataIndex, info: Any) -> flambeau.Tensor:
        assert self.metadata is not None
        entry: Any = self.metadata.state_dict_metadata[index.fqn]
        sizes = [chunk.sizes for chunk in entry.chunks if chunk.offsets == index.offset]
        saved = self.read(info)
        if not isinstance(saved, flambeau.Tensor) or tuple(saved.shape) not in map(tuple, sizes):
            raise ValueError(f"the piece of {index.fqn!r} at {list(index.offset or ())} is not what the checkpoint's list says")
        return saved.detach()

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The list of what there is.

        Raises:
            FileNotFoundError: there is no checkpoint
            UnpicklingError: the list is damaged, or names what no such list needs
        """
        path = self.path / METADATA
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no checkpoint at {self.path}: it has no file {METADATA} (saving was interrupted, or the path is wrong)"
            )
        with open(path, "rb") as stream, safe_globals(_ALLOWED):
            listing = load_weights(stream, _no_persistent)
        return _checked(listing)

    def read(self, info: Any) -> Any:
        """A piece, or another value; see ``read_bytes``."""
        return flambeau.load(BytesIO(self.read_bytes(info)), weights_only=True)

    def read_bytes(self, info: _StorageInfo) -> bytes:
        """What a file has of a piece, or of another value.

        Raises:
            ValueError: its file is not in the folder, or is too short
        """
        path = self.path / info.relative_path
        if Path(info.relative_path).is_absolute() or ".." in Path(info.relative_path).parts:
            raise ValueError(f"the checkpoint names the file {info.relative_path!r}, which is not in its folder")
        if info.transform_descriptors:
            raise NotImplementedError(
                f"the checkpoint's pieces are transformed ({list(info.transform_descriptors)}), which is not supported"
            )
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError(f"the checkpoint's file {info.relative_path!r} is a link to outside of its folder")
        if info.offset + info.length > os.path.getsize(path):
            raise ValueError(
                f"{path} is too short: bytes {info.offset} to {info.offset + info.length} are wanted, it has {os.path.getsize(path)}"
            )
        with open(path, "rb") as stream:
            stream.seek(info.offset)
            return stream.read(info.length)


def _no_persistent(identity: Any) -> Any:
    raise pickle.UnpicklingError("the list of a checkpoint refers to storages, of which it has none")


def _path_text(*parts: str) -> str:
    return os.path.join(*map(str, parts)) if parts else "."


_ALLOWED: list[Any] = [
    data.Metadata, data.TensorStorageMetadata, data.BytesStorageMetadata, data.TensorProperties, data.ChunkStorageMetadata, data.MetadataIndex,
    data.StorageMeta, data._MEM_FORMAT_ENCODING, _StorageInfo,
    *[(_path_text, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath", "PurePosixPath", "Path")],
]  # fmt: skip
"""What a list may build: these classes do nothing, and paths become text."""


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(each) is int and 0 <= each < 1 << 62 for each in value)


def _is_tensor(entry: TensorStorageMetadata) -> bool:
    return (
        _is_size(entry.size)
        and isinstance(entry.properties.dtype, flambeau.dtype)
        and all(_is_within(each, entry.size) for each in entry.chunks)
    )


def _is_within(chunk: Any, whole: Sequence[int]) -> bool:
    if not (isinstance(chunk, data.ChunkStorageMetadata) and _is_size(chunk.offsets) and _is_size(chunk.sizes)):
        return False
    if not len(chunk.offsets) == len(chunk.sizes) == len(whole):
        return False
    return all(start + size <= end for start, size, end in zip(chunk.offsets, chunk.sizes, whole, strict=True))


def _is_place(info: Any) -> bool:
    return (
        isinstance(info, _StorageInfo)
        and isinstance(info.relative_path, str)
        and all(type(each) is int and each >= 0 for each in (info.offset, info.length))
    )


def _makes_sense(listing: Any) -> bool:
    if not (isinstance(listing, Metadata) and isinstance(listing.state_dict_metadata, dict) and isinstance(listing.storage_data, dict)):
        return False
    for name, entry in listing.state_dict_metadata.items():
        known = _is_tensor(entry) if isinstance(entry, TensorStorageMetadata) else isinstance(entry, data.BytesStorageMetadata)
        if not (isinstance(name, str) and known):
            return False
    return all(isinstance(index, MetadataIndex) and _is_place(info) for index, info in listing.storage_data.items())


def _checked(listing: Any) -> Metadata:
    """The list, if it makes sense.

    Raises:
        UnpicklingError: it does not
    """
    try:
        makes_sense = _makes_sense(listing)
    except (AttributeError, TypeError):  # a field is missing, or something of another kind
        makes_sense = False
    if not makes_sense:
        raise pickle.UnpicklingError(f"the checkpoint's {METADATA} is damaged: it is no list of tensors and where they lie")
    return listing

"""Saving and loading tensors, state dicts and whole objects, in PyTorch's files."""

from __future__ import annotations

import io
import mmap as memory_map
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from flambeau._serialization import legacy, options, pickling, unpickling
from flambeau._serialization.archive import ALIGNMENT, FORMAT_VERSION, ArchiveReader, ArchiveWriter
from flambeau._serialization.files import FILE_LIKE, is_path, reading, writing
from flambeau._serialization.names import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from flambeau._serialization.options import LoadEndianness as LoadEndianness
from flambeau._serialization.tensors import LoadedStorage, StorageReference, StorageType, shown
from flambeau._serialization.tensors import get_layout as _get_layout  # noqa: F401 (which pickles that PyTorch wrote name)
from flambeau._tape.storage import MetaStorage
from flambeau._types.device import device as Device

__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "safe_globals",
    "save",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
]

DEFAULT_PROTOCOL = 2

MAP_LOCATION = Callable[[LoadedStorage, str], Any] | Device | str | dict[str, str] | None
Restore = Callable[[LoadedStorage, str], LoadedStorage]


def save(
    obj: object,
    f: FILE_LIKE,
    pickle_module: ModuleType = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Save an object to a file that ``load``, and PyTorch's ``torch.load``, can read.

    Tensors that share memory share it in the file, and after loading: a storage is written once, and whole. To save a part of a large
    tensor alone, save its ``clone()``. A file that exists is replaced only when everything has been written.

    Args:
        obj: a tensor, a state dict, or anything that can be pickled
        f: a path, or a file that is open for writing bytes
        pickle_module: the module whose pickler to use
        pickle_protocol: the version of pickle's format

    Raises:
        RuntimeError: the folder does not exist, or tensors of different dtypes share memory.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> flambeau.save({"weight": flambeau.ones(2)}, buffer)
        >>> _ = buffer.seek(0)
        >>> flambeau.load(buffer)
        {'weight': tensor([1., 1.])}
    """
    if not is_path(f) and not hasattr(f, "write"):
        raise AttributeError(f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, but got {type(f).__name__}")
    if not _use_new_zipfile_serialization:
        with writing(f) as stream:
            legacy.save(obj, stream, pickle_module, pickle_protocol)
        return
    storages = pickling.Storages()

    def identify(reference: StorageReference) -> tuple:
        return ("storage", reference.type, storages.key(reference), "cpu", reference.numel)

    pickled = io.BytesIO()
    pickling.dump(obj, pickled, pickle_module, pickle_protocol, identify)
    with writing(f) as stream:
        alignment = options.save.storage_alignment
        archive = ArchiveWriter(stream, _folder(f), alignment, options.save.compute_crc32)
        archive.write("data.pkl", pickled.getbuffer())
        archive.write(".format_version", FORMAT_VERSION)
        archive.write(".storage_alignment", str(alignment).encode())
        if not _disable_byteorder_record:
            archive.write("byteorder", sys.byteorder.encode())
        for key, reference in storages.by_key.items():
            archive.write(f"data/{key}", bytes(reference.data().nbytes) if skip_data.active() else reference.data())
        archive.close()


def _folder(f: FILE_LIKE) -> str:
    """The folder in the archive: the file's name without its extension."""
    name = os.path.splitext(os.path.basename(os.fspath(f)))[0] if is_path(f) else ""
    return name if isinstance(name, str) and name and name.isascii() else "archive"


def load(
    f: FILE_LIKE,
    map_location: MAP_LOCATION = None,
    pickle_module: ModuleType | None = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what ``save``, or PyTorch's ``torch.save``, has written.

    Unless ``weights_only`` is turned off, a file can do no harm: it may hold tensors, containers and plain values, and whatever else
    ``add_safe_globals`` allows.

    Args:
        f: a path, or a file that is open for reading bytes and can seek
        map_location: where tensors go: ``"cpu"``, where all are by default; ``"meta"``, with which no elements are read; a dictionary from old to new devices; or a
            function of a storage and its device, which returns the storage, or ``None`` to leave the choice to PyTorch's rules
        pickle_module: the module whose unpickler to use, which turns ``weights_only`` off
        weights_only: ``False`` builds any object, for which **code from the file is run**
        mmap: read the storages from the file when they are used, and not all of them now; ``f`` must be a path. Writing to
            such a tensor leaves the file as it is, unless :func:`set_default_mmap_options` says otherwise. ``None`` is what
            ``utils.serialization.config.load.mmap`` says, which is ``False``.
        pickle_load_args: further arguments of the unpickler, for example ``encoding``

    Raises:
        pickle.UnpicklingError: the file asks for more than ``weights_only`` allows.
        RuntimeError: the file is damaged or cut off; or its tensors were on a device that there is none of here.
        EOFError: the file is empty.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> flambeau.save([flambeau.zeros(2), "a text", 1.5], buffer)
        >>> _ = buffer.seek(0)
        >>> flambeau.load(buffer)
        [tensor([0., 0.]), 'a text', 1.5]
    """
    weights_only = _weights_only(weights_only, pickle_module)
    mmap = options.load.mmap if mmap is None else mmap
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified: pass weights_only=False with it")
    if mmap and not is_path(f):
        raise ValueError("f must be a file path in order to use the mmap argument")
    unpickle = _unpickler(weights_only, pickle_module or pickle, pickle_load_args)
    restore = restore_at(map_location)
    with reading(f) as stream:
        start = stream.tell()
        magic = stream.read(4)
        stream.seek(start)
        if not magic:
            raise EOFError("Ran out of input: the file is empty")
        if magic == b"PK\x03\x04":
            archive = ArchiveReader(stream)
            if "constants.pkl" in archive:
                return _load_torchscript(stream, start, map_location, weights_only)
            return _load_archive(archive, unpickle, restore, stream if mmap else None, names_meta(map_location))
        if mmap:
            raise RuntimeError("mmap can only be used with files saved with _use_new_zipfile_serialization=True; save the file anew")
        return legacy.load(stream, unpickle, restore)


def _unpickler(weights_only: bool, pickle_module: ModuleType, arguments: dict[str, Any]) -> Callable[[BinaryIO, Callable], Any]:
    """What reads a pickle, given what finds the storages that it names."""
    encoding = arguments.setdefault("encoding", "utf-8")

    def load_weights(stream: BinaryIO, persistent_load: Callable) -> Any:
        try:
            return unpickling.load_weights(stream, persistent_load, encoding)
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(f"Weights only load failed. {error}") from error

    def load_anything(stream: BinaryIO, persistent_load: Callable) -> Any:
        return unpickling.load_anything(stream, persistent_load, pickle_module, **arguments)

    return load_weights if weights_only else load_anything


def _load_torchscript(stream: BinaryIO, start: int, map_location: MAP_LOCATION, weights_only: bool) -> Any:
    """A program in the place of a checkpoint: as in PyTorch, a module is no weights."""
    if weights_only:
        raise RuntimeError(
            "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``: this file is a program that torch.jit.save "
            "has written. Use ``torch.jit.load``, which runs nothing of the file"
        )
    warnings.warn(
        "'torch.load' received a zip file that looks like a TorchScript archive dispatching to 'torch.jit.load' (call 'torch.jit.load' directly to silence this warning)",
        UserWarning, stacklevel=3,
    )  # fmt: skip
    from flambeau.jit import load as load_program

    stream.seek(start)
    return load_program(stream, map_location)


def get_unsafe_globals_in_checkpoint(f: FILE_LIKE) -> list[str]:
    """The names in a file that ``load`` with ``weights_only`` would refuse; the file is only looked at.

    Raises:
        ValueError: the file is not of the present format (a zip archive).

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> flambeau.save(flambeau.nn.Linear(2, 2), buffer)
        >>> flambeau.serialization.get_unsafe_globals_in_checkpoint(buffer)
        ['torch.nn.modules.linear.Linear']
    """
    with reading(f) as stream:
        stream.seek(0)
        if stream.read(4) != b"PK\x03\x04":
            raise ValueError("expected a file of the present format (a zip archive): save it anew")
        return unpickling.unsafe_globals(io.BytesIO(ArchiveReader(stream).read("data.pkl")))


class skip_data:
    """A context in which ``save`` writes zeros in the place of all elements, and ``load`` reads none: the tensors that it returns are uninitialised.

    A file's layout, or a program that fills such files by other means, needs no elements.

    Args:
        materialize_fake_tensors: for PyTorch's sake
    """

    _here = threading.local()

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    @classmethod
    def active(cls) -> bool:
        """Whether this thread is within such a context."""
        return getattr(cls._here, "depth", 0) > 0

    def __enter__(self) -> None:
        self._here.depth = getattr(self._here, "depth", 0) + 1

    def __exit__(self, *exc: object) -> None:
        self._here.depth -= 1


def _load_archive(
    archive: ArchiveReader, unpickle: Callable[[BinaryIO, Callable], Any], restore: Restore, mapped_file: BinaryIO | None, nowhere: bool
) -> Any:
    return unpickle(io.BytesIO(archive.read("data.pkl")), storages_of(archive, "data", restore, mapped_file, nowhere))


def storages_of(
    archive: ArchiveReader, folder: str, restore: Restore, mapped_file: BinaryIO | None = None, nowhere: bool = False
) -> Callable[[tuple], LoadedStorage]:
    """What gives the storages that a pickle in an archive names; each is read once, from a folder."""
    byteorder = archive.read("byteorder").decode(errors="replace") if "byteorder" in archive else _default_byteorder()
    if byteorder not in ("little", "big"):
        raise ValueError(f"Unknown endianness type: {byteorder}")
    memory = None
    if mapped_file is not None:
        memory = _map(mapped_file)
    storages: dict[str, LoadedStorage] = {}

    def persistent_load(identity: tuple) -> LoadedStorage:
        if len(identity) != 5 or not isinstance(identity[1], StorageType) or not all(isinstance(each, str) for each in identity[2:4]):
            raise pickle.UnpicklingError(f"Unknown saved id: ({', '.join(map(shown, identity))})")
        _, storage_type, key, location, numel = identity
        if key not in storages:
            record = f"{folder}/{key}"
            nbytes = archive.size(record)
            if numel * storage_type.dtype.itemsize != nbytes:
                raise RuntimeError(f"record {record} has {nbytes} bytes, but the object expects {numel} elements of {storage_type.dtype!r}")
            storage = None if memory is None else _mapped(memory, archive.offset(record), nbytes, storage_type)
            if nowhere:
                storages[key] = LoadedStorage.nowhere(nbytes, storage_type.dtype)
                return storages[key]
            if storage is None:
                storage = LoadedStorage.empty(nbytes, storage_type.dtype)
                if skip_data.active():
                    return storages.setdefault(key, restore(storage, location))
                archive.read_into(record, storage.data().data)
            if byteorder != sys.byteorder:
                storage.swap_bytes()
            storages[key] = restore(storage, location)
        return storages[key]

    return persistent_load


def _map(file: BinaryIO) -> np.ndarray:
    """The bytes of a file, which changes with them if that is asked for."""
    if options.load.mmap_flags == options.SHARED:
        with open(file.name, "r+b") as writable:
            return np.frombuffer(memory_map.mmap(writable.fileno(), 0, access=memory_map.ACCESS_WRITE), np.uint8)
    return np.frombuffer(memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY), np.uint8)


def _default_byteorder() -> str:
    """The order of bytes in files that do not say."""
    chosen = options.load.endianness
    return sys.byteorder if chosen in (None, LoadEndianness.NATIVE) else chosen.name.lower()


def _mapped(memory: np.ndarray, offset: int, nbytes: int, storage_type: StorageType) -> LoadedStorage | None:
    """A storage in a mapped file, unless it lies there as no kernel could use it."""
    if offset % ALIGNMENT or nbytes == 0:
        return None
    return LoadedStorage.over(memory[offset : offset + nbytes], storage_type.dtype)


def default_restore_location(storage: LoadedStorage, location: str) -> LoadedStorage:
    """A storage that was loaded, on a device: what ``load`` does where ``map_location`` does not say otherwise.

    Raises:
        RuntimeError: the device is not available.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> flambeau.save(flambeau.ones(2), buffer)
        >>> _ = buffer.seek(0)
        >>> flambeau.load(buffer, map_location=lambda storage, location: default_restore_location(storage, "cpu"))
        tensor([1., 1.])
    """
    kind = location.split(":")[0]
    if kind == "meta":
        return LoadedStorage(MetaStorage(storage.start + storage.nbytes()), storage.dtype, storage.start)
    if kind != "cpu":
        raise RuntimeError(
            f"Attempting to deserialize object on device {location!r}, which is not available: Flambeau computes on the CPU. "
            "Please use load with map_location='cpu' to map your storages to the CPU."
        )
    return storage


def location_tag(storage: Any) -> str:
    """The name of the device that a storage is on, as files have it: ``"cpu"`` or ``"meta"``.

    Example:
        >>> location_tag(flambeau.ones(2).untyped_storage())
        'cpu'
    """
    return storage.device.type


def get_default_load_endianness() -> LoadEndianness | None:
    """The order of bytes that ``load`` assumes in files that do not say; ``None`` is this processor's."""
    return options.load.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Choose the order of bytes that ``load`` assumes in files that do not say.

    Raises:
        TypeError: no :class:`LoadEndianness`
    """
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError(f"Invalid argument type in function set_default_load_endianness: expected LoadEndianness, got {endianness!r}")
    options.load.endianness = endianness


def get_crc32_options() -> bool:
    """Whether ``save`` writes a checksum with each record."""
    return options.save.compute_crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Choose whether ``save`` writes a checksum with each record, which ``load`` then checks.

    Without checksums saving is faster, damage goes unnoticed, and programs that unpack zip files may refuse the file.
    """
    options.save.compute_crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """How ``load`` maps files: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return options.load.mmap_flags


class set_default_mmap_options:
    """Choose how ``load`` maps files, from now on or within a context.

    Args:
        flags: ``mmap.MAP_PRIVATE``, with which what is written to a tensor stays here; or ``mmap.MAP_SHARED``, with which it
            changes the file, and other processes see it

    Raises:
        ValueError: other flags
    """

    def __init__(self, flags: int) -> None:
        if flags not in (options.PRIVATE, options.SHARED):
            raise ValueError(
                f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got {flags}"
            )
        self._before = options.load.mmap_flags
        options.load.mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        options.load.mmap_flags = self._before


def restore_at(map_location: MAP_LOCATION) -> Restore:
    """What becomes of a storage that was saved on a device.

    Raises:
        RuntimeError: the device is not available.
    """

    place = default_restore_location
    if map_location is None:
        return place
    if isinstance(map_location, dict):
        return lambda storage, location: place(storage, map_location.get(location, location))
    if isinstance(map_location, (str, bytes, Device)):
        target = _named(map_location)
        return lambda storage, location: place(storage, target)

    def restore(storage: LoadedStorage, location: str) -> LoadedStorage:
        moved = map_location(storage, location)
        return place(storage, location) if moved is None else moved

    return restore


def _named(location: str | bytes | Device) -> str:
    return location.decode() if isinstance(location, bytes) else str(location)


def names_meta(map_location: MAP_LOCATION) -> bool:
    """Whether everything goes to the meta device, so that no elements need be read."""
    return isinstance(map_location, (str, bytes, Device)) and _named(map_location).split(":")[0] == "meta"


def _weights_only(chosen: bool | None, pickle_module: ModuleType | None) -> bool:
    """The argument, its default, or what PyTorch's environment variables say."""
    force, force_not = (
        os.environ.get(name, "0").lower() in ("1", "y", "yes", "true")
        for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    )
    if force and force_not:
        raise RuntimeError("Only one of TORCH_FORCE_WEIGHTS_ONLY_LOAD and TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD may be set, but both are")
    if force:
        return True
    if chosen is None and force_not:
        warnings.warn("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: loading with weights_only=False", UserWarning, stacklevel=3)
        return False
    return pickle_module is None if chosen is None else chosen

"""PyTorch's format before 1.6: pickles one after the other (magic number, version, byte order, the object, the keys of the
storages), then the bytes of each storage after its number of elements.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, BinaryIO

from flambeau._serialization import pickling
from flambeau._serialization.archive import fill
from flambeau._serialization.tensors import LoadedStorage, StorageReference, StorageType, elements_come_last, shown
from flambeau._types.device import CPU

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_SYSTEM = {
    "protocol_version": _VERSION,
    "little_endian": sys.byteorder == "little",
    "type_sizes": {"short": struct.calcsize("=h"), "int": struct.calcsize("=i"), "long": struct.calcsize("=l")},
}


def save(obj: Any, stream: BinaryIO, pickle_module: ModuleType, protocol: int) -> None:
    """Write an object to a stream."""
    storages = pickling.Storages()

    def identify(reference: StorageReference) -> tuple:
        return ("storage", reference.type, storages.key(reference), "cpu", reference.numel, None)

    for part in (_MAGIC, _VERSION, _SYSTEM):
        pickle_module.dump(part, stream, protocol=protocol)
    pickling.dump(obj, stream, pickle_module, protocol, identify)
    keys = sorted(storages.by_key)
    pickle_module.dump(keys, stream, protocol=protocol)
    for key in keys:
        reference = storages.by_key[key]
        stream.write(struct.pack("<q", reference.numel))
        stream.write(reference.data())


def load(stream: BinaryIO, unpickle: Callable[[BinaryIO, Callable], Any], restore: Callable[[LoadedStorage, str], LoadedStorage]) -> Any:
    """Read an object from a stream: ``unpickle(stream, persistent_load)`` reads one pickle.

    Raises:
        RuntimeError: the file is in no format of PyTorch's, or cut off.
    """
    position = stream.tell()
    available = stream.seek(0, 2) - position
    stream.seek(position)
    storages: dict[str, LoadedStorage] = {}
    views: dict[str, LoadedStorage] = {}

    def persistent_load(identity: tuple) -> Any:
        kind = _text(identity[0])
        if kind == "module":  # a class with its source code, which was once compared
            return identity[1]
        if kind != "storage" or len(identity) != 6 or not isinstance(identity[1], StorageType) or not _are_names(identity[2:4]):
            raise pickle.UnpicklingError(f"Unknown saved id: ({', '.join(map(shown, identity))})")
        _, storage_type, key, location, numel, view = identity
        dtype = storage_type.dtype
        if key not in storages:
            if type(numel) is not int or not 0 <= numel * dtype.itemsize <= available:
                raise RuntimeError(f"storage {key} claims to have {numel} elements, for which the file is too short; it is damaged")
            storages[key] = restore(LoadedStorage.empty(numel * dtype.itemsize, dtype), _text(location))
        whole = storages[key]
        if view is None:
            return whole
        view_key, offset, size = view
        if not _are_names((view_key,)):
            raise pickle.UnpicklingError(f"Unknown part of a storage: {shown(view_key)}")
        start, nbytes = offset * dtype.itemsize, size * dtype.itemsize
        if start < 0 or nbytes < 0 or start + nbytes > whole.nbytes():
            raise RuntimeError(f"storage {view_key} claims to be a part of storage {key} that does not exist")
        return views.setdefault(view_key, LoadedStorage(whole.memory, dtype, start, nbytes))

    if unpickle(stream, persistent_load) != _MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = unpickle(stream, persistent_load)
    if version != _VERSION:
        raise RuntimeError(f"Invalid protocol version: {shown(version)}; this reads version {_VERSION}")
    system = unpickle(stream, persistent_load)
    with elements_come_last() as check_elements:
        result = unpickle(stream, persistent_load)
    keys = unpickle(stream, persistent_load)
    if not isinstance(keys, list) or not _are_names(keys) or not set(keys) <= storages.keys():
        raise RuntimeError("the file ends with storages that its object does not refer to; it is damaged")
    swap = isinstance(system, dict) and system.get("little_endian") is not None and system["little_endian"] != _SYSTEM["little_endian"]
    for key in keys:
        storage = storages[key]
        header = bytearray(8)
        fill(stream, memoryview(header))
        (numel,) = struct.unpack("<q", header)
        if numel * storage.dtype.itemsize != storage.nbytes():
            raise RuntimeError(f"storage {key} has {numel} elements, but the object expects {storage.nbytes() // storage.dtype.itemsize}")
        if storage.device is not CPU:
            stream.seek(storage.nbytes(), 1)
            continue
        fill(stream, storage.data().data)
        if swap:
            storage.swap_bytes()
    check_elements()
    return result


def _are_names(values: Iterable[Any]) -> bool:
    """Whether keys and places are text, or what text of Python 2 has become; nothing else is looked up."""
    return all(isinstance(value, (str, bytes)) for value in values)


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value

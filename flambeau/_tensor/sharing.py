"""Memory that several processes read and write: what ``share_memory_`` moves tensors to.

A *segment* is a file without a name, which every process that has it open maps to the same pages. A process that is forked inherits the
mapping; any other gets the descriptor (``multiprocessing/reductions.py``). The storage is exported for good: what is read is copied at the
call, and what is written is written at once, into the elements that change and no others.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from flambeau._ops.creation import adopt_array
from flambeau._tape.storage import Storage
from flambeau._tape.tape import flush_readers
from flambeau._types.device import CPU


class Segment:
    """Pages that other processes map, too.

    Args:
        descriptor: of the file, which is closed with the segment
        nbytes: its size

    Attributes:
        identity: device and number of the file, the same in each process
    """

    __slots__ = ("__weakref__", "array", "descriptor", "identity")

    def __init__(self, descriptor: int, nbytes: int) -> None:
        self.descriptor = descriptor
        self.identity = _identity(descriptor)
        self.array = np.frombuffer(mmap.mmap(descriptor, nbytes), np.uint8)

    def __del__(self, close: object = os.close) -> None:
        if hasattr(self, "descriptor"):
            close(self.descriptor)  # the mapping lives on while anybody holds the array


_segments: WeakKeyDictionary[Storage, Segment] = WeakKeyDictionary()
_storages: WeakValueDictionary[tuple[int, int], Storage] = WeakValueDictionary()


def segment_of(storage: Storage) -> Segment | None:
    """The segment that a storage lies in; ``None`` if it is not shared."""
    return _segments.get(storage)


def share(storage: Storage) -> None:
    """Move the bytes of a storage to a segment; what has been recorded with them is computed first.

    Raises:
        NotImplementedError: the system has no descriptors to share files by (Windows).
        RuntimeError: it has none left, or no memory; the storage is what it was.
    """
    if storage in _segments or not storage.nbytes or storage.device is not CPU:
        return
    flush_readers(storage)
    old = storage.materialize()
    try:
        segment = Segment(unnamed_file(storage.nbytes), storage.nbytes)
    except OSError as error:
        raise RuntimeError(f"there is no shared memory for {storage.nbytes} bytes: {error}") from error
    segment.array[:] = old.view(np.dtype(np.uint8), storage.nbytes)
    storage.buffer = adopt_array(segment.array).memory.buffer
    _remember(storage, segment)


def attach(descriptor: int, nbytes: int) -> Storage:
    """The storage in the segment behind a descriptor, which is kept or closed: one storage for each segment."""
    storage = _storages.get(_identity(descriptor))
    if storage is None:
        segment = Segment(descriptor, nbytes)
        storage = adopt_array(segment.array).memory
        _remember(storage, segment)
    elif descriptor != _segments[storage].descriptor:  # a process that was started with tensors is given each descriptor once
        os.close(descriptor)
    return storage


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _remember(storage: Storage, segment: Segment) -> None:
    storage.exported = True
    storage.pin()  # nothing that follows from the bytes is kept: others may write them at any time
    _segments[storage] = segment
    _storages[segment.identity] = storage


def unnamed_file(nbytes: int) -> int:
    """The descriptor of a new file of zeros that is gone when nobody has it open any more."""
    if os.name == "nt":
        raise NotImplementedError("share_memory_: Windows has no files without a name; send tensors through a queue or a pipe instead")
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("flambeau")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, nbytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

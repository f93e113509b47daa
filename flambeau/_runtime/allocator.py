"""A caching allocator for tensors: in the steady state it asks the system for nothing.

Sizes are rounded up to *size classes*, and what is freed waits in the free list of its class. Blocks of up to 8 MB are carved
from slabs, larger ones are mappings of their own; both lie on huge pages, since a page fault costs more than computing what the
page will hold. Memory goes back to the system in ``empty_cache``, when more of it waits than was ever in use, and before an allocation
would fail.

Allocating and freeing are a list's ``pop`` and ``append`` and arithmetic on counters, during which CPython never switches
threads; only taking memory from the system needs the lock. A forked process has a copy of everything, free lists included.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from contextlib import suppress
from typing import Any

import numpy

from flambeau._types.errors import OutOfMemoryError

ALIGNMENT = 64
HUGE_PAGE = 2 << 20

_STEPS = 8  # size classes between two powers of two: at most an eighth of a block is unused
_LARGEST_CARVED = 8 << 20
_SLAB = 64 << 20  # address space: what was never carved takes no memory
_SMALLEST_RELEASED = 64 << 10  # giving back less is not worth a system call
_PASSED_OVER = 5  # a large block also serves requests this many classes smaller: down to some two thirds of its size
_MAY_WAIT = 64 << 20
"""So many bytes may wait, or as many as were ever in use at a time: two sizes of a batch in turn share no block and ask the system for nothing,
while of a thousand sizes only the last few are kept."""
_REMEMBERED = 1 << 14  # sizes whose class is looked up and not computed


class _Mapping:
    """Zeroed pages of our own, which go back to the system with the object."""

    __slots__ = ("_pages", "_start", "address")

    def __init__(self, nbytes: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        self._pages = mmap.mmap(-1, nbytes + HUGE_PAGE, **private)  # with room to align
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        self.address = -(-self._start // HUGE_PAGE) * HUGE_PAGE
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without huge pages
                self._pages.madvise(mmap.MADV_HUGEPAGE)

    def release(self, address: int, nbytes: int) -> None:
        """Give back the memory, but not the addresses, of the whole pages within a range."""
        first = -(-(address - self._start) // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (address + nbytes - self._start) // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED, first, last - first)


class _SizeClass:
    """The blocks of one size."""

    __slots__ = ("counters", "free", "mappings", "memory_at", "nbytes", "pop", "vacant")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.counters = _counters
        self.memory_at: Any = None  # makes an array of so many bytes for ctypes of an address, once there is one
        self.free: list[int] = []
        self.pop = self.free.pop
        self.vacant: list[int] = []  # carved blocks whose memory went back to the system
        self.mappings: dict[int, _Mapping] = {}  # what keeps a block alive that was not carved


def _word(place: int) -> property:
    """A machine word of the counters, as a number."""
    return property(lambda self: self.words[place], lambda self, value: self.words.__setitem__(place, value))


class _Counters:
    """Bytes and blocks, in whole blocks of a size class. What each allocation changes are words of memory, which native code changes as well."""

    __slots__ = ("address", "carved", "reserved", "reserved_peak", "words")

    def __init__(self) -> None:
        self.words = (ctypes.c_int64 * 3)()
        self.address = ctypes.addressof(self.words)
        self.reserved = self.reserved_peak = 0
        self.carved = _SLAB  # of the newest slab, of which there is none yet

    allocated, peak, allocations = map(_word, range(3))


_new = object.__new__
_lock = threading.RLock()
_counters = _Counters()
_slabs: dict[int, _Mapping] = {}
_classes: dict[int, _SizeClass] = {}
_class_of: dict[int, _SizeClass] = {}


class Buffer:
    """Memory: ``nbytes`` bytes at ``address``, which is a multiple of 64. It is freed with the last reference to the object.

    Attributes:
        packed: what programs keep beside the bytes because it follows from them (``_compiler/prepacking.py``): not set, or ``None``, while that is
            nothing; ``False`` if somebody may write the bytes at any time, so that nothing is kept
    """

    __slots__ = ("_class", "address", "nbytes", "packed")

    packed: dict[str, Any] | bool | None

    def __init__(self, address: int, nbytes: int, size_class: _SizeClass) -> None:
        self.address = address
        self.nbytes = nbytes
        self._class = size_class

    def __del__(self, _counters: _Counters = _counters) -> None:
        size_class = self._class
        size_class.free.append(self.address)
        _counters.allocated -= size_class.nbytes

    @staticmethod
    def foreign(address: int, nbytes: int, owner: Any) -> Buffer:
        """Memory that belongs to ``owner``, which lives as long as the buffer."""
        return _ForeignBuffer(address, nbytes, owner)

    def view(self, dtype: Any = numpy.uint8, count: int | None = None, offset: int = 0) -> numpy.ndarray:
        """A one-dimensional array of ``count`` elements from byte ``offset`` on (default: all that fit), which keeps the buffer alive."""
        dtype = numpy.dtype(dtype)
        if count is None:
            count = (self.nbytes - offset) // dtype.itemsize
        if offset + count * dtype.itemsize > self.nbytes:
            raise TypeError(f"a buffer of {self.nbytes} bytes is too small for {count} elements of {dtype.name} from byte {offset} on")
        return self.array((count,), dtype, offset)

    def array(self, shape: tuple[int, ...], dtype: numpy.dtype, offset: int = 0, strides: tuple[int, ...] | None = None) -> numpy.ndarray:
        """An array from byte ``offset`` on, with strides in bytes (default: row-major), which keeps the buffer alive; it must fit."""
        size_class = self._class
        if size_class.memory_at is None:
            size_class.memory_at = (ctypes.c_char * size_class.nbytes).from_address
        memory = size_class.memory_at(self.address)  # 0.7 µs with the array; by ``__array_interface__`` 1.5
        memory.buffer = self
        return numpy.ndarray(shape, dtype, memory, offset, strides)

    def changes(self) -> None:
        """Forget what follows from the bytes: they have just been written, or may be from now on. (Not before: another thread could keep what it reads.)"""
        if getattr(self, "packed", None):
            self.packed = None

    def copy(self) -> Buffer:
        """New memory with the same bytes."""
        made = allocate(self.nbytes)
        ctypes.memmove(made.address, self.address, self.nbytes)
        return made

    def copy_from(self, other: Buffer) -> None:
        """Overwrite the bytes by those of a buffer of the same size."""
        ctypes.memmove(self.address, other.address, min(self.nbytes, other.nbytes))
        self.changes()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (self.nbytes,), "typestr": "|u1", "data": (self.address, False)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(address={self.address:#x}, nbytes={self.nbytes})"


class _ForeignBuffer(Buffer):
    """Memory of somebody else; ``_class`` is its owner."""

    __slots__ = ()

    def __del__(self, _counters: _Counters = _counters) -> None:
        """Nothing to free."""

    def array(self, shape: tuple[int, ...], dtype: numpy.dtype, offset: int = 0, strides: tuple[int, ...] | None = None) -> numpy.ndarray:
        return numpy.ndarray(shape, dtype, numpy.asarray(self), offset, strides)


def allocate(nbytes: int) -> Buffer:
    """Memory for ``nbytes`` bytes, not initialised. ``OutOfMemoryError`` if the system has none left."""
    size_class = _class_of.get(nbytes) or _size_class(nbytes)
    try:
        address = size_class.free.pop()
    except IndexError:
        address, size_class = _supply(size_class, nbytes)
    counters = _counters
    counters.allocations += 1
    counters.allocated = allocated = counters.allocated + size_class.nbytes
    if allocated > counters.peak:
        counters.peak = allocated
    buffer = _new(Buffer)  # without the call of __init__: 0.3 µs for all of this, not 0.4
    buffer.address = address
    buffer.nbytes = nbytes
    buffer._class = size_class
    return buffer


def statistics() -> dict[str, int]:
    """Bytes ``allocated`` now and at the ``peak``, ``reserved`` from the system (and ``reserved_peak``), and ``allocations`` so far.

    All sizes are those of whole blocks; ``reserved - allocated`` waits in free lists.
    """
    names = ("allocated", "peak", "reserved", "reserved_peak", "allocations")
    return {name: getattr(_counters, name) for name in names}


def reset_peak() -> None:
    """Measure the peaks from now on."""
    _counters.peak, _counters.reserved_peak = _counters.allocated, _counters.reserved


def empty_cache() -> None:
    """Give memory that waits in free lists back to the system (small blocks stay)."""
    with _lock:
        for size_class in list(_classes.values()):
            if size_class.nbytes < _SMALLEST_RELEASED:
                continue
            while True:
                try:
                    address = size_class.free.pop()
                except IndexError:  # another thread may be taking blocks meanwhile
                    break
                _counters.reserved -= size_class.nbytes
                if size_class.mappings.pop(address, None) is None:
                    _slabs[_slab_start(address)].release(address, size_class.nbytes)
                    size_class.vacant.append(address)


def size_class(nbytes: int) -> _SizeClass:
    """The class of the blocks that ``allocate`` takes for so many bytes."""
    return _class_of.get(nbytes) or _size_class(nbytes)


def classes_by_size() -> dict[int, _SizeClass]:
    """Size classes by the sizes asked for, as far as they were looked up before."""
    return _class_of


def counters() -> _Counters:
    """What ``allocate`` and ``Buffer`` count in."""
    return _counters


def _size_class(nbytes: int) -> _SizeClass:
    """The class of the smallest blocks that hold ``nbytes``."""
    if nbytes < 0:
        raise ValueError(f"cannot allocate {nbytes} bytes")
    shift = max(6, (nbytes - 1).bit_length() - _STEPS.bit_length())
    rounded = max(1, -(-nbytes >> shift)) << shift
    if rounded > _LARGEST_CARVED:
        rounded = -(-rounded // HUGE_PAGE) * HUGE_PAGE
    size_class = _classes.get(rounded) or _classes.setdefault(rounded, _SizeClass(rounded))
    if len(_class_of) >= _REMEMBERED:
        _class_of.clear()
    _class_of[nbytes] = size_class
    return size_class


def _supply(wanted: _SizeClass, nbytes: int) -> tuple[int, _SizeClass]:
    """A block for a class that has none free, and the class that it is of."""
    with _lock:
        if _counters.reserved - _counters.allocated > max(_MAY_WAIT, _counters.peak):
            empty_cache()
        if wanted.nbytes <= _LARGEST_CARVED:
            if wanted.vacant:
                address = wanted.vacant.pop()
            else:
                address = _carve(wanted.nbytes, nbytes)
        else:
            for size in sorted(size for size in _classes if size > wanted.nbytes)[:_PASSED_OVER]:
                try:
                    return _classes[size].free.pop(), _classes[size]
                except IndexError:
                    continue
            mapping = _map(wanted.nbytes, nbytes)
            address = mapping.address
            wanted.mappings[address] = mapping
        _counters.reserved += wanted.nbytes
        _counters.reserved_peak = max(_counters.reserved_peak, _counters.reserved)
        return address, wanted


def _carve(size: int, nbytes: int) -> int:
    """The address of a new block of a slab. What is left of a slab that is too short was never touched and takes no memory."""
    if _counters.carved + size > _SLAB:
        slab = _map(_SLAB, nbytes)
        _slabs[slab.address] = slab
        _counters.carved = 0
    address = next(reversed(_slabs)) + _counters.carved
    _counters.carved += size
    return address


def _slab_start(address: int) -> int:
    return max(start for start in _slabs if start <= address)


def _map(size: int, nbytes: int) -> _Mapping:
    """Memory from the system, which gets back first what waits if that is too much, or if there is no other way."""
    if _counters.reserved - _counters.allocated > _physical_memory() // 2:
        empty_cache()
    try:
        return _Mapping(size)
    except (OSError, ValueError, OverflowError):
        empty_cache()
    try:
        return _Mapping(size)
    except (OSError, ValueError, OverflowError) as error:
        raise OutOfMemoryError(  # libraries that try smaller batches look for PyTorch's words
            f"DefaultCPUAllocator: can't allocate memory: {nbytes} bytes ({nbytes / 2**30:.2f} GiB) were asked for, "
            f"{_counters.allocated} are in use ({error})"
        ) from None


def _physical_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        total = 8 << 30
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = file.read().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that is not here may hold the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

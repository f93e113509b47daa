"""Carrying batches between processes: a pipe for small things, shared memory for the bytes of tensors and arrays.

A batch is pickled with protocol 5, which hands large buffers out instead of copying them into the pickle. The sender
copies those buffers into a *segment*, an anonymous piece of shared memory (a ``memfd``) that both processes keep mapped,
and sends the rest through the pipe; the receiver builds tensors right on the segment. When the last of them is gone the
segment goes back to the sender for another batch: in the steady state nothing is mapped, faulted in or zeroed.

A ``memfd`` does not count against the size of ``/dev/shm`` (64 MB in a default container), has no name that could
outlive a killed process, and needs no tracking process. Where there is none (macOS, Windows), buffers travel inside of
the pickle.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import numpy as np

import flambeau
from flambeau.utils.data._utils.owned import owned

__all__ = ["Receiver", "Sender", "dumps"]

_SHARES = hasattr(os, "memfd_create")
_INLINE = 16 * 1024
"""Buffers smaller than this many bytes travel inside of the pickle."""
_ALIGN = 64
"""Buffers start at multiples of a cache line."""
_NO_NUMPY = {flambeau.bfloat16: flambeau.int16}
"""Dtypes that NumPy lacks, and as what their bytes are shown to it."""


class Sender:
    """The end of a connection that sends values; it owns the segments that they travel in."""

    def __init__(self, connection: Connection, receiver_pid: int) -> None:
        self._connection = connection
        self._receiver_pid = receiver_pid
        self._segments: dict[int, mmap.mmap] = {}
        self._free: list[int] = []
        self._created = 0

    def send(self, value: Any) -> None:
        """Sends ``value``. If it cannot be pickled the error is raised here and nothing has been sent."""
        buffers: list[memoryview] = []

        def keep_inline(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes < _INLINE:
                return True
            buffers.append(raw)
            return False

        body = dumps(value, keep_inline if _SHARES else None)
        if not buffers:
            self._connection.send_bytes(pickle.dumps((body, None)))
            return
        spans, end = [], 0
        for buffer in buffers:
            start = -(-end // _ALIGN) * _ALIGN
            end = start + buffer.nbytes
            spans.append((start, end))
        try:
            number, descriptor, forgotten = self._segment(end)
        except OSError:  # no descriptors, or no memory of this kind, are left
            self._connection.send_bytes(pickle.dumps((dumps(value), None)))
            return
        segment = self._segments[number]
        for buffer, (start, stop) in zip(buffers, spans, strict=True):
            segment[start:stop] = buffer
        size = None if descriptor is None else len(segment)
        try:
            self._connection.send_bytes(pickle.dumps((body, (number, size, spans, forgotten))))
            if descriptor is not None:
                send_handle(self._connection, descriptor, self._receiver_pid)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def take_back(self, numbers: list[int]) -> None:
        """Says that the receiver does not look at these segments any more."""
        self._free += numbers

    def _segment(self, size: int) -> tuple[int, int | None, int | None]:
        """A segment of at least ``size`` bytes: its number, its descriptor if it is new, and which one is gone if one is."""
        large_enough = [number for number in self._free if len(self._segments[number]) >= size]
        if large_enough:
            number = min(large_enough, key=lambda number: len(self._segments[number]))
            self._free.remove(number)
            return number, None, None
        # Sizes vary from batch to batch. Pages that are never touched cost nothing, so there is no harm in a generous size.
        size = 1 << (size - 1).bit_length()
        descriptor = os.memfd_create("flambeau-batch")
        try:
            os.ftruncate(descriptor, size)
            segment = mmap.mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        forgotten = None
        if self._free:
            forgotten = self._free.pop()
            self._segments.pop(forgotten).close()
        number, self._created = self._created, self._created + 1
        self._segments[number] = segment
        return number, descriptor, forgotten


class Receiver:
    """The end of a connection that receives values.

    Args:
        leases: how many segments values may live in at a time. Beyond that they are copied out, so that a caller who
            keeps everything holds neither ever more segments nor ever more file descriptors.
    """

    def __init__(self, connection: Connection, leases: int) -> None:
        self._connection = connection
        self._leases = leases
        self._segments: dict[int, mmap.mmap] = {}
        self._leased: dict[int, weakref.ref] = {}
        self._returned: deque[int] = deque()

    def receive(self) -> Any:
        """Waits for the next value. EOFError means that the sender is gone."""
        body, placement = pickle.loads(self._connection.recv_bytes())
        if placement is None:
            return pickle.loads(body)
        number, size, spans, forgotten = placement
        self._segments.pop(forgotten, None)
        if size is not None:
            descriptor = recv_handle(self._connection)
            self._segments[number] = mmap.mmap(descriptor, size)
            os.close(descriptor)
        bytes_ = np.frombuffer(self._segments[number], np.uint8, spans[-1][1])
        if len(self._leased) < self._leases:
            self._leased[number] = weakref.ref(bytes_, lambda _: self._give_back(number))
        else:
            bytes_ = bytes_.copy()
            self._returned.append(number)
        # Whatever is built on these views keeps `bytes_` alive, and the lease ends with it.
        view = memoryview(bytes_)
        return pickle.loads(body, buffers=[view[start:stop] for start, stop in spans])

    def returned(self) -> list[int]:
        """The numbers of the segments that went out of use since the last call, for :meth:`Sender.take_back`."""
        return [self._returned.popleft() for _ in range(len(self._returned))]

    def _give_back(self, number: int) -> None:
        del self._leased[number]
        self._returned.append(number)


def dumps(value: Any, keep_inline: Callable[[pickle.PickleBuffer], bool] | None = None) -> bytes:
    """Pickles ``value`` without those of its large buffers for which ``keep_inline`` is false."""
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=keep_inline).dump(value)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles a plain tensor as an array on its memory, which NumPy pickles as a buffer."""

    def reducer_override(self, value: Any) -> Any:
        return _reduce_tensor(value) if type(value) is flambeau.Tensor else NotImplemented


def _reduce_tensor(tensor: flambeau.Tensor) -> tuple:
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "a DataLoader worker cannot send a tensor that is part of an autograd graph to another process: "
            "detach() it, or load it under no_grad()"
        )
    data, order = tensor.detach(), None
    if not data.is_contiguous():
        # A tensor that is dense in another order of its axes (channels last) keeps its strides.
        order = sorted(range(data.dim()), key=data.stride, reverse=True)
        data = data.permute(order)
        if not data.is_contiguous():
            data, order = tensor.detach().contiguous(), None
    if tensor.dtype in _NO_NUMPY:
        data = data.view(_NO_NUMPY[tensor.dtype])
    return _rebuild_tensor, (data.numpy(), tensor.dtype, order, tensor.requires_grad)


def _rebuild_tensor(array: np.ndarray, dtype: flambeau.dtype, order: list[int] | None, requires_grad: bool) -> flambeau.Tensor:
    tensor = owned(array)
    if dtype in _NO_NUMPY:
        tensor = tensor.view(dtype)
    if order is not None:
        tensor = tensor.permute([order.index(axis) for axis in range(len(order))])
    return tensor.requires_grad_() if requires_grad else tensor

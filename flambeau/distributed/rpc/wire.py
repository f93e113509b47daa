"""What processes that call each other send: messages, and values in them.

A value is pickled; the bytes of its tensors follow the pickle as they are, and the ``RRef``s in it become copies that their owner knows of. A
message is

```
kind | number of the call | sizes ‖ head (a pickle of numbers and texts) ‖ value (a pickle) ‖ tensors
```
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy

import flambeau
from flambeau import Tensor
from flambeau._ops.registry import new_tensor
from flambeau._runtime.allocator import Buffer
from flambeau._tape.storage import Storage
from flambeau._types import layout as lay
from flambeau.distributed.arrays import readable
from flambeau.distributed.handshake import receive_exactly, receive_into
from flambeau.nn.parameter import Parameter

__all__ = ["Message", "Packed", "Parcel", "pack", "receive", "send", "unpack"]

_HEAD, _SIZE = struct.Struct("<BQI"), struct.Struct("<Q")
_PLAIN = (Tensor, Parameter)
_AT_ONCE = 64 << 10
"""Bytes up to which the parts of a message are put together before they are sent."""


class Message(NamedTuple):
    """Something that one process sends another: what it is, the number of the call that it belongs to, and its parts."""

    kind: int
    number: int
    parts: Sequence[Any] = ()


def send(connection: socket.socket, message: Message) -> None:
    """Send a message; nobody else may send by this connection meanwhile."""
    sizes = [memoryview(part).nbytes for part in message.parts]
    head = _HEAD.pack(message.kind, message.number, len(sizes)) + b"".join(map(_SIZE.pack, sizes))
    if sum(sizes) <= _AT_ONCE:
        connection.sendall(b"".join([head, *message.parts]))
        return
    connection.sendall(head)
    for part in message.parts:
        if len(part):
            connection.sendall(part)


def receive(connection: socket.socket) -> Message:
    """Wait for a message.

    Raises:
        OSError: the other side is gone
    """
    kind, number, count = _HEAD.unpack(receive_exactly(connection, _HEAD.size))
    sizes = [size for (size,) in _SIZE.iter_unpack(receive_exactly(connection, count * _SIZE.size))]
    return Message(kind, number, [receive_into(connection, numpy.empty(size, numpy.uint8)) for size in sizes])


class Parcel(Protocol):
    """Somebody who knows where a value goes, or where it comes from."""

    def depart(self, tensors: Sequence[Tensor]) -> Any:
        """What the receiver has to know of the tensors, for the sake of their gradients."""

    def arrive(self, tensors: list[Tensor], note: Any) -> None:
        """The tensors have come, with that note; others may take their places."""

    def lend(self, reference: Any) -> tuple:
        """What the receiver has to know of an ``RRef``."""

    def borrow(self, note: tuple) -> Any:
        """The ``RRef`` that such a note stands for."""


class Packed(NamedTuple):
    """A value, as the parts of a message."""

    parts: list[Any]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, reference: type) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.reference = reference
        self.tensors: list[Tensor] = []
        self.references: list[Any] = []
        self.places: dict[int, tuple[str, int]] = {}

    def persistent_id(self, value: Any) -> Any:
        if type(value) in _PLAIN and value.layout.__class__ is lay.Layout:  # others are pickled as they say
            return self._place("tensor", self.tensors, value)
        if isinstance(value, self.reference):
            return self._place("reference", self.references, value)
        return None

    def _place(self, kind: str, values: list, value: Any) -> tuple[str, int]:
        place = self.places.get(id(value))
        if place is None:
            place = self.places[id(value)] = kind, len(values)
            values.append(value)
        return place


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, values: dict[str, list]) -> None:
        super().__init__(file)
        self.values = values

    def persistent_load(self, place: Any) -> Any:
        kind, number = place
        return self.values[kind][number]


def pack(value: Any, reference: type, parcel: Parcel) -> Packed:
    """A value that is to be sent.

    Raises:
        Exception: something in it cannot be pickled
    """
    file = io.BytesIO()
    pickler = _Pickler(file, reference)
    pickler.dump(value)
    arrays = [readable(_in_memory_order(tensor)).view(numpy.uint8) for tensor in pickler.tensors]
    head = (
        [_kind(tensor) for tensor in pickler.tensors],
        parcel.depart(pickler.tensors),
        [parcel.lend(each) for each in pickler.references],
    )
    return Packed([pickle.dumps(head), file.getvalue(), *arrays])


def unpack(parts: Sequence[Any], parcel: Parcel) -> Any:
    """The value that was sent.

    Raises:
        Exception: what it is made of is not known in this process
    """
    kinds, note, references = pickle.loads(parts[0])
    borrowed = [parcel.borrow(each) for each in references]  # first, so that they are given back whatever happens
    tensors = [_tensor(array, *kind) for array, kind in zip(parts[2:], kinds, strict=True)]
    parcel.arrive(tensors, note)
    return _Unpickler(io.BytesIO(parts[1]), {"tensor": tensors, "reference": borrowed}).load()


def _kind(tensor: Tensor) -> tuple:
    layout = tensor.layout
    strides = layout.strides if layout.dense else lay.contiguous(layout.shape, layout.dtype).strides
    return layout.dtype.name, layout.shape, strides, tensor.requires_grad, type(tensor) is Parameter


def _in_memory_order(tensor: Tensor) -> Tensor:
    """The elements without gaps, as they lie in memory."""
    tensor = tensor.detach()
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset()) if tensor.layout.dense else tensor


def _tensor(array: numpy.ndarray, dtype: str, shape: tuple, strides: tuple, requires_grad: bool, parameter: bool) -> Tensor:
    """A tensor in memory that nobody else knows."""
    storage = Storage(Buffer.foreign(array.ctypes.data, array.nbytes, array), array.nbytes)
    made = new_tensor(storage, lay.layout(shape, strides, 0, getattr(flambeau, dtype)))
    if parameter:
        return Parameter(made, requires_grad)
    return made.requires_grad_() if requires_grad else made

"""Protocol buffers on the wire: enough of the encoding to write and read event files.

A message is its fields, one after another; a field is a key (number and wire type) and a payload
(https://protobuf.dev/programming-guides/encoding). Each function here returns the bytes of one field, so that a message
is written as the sum of its fields: ``text(1, tag) + float32(2, value)``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
_ALL_ONES = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number is its 64-bit two's complement."""
    if 0 <= number < 128:
        return bytes((number,))
    number &= _ALL_ONES
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field: int, number: int) -> bytes:
    return varint(field << 3 | VARINT) + varint(number)


def float32(field: int, number: float) -> bytes:
    with np.errstate(over="ignore"):  # beyond float32's range is infinity, as in every other implementation
        return varint(field << 3 | FIXED32) + np.float32(number).astype("<f4").tobytes()


def float64(field: int, number: float) -> bytes:
    return varint(field << 3 | FIXED64) + struct.pack("<d", number)


def data(field: int, payload: bytes | memoryview) -> bytes:
    """Bytes, or a message inside a message."""
    return b"".join((varint(field << 3 | BYTES), varint(len(payload)), payload))


def text(field: int, string: str) -> bytes:
    return data(field, string.encode())


def float32s(field: int, numbers) -> bytes:
    with np.errstate(over="ignore"):
        return data(field, np.asarray(numbers).astype("<f4").tobytes())


def float64s(field: int, numbers) -> bytes:
    return data(field, np.asarray(numbers).astype("<f8").tobytes())


def integers(field: int, numbers) -> bytes:
    """A packed list of varints, encoded for all numbers at once."""
    numbers = np.asarray(numbers).reshape(-1).astype(np.int64).view(np.uint64)
    groups = numbers[:, None] >> np.arange(0, 70, 7, dtype=np.uint64)
    groups[:, 9] = numbers >> np.uint64(63)
    later = groups[:, 1:] != 0  # is there a bit left for the bytes that follow?
    out = (groups & np.uint64(127)).astype(np.uint8)
    out[:, :-1] |= later.astype(np.uint8) << 7
    used = np.ones(out.shape, bool)
    used[:, 1:] = later
    return data(field, out[used].tobytes())


def repeated(field: int, messages: Iterable[bytes]) -> bytes:
    return b"".join(data(field, message) for message in messages)


def read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """The number at ``position`` and the position after it."""
    result = shift = 0
    while shift < 70:
        byte = buffer[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result & _ALL_ONES, position
        shift += 7
    raise ValueError(f"varint longer than ten bytes at offset {position - 10}")


def spans(buffer: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message as ``(number, wire type, begin, end)`` of their payloads; raises ValueError where it is not one."""
    end = len(buffer) if end is None else end
    try:
        while begin < end:
            key, begin = read_varint(buffer, begin)
            wire = key & 7
            if wire == VARINT:
                stop = read_varint(buffer, begin)[1]
            elif wire == BYTES:
                size, begin = read_varint(buffer, begin)
                stop = begin + size
            elif wire in (FIXED64, FIXED32):
                stop = begin + (8 if wire == FIXED64 else 4)
            else:
                raise ValueError(f"wire type {wire} at offset {begin}")
            if stop > end:
                raise ValueError(f"field {key >> 3} runs past the end of its message")
            yield key >> 3, wire, begin, stop
            begin = stop
    except IndexError:
        raise ValueError("the message ends inside a field") from None

from __future__ import annotations

import math

import numpy as np
import pytest

from flambeau.utils.tensorboard import _wire as wire


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (-1, b"\xff" * 9 + b"\x01"),
        ((1 << 64) - 1, b"\xff" * 9 + b"\x01"),
    ],
)
def test_varint(number, encoded):
    assert wire.varint(number) == encoded
    assert wire.read_varint(b"x" + encoded, 1) == (number % (1 << 64), 1 + len(encoded))


def test_packed_integers_are_varints():
    numbers = [0, 1, 127, 128, 16383, 16384, -1, (1 << 63) - 1, -(1 << 63)]
    assert wire.integers(5, np.array(numbers)) == wire.data(5, b"".join(map(wire.varint, numbers)))


def test_fields():
    message = wire.integer(1, 300) + wire.text(2, "é") + wire.float32(3, 0.5) + wire.float64(200, -2.0)
    found = [(number, kind, message[begin:end]) for number, kind, begin, end in wire.spans(message)]
    assert found == [(1, 0, b"\xac\x02"), (2, 2, "é".encode()), (3, 5, b"\x00\x00\x00\x3f"), (200, 1, b"\x00\x00\x00\x00\x00\x00\x00\xc0")]


def test_float32_beyond_its_range_is_infinite():
    assert wire.float32(1, 1e39)[1:] == np.float32(math.inf).tobytes()


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x09\x00", b"\x08", b"\x08\xff", b"\x0b", b"\x08" + b"\xff" * 11])
def test_what_is_no_message(message):
    with pytest.raises(ValueError, match=r"message|wire type|varint"):
        list(wire.spans(message))

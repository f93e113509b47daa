from __future__ import annotations

import numpy as np
import pytest

from flambeau.utils.tensorboard._crc import crc32c, crc32c_columns, mask

RNG = np.random.default_rng(0)


def bit_by_bit(message: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in message:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("message", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_known_answers(message, crc):
    """RFC 3720, appendix B.4."""
    assert crc32c(message) == crc


@pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1000, 4095, 16384, 16385, 70_000, 140_001])
def test_any_length(size):
    message = RNG.bytes(size)
    assert crc32c(message) == bit_by_bit(message)


def test_long_message_is_the_sum_of_its_parts():
    """Linearity: crc(a ^ b) = crc(a) ^ crc(b) ^ crc(0), at a length where folding takes several levels."""
    a, b = RNG.integers(0, 256, (2, 3_000_001), np.uint8)
    zero = np.zeros_like(a)
    assert crc32c((a ^ b).tobytes()) == crc32c(a.tobytes()) ^ crc32c(b.tobytes()) ^ crc32c(zero.tobytes())


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 60, 256, 257])
def test_columns(size):
    messages = RNG.integers(0, 256, (7, size), np.uint8)
    assert crc32c_columns(np.ascontiguousarray(messages.T)).tolist() == [crc32c(message.tobytes()) for message in messages]


def test_mask_of_numbers_and_arrays():
    numbers = RNG.integers(0, 1 << 32, 100, np.uint32)
    assert mask(numbers).tolist() == [mask(number) for number in numbers.tolist()]
    assert mask(0) == 0xA282EAD8

"""CRC-32: a kernel's are those of zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flambeau._runtime import checksums, targets

DATA = memoryview(np.random.default_rng(0).bytes(5000))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel, also for few bytes."""
    if not targets.has_carryless_products():
        pytest.skip("this processor has no carry-less products, or the target is not the processor")
    monkeypatch.setattr(checksums, "_WORTHWHILE", 64)
    monkeypatch.setattr(zlib, "crc32", _at_most(129, zlib.crc32))


def _at_most(size: int, function: Callable[..., int]) -> Callable[..., int]:
    def crc32(data: Any, start: int = 0) -> int:
        assert memoryview(data).nbytes < size, "all of it was left to zlib"
        return function(data, start)

    return crc32


CRC32 = zlib.crc32


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("start", [0, 1, 0xFFFFFFFF, 0x12345678])
def test_checksums_are_those_of_zlib(start: int) -> None:
    for size in (64, 65, 127, 128, 191, 192, 1000, 4096, 4999):
        for first in (0, 1, 13):
            data = DATA[first : first + size]
            assert checksums.crc32(data, start) == CRC32(data, start), (size, first)


@pytest.mark.usefixtures("always")
def test_pieces_follow_each_other() -> None:
    first = checksums.crc32(DATA[:1001])
    assert checksums.crc32(DATA[1001:], first) == CRC32(DATA)


@pytest.mark.usefixtures("always")
def test_each_bit_counts() -> None:
    data = bytearray(DATA[:320])
    whole = checksums.crc32(memoryview(data))
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        assert checksums.crc32(memoryview(data)) != whole
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.usefixtures("always")
def test_memory_that_may_only_be_read() -> None:
    assert checksums.crc32(memoryview(bytes(200))) == CRC32(bytes(200))


def test_large_data_by_whatever_this_processor_has() -> None:
    data = memoryview(np.random.default_rng(1).bytes((1 << 19) + 7))
    assert checksums.crc32(data, 5) == CRC32(data, 5)


def test_other_processors_have_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "has_carryless_products", lambda: False)
    monkeypatch.setattr(checksums, "_kernel", lambda: pytest.fail("no kernel was to be made"))
    data = memoryview(bytes(1 << 19))
    assert checksums.crc32(data, 7) == CRC32(data, 7)

"""CRC-32C (Castagnoli, RFC 3720 appendix B.4), as TFRecord files mask it.

A CRC is linear over GF(2): from a register of zeros, the checksum of a message is the XOR of what each byte contributes
from its distance to the end. NumPy looks such contributions up for thousands of records at once (``crc32c_columns``). A
long message is first *folded*: with P the CRC's polynomial, P(x) to the power 2**k is P(x**(2**k)), also a multiple of P,
so a block of 2**k bits may be XORed onto the blocks that P's terms name, and dropped. That is nothing but XORs of long
runs of memory: 0.5 to 1 GB/s, far beyond what compresses the images that are written.
"""

from __future__ import annotations

import numpy as np

_REFLECTED = 0x82F63B78
# P = x^32 + x^28 + ... + 1, so a block is XORed onto those that lie so many blocks nearer to the end.
_TAPS = tuple(32 - power for power in range(31, -1, -1) if 0x1EDC6F41 >> power & 1)
_FOLD_TOGETHER = min(_TAPS)
_ROW = 256
_FOLD_FROM = 1 << 14  # bytes


def _contributions() -> np.ndarray:
    """``[distance, byte]``: what a byte contributes to the checksum from its distance to the end of the message."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_REFLECTED), table >> 1)
    rows = [table]
    while len(rows) < _ROW:
        rows.append(table[rows[-1] & 255] ^ rows[-1] >> 8)
    return np.stack(rows)


_TABLE = _contributions()
_ROW_STARTS = np.arange(_ROW - 1, -1, -1) * 256
_FIRST = _TABLE[0].tolist()
# A register that sees _ROW more zero bytes: its own four bytes contribute as if they were the first of these.
_SHIFT = [_TABLE[_ROW - 1 - byte].tolist() for byte in range(4)]


def mask(crc):
    """TFRecord's mask, by which a checksum of data that holds checksums does not degenerate; of a number or an array."""
    if isinstance(crc, np.ndarray):
        return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(message: bytes | memoryview) -> int:
    """The checksum of one message.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(message) <= 64:
        crc = 0xFFFFFFFF
        for byte in message:
            crc = _FIRST[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ 0xFFFFFFFF
    block = 1  # in words of 8 bytes
    while len(message) > 256 * 8 * block and len(message) > _FOLD_FROM:
        block *= 4
    step = max(_ROW, 8 * block)
    rest = np.zeros(-(-len(message) // step) * step, np.uint8)  # zeros in front of a message do not count
    inside = rest[len(rest) - len(message) :]
    inside[:] = np.frombuffer(message, np.uint8)
    inside[:4] ^= 255  # a register of ones is a register of zeros and the first four bytes inverted
    while len(rest) > _FOLD_FROM:
        rest = _fold(rest.view(np.uint64).reshape(-1, block))
        block //= 4
    parts = np.bitwise_xor.reduce(_TABLE.take(rest.reshape(-1, _ROW) + _ROW_STARTS), axis=1)
    b0, b1, b2, b3 = _SHIFT
    crc = 0
    for part in parts.tolist():
        crc = b0[crc & 255] ^ b1[crc >> 8 & 255] ^ b2[crc >> 16 & 255] ^ b3[crc >> 24] ^ part
    return crc ^ 0xFFFFFFFF


def _fold(blocks: np.ndarray) -> np.ndarray:
    """The last 32 blocks, onto which all others have been XORed, as bytes."""
    for first in range(0, len(blocks) - 32, _FOLD_TOGETHER):
        head = blocks[first : min(first + _FOLD_TOGETHER, len(blocks) - 32)]
        for tap in _TAPS:
            blocks[first + tap : first + tap + len(head)] ^= head
    return blocks[-32:].reshape(-1).view(np.uint8)


def crc32c_columns(columns: np.ndarray) -> np.ndarray:
    """The checksums of many messages of one length, given as ``(length, messages)``: byte after byte, side by side."""
    length, count = columns.shape
    if length > _ROW:
        return np.array([crc32c(message.tobytes()) for message in columns.T], np.uint32)
    crc = np.full(count, 0xFFFFFFFF >> 8 * length if length < 4 else 0, np.uint32)
    for position in range(length):
        byte = columns[position]
        if position < 4:
            byte = byte ^ 255
        crc ^= _TABLE[length - 1 - position].take(byte)
    return ~crc

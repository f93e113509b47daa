from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen.scalar import registers
from flambeau._types import dtype as types
from tests._codegen.elementwise import run


def _float32_with_ties() -> np.ndarray:
    """Every 16-bit pattern as the upper half of a float32, with lower halves at, just below and just above ties, and more."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (upper[:, None] | lower).ravel().view(np.float32)


def _rounded(array: np.ndarray, of: types.dtype) -> np.ndarray:
    return run(lambda builder, operands: registers.round_to(builder, operands[0], of), [array], [types.float32], types.float32, 16)


def test_rounding_to_float16_is_numpys():
    array = _float32_with_ties()
    with np.errstate(over="ignore", invalid="ignore"):
        want = array.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(_rounded(array, types.float16), want)


def test_rounding_to_bfloat16_is_to_nearest_even():
    array = _float32_with_ties()
    got = _rounded(array, types.bfloat16)
    bits = array.view(np.uint32).astype(np.uint64)
    below, above = bits & ~np.uint64(0xFFFF), (bits & ~np.uint64(0xFFFF)) + np.uint64(0x10000)
    rest = bits & np.uint64(0xFFFF)
    up = (rest > 0x8000) | ((rest == 0x8000) & ((below >> np.uint64(16)) & np.uint64(1) == 1))
    want = np.where(up, above, below).astype(np.uint32).view(np.float32)
    number = ~np.isnan(array)
    np.testing.assert_array_equal(got.view(np.uint32)[number], want.view(np.uint32)[number])
    assert np.isnan(got[~number]).all()


@pytest.mark.parametrize("of", [types.float16, types.bfloat16], ids=repr)
def test_all_bits_survive_memory_and_registers(of):
    array = np.arange(1 << 16, dtype=np.uint16).view(of.numpy)
    got = run(lambda builder, operands: operands[0], [array], [of], of, 16).view(np.uint16)
    number = run(lambda builder, operands: operands[0], [array], [of], types.float32, 16)
    finite = ~np.isnan(number)
    np.testing.assert_array_equal(got[finite], array.view(np.uint16)[finite])


@pytest.mark.parametrize("of", [types.float16, types.bfloat16, *types.FLOAT8], ids=repr)
def test_constants_are_rounded_as_values_are(of):
    for number in (1.0, 0.1, 65519.9, 65520.0, 1e-8, 3.0e38, -2.7, float("inf"), 1e-40):
        array = np.full(16, number, np.float32)
        constant = registers.splat_constant(of, number, 16)
        np.testing.assert_array_equal(
            run(lambda builder, operands, constant=constant: constant, [array], [types.float32], types.float32, 16), _rounded(array, of)
        )

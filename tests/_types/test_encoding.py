"""Numbers that NumPy has no dtype for."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau._types import dtype as types
from flambeau._types.encoding import BYTES, numbers_in, stored_as

LIMITS = {  # largest, smallest positive number; what 1e9 becomes: Micikevicius et al.'s table 1; Noune et al. for the "uz" formats
    types.float8_e4m3fn: (448.0, 2.0**-9, 448.0),
    types.float8_e4m3fnuz: (240.0, 2.0**-10, np.nan),
    types.float8_e5m2: (57344.0, 2.0**-16, np.inf),
    types.float8_e5m2fnuz: (57344.0, 2.0**-17, np.nan),
}


@pytest.mark.parametrize("of", types.FLOAT8, ids=repr)
def test_every_byte_is_a_number(of: types.dtype) -> None:
    codes = np.arange(256, dtype=np.uint8)
    numbers = numbers_in(codes, of)
    finite = numbers[np.isfinite(numbers)]
    largest, smallest, beyond = LIMITS[of]
    assert (finite.max(), finite[finite > 0].min()) == (largest, smallest)
    np.testing.assert_array_equal(stored_as(np.array([1e9]), of), stored_as(np.array([beyond]), of))
    is_number = ~np.isnan(numbers)
    np.testing.assert_array_equal(stored_as(numbers, of)[is_number], codes[is_number])
    assert BYTES[of].nan in stored_as(np.array([np.nan]), of)


@pytest.mark.parametrize("of", types.FLOAT8, ids=repr)
def test_between_two_numbers_the_nearer_one_is_taken_and_of_equally_near_ones_the_even(of: types.dtype) -> None:
    positive = numbers_in(np.arange(120, dtype=np.uint8), of).astype(np.float64)
    low, high = positive[:-1], positive[1:]
    middle = (low + high) / 2
    np.testing.assert_array_equal(stored_as(middle, of) % 2, np.zeros(119))
    np.testing.assert_array_equal(stored_as(low * 0.51 + high * 0.49, of), np.arange(119))
    np.testing.assert_array_equal(stored_as(low * 0.49 + high * 0.51, of), np.arange(1, 120))


def test_parts_of_half_precision() -> None:
    numbers = np.array([[1 + 2j, 1e-8 - 1e9j], [complex(0.1, np.nan), -0.0]])
    stored = stored_as(numbers, types.complex32)
    assert stored.dtype == np.uint32 and stored.shape == (2, 2)
    again = numbers_in(stored, types.complex32)
    np.testing.assert_array_equal(again.real, numbers.real.astype(np.float16).astype(np.float32))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(again.imag, numbers.imag.astype(np.float16).astype(np.float32))
    assert numbers_in(stored.T, types.complex32)[0, 1] == again[1, 0] or np.isnan(again[1, 0].imag)

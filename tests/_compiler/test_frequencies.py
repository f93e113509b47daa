"""How lengths are divided, and what stands in tables."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from flambeau._compiler.frequencies import LARGEST_PRIME, LONG, division, fills_rows, roots, sections, table


@pytest.mark.parametrize("n", [*range(1, 300), 1000, 1024, 30030, LONG, 1 << 16, 1 << 20, 1 << 22, 65537, 100003, 720720])
def test_a_division_is_of_its_length(n: int) -> None:
    how = division(n)
    assert how.is_direct + bool(how.convolution) + any(how.halves) == 1
    if how.is_direct:
        assert prod(how.radices) == n <= LONG
        assert all(radix <= LARGEST_PRIME for radix in how.radices)
    elif any(how.halves):
        assert prod(how.halves) == n
        assert all(division(half).is_direct for half in how.halves)
    else:
        assert how.convolution >= 2 * n - 1
        inner = division(how.convolution)
        assert any(inner.halves) or fills_rows(how.convolution, inner.radices)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 100, 256, 1000, 37, 1009, 1 << 16, 12000, 40962])
@pytest.mark.parametrize("real", [False, True])
def test_a_table_is_as_long_as_its_sections(n: int, real: bool) -> None:
    if real and n % 2:
        n += 1
    places, total = sections(n, real)
    numbers = table(n, real)
    assert 2 * len(numbers) == total
    assert list(places.values()) == sorted(places.values())
    assert np.isfinite(numbers.view(np.float64)).all()


def test_roots_are_right_to_the_last_bits() -> None:
    powers = np.arange(1000)
    assert abs(roots(1000, powers) - np.exp(-2j * np.pi * powers / 1000)).max() < 1e-15
    np.testing.assert_array_equal(roots(4, np.arange(-4, 8)), np.tile([1, -1j, -1, 1j], 3))

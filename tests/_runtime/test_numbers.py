"""The language of numbers: what its constructs compute, beside Python itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flambeau._runtime import numbers

SOURCE = """
@inline
def twice(x):
    return x + x


def odd(n: int) -> int:
    return n & 1


def collatz(start: int) -> int:
    steps = 0
    n = start
    while n != 1:
        n = 3 * n + 1 if odd(n) == 1 else n >> 1
        steps += 1
    return steps


def mixed(a, b, results: float64) -> int:
    results[0] = twice(a) * b - a / b
    results[1] = -a
    results[2] = sqrt(fabs(a)) + exp(b) + floor(b) + pow(b, 2.0)
    results[3] = 0.0
    if a < b and not b == 0.0 or a != a:
        results[3] = 1.0 if b >= 0.0 else 2.0
    results[4] = float(int(b)) + 7 % 4
    results[5] = float32(0.1)
    results[6] = fma(a, b, -a * b)
    return int(a)


def sum_of(values: float32, places: int32, flags: uint8, bits: uint32, count: int, total: float64) -> int:
    found = 0
    total[0] = 0.0
    for i in range(1, count):
        if flags[i] == 0:
            continue
        if places[i] < 0:
            break
        total[0] = total[0] + values[places[i]]
        bits[i] = (bits[i] ^ 4294967295) | (found << 1)
        found += 1
    return found


def rounded(values: float32, count: int) -> int:
    sum = float32(0.0)
    for i in range(count):
        sum = sum + float32(values[i])
    values[0] = sum
    return 0


def wrong(x) -> int:
    n = 1
    n = x
    return n
"""


def test_integers_loops_and_calls() -> None:
    collatz = numbers.build(SOURCE, "collatz")
    assert [collatz(n) for n in (1, 7, 27)] == [0, 16, 111]


def test_floats_are_python_s() -> None:
    mixed, results = numbers.build(SOURCE, "mixed"), np.empty(7)
    for a, b in ((1.7, 0.3), (-2.25, 5.5), (0.1, 0.2)):
        assert mixed(a, b, results.ctypes.data) == int(a)
        expected = [
            (a + a) * b - a / b,
            -a,
            math.sqrt(abs(a)) + math.exp(b) + math.floor(b) + b**2.0,
            float(a < b),
            int(b) + 3.0,
            float(np.float32(0.1)),
        ]
        assert results[:6].tolist() == expected
        assert abs(results[6]) <= abs(a * b) * 2**-53
    mixed(math.nan, 1.0, results.ctypes.data)
    assert results[3] == 1


def test_arrays_of_several_dtypes() -> None:
    values, places = np.array([0.5, 1.5, 2.5], np.float32), np.array([9, 2, 1, 0, -1, 0], np.int32)
    flags, bits, total = np.array([1, 1, 0, 1, 1, 1], np.uint8), np.arange(6, dtype=np.uint32), np.empty(1)
    addresses = [array.ctypes.data for array in (values, places, flags, bits)]
    assert numbers.build(SOURCE, "sum_of")(*addresses, 6, total.ctypes.data) == 2
    assert total[0] == 3.0 and bits.tolist() == [0, 0xFFFFFFFE, 2, 0xFFFFFFFE, 4, 5]


def test_single_precision_is_rounded_after_each_operation() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    expected = np.cumsum(values)[-1]  # NumPy's adds one after the other
    numbers.build(SOURCE, "rounded")(values.ctypes.data, values.size)
    assert values[0] == expected


def test_a_float_does_not_become_an_integer_unasked() -> None:
    with pytest.raises(TypeError, match=r"float stands where int must: say which with int\(…\)"):
        numbers.build(SOURCE, "wrong")

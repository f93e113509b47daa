from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen import scalar
from flambeau._types import dtype as types
from tests._codegen.elementwise import numbers, run, sample


def _cast(source, target):
    return lambda builder, operands: scalar.cast(builder, operands[0], source, target)


@pytest.mark.parametrize("source", types.DTYPES, ids=repr)
@pytest.mark.parametrize("target", types.DTYPES, ids=repr)
def test_cast(source, target):
    array = sample(source, 128)
    want = numbers(scalar.convert(array, source, target), target)
    for width in (1, 16):
        got = run(_cast(source, target), [array], [source], target, width)
        np.testing.assert_array_equal(numbers(got, target), want)


INFINITY, NAN = float("inf"), float("nan")
FLOATS = [NAN, INFINITY, -INFINITY, 1e10, -1e10, 1e20, -1e20, 3e9, -3e9, 300.0, -300.0, 255.5, -1.5, 2.0**31, 2.0**63, 70000.0]
INTEGERS = {  # what PyTorch 2.13 gives on x86-64
    "uint8": [0, 0, 0, 0, 0, 0, 0, 0, 0, 44, 212, 255, 255, 0, 0, 112],
    "int8": [0, 0, 0, 0, 0, 0, 0, 0, 0, 44, -44, -1, -1, 0, 0, 112],
    "int16": [0, 0, 0, 0, 0, 0, 0, 0, 0, 300, -300, 255, -1, 0, 0, 4464],
    "int32": [-(2**31)] * 9 + [300, -300, 255, -1, -(2**31), -(2**31), 70000],
    "int64": [-(2**63)] * 3 + [10**10, -(10**10), -(2**63), -(2**63), 3 * 10**9, -3 * 10**9, 300, -300, 255, -1, 2**31, -(2**63), 70000],
    "uint16": [0, 0, 0, 0, 0, 0, 0, 0, 0, 300, 65236, 255, 65535, 0, 0, 4464],
    "uint32": [0, 0, 0, 1410065408, 2884901888, 0, 0, 3 * 10**9, 1294967296, 300, 4294966996, 255, 4294967295, 2**31, 0, 70000],
    "uint64": [
        *[2**63, 0, 2**63, 10**10, 2**64 - 10**10, 0, 2**63, 3 * 10**9, 2**64 - 3 * 10**9],
        *[300, 2**64 - 300, 255, 2**64 - 1, 2**31, 2**63, 70000],
    ],
}


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("source", [types.float32, types.float64], ids=repr)
def test_floats_that_do_not_fit_an_integer(source, target):
    of = getattr(types, target)
    for width in (1, 8):
        got = run(_cast(source, of), [np.array(FLOATS, source.numpy)], [source], of, width)
        assert got.tolist() == INTEGERS[target]
    assert scalar.convert(np.array(FLOATS, source.numpy), source, of).tolist() == INTEGERS[target]


def test_nan_is_true_and_negative_zero_is_not():
    got = run(_cast(types.float32, types.bool), [np.array([NAN, -0.0, 1e-45, 0.0], np.float32)], [types.float32], types.bool, 4)
    assert got.tolist() == [True, False, True, False]


def test_complex_to_real_drops_the_imaginary_part_but_to_bool_does_not():
    array = np.array([1 + 2j, 3j, 0, -1], np.complex64)
    assert run(_cast(types.complex64, types.float32), [array], [types.complex64], types.float32, 4).tolist() == [1, 0, 0, -1]
    assert run(_cast(types.complex64, types.bool), [array], [types.complex64], types.bool, 4).tolist() == [True, True, False, True]

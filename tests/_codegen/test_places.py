"""Tables of places against NumPy: whole groups of axes, and from any position on."""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod

import numpy as np
import pytest

from flambeau._codegen.contract.places import MORE, described, emit_fill
from flambeau._codegen.ir import Module
from flambeau._runtime import jit

_LEFT = -(1 << 40)


@cache
def fill():
    module = Module()
    label = emit_fill(module)
    f = module.function("places_fill", [("ptr", "description"), ("ptr", "memory"), ("i64", "first"), ("i64", "count")])
    f.call(f"@{label}", *f.parameters)
    f.ret()
    address = jit.compile_kernels({"places_fill": str(module)})["places_fill"]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(address)


def tabulated(extents, columns, first, count):
    """The tables that the function writes, each with what is behind it."""
    apart = count + MORE
    description = np.array(described(8, 8 * apart, extents, columns), np.int64)
    memory = np.full(1 + len(columns) * apart, _LEFT, np.int64)
    fill()(description.ctypes.data, memory.ctypes.data, first, count)
    assert memory[0] == _LEFT
    return memory[1:].reshape(len(columns), apart)


@pytest.mark.parametrize("extents", [(1,), (7,), (64,), (3, 5), (4, 1, 9), (2, 3, 1), (2, 1, 3, 8), (5, 2, 2, 2, 3)], ids=str)
def test_tables(extents):
    random = np.random.default_rng(len(extents))
    columns = [(start, tuple(random.integers(-50, 50, len(extents)).tolist())) for start in (0, 1000, -7)]
    index = np.indices(extents).reshape(len(extents), -1)
    for first in {0, 1, prod(extents) // 2, prod(extents) - 1} & {*range(prod(extents))}:
        for count in {1, 2, prod(extents) - first} & {*range(1, prod(extents) - first + 1)}:
            found = tabulated(extents, columns, first, count)
            for table, (start, strides) in zip(found, columns, strict=True):
                np.testing.assert_array_equal(table[:count], (start + np.array(strides) @ index)[first : first + count])


def test_what_is_behind_a_table_stays_but_for_a_few_numbers():
    found = tabulated((5,), [(0, (1,)), (0, (2,))], 0, 5)
    assert (found[:, 5 + MORE - 1 :] == _LEFT).all()

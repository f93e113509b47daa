"""``hash_tensor``: the exclusive or of all bits."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

import flambeau


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "int8", "bool"])
def test_it_is_the_exclusive_or_of_the_widened_bits(shape: tuple, dtype: str) -> None:
    flambeau.manual_seed(0)
    x = (flambeau.randn(shape) * 9).to(getattr(flambeau, dtype))
    wide = np.asarray(x.to(flambeau.float64 if x.is_floating_point() else flambeau.int64).numpy()).view(np.uint64)
    assert flambeau.hash_tensor(x).item() == functools.reduce(operator.xor, [int(each) for each in wide.reshape(-1)], 0)
    if shape:
        along = x.hash_tensor(-1, keepdim=True)
        assert along.dtype is flambeau.uint64 and along.shape == (*shape[:-1], 1)
        assert np.array_equal(along.numpy()[..., 0], np.bitwise_xor.reduce(wide, -1))


def test_of_nothing_it_is_zero_and_other_modes_are_refused() -> None:
    assert flambeau.zeros(0, 3).hash_tensor(0).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="mode must be 0"):
        flambeau.hash_tensor(flambeau.ones(2), mode=1)
    with pytest.raises(NotImplementedError, match="complex64"):
        flambeau.hash_tensor(flambeau.ones(2, dtype=flambeau.complex64))

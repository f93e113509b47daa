"""Copies and pickles of tensors: what they keep."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import flambeau


def test_deep_copies_share_memory_as_their_originals_do():
    x = flambeau.arange(6.0).reshape(2, 3)
    copied, row, transposed = copy.deepcopy([x, x[1], x.t()])
    row.zero_()
    assert copied.tolist() == [[0, 1, 2], [0, 0, 0]] and transposed.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_deep_copies_have_all_bytes_of_a_memory():
    x = flambeau.arange(10, dtype=flambeau.uint8)
    numbers, copied = copy.deepcopy([x[:8].view(flambeau.float32), x])
    assert copied.tolist() == list(range(10)) and copied.untyped_storage().nbytes() == 10
    numbers.zero_()
    assert copied.tolist() == [0] * 8 + [8, 9]


def test_deep_copies_of_what_is_still_recorded():
    x = flambeau.arange(4.0) * 2
    copied = copy.deepcopy(x)
    x += 1
    assert copied.tolist() == [0, 2, 4, 6] and x.tolist() == [1, 3, 5, 7]


def test_deep_copies_lie_as_their_originals_do():
    x = flambeau.arange(10)[1::2]
    copied = copy.deepcopy(x)
    assert copied.stride() == (2,) and copied.storage_offset() == 1 and copied.tolist() == x.tolist() and copied._base is None
    assert copy.deepcopy(flambeau.zeros(0, 3)).shape == (0, 3)


def test_deep_copies_of_leaves():
    x = flambeau.ones(2, requires_grad=True)
    x.grad = flambeau.zeros(2)
    copied = copy.deepcopy(x)
    assert copied.is_leaf and copied.requires_grad and copied.grad is not x.grad and copied.grad.tolist() == [0, 0]


def test_attributes_are_kept():
    x = flambeau.ones(2)
    x.tag = ["a"]
    for made in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert made.tag == ["a"] and flambeau.equal(made, x)


def test_arrays_of_parameters_without_gradients() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with flambeau.no_grad():
        array = x.numpy()
        assert np.asarray(x).tolist() == [1, 1]
        x.mul_(2)
    assert array.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="Use tensor.detach"):
        x.numpy()

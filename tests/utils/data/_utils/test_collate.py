from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import flambeau
from flambeau.utils.data import default_collate, default_convert
from flambeau.utils.data._utils.collate import collate, default_collate_fn_map


class Point(NamedTuple):
    x: Any
    y: Any


class MyDict(dict):
    pass


class MyList(list):
    pass


class FrozenMap(Mapping):
    def __init__(self, items):
        self.items_ = dict(items)

    def __getitem__(self, key):
        return self.items_[key]

    def __iter__(self):
        return iter(self.items_)

    def __len__(self):
        return len(self.items_)


@pytest.mark.parametrize(
    ("batch", "values", "dtype"),
    [
        ([1, 2], [1, 2], flambeau.int64),
        ([1.5, 2], [1.5, 2.0], flambeau.float64),
        ([True, False], [True, False], flambeau.bool),
        ([np.int32(3), np.int32(4)], [3, 4], flambeau.int32),
        ([np.float32(1), np.float32(2)], [1.0, 2.0], flambeau.float32),
        ([np.bool_(True)], [True], flambeau.bool),
        ([np.array(1.0), np.array(2.0)], [1.0, 2.0], flambeau.float64),
        ([np.arange(2), np.arange(2)], [[0, 1], [0, 1]], flambeau.int64),
        ([flambeau.tensor([1.0]), flambeau.tensor([2.0])], [[1.0], [2.0]], flambeau.float32),
    ],
)
def test_leaves_become_a_tensor(batch, values, dtype):
    joined = default_collate(batch)
    assert joined.tolist() == values
    assert joined.dtype == dtype


@pytest.mark.parametrize("batch", [["a", "b"], [b"a", b"b"], [np.str_("a")]])
def test_strings_stay(batch):
    assert default_collate(batch) == batch


def test_pairs_become_a_pair():
    first, second = default_collate([(1, "a"), (2, "b")])
    assert first.tolist() == [1, 2]
    assert second == ("a", "b")
    assert isinstance(default_collate([(1, 2)]), list)


@pytest.mark.parametrize("kind", [dict, MyDict, collections.OrderedDict, FrozenMap])
def test_mappings_keep_their_type(kind):
    joined = default_collate([kind({"a": 1}), kind({"a": 2})])
    assert type(joined) is kind
    assert joined["a"].tolist() == [1, 2]


def test_a_mapping_that_needs_more_than_items_is_copied():
    joined = default_collate([collections.defaultdict(list, a=1)])
    assert joined.default_factory is list
    assert joined["a"].tolist() == [1]


@pytest.mark.parametrize("kind", [list, MyList, collections.deque])
def test_sequences_keep_their_type(kind):
    joined = default_collate([kind([1]), kind([2])])
    assert type(joined) is kind
    assert joined[0].tolist() == [1, 2]


def test_named_tuples_keep_their_type():
    joined = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert type(joined) is Point
    assert joined.x.tolist() == [1, 3]
    assert joined.y.tolist() == [2.0, 4.0]


def test_the_samples_are_left_alone():
    samples = [{"a": 1}, {"a": 2}]
    default_collate(samples)
    assert samples == [{"a": 1}, {"a": 2}]


def test_collating_is_differentiable():
    first, second = flambeau.ones(2, requires_grad=True), flambeau.zeros(2, requires_grad=True)
    default_collate([first, second]).sum().backward()
    assert first.grad.tolist() == second.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("sample", [None, object(), {1}, 1j, np.array(["a"]), np.array([object()]), np.datetime64("2020-01-01")])
def test_what_cannot_be_joined(sample):
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays, numbers, dicts or lists; found"):
        default_collate([sample, sample])


def test_lengths_have_to_agree():
    with pytest.raises(RuntimeError, match=r"should be of equal size, but samples have lengths \[1, 2\]"):
        default_collate([[1, 2], [3]])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([flambeau.ones(2), flambeau.ones(3)])
    with pytest.raises(KeyError, match="a"):
        default_collate([{"a": 1}, {"b": 2}])


def test_a_map_of_ones_own():
    def join_sets(batch, *, collate_fn_map):
        return set().union(*batch)

    assert collate([({1}, 2), ({3}, 4)], collate_fn_map={set: join_sets, int: lambda batch, *, collate_fn_map: sum(batch)}) == [{1, 3}, 6]


def test_an_exact_type_comes_before_its_bases(monkeypatch):
    monkeypatch.setitem(default_collate_fn_map, bool, lambda batch, *, collate_fn_map: "flags")
    assert default_collate([True]) == "flags"
    assert default_collate([1]).tolist() == [1]


def test_convert_goes_into_everything():
    converted = default_convert({"a": [np.array([1]), "s"], "b": Point(np.float64(2.0), None), "c": (1, b"x")})
    assert converted["a"][0].tolist() == [1]
    assert converted["a"][1] == "s"
    assert converted["b"].x.item() == 2.0
    assert converted["b"].y is None
    assert converted["c"] == [1, b"x"]


def test_convert_leaves_what_no_tensor_can_hold():
    array = np.array(["a"])
    assert default_convert(array) is array
    tensor = flambeau.ones(1)
    assert default_convert(tensor) is tensor


def test_convert_shares_memory():
    array = np.zeros(2, np.float32)
    tensor = default_convert(array)
    array[0] = 5
    assert tensor.tolist() == [5.0, 0.0]

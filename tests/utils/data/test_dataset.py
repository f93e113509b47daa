from __future__ import annotations

import pytest

import flambeau
from flambeau.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Stream(IterableDataset):
    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class SizedStream(Stream):
    def __len__(self):
        return len(self.items)


class Batched(list):
    """A list that also fetches many items at once, and remembers that it was asked to."""

    asked = None

    def __getitems__(self, indices):
        self.asked = indices
        return [self[index] for index in indices]


def test_dataset_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="should define __getitem__"):
        Dataset()[0]
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(Dataset())
    with pytest.raises(TypeError, match="abstract"):
        IterableDataset()


def test_tensor_dataset_indexes_every_tensor():
    dataset = TensorDataset(flambeau.arange(6).reshape(3, 2), flambeau.arange(3))
    assert len(dataset) == 3
    row, number = dataset[1]
    assert row.tolist() == [2, 3]
    assert number.item() == 1
    assert [part.tolist() for part in dataset[1:]] == [[[2, 3], [4, 5]], [1, 2]]


def test_tensor_dataset_wants_equal_lengths():
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors.*\[2, 3\]"):
        TensorDataset(flambeau.ones(2), flambeau.ones(3))


def test_concat_finds_the_part():
    joined = ConcatDataset([range(3), range(10, 14)])
    assert len(joined) == 7
    assert [joined[i] for i in range(7)] == [0, 1, 2, 10, 11, 12, 13]
    assert [joined[i] for i in (-1, -7)] == [13, 0]
    assert joined.cumulative_sizes == [3, 7]


def test_concat_skips_empty_parts():
    assert [ConcatDataset([[], "a", [], "b"])[i] for i in range(2)] == ["a", "b"]


def test_concat_errors():
    joined = ConcatDataset([range(3)])
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length: got -4 for 3"):
        joined[-4]
    with pytest.raises(IndexError, match="index 3 is out of range"):
        joined[3]
    with pytest.raises(AssertionError, match="empty iterable"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="use ChainDataset"):
        ConcatDataset([Stream(1)])


def test_adding_datasets():
    joined = TensorDataset(flambeau.zeros(2)) + TensorDataset(flambeau.ones(1))
    assert isinstance(joined, ConcatDataset)
    assert [sample[0].item() for sample in joined] == [0, 0, 1]
    assert list(Stream(1, 2) + Stream(3)) == [1, 2, 3]


def test_chain():
    assert list(ChainDataset([Stream(1, 2), Stream(), Stream(3)])) == [1, 2, 3]
    assert len(SizedStream(1, 2) + SizedStream(3)) == 3
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(ChainDataset([Stream(1)]))
    with pytest.raises(AssertionError, match="only supports IterableDataset, got range"):
        list(ChainDataset([range(3)]))


def test_stack_gives_tuples_or_dicts():
    assert StackDataset("ab", [0, 1])[1] == ("b", 1)
    named = StackDataset(letter="ab", number=[0, 1])
    assert named[0] == {"letter": "a", "number": 0}
    assert len(named) == 2


def test_stack_fetches_many_at_once():
    batched = Batched("abc")
    assert StackDataset(batched, range(3)).__getitems__([2, 0]) == [("c", 2), ("a", 0)]
    assert batched.asked == [2, 0]


def test_stack_errors():
    with pytest.raises(ValueError, match="At least one dataset"):
        StackDataset()
    with pytest.raises(ValueError, match=r"Size mismatch between datasets.*\[2, 3\]"):
        StackDataset("ab", "abc")
    with pytest.raises(ValueError, match="not both"):
        StackDataset("ab", b="ab")


def test_subset():
    subset = Subset("abcdef", [4, 2])
    assert [subset[0], subset[1], len(subset)] == ["e", "c", 2]
    assert subset.__getitems__([1, 0]) == ["c", "e"]
    with pytest.raises(IndexError):
        subset[2]


def test_subset_fetches_many_at_once():
    batched = Batched("abcdef")
    assert Subset(batched, [4, 2, 0]).__getitems__([0, 2]) == ["e", "a"]
    assert batched.asked == [4, 0]


def test_getitems_of_the_wrong_length_is_noticed():
    class Forgetful(Batched):
        def __getitems__(self, indices):
            return []

    with pytest.raises(ValueError, match=r"Forgetful\.__getitems__ returned 0 samples where 2 indices"):
        Subset(Forgetful("abc"), [0, 1]).__getitems__([0, 1])


def test_subset_of_a_slicing_dataset_takes_lists():
    subset = Subset(TensorDataset(flambeau.arange(5) * 10), [4, 2, 0])
    assert subset[[0, 2]][0].tolist() == [40, 0]


def test_random_split_is_pytorchs():
    flambeau.manual_seed(0)
    assert [part.indices for part in random_split(range(10), [3, 7])] == [[4, 1, 7], [5, 3, 9, 0, 8, 6, 2]]


def test_random_split_with_a_generator_leaves_the_global_one_alone():
    flambeau.manual_seed(5)
    expected = flambeau.rand(3).tolist()
    flambeau.manual_seed(5)
    random_split(range(10), [5, 5], generator=flambeau.Generator().manual_seed(1))
    assert flambeau.rand(3).tolist() == expected


@pytest.mark.parametrize(
    ("fractions", "size", "lengths"),
    [([0.33, 0.33, 0.34], 10, [4, 3, 3]), ([1.0], 2, [2]), ([0.5, 0.5], 7, [4, 3]), ([0.9, 0.1], 30, [27, 3])],
)
def test_random_split_of_fractions(fractions, size, lengths):
    parts = random_split(range(size), fractions)
    assert [len(part) for part in parts] == lengths
    assert sorted(index for part in parts for index in part) == list(range(size))


@pytest.mark.parametrize("lengths", [[1, 1], [0.3, 0.3], [0.3, 1.7], [20]])
def test_random_split_wants_lengths_that_add_up(lengths):
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset"):
        random_split(range(10), lengths)


def test_random_split_of_odd_fractions():
    with pytest.raises(ValueError, match=r"Fraction at index 0 is not between 0 and 1: -0\.3"):
        random_split(range(10), [-0.3, 1.3])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        assert [len(part) for part in random_split(range(1), [0.5, 0.5])] == [1, 0]

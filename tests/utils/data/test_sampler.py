from __future__ import annotations

import pytest

import flambeau
from flambeau.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


@pytest.fixture(autouse=True)
def seeded():
    flambeau.manual_seed(0)


def next_global_number() -> int:
    return flambeau.randint(2**31, (1,)).item()


def generator(seed: int) -> flambeau.Generator:
    return flambeau.Generator().manual_seed(seed)


def test_sampler_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="should define __iter__"):
        iter(Sampler())
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(Sampler())


def test_sequential():
    sampler = SequentialSampler("abc")
    assert list(sampler) == [0, 1, 2]
    assert len(sampler) == 3


# The numbers below are what PyTorch draws after manual_seed(0).


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 3, 6, 4, 1, 2, 5]),
        ({"num_samples": 3}, [0, 3, 6]),
        ({"num_samples": 20}, [0, 3, 6, 4, 1, 2, 5, 1, 0, 6, 2, 5, 3, 4, 1, 6, 2, 5, 4, 0]),
        ({"replacement": True}, [0, 4, 0, 4, 2, 4, 1]),
        (
            {"replacement": True, "num_samples": 40},
            [0, 4, 0, 4, 2, 4, 1, 2, 0, 1, 1, 6, 1, 0, 1, 1, 3, 1, 4, 2, 2, 0, 4, 1, 5, 1, 0, 5, 1, 3, 5, 6, 3, 3, 3, 1, 3, 3, 6, 2],
        ),
    ],
)
def test_random_is_pytorchs(options, expected):
    sampler = RandomSampler(range(7), **options)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)
    assert next_global_number() == 1478610112, "one number is drawn from the global generator, whatever else"


def test_random_with_a_generator_of_its_own():
    mine = generator(5)
    assert list(RandomSampler(range(7), num_samples=3, generator=mine)) == [1, 0, 4]
    assert flambeau.randint(2**31, (1,), generator=mine).item() == 2059200585
    mine = generator(5)
    assert list(RandomSampler(range(7), generator=mine)) == [1, 0, 4, 2, 6, 5, 3]
    assert flambeau.randint(2**31, (1,), generator=mine).item() == 1521011312, "a rest of nothing is drawn as well"
    assert list(RandomSampler(range(7), generator=generator(5))) == [1, 0, 4, 2, 6, 5, 3]


def test_random_visits_each_once_and_differently_each_time():
    sampler = RandomSampler(range(100))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second


def test_random_follows_a_growing_data_source():
    source = [0]
    sampler = RandomSampler(source)
    source.append(1)
    assert len(sampler) == 2
    assert sorted(sampler) == [0, 1]


@pytest.mark.parametrize("num_samples", [0, -1, 2.5])
def test_random_wants_a_positive_count(num_samples):
    with pytest.raises(ValueError, match=f"num_samples should be a positive integer value, but got num_samples={num_samples}"):
        RandomSampler(range(3), num_samples=num_samples)


def test_random_errors():
    with pytest.raises(TypeError, match="replacement should be a boolean value, but got replacement=1"):
        RandomSampler(range(3), replacement=1)
    with pytest.raises(ValueError, match="num_samples=0"):
        RandomSampler([])


def test_subset_random_is_pytorchs():
    sampler = SubsetRandomSampler([5, 6, 7])
    assert list(sampler) == [7, 5, 6]
    assert next_global_number() == 1478610112
    assert len(sampler) == 3


def test_weighted_is_pytorchs():
    sampler = WeightedRandomSampler([1, 2, 3], 4)
    assert list(sampler) == [2, 2, 1, 2]
    assert len(sampler) == 4


def test_weighted_without_replacement_draws_each_once():
    assert sorted(WeightedRandomSampler([1.0, 5.0, 2.0], 3, replacement=False)) == [0, 1, 2]


@pytest.mark.parametrize("num_samples", [0, -1, True, 2.0])
def test_weighted_wants_a_positive_count(num_samples):
    with pytest.raises(ValueError, match="num_samples should be a positive integer"):
        WeightedRandomSampler([1, 2], num_samples)


def test_weighted_errors():
    with pytest.raises(ValueError, match=r"weights should be a 1d sequence but given weights have shape \(1, 2\)"):
        WeightedRandomSampler([[1, 2]], 2)
    with pytest.raises(ValueError, match="replacement should be a boolean"):
        WeightedRandomSampler([1, 2], 2, replacement=1)
    with pytest.raises(RuntimeError):
        list(WeightedRandomSampler([1, 2], 5, replacement=False))


@pytest.mark.parametrize(
    ("count", "drop_last", "expected"),
    [
        (5, False, [[0, 1], [2, 3], [4]]),
        (5, True, [[0, 1], [2, 3]]),
        (4, False, [[0, 1], [2, 3]]),
        (4, True, [[0, 1], [2, 3]]),
        (1, True, []),
        (0, False, []),
    ],
)
def test_batches(count, drop_last, expected):
    sampler = BatchSampler(range(count), batch_size=2, drop_last=drop_last)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.0])
def test_batches_want_a_positive_size(batch_size):
    with pytest.raises(ValueError, match=f"batch_size should be a positive integer value, but got batch_size={batch_size}"):
        BatchSampler(range(3), batch_size, False)


def test_batches_want_a_boolean():
    with pytest.raises(ValueError, match="drop_last should be a boolean value, but got drop_last=0"):
        BatchSampler(range(3), 2, 0)

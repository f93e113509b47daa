from __future__ import annotations

import pytest

from flambeau.utils.data import DistributedSampler


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rank": 1}, [1, 3, 8, 4]),
        ({"rank": 1, "drop_last": True}, [1, 3, 8]),
        ({"rank": 2, "shuffle": False}, [2, 5, 8, 1]),
    ],
)
def test_shares_are_pytorchs(options, expected):
    sampler = DistributedSampler(range(10), num_replicas=3, **options)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("size", "replicas"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_shares_are_equal_and_cover_the_dataset(size, replicas, drop_last):
    shares = [list(DistributedSampler(range(size), replicas, rank, drop_last=drop_last)) for rank in range(replicas)]
    assert len({len(share) for share in shares}) == 1
    together = {index for share in shares for index in share}
    if drop_last:
        assert sum(len(share) for share in shares) == len(together) == size // replicas * replicas
    else:
        assert together == set(range(size))


def test_epochs_differ_and_repeat():
    sampler = DistributedSampler(range(50), num_replicas=2, rank=0, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(sampler) == list(DistributedSampler(range(50), num_replicas=2, rank=0, seed=4))


@pytest.mark.parametrize("rank", [2, -1])
def test_rank_has_to_exist(rank):
    with pytest.raises(ValueError, match=rf"Invalid rank {rank}, rank should be in the interval \[0, 1\]"):
        DistributedSampler(range(4), num_replicas=2, rank=rank)


def test_without_a_process_group_both_numbers_are_needed():
    with pytest.raises(ValueError, match="pass both"):
        DistributedSampler(range(4), num_replicas=2)

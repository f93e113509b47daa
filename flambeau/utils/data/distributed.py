"""A sampler that deals a dataset out to the processes of a distributed job."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import flambeau
from flambeau.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """The share of a dataset's indices that belongs to one of ``num_replicas`` processes.

    The indices, shuffled with a generator seeded by ``seed + epoch``, are padded by repetition (or cut, with
    ``drop_last``) to a multiple of ``num_replicas``; process ``rank`` gets every ``num_replicas``-th from ``rank`` on. All
    processes have to be given the same ``seed``, and :meth:`set_epoch` before each epoch, or the order never changes.

    Args:
        dataset: what is sampled; only its length matters.
        num_replicas, rank: the number of processes and this one's number; by default those of the process group.

    Raises:
        ValueError: a rank outside of [0, num_replicas - 1], or no process group to take them from.

    Example:
        >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
        [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            num_replicas, rank = _from_process_group(num_replicas, rank)
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        size = len(dataset)
        self.num_samples = size // num_replicas if drop_last else math.ceil(size / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        if self.shuffle:
            generator = flambeau.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = flambeau.randperm(size, generator=generator).tolist()
        else:
            indices = list(range(size))
        if size and self.total_size > size:
            indices *= math.ceil(self.total_size / size)
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation of the next pass; call it with the same number in every process."""
        self.epoch = epoch


def _from_process_group(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    distributed = getattr(flambeau, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        raise ValueError("no process group has been initialized to take num_replicas and rank from: pass both")
    return (
        distributed.get_world_size() if num_replicas is None else num_replicas,
        distributed.get_rank() if rank is None else rank,
    )

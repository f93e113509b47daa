"""What a :class:`DataLoader` does with a pipe: one seed for all processes, and a share of the samples for each."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe
from flambeau.utils.data.graph_settings import apply_random_seed, apply_sharding, apply_shuffle_settings
from flambeau.utils.data.sampler import random_seed

__all__ = ["seed", "set_shuffle", "share", "shared_seed", "world"]


def set_shuffle(pipe: IterDataPipe, shuffle: bool | None) -> None:
    """Turns a pipe's shuffling on or off, as the loader's argument says; ``None`` leaves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = apply_shuffle_settings(pipe, shuffle)
    if changed is not pipe:
        warnings.warn(
            "`shuffle=True` was set, but the datapipe does not contain a `Shuffler`: samples come in the order of the pipe. "
            "Put .shuffle() into it.",
            stacklevel=3,
        )


def world() -> tuple[int, int]:
    """How many processes a distributed run has, and which this one is."""
    distributed = getattr(flambeau, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1, 0
    return distributed.get_world_size(), distributed.get_rank()


def shared_seed(dataset: Any, generator: flambeau.Generator | None) -> int | None:
    """The seed of a pass over a pipe, the same in all workers and in all processes of a distributed run."""
    if not isinstance(dataset, IterDataPipe):
        return None
    found = [random_seed(generator)]
    if world()[0] > 1:
        flambeau.distributed.broadcast_object_list(found, src=0)
    return found[0]


def seed(dataset: Any, shared: int | None) -> None:
    """Seeds the pipes that a dataset consists of for the next pass."""
    if shared is not None:
        generator = flambeau.Generator()
        generator.manual_seed(shared)
        apply_random_seed(dataset, generator)


def share(dataset: Any, processes: tuple[int, int], num_workers: int, worker_id: int) -> None:
    """Gives a worker its share of a pipe's samples: processes of a distributed run share first, then their workers."""
    if isinstance(dataset, (IterDataPipe, MapDataPipe)):
        size, rank = processes
        apply_sharding(dataset, num_workers * size, worker_id * size + rank)

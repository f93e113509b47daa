"""A pipe that keeps one process's share of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.iter.utils import length_of

__all__ = ["SHARDING_PRIORITIES", "ShardingFilterIterDataPipe"]


class SHARDING_PRIORITIES(IntEnum):
    """Among what samples are shared: the processes of a distributed run come first, then the workers of a loader."""

    DEFAULT = 1
    DISTRIBUTED = 2
    MULTIPROCESSING = 3


@functional_datapipe("sharding_filter")
class ShardingFilterIterDataPipe(IterDataPipe):
    """Every ``n``-th sample, once :meth:`apply_sharding` has said which; all samples before that.

    A :class:`DataLoader` of the pipe calls it, so that its workers yield different samples. Put the filter after ``shuffle``
    and before what takes time.

    Args:
        sharding_group_filter: consider only calls for this group
    """

    def __init__(self, source_datapipe: IterDataPipe, sharding_group_filter: SHARDING_PRIORITIES | None = None) -> None:
        self.source_datapipe = source_datapipe
        self.sharding_group_filter = sharding_group_filter
        self.groups: dict[int, tuple[int, int]] = {}
        self.num_of_instances = 1
        self.instance_id = 0

    def apply_sharding(
        self, num_of_instances: int, instance_id: int, sharding_group: SHARDING_PRIORITIES = SHARDING_PRIORITIES.DEFAULT
    ) -> None:
        """Keeps the share of ``instance_id`` among ``num_of_instances``, within the share of the groups that come before.

        Raises:
            ValueError: a number that is too large
            RuntimeError: the default group together with another
        """
        if instance_id >= num_of_instances:
            raise ValueError(f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})")
        others = set(self.groups) - {sharding_group}
        if others and SHARDING_PRIORITIES.DEFAULT in {sharding_group, *others}:
            raise RuntimeError("ShardingFilter cannot mix DEFAULT and non DEFAULT groups")
        self.groups[sharding_group] = (num_of_instances, instance_id)
        self.num_of_instances, self.instance_id = 1, 0
        for group in sorted(self.groups, reverse=True):
            if self.sharding_group_filter in (None, group):
                count, number = self.groups[group]
                self.instance_id += self.num_of_instances * number
                self.num_of_instances *= count

    def __iter__(self) -> Iterator[Any]:
        for position, sample in enumerate(self.source_datapipe):
            if position % self.num_of_instances == self.instance_id:
                yield sample

    def __len__(self) -> int:
        samples = length_of(self, self.source_datapipe)
        return samples // self.num_of_instances + (self.instance_id < samples % self.num_of_instances)

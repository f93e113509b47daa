"""Pipes that put samples together, or take batches apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import DataChunk, IterDataPipe
from flambeau.utils.data.datapipes.iter.utils import length_of
from flambeau.utils.data.datapipes.utils.common import _check_unpickable_fn

__all__ = ["BatcherIterDataPipe", "GrouperIterDataPipe", "UnBatcherIterDataPipe"]


@functional_datapipe("batch")
class BatcherIterDataPipe(IterDataPipe):
    """Lists of ``batch_size`` samples; the last may be shorter.

    Args:
        drop_last: leave out a shorter last one
        wrapper_class: what a batch is made of the list; :class:`DataChunk`, a list itself, by default

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper(range(5)).batch(2))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, datapipe: IterDataPipe, batch_size: int, drop_last: bool = False, wrapper_class: type = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError(f"Batch size is required to be larger than 0! It is {batch_size}")
        self.datapipe = datapipe
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __iter__(self) -> Iterator[Any]:
        batch: list = []
        for sample in self.datapipe:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self) -> int:
        samples = length_of(self, self.datapipe)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcherIterDataPipe(IterDataPipe):
    """The samples of batches.

    Args:
        unbatch_level: how many levels of lists are taken apart; -1 for all

    Raises:
        ValueError: another negative level
        IndexError: while iterating: there are fewer

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> batches = IterableWrapper([[[0], [1]], [[2]]])
        >>> list(batches.unbatch()), list(batches.unbatch(-1))
        ([[0], [1], [2]], [0, 1, 2])
    """

    def __init__(self, datapipe: IterDataPipe, unbatch_level: int = 1) -> None:
        self.datapipe = datapipe
        self.unbatch_level = unbatch_level

    def __iter__(self) -> Iterator[Any]:
        if self.unbatch_level < -1:
            raise ValueError(f"unbatch_level must be -1 or >= 0, but is {self.unbatch_level}")
        for element in self.datapipe:
            yield from self._parts(element, self.unbatch_level)

    def _parts(self, element: Any, levels: int) -> Iterator[Any]:
        is_batch = isinstance(element, list)
        if levels == 0 or (levels == -1 and not is_batch):
            yield element
        elif not is_batch:
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")
        else:
            for part in element:
                yield from self._parts(part, max(levels - 1, -1))


@functional_datapipe("groupby")
class GrouperIterDataPipe(IterDataPipe):
    """Lists of the samples with the same key.

    A group is yielded when it has ``group_size`` samples, or when the source ends. When the buffer is full, the largest group
    is yielded as it is.

    Args:
        group_key_fn: the key of a sample
        keep_key: yield pairs of the key and the group
        buffer_size: how many samples the groups that are not full may hold together
        group_size: how many samples make a full group; ``None`` for as many as there are
        guaranteed_group_size: how many samples a group has at least when a full buffer makes it leave
        drop_remaining: leave out what a full buffer would yield too early, or is left at the end, if it is smaller than that

    Raises:
        AssertionError: sizes that contradict one another
        RuntimeError: while iterating: the buffer is full, and no group is as large as guaranteed

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper(["a", "bb", "c"]).groupby(len))
        [['a', 'c'], ['bb']]
    """

    def __init__(
        self,
        datapipe: IterDataPipe,
        group_key_fn: Callable[[Any], Any],
        *,
        keep_key: bool = False,
        buffer_size: int = 10000,
        group_size: int | None = None,
        guaranteed_group_size: int | None = None,
        drop_remaining: bool = False,
    ) -> None:
        _check_unpickable_fn(group_key_fn)
        if group_size is not None and not 0 < group_size <= buffer_size:
            raise AssertionError(f"group_size (={group_size}) must be > 0 and <= buffer_size (={buffer_size})")
        if guaranteed_group_size is not None and (group_size is None or not 0 < guaranteed_group_size <= group_size):
            raise AssertionError(
                f"guaranteed_group_size (={guaranteed_group_size}) must be > 0 and <= group_size and group_size must be set"
            )
        self.datapipe = datapipe
        self.group_key_fn = group_key_fn
        self.keep_key = keep_key
        self.max_buffer_size = buffer_size
        self.group_size = group_size
        self.guaranteed_group_size = group_size if guaranteed_group_size is None else guaranteed_group_size
        self.drop_remaining = drop_remaining
        self.wrapper_class = DataChunk

    def __iter__(self) -> Iterator[Any]:
        groups: dict[Any, list] = {}
        waiting = 0
        for sample in self.datapipe:
            key = self.group_key_fn(sample)
            group = groups.setdefault(key, [])
            group.append(sample)
            waiting += 1
            if len(group) == self.group_size:
                waiting -= len(groups.pop(key))
                yield self._shown(key, group)
            if waiting == self.max_buffer_size:
                key = max(groups, key=lambda key: len(groups[key]))
                group = groups.pop(key)
                waiting -= len(group)
                if self._may_leave(group):
                    yield self._shown(key, group)
        for key, group in groups.items():
            yield self._shown(key, group)

    def _may_leave(self, group: list) -> bool:
        """Whether a group that makes room in a full buffer is yielded, rather than left out."""
        if self.guaranteed_group_size is None or len(group) >= self.guaranteed_group_size:
            return True
        if not self.drop_remaining:
            raise RuntimeError("Failed to group items", str(group))
        return False

    def _shown(self, key: Any, group: list) -> Any:
        batch = self.wrapper_class(group)
        return (key, batch) if self.keep_key else batch

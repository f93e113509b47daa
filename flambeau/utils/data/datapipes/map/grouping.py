"""Batches of an indexed pipe."""

from __future__ import annotations

from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import DataChunk, MapDataPipe

__all__ = ["BatcherMapDataPipe"]


@functional_datapipe("batch")
class BatcherMapDataPipe(MapDataPipe):
    """Lists of ``batch_size`` samples of a pipe whose indices are ``0, 1, …``; the last may be shorter.

    Args:
        drop_last: leave out a shorter last one
        wrapper_class: what a batch is made of the list; :class:`DataChunk`, a list itself, by default

    Example:
        >>> from flambeau.utils.data.datapipes.map import SequenceWrapper
        >>> SequenceWrapper(range(5)).batch(2)[1]
        [2, 3]
    """

    def __init__(self, datapipe: MapDataPipe, batch_size: int, drop_last: bool = False, wrapper_class: type = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError(f"Batch size is required to be larger than 0! It is {batch_size}")
        self.datapipe = datapipe
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __getitem__(self, index: Any) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Index {index} is out of bound.")
        start = index % len(self) * self.batch_size
        stop = min(start + self.batch_size, len(self.datapipe))
        return self.wrapper_class([self.datapipe[position] for position in range(start, stop)])

    def __len__(self) -> int:
        samples = len(self.datapipe)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

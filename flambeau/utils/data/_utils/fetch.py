"""Fetching the samples of one batch from a dataset and collating them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.utils.data._utils.collate import default_collate
from flambeau.utils.data._utils.owned import owned
from flambeau.utils.data.dataset import IterableDataset, TensorDataset, samples_at

__all__ = ["fetcher"]


def fetcher(dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> Callable[[Any], Any]:
    """A function from what the index sampler yields to a batch.

    For an iterable dataset the indices only say how many samples are wanted, and the function raises StopIteration when
    there are no more.
    """
    if isinstance(dataset, IterableDataset):
        return _from_stream(dataset, auto_collation, collate_fn, drop_last)
    if not auto_collation:
        return lambda index: collate_fn(dataset[index])
    if collate_fn is default_collate and type(dataset) is TensorDataset:
        return lambda indices: _rows(dataset, indices)
    return lambda indices: collate_fn(samples_at(dataset, indices))


def _rows(dataset: TensorDataset, indices: Any) -> Any:
    """What collating the samples one by one gives, with one gather per tensor if the indices are plain integers."""
    if type(indices) is list and all(type(index) is int for index in indices):
        return list(dataset[owned(np.array(indices))])
    return default_collate(samples_at(dataset, indices))


def _from_stream(dataset: IterableDataset, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> Callable[[Any], Any]:
    samples = iter(dataset)
    if not auto_collation:
        return lambda _: collate_fn(next(samples))

    def fetch(indices: list) -> Any:
        batch = list(itertools.islice(samples, len(indices)))
        if not batch or (drop_last and len(batch) < len(indices)):
            raise StopIteration
        return collate_fn(batch)

    return fetch

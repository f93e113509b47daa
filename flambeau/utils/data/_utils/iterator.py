"""What iterating a :class:`DataLoader` returns, and loading in the calling process."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

from flambeau.utils.data._utils import pipes
from flambeau.utils.data._utils.fetch import fetcher
from flambeau.utils.data.dataset import IterableDataset

__all__ = ["_BaseDataLoaderIter", "_SingleProcessDataLoaderIter"]


class _BaseDataLoaderIter(ABC):
    """Counts the batches of one pass; a subclass says where they come from."""

    def __init__(self, loader: Any, base_seed: int) -> None:
        self._base_seed = base_seed
        self._begin(loader)

    def _begin(self, loader: Any) -> None:
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        self._yielded = 0
        self._dataset = loader.dataset
        self._announced_length = loader._announced_length if isinstance(loader.dataset, IterableDataset) else None

    @abstractmethod
    def _next_batch(self) -> Any: ...

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __next__(self) -> Any:
        batch = self._next_batch()
        self._yielded += 1
        if self._announced_length is not None and self._yielded > self._announced_length:
            self._warn_of_extra_batches()
        return batch

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __reduce__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled: it is in the middle of a pass; pickle the DataLoader")

    def _warn_of_extra_batches(self) -> None:
        text = (
            f"Length of IterableDataset {self._dataset} was reported to be {self._announced_length} (when accessing "
            f"len(dataloader)), but {self._yielded} batches have been fetched."
        )
        if getattr(self, "_workers", None):
            text += " With worker processes, its __iter__ has to ask get_worker_info() which share of the samples to yield."
        warnings.warn(text, stacklevel=3)


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """Loads each batch in the calling process when it is asked for."""

    def __init__(self, loader: Any, base_seed: int, shared_seed: int | None) -> None:
        super().__init__(loader, base_seed)
        pipes.share(loader.dataset, pipes.world(), 1, 0)
        pipes.seed(loader.dataset, shared_seed)
        self._fetch = fetcher(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)

    def _next_batch(self) -> Any:
        return self._fetch(next(self._indices))

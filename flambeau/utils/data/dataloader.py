"""The loader: batches of a dataset, in the order of a sampler, from this process or from workers."""

from __future__ import annotations

import math
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

import flambeau
from flambeau.utils.data._utils import pipes
from flambeau.utils.data._utils.collate import default_collate, default_convert
from flambeau.utils.data._utils.iterator import _BaseDataLoaderIter, _SingleProcessDataLoaderIter
from flambeau.utils.data._utils.worker import get_worker_info
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, random_seed

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)
_collate_fn_t = Callable[[list], Any]
"""What makes a batch of a list of samples; others annotate theirs with this name."""

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
"""What a loader's samplers were made from, and cannot be changed afterwards."""


class _Endless(Sampler[None]):
    """The sampler of an iterable dataset, which knows no indices: only how many are taken from it matters."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Iterates over the batches of a dataset.

    Args:
        dataset: what to load from; with ``__getitem__`` and ``__len__``, or an :class:`IterableDataset`.
        batch_size: samples per batch; ``None`` yields single samples, without a batch dimension.
        shuffle: visit the samples in a new random order in each pass. Of an :class:`IterDataPipe` it turns shuffling on or off,
            where the pipe has ``shuffle()``; ``None`` leaves it on.
        sampler: in which order to visit them, instead of ``shuffle``.
        batch_sampler: yields the lists of indices of whole batches, instead of the four options before and ``drop_last``.
        num_workers: how many processes load; 0 loads in this one, when a batch is asked for.
        collate_fn: makes a batch of a list of samples; :func:`default_collate` by default, and :func:`default_convert` for
            single samples if ``batch_size`` is ``None``.
        pin_memory: for accelerators that copy faster from page-locked memory; without one it changes nothing.
        drop_last: leave out a last batch that is shorter than the others.
        timeout: how many seconds to wait for a batch from the workers; 0 waits for ever.
        worker_init_fn: called in each worker with its number, after its random generators have been seeded.
        multiprocessing_context: a start method (``"fork"``, ``"spawn"``, ``"forkserver"``) or a context of ``multiprocessing``.
        generator: shuffles, and draws the base seed of the workers.
        prefetch_factor: how many batches each worker loads ahead; 2 by default.
        persistent_workers: keep the workers from one pass to the next, with their copies of the dataset.
        pin_memory_device: ignored, as ``pin_memory`` names no device any more.
        in_order: yield batches in the order of the sampler. Otherwise each is yielded as soon as a worker has it.

    The pipes of an :class:`IterDataPipe` are seeded in each pass, the same in all workers, and each worker gets its share of what
    a ``sharding_filter()`` passes on.

    Worker ``i`` seeds ``random``, ``numpy.random`` and Flambeau's generator from the pass's base seed and ``i``. An exception in
    a worker is raised here, as the same class, with the worker's traceback in its message.

    Example:
        >>> loader = DataLoader(range(5), batch_size=2)
        >>> list(loader), len(loader)
        ([tensor([0, 1]), tensor([2, 3]), tensor([4])], 3)
    """

    dataset: Dataset[T_co]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Sampler | Iterable
    prefetch_factor: int | None
    _iterator: Any = None
    _initialized = False
    _announced_length: int | None = None

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: flambeau.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        if pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.", stacklevel=2
            )
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.persistent_workers = persistent_workers
        self.generator = generator

        if isinstance(dataset, IterDataPipe):
            pipes.set_shuffle(dataset, shuffle)
            shuffle = None
        if isinstance(dataset, IterableDataset):
            _check_order_is_left_to_the_dataset(shuffle, sampler, batch_sampler)
            sampler = _Endless()
        elif sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or (sampler is not None) or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self._initialized = True
        self.check_worker_number_rationality()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized: make a new one")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> BaseContext | None:
        """The context in which workers are started; ``None`` for the default of ``multiprocessing``."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: str | BaseContext | None) -> None:
        if context is not None and self.num_workers == 0:
            raise ValueError(
                f"multiprocessing_context can only be used with worker processes (num_workers > 0), but got num_workers={self.num_workers}"
            )
        if isinstance(context, str):
            methods = multiprocessing.get_all_start_methods()
            if context not in methods:
                raise ValueError(f"multiprocessing_context should be a start method in {methods}, but got {context!r}")
            context = multiprocessing.get_context(context)
        if context is not None and not isinstance(context, BaseContext):
            raise TypeError(f"multiprocessing_context should be a start method or a context of multiprocessing, but got {context!r}")
        self._multiprocessing_context = context

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        """What one pass iterates over: lists of indices, or indices if nothing is batched."""
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> _BaseDataLoaderIter:
        if self.persistent_workers and self._iterator is not None and self._iterator.stop.alive:
            self._iterator.restart(self)
            return self._iterator
        shared_seed = pipes.shared_seed(self.dataset, self.generator)
        base_seed = random_seed(self.generator)
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self, base_seed, shared_seed)
        from flambeau.utils.data._utils.multiprocess import _MultiProcessingDataLoaderIter

        self.check_worker_number_rationality()
        iterator = _MultiProcessingDataLoaderIter(self, base_seed, shared_seed)
        if self.persistent_workers:
            self._iterator = iterator
        return iterator

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        samples = len(self.dataset)
        if self.batch_size is None:
            batches = samples
        else:
            batches = samples // self.batch_size if self.drop_last else math.ceil(samples / self.batch_size)
        # Remembered, so that a pass which turns out to be longer can say so.
        self._announced_length = batches
        return batches

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_iterator"}

    def check_worker_number_rationality(self) -> None:
        """Warns if there are more workers than processors that this process may run on."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.num_workers > available:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes, but this process may run on {available} "
                "processors only: more workers than that slow loading down.",
                stacklevel=3,
            )


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool) -> None:
    if num_workers < 0:
        raise ValueError(f"num_workers should be non-negative, but got {num_workers}; 0 loads in the main process")
    if timeout < 0:
        raise ValueError(f"timeout should be non-negative, but got {timeout}")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(f"prefetch_factor (={prefetch_factor}) needs worker processes: let num_workers be greater than 0")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"prefetch_factor should be a positive number of batches, but got {prefetch_factor}")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_order_is_left_to_the_dataset(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    """An iterable dataset yields in its own order; ``shuffle=False`` is accepted as that order."""
    for name, value, refused in (
        ("shuffle", shuffle, bool(shuffle)),
        ("sampler", sampler, sampler is not None),
        ("batch_sampler", batch_sampler, batch_sampler is not None),
    ):
        if refused:
            raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}")


def __getattr__(name: str) -> Any:
    if name == "_MultiProcessingDataLoaderIter":  # which packages ask for; loaded with the first worker otherwise
        from flambeau.utils.data._utils.multiprocess import _MultiProcessingDataLoaderIter

        return _MultiProcessingDataLoaderIter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

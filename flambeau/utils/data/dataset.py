"""Datasets: what can be indexed or iterated, and the ways to combine such things."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import flambeau

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A mapping from keys, usually ``0 … len(self) - 1``, to samples.

    A subclass defines ``__getitem__``, and ``__len__`` if it is to be shuffled or split. It may also define
    ``__getitems__(indices)``, which returns the list of samples of a whole batch at once.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 4
        ...     def __getitem__(self, index):
        ...         return index * index
        >>> [Squares()[i] for i in range(4)]
        [0, 1, 4, 9]
    """

    # No default __len__: `len()` of a dataset without one has to be a TypeError.

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} should define __getitem__, as a subclass of Dataset")

    def __add__(self, other: Dataset) -> Dataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], ABC):
    """A dataset that is only iterated: a stream, a database cursor, a generator of synthetic samples.

    A subclass defines ``__iter__``. With worker processes every worker iterates its own copy, so ``__iter__`` has to ask
    :func:`get_worker_info` which share of the samples is its own, or every sample arrives once per worker.

    Example:
        >>> class Countdown(IterableDataset):
        ...     def __iter__(self):
        ...         return iter([3, 2, 1])
        >>> list(Countdown())
        [3, 2, 1]
    """

    @abstractmethod
    def __iter__(self) -> Iterator[T_co]: ...

    def __add__(self, other: Dataset) -> Dataset:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple]):
    """Sample ``i`` is the tuple of the ``i``-th rows of ``tensors``, which agree in their first dimension.

    Example:
        >>> pairs = TensorDataset(flambeau.arange(3), flambeau.arange(3) * 10)
        >>> pairs[2]
        (tensor(2), tensor(20))
    """

    def __init__(self, *tensors: flambeau.Tensor) -> None:
        sizes = [tensor.size(0) for tensor in tensors]
        assert len(set(sizes)) <= 1, f"Size mismatch between tensors: TensorDataset got first dimensions {sizes}"
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[flambeau.Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset[T_co]):
    """Joins datasets of equal length: sample ``i`` is the tuple, or the dict, of every dataset's sample ``i``.

    Positional datasets give tuples, keyword datasets give dicts.

    Example:
        >>> StackDataset(image=["a", "b"], label=[0, 1])[1]
        {'image': 'b', 'label': 1}
    """

    def __init__(self, *args: Dataset, **kwargs: Dataset) -> None:
        if args and kwargs:
            raise ValueError("StackDataset takes positional datasets (samples are tuples) or named ones (dicts), not both")
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets: Any = args or kwargs
        lengths = [len(dataset) for dataset in self._parts()]
        if len(set(lengths)) != 1:
            raise ValueError(f"Size mismatch between datasets: StackDataset got lengths {lengths}")
        self._length = lengths[0]

    def _parts(self) -> Sequence[Dataset]:
        return list(self.datasets.values()) if isinstance(self.datasets, dict) else self.datasets

    def _join(self, samples: Iterable[Any]) -> Any:
        return dict(zip(self.datasets, samples, strict=True)) if isinstance(self.datasets, dict) else tuple(samples)

    def __getitem__(self, index: Any) -> Any:
        return self._join([dataset[index] for dataset in self._parts()])

    def __getitems__(self, indices: list) -> list:
        columns = [samples_at(dataset, indices) for dataset in self._parts()]
        return [self._join(row) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """Several map-style datasets one after another.

    Example:
        >>> joined = ConcatDataset(["ab", "cde"])
        >>> len(joined), joined[2], joined[-1]
        (5, 'c', 'e')
    """

    datasets: list[Dataset[T_co]]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        assert self.datasets, "datasets should not be an empty iterable"
        for dataset in self.datasets:
            assert not isinstance(dataset, IterableDataset), "ConcatDataset does not support IterableDataset; use ChainDataset"
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """Running totals of the lengths of what ``sequence`` holds."""
        return list(itertools.accumulate(len(part) for part in sequence))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        if index < 0:
            if -index > len(self):
                raise ValueError(f"absolute value of index should not exceed dataset length: got {index} for {len(self)} samples")
            index += len(self)
        part = bisect.bisect_right(self.cumulative_sizes, index)
        if part == len(self.datasets):
            raise IndexError(f"index {index} is out of range for a ConcatDataset of {len(self)} samples")
        return self.datasets[part][index - (self.cumulative_sizes[part - 1] if part else 0)]


class ChainDataset(IterableDataset):
    """Several iterable datasets one after another, each started only when its turn comes."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            assert isinstance(dataset, IterableDataset), f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}"
            yield from dataset

    def __len__(self) -> int:
        total = 0
        for dataset in self.datasets:
            assert isinstance(dataset, IterableDataset), f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}"
            total += len(dataset)
        return total


class Subset(Dataset[T_co]):
    """The samples of ``dataset`` at ``indices``, in that order.

    Example:
        >>> last_two = Subset("abcd", [3, 2])
        >>> last_two[0], last_two[1], len(last_two)
        ('d', 'c', 2)
    """

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        return samples_at(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def samples_at(dataset: Any, indices: list) -> list:
    """The samples at ``indices``, in one call if the dataset can do that."""
    getitems = getattr(dataset, "__getitems__", None)
    if not callable(getitems):
        return [dataset[index] for index in indices]
    samples = getitems(indices)
    if len(samples) != len(indices):
        raise ValueError(
            f"{type(dataset).__name__}.__getitems__ returned {len(samples)} samples where {len(indices)} indices were asked for"
        )
    return samples


def random_split(dataset: Dataset[T_co], lengths: Sequence[int | float], generator: flambeau.Generator | None = None) -> list[Subset[T_co]]:
    """Splits ``dataset`` at random into disjoint subsets of the given lengths.

    Lengths are numbers of samples, or fractions that add up to one. A fraction ``f`` of ``n`` samples is ``floor(f * n)``
    of them, and what is left over is dealt one by one to the first subsets.

    Raises:
        ValueError: lengths that do not add up to the dataset's length, or a fraction outside of [0, 1].

    Example:
        >>> [len(part) for part in random_split(range(10), [0.33, 0.33, 0.34])]
        [4, 3, 3]
    """
    size = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of_fractions(lengths, size)
    if sum(lengths) != size:
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset: "
            f"{list(lengths)} add up to {sum(lengths)}, the dataset has {size} samples"
        )
    indices = flambeau.randperm(int(sum(lengths)), generator=generator).tolist()
    ends = itertools.accumulate(lengths)
    return [Subset(dataset, indices[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def _lengths_of_fractions(fractions: Sequence[float], size: int) -> list[int]:
    lengths = []
    for position, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {position} is not between 0 and 1: {fraction}")
        lengths.append(math.floor(size * fraction))
    for leftover in range(size - sum(lengths)):
        lengths[leftover % len(lengths)] += 1
    for position, length in enumerate(lengths):
        if length == 0:
            warnings.warn(f"Length of split at index {position} is 0: that dataset is empty.", stacklevel=3)
    return lengths

"""Samplers: in which order the samples of a dataset are visited."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import flambeau

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T_co = TypeVar("T_co", covariant=True)

_DRAWS_AT_ONCE = 32
"""Sampling with replacement draws this many indices per call; the stream of numbers depends on it."""


def random_seed(generator: flambeau.Generator | None = None) -> int:
    """Draws an int64 in [0, 2**63) from ``generator``, by default the global one."""
    return flambeau.empty((), dtype=flambeau.int64).random_(generator=generator).item()


def _check_positive_int(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


class Sampler(Generic[T_co]):
    """An iterable of indices (or of lists of indices, to be used as a ``batch_sampler``).

    A subclass defines ``__iter__``, and ``__len__`` if the number of indices is known.
    """

    # No default __len__: `len()` of a sampler without one has to be a TypeError.

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} should define __iter__, as a subclass of Sampler")


class SequentialSampler(Sampler[int]):
    """``0, 1, …, len(data_source) - 1``."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices in random order, each once, or drawn independently with ``replacement``.

    Args:
        data_source: what is sampled; only its length matters.
        replacement: draw independently and uniformly, so that an index may come more than once.
        num_samples: how many indices one pass yields, ``len(data_source)`` by default. More than that without
            replacement runs through several permutations.
        generator: the source of randomness. Without one, each pass seeds a fresh generator from the global one.

    Example:
        >>> sorted(RandomSampler("abc"))
        [0, 1, 2]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: flambeau.Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        # Looked up each time, because the data source may grow between passes.
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = flambeau.Generator()
            generator.manual_seed(random_seed())
        if self.replacement:
            for start in range(0, self.num_samples, _DRAWS_AT_ONCE):
                count = min(_DRAWS_AT_ONCE, self.num_samples - start)
                yield from flambeau.randint(high=size, size=(count,), dtype=flambeau.int64, generator=generator).tolist()
        else:
            passes, rest = divmod(self.num_samples, size)
            for _ in range(passes):
                yield from flambeau.randperm(size, generator=generator).tolist()
            # Drawn even if nothing of it is used: a shared generator then moves as far as PyTorch's does.
            yield from flambeau.randperm(size, generator=generator).tolist()[:rest]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given ``indices`` in random order, each once."""

    def __init__(self, indices: Sequence[int], generator: flambeau.Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for position in flambeau.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Draws ``num_samples`` indices of ``0 … len(weights) - 1`` with probabilities in proportion to ``weights``.

    Weights need not add up to one. Without ``replacement`` an index is drawn at most once.

    Example:
        >>> list(WeightedRandomSampler([0.0, 1.0], num_samples=3))
        [1, 1, 1]
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: flambeau.Generator | None = None,
    ) -> None:
        _check_positive_int("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = flambeau.as_tensor(weights, dtype=flambeau.double)
        if self.weights.dim() != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        draws = flambeau.multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        return iter(draws.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Groups the indices of another sampler into lists of ``batch_size``; ``drop_last`` drops a shorter last one.

    Example:
        >>> list(BatchSampler(SequentialSampler("abcde"), batch_size=2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_positive_int("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        samples = len(self.sampler)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

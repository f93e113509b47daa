"""Pipes that call a function with each sample."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data._utils.collate import default_collate
from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.utils.common import _check_unpickable_fn, validate_input_col

__all__ = ["CollatorIterDataPipe", "MapperIterDataPipe"]


@functional_datapipe("map")
class MapperIterDataPipe(IterDataPipe):
    """What ``fn`` makes of each sample, or of some of its columns.

    Args:
        fn: the function
        input_col: the key or position that ``fn`` is called with; a list of them gives it several arguments. ``None`` is the
            whole sample.
        output_col: where the result is put; by default in place of the first column of ``input_col``, and the others are
            removed. -1 appends it to a sample that is a list or a tuple.

    Samples are changed in a shallow copy.

    Raises:
        ValueError: an ``output_col`` without ``input_col``, or more than one; columns that ``fn`` does not take

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> pairs = IterableWrapper([(1, 2), (3, 4)])
        >>> list(pairs.map(sum)), list(pairs.map(float, input_col=1)), list(pairs.map(float, input_col=1, output_col=-1))
        ([3, 7], [(1, 2.0), (3, 4.0)], [(1, 2, 2.0), (3, 4, 4.0)])
    """

    def __init__(self, datapipe: IterDataPipe, fn: Callable, input_col: Any = None, output_col: Any = None) -> None:
        _check_unpickable_fn(fn)
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) != 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        validate_input_col(fn, input_col)
        self.datapipe = datapipe
        self.fn = fn
        self.input_col = input_col
        self.output_col = output_col

    def _changed(self, sample: Any) -> Any:
        if self.input_col is None:
            return self.fn(sample)
        several = isinstance(self.input_col, (list, tuple))
        columns = list(self.input_col) if several else [self.input_col]
        result = self.fn(*(sample[column] for column in columns))
        changed = list(sample) if isinstance(sample, tuple) else copy.copy(sample)
        if self.output_col is None:
            changed[columns[0]] = result
            for column in sorted(columns[1:], reverse=True):
                del changed[column]
        elif self.output_col == -1:
            changed.append(result)
        else:
            changed[self.output_col] = result
        return tuple(changed) if isinstance(sample, tuple) else changed

    def __iter__(self) -> Iterator[Any]:
        for sample in self.datapipe:
            yield self._changed(sample)

    def __len__(self) -> int:
        return len(self.datapipe)


@functional_datapipe("collate")
class CollatorIterDataPipe(MapperIterDataPipe):
    """Batches as tensors: each list of samples joined by ``collate_fn``.

    Args:
        conversion, collate_fn: the function, under either name; :func:`default_collate` by default

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper(range(3)).batch(2).collate())
        [tensor([0, 1]), tensor([2])]
    """

    def __init__(self, datapipe: IterDataPipe, conversion: Callable | None = default_collate, collate_fn: Callable | None = None) -> None:
        function = conversion if collate_fn is None else collate_fn
        if isinstance(function, dict):
            raise NotImplementedError("collate: conversions by column are for pipes of data frames; pass a function of the batch")
        super().__init__(datapipe, default_collate if function is None else function)

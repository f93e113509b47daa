"""A pipe that leaves samples out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.utils.common import _check_unpickable_fn, validate_input_col

__all__ = ["FilterIterDataPipe"]


@functional_datapipe("filter")
class FilterIterDataPipe(IterDataPipe):
    """The samples for which ``filter_fn`` is true.

    Args:
        filter_fn: a function that returns a bool
        input_col: the key or position that it is called with, or a list of them; ``None`` is the whole sample

    Raises:
        ValueError: the function returns something other than a bool

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper(["a", "B", "c"]).filter(str.islower))
        ['a', 'c']
    """

    def __init__(self, datapipe: IterDataPipe, filter_fn: Callable, input_col: Any = None) -> None:
        _check_unpickable_fn(filter_fn)
        validate_input_col(filter_fn, input_col)
        self.datapipe = datapipe
        self.filter_fn = filter_fn
        self.input_col = input_col

    def _wanted(self, sample: Any) -> bool:
        if self.input_col is None:
            answer = self.filter_fn(sample)
        elif isinstance(self.input_col, (list, tuple)):
            answer = self.filter_fn(*(sample[column] for column in self.input_col))
        else:
            answer = self.filter_fn(sample[self.input_col])
        if not isinstance(answer, bool):
            raise ValueError(f"Boolean output is required for `filter_fn` of {type(self).__name__}, got {type(answer)}")
        return answer

    def __iter__(self) -> Iterator[Any]:
        for sample in self.datapipe:
            if self._wanted(sample):
                yield sample

"""Several pipes of one pipe: copies of it, or its samples sorted into classes."""

from __future__ import annotations

import copy as copying
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes._passes import FEEDBACK, described
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.utils.common import _check_unpickable_fn

__all__ = ["DemultiplexerIterDataPipe", "ForkerIterDataPipe"]


_COPIES: dict[str | None, Callable | None] = {None: None, "shallow": copying.copy, "deep": copying.deepcopy}


class _Splitter(IterDataPipe):
    """What the children of one pipe share: the iterator of the source, and a queue of samples for each child.

    All children take part in one pass over the source. The first that starts again begins the next pass, from the first sample
    on, for all of them. A child that is ahead fills the queues of the others.
    """

    kind = ""

    def __init__(self, datapipe: IterDataPipe, num_instances: int, buffer_size: int) -> None:
        if num_instances < 1:
            raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")
        if buffer_size < 0:
            warnings.warn(f"Unlimited buffer size is set for `{self.kind}`, please be aware of OOM at random places", stacklevel=4)
        self.main_datapipe = datapipe
        self.num_instances = num_instances
        self.buffer_size = buffer_size
        self._valid_iterator_id = 0
        self._forget()

    def _forget(self) -> None:
        self._source: Iterator | None = None
        self._queues: list[deque] = [deque() for _ in range(self.num_instances)]
        self._finished = [False] * self.num_instances

    def reset(self) -> None:
        if not all(self._finished):
            warnings.warn(
                "Some child DataPipes are not exhausted when __iter__ is called. We are resetting the buffer and each child "
                "DataPipe will read from the start again.",
                stacklevel=4,
            )
        self._forget()

    def samples_of(self, child: int) -> Iterator[Any]:
        """What one child yields in this pass."""
        queue = self._queues[child]
        while True:
            while not queue:
                if self._source is None:
                    self._source = iter(self.main_datapipe)
                try:
                    sample = next(self._source)
                except StopIteration:
                    self._finished[child] = True
                    return
                self._deliver(sample, child)
            yield queue.popleft()

    def _deliver(self, sample: Any, asking: int) -> None:
        """Puts a sample into the queues of the children that are to see it."""
        raise NotImplementedError

    def __getstate__(self) -> Any:
        state = {name: value for name, value in vars(self).items() if name not in ("_source", "_queues", "_finished")}
        hook = type(self).getstate_hook
        return state if hook is None else hook(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self.main_datapipe)


class _ChildDataPipe(IterDataPipe):
    """One of the pipes that a pipe was split into."""

    def __init__(self, main_datapipe: _Splitter, instance_id: int) -> None:
        self.main_datapipe = main_datapipe
        self.instance_id = instance_id

    def __iter__(self) -> Iterator[Any]:
        main = self.main_datapipe
        if self._valid_iterator_id == main._valid_iterator_id:
            main._begin_pass()
        return main.samples_of(self.instance_id)

    def _begin_pass(self) -> int:
        self._valid_iterator_id = self.main_datapipe._valid_iterator_id
        return self._valid_iterator_id

    def _check_pass(self, number: int) -> None:
        main = self.main_datapipe
        if number != main._valid_iterator_id:
            raise RuntimeError(
                "This iterator has been invalidated, because a new iterator has been created from one of the ChildDataPipes of "
                f"{described(main)}.{FEEDBACK}"
            )

    def __len__(self) -> int:
        return len(self.main_datapipe)


@functional_datapipe("fork")
class ForkerIterDataPipe(IterDataPipe):
    """Several pipes with the same samples; a list of them, or the pipe itself for one.

    Args:
        num_instances: how many
        buffer_size: by how many samples the fastest may be ahead of the slowest; -1 for any number
        copy: ``"shallow"`` or ``"deep"`` gives each pipe a copy of each sample, where ``None`` gives them the same objects

    Raises:
        BufferError: while iterating: one is too far ahead
        ValueError: no instances, or another copy

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> numbers, names = IterableWrapper(range(3)).fork(2)
        >>> list(numbers.zip(names.map(str)))
        [(0, '0'), (1, '1'), (2, '2')]
    """

    def __new__(cls, datapipe: IterDataPipe, num_instances: int, buffer_size: int = 1000, copy: str | None = None) -> Any:
        if num_instances == 1:
            return datapipe
        main = _ForkerIterDataPipe(datapipe, num_instances, buffer_size, copy)
        return [_ChildDataPipe(main, number) for number in range(num_instances)]


class _ForkerIterDataPipe(_Splitter):
    kind = "fork"

    def __init__(self, datapipe: IterDataPipe, num_instances: int, buffer_size: int = 1000, copy: str | None = None) -> None:
        if copy not in _COPIES:
            raise ValueError(f"Unknown copy method `{copy}` requested, choose one of None, `shallow` or `deep`.")
        super().__init__(datapipe, num_instances, buffer_size)
        self.copy = copy

    def _deliver(self, sample: Any, asking: int) -> None:
        if self.buffer_size >= 0 and max(map(len, self._queues)) >= self.buffer_size:
            raise BufferError(f"ForkerIterDataPipe buffer overflow, buffer size {self.buffer_size} is insufficient.")
        duplicate = _COPIES[self.copy]
        for queue in self._queues:
            queue.append(duplicate(sample) if duplicate else sample)


@functional_datapipe("demux")
class DemultiplexerIterDataPipe(IterDataPipe):
    """Several pipes among which the samples are divided; a list of them.

    Args:
        num_instances: how many
        classifier_fn: the number of the pipe that a sample goes to
        drop_none: leave out samples for which it is ``None``
        buffer_size: how many samples may wait for the pipes that they go to; -1 for any number

    Raises:
        BufferError: while iterating: more would have to wait
        ValueError: no instances; and, while iterating, a number that no pipe has

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> odd = IterableWrapper([3, 1, 4, 1, 5]).demux(2, (1).__and__)[1]
        >>> list(odd)
        [3, 1, 1, 5]
    """

    def __new__(
        cls,
        datapipe: IterDataPipe,
        num_instances: int,
        classifier_fn: Callable[[Any], int | None],
        drop_none: bool = False,
        buffer_size: int = 1000,
    ) -> Any:
        _check_unpickable_fn(classifier_fn)
        main = _DemultiplexerIterDataPipe(datapipe, num_instances, classifier_fn, drop_none, buffer_size)
        return [_ChildDataPipe(main, number) for number in range(num_instances)]


class _DemultiplexerIterDataPipe(_Splitter):
    kind = "demux"

    def __init__(self, datapipe: IterDataPipe, num_instances: int, classifier_fn: Callable, drop_none: bool, buffer_size: int) -> None:
        super().__init__(datapipe, num_instances, buffer_size)
        self.classifier_fn = classifier_fn
        self.drop_none = drop_none

    def _deliver(self, sample: Any, asking: int) -> None:
        child = self.classifier_fn(sample)
        if child is None and self.drop_none:
            return
        if child is None or not 0 <= child < self.num_instances:
            raise ValueError(f"Output of the classification fn should be between 0 and {self.num_instances - 1}. {child} is returned.")
        if child != asking and self.buffer_size >= 0 and sum(map(len, self._queues)) >= self.buffer_size:
            raise BufferError(f"DemultiplexerIterDataPipe buffer overflow, buffer size {self.buffer_size} is insufficient.")
        self._queues[child].append(sample)

    def __len__(self) -> int:
        # How the samples divide is only known when they have been read.
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")

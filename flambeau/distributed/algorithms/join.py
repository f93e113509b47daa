"""Training on uneven inputs: processes that have no more batches do the collectives of the others along.

```
rank 0   batch 1   batch 2   batch 3
rank 1   batch 1   batch 2   (shadows batch 3)
```
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

import flambeau
from flambeau import distributed
from flambeau.distributed.process_group import ProcessGroup
from flambeau.distributed.work import Work
from flambeau.distributed.world import member

__all__ = ["Join", "JoinHook", "Joinable"]


class JoinHook:
    """What a process that has joined does in the place of a ``Joinable``."""

    def main_hook(self) -> None:
        """Called again and again while others train: does the collectives of one of their iterations."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Called when all have joined.

        Args:
            is_last_joiner: whether this process was one of the last
        """


class Joinable(ABC):
    """Something whose iterations have collectives that processes without inputs can do along."""

    @abstractmethod
    def __init__(self) -> None:
        super().__init__()
        self._join_config = _JoinConfig()

    @abstractmethod
    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What to do in its place."""

    @property
    @abstractmethod
    def join_device(self) -> Any:
        """The device of its tensors."""

    @property
    @abstractmethod
    def join_process_group(self) -> Any:
        """The group of its collectives."""


class _JoinConfig:
    """Whether a ``Joinable`` is used in a ``Join``, and how."""

    def __init__(self, enable: bool = False, throw: bool = False, first: bool = False) -> None:
        self.enable, self.throw_on_early_termination, self.is_first_joinable = enable, throw, first


class Join:
    """Lets processes train on different numbers of inputs. All processes of the group enter the context.

    Args:
        joinables: what is used in the iterations, such as a ``DistributedDataParallel`` and a ``ZeroRedundancyOptimizer``
        enable: whether inputs may be uneven at all
        throw_on_early_termination: raise an error in all processes when the first has no more inputs
        kwargs: for the joinables' ``join_hook``

    Raises:
        ValueError: they are of different groups
    """

    def __init__(self, joinables: list[Joinable], enable: bool = True, throw_on_early_termination: bool = False, **kwargs: Any) -> None:
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        self._joinables = joinables
        self._hooks = [joinable.join_hook(**kwargs) for joinable in joinables]
        self._enable, self._throw = enable, throw_on_early_termination
        groups = {id(member(joinable.join_process_group)): member(joinable.join_process_group) for joinable in joinables}
        if len(groups) > 1:
            raise ValueError("Using join context manager with multiple process groups")
        self._group: ProcessGroup = next(iter(groups.values()))
        for number, joinable in enumerate(joinables):
            joinable._join_config = _JoinConfig(enable, throw_on_early_termination, number == 0)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if self._enable and kind is None:
                self._shadow()
        finally:
            for joinable in self._joinables:
                joinable._join_config = _JoinConfig()

    def _shadow(self) -> None:
        """Do the others' collectives along until they have all come here."""
        rounds = 0
        last = True
        while training := self._count(False):
            if self._throw:
                raise RuntimeError(_EARLY)
            rounds += 1
            last = False
            if rounds == _WARN_AFTER:
                warnings.warn(
                    f"Detected uneven input skew of greater than {_WARN_AFTER}. This means that rank {self._group.rank()} has at least "
                    f"{_WARN_AFTER} fewer inputs than {training} other processes.",
                    stacklevel=3,
                )
            for hook in self._hooks:
                hook.main_hook()
        for hook in self._hooks:
            hook.post_hook(last)

    def _count(self, training: bool) -> int:
        """How many processes still have inputs."""
        count = flambeau.tensor([float(training)])
        distributed.all_reduce(count, group=self._group)
        return int(count.item())

    @staticmethod
    def notify_join_context(joinable: Joinable) -> Work | None:
        """Say that this process still has inputs; a ``Joinable`` calls this before the collectives of an iteration.

        Raises:
            RuntimeError: another process has no more inputs, and ``throw_on_early_termination`` is set
        """
        config = joinable._join_config
        if not config.enable or not config.is_first_joinable:
            return None
        group = member(joinable.join_process_group)
        if not config.throw_on_early_termination:
            return distributed.all_reduce(flambeau.ones(1), group=group, async_op=True)
        count = flambeau.ones(1)
        distributed.all_reduce(count, group=group)
        if int(count.item()) < group.size():
            raise RuntimeError(_EARLY)
        return None


_WARN_AFTER = 1000
_EARLY = "Detected at least one rank that exhausted inputs. Throwing across all ranks."

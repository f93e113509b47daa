"""When parameters are averaged."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from flambeau.distributed.algorithms.model_averaging import utils
from flambeau.distributed.world import member

__all__ = ["ModelAverager", "PeriodicModelAverager"]


class ModelAverager(ABC):
    """Counts steps, and averages parameters in some of them.

    Args:
        process_group: the processes; all, by default
    """

    def __init__(self, process_group: Any = None) -> None:
        self.process_group = member(process_group)
        self.step = 0

    @abstractmethod
    def average_parameters(self, params: Iterable[Any]) -> None:
        """Count a step, and average parameters (or those of an optimizer's groups) if it is time to."""


class PeriodicModelAverager(ModelAverager):
    """Averages in every ``period``-th step (Lin et al. 2020, arXiv:1808.07217).

    Args:
        period: the number of steps from one time to the next
        warmup_steps: how many steps there are before the first time
        process_group: the processes; all, by default

    Raises:
        ValueError: the period is not positive, or ``warmup_steps`` is negative
    """

    def __init__(self, period: int, warmup_steps: int = 0, process_group: Any = None) -> None:
        super().__init__(process_group)
        if warmup_steps < 0:
            raise ValueError(f"Arg ``warmup_steps`` must be a non-negative number, but is {warmup_steps}.")
        if period < 1:
            raise ValueError(f"Arg ``period`` must be a positive value, but is {period}.")
        if period == 1:
            warnings.warn(
                "period=1 averages parameters in every step: DistributedDataParallel, which averages gradients, costs as much", stacklevel=2
            )
        self.period, self.warmup_steps = period, warmup_steps

    def average_parameters(self, params: Iterable[Any]) -> None:
        if self.step >= self.warmup_steps and (self.step - self.warmup_steps) % self.period == 0:
            utils.average_parameters_or_parameter_groups(params, self.process_group)
        self.step += 1

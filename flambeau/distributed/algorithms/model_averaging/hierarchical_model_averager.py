"""Averages over groups of processes that grow with the time between them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from flambeau.distributed.algorithms.model_averaging import utils
from flambeau.distributed.algorithms.model_averaging.averagers import ModelAverager
from flambeau.distributed.world import new_subgroups

__all__ = ["HierarchicalModelAverager"]


class HierarchicalModelAverager(ModelAverager):
    """Averages over small groups often, and over larger ones seldom (Castiglia et al. 2020, arXiv:2010.12998).

    Args:
        period_group_size_dict: for each number of steps how many processes average then, both growing, the last with all processes; where
            a step is a multiple of several, the largest counts
        warmup_steps: how many steps there are before the first time
        process_group: the processes; all, by default

    Raises:
        ValueError: periods or sizes do not grow, are no multiples of those before, or the last size is not that of the group
    """

    def __init__(
        self, period_group_size_dict: OrderedDict[int, int] | None = None, warmup_steps: int = 0, process_group: Any = None
    ) -> None:
        super().__init__(process_group)
        if not period_group_size_dict:
            raise ValueError("Arg ``period_group_size_dict`` must not be empty.")
        periods, sizes = list(period_group_size_dict), list(period_group_size_dict.values())
        if periods[0] <= 0:
            raise ValueError(f"The periods in arg ``period_group_size_dict`` must be positive, but are {periods}.")
        for what, values in (("periods", periods), ("group sizes", sizes)):
            if any(second <= first for first, second in zip(values, values[1:])):
                raise ValueError(f"The {what} in arg ``period_group_size_dict`` must be in ascending order, but are {values}.")
            if any(second % first for first, second in zip(values, values[1:])):
                raise ValueError(
                    f"Each of the {what} in arg ``period_group_size_dict`` must be a multiple of the one before, but they are {values}."
                )
        if sizes[-1] != self.process_group.size():
            raise ValueError(
                f"The last value in arg ``period_process_group_dict`` {sizes[-1]} must be equal to the size of arg ``process_group`` "
                f"{self.process_group.size()}."
            )
        if warmup_steps < 0:
            raise ValueError(f"Arg ``warmup_steps`` must be a non-negative number, but is {warmup_steps}.")
        self.warmup_steps = warmup_steps
        self.period_process_group_dict = OrderedDict(
            (period, self.process_group if size == self.process_group.size() else new_subgroups(size)[0])
            for period, size in zip(periods, sizes, strict=True)
        )

    def _find_process_group(self) -> Any:
        """The group that averages in this step, if one does."""
        for period, group in reversed(self.period_process_group_dict.items()):
            if self.step % period == 0:
                return group
        return None

    def average_parameters(self, params: Iterable[Any]) -> None:
        if self.step >= self.warmup_steps:
            group = self._find_process_group()
            if group is not None:
                utils.average_parameters_or_parameter_groups(params, group)
        self.step += 1

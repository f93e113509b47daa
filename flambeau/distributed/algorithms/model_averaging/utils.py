"""Averages of parameters over processes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from flambeau.distributed import collectives
from flambeau.distributed.arrays import Targets
from flambeau.distributed.reduction import ReduceOp, reducer
from flambeau.distributed.world import member, outside
from flambeau.nn import Parameter

__all__ = ["average_parameters", "average_parameters_or_parameter_groups", "get_params_to_average"]


def average_parameters(params: Iterable[Parameter], process_group: Any = None) -> None:
    """Replace parameters by their averages over the processes of a group; a process that is not in it does nothing."""
    if outside(process_group):
        return
    group, chosen = member(process_group), list(params)
    for dtype in dict.fromkeys(each.dtype for each in chosen):
        same = [each for each in chosen if each.dtype is dtype]
        targets = Targets(same)
        label = f"average_parameters: {len(same)} of {dtype.name}".encode()
        reduce = reducer(ReduceOp.AVG, dtype, "average_parameters", None)
        job = partial(collectives.all_reduce_many, group.mesh, targets.arrays, reduce, label)
        group.run(targets.job(job), same, "average_parameters", False)


def get_params_to_average(params: Iterable[Any]) -> list[Parameter]:
    """The parameters that have a gradient, of parameters or of an optimizer's groups.

    Raises:
        NotImplementedError: something is neither a parameter nor a group
    """
    found = []
    for each in params:
        if isinstance(each, Parameter):
            inner = [each]
        elif isinstance(each, dict):
            inner = each["params"]
        else:
            raise NotImplementedError(
                f"Parameter input of type {type(each)} is not supported: give parameters or an optimizer's param_groups"
            )
        found += [parameter for parameter in inner if parameter.grad is not None]
    return found


def average_parameters_or_parameter_groups(params: Iterable[Any], process_group: Any = None) -> None:
    """``average_parameters`` of those that have a gradient, of parameters or of an optimizer's groups."""
    average_parameters(get_params_to_average(params), process_group)

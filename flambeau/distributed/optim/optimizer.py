"""``DistributedOptimizer``: an optimizer in each process that owns some of the parameters."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from flambeau.distributed import autograd, rpc
from flambeau.futures import wait_all

__all__ = ["DistributedOptimizer"]


class _LocalOptimizer:
    """The optimizer of the parameters of one process; those that train it take turns."""

    turn = threading.Lock()
    """Parameters may belong to several: one for each trainer."""

    def __init__(self, optimizer_class: type, parameters: Sequence[rpc.RRef], args: tuple, kwargs: dict) -> None:
        self.optimizer = optimizer_class([each.local_value() for each in parameters], *args, **kwargs)

    def step(self, context_id: int) -> None:
        """Update the parameters by the gradients of a context."""
        gradients = autograd.get_gradients(context_id)
        with self.turn:
            for parameter in (each for group in self.optimizer.param_groups for each in group["params"]):
                parameter.grad = gradients.get(parameter)
            self.optimizer.step()


class DistributedOptimizer:
    """Updates parameters where they live, by the gradients of a context of ``torch.distributed.autograd``.

    Args:
        optimizer_class: the optimizer that each process makes
        params_rref: references to the parameters
        args, kwargs: for the optimizers

    Raises:
        Exception: what the optimizer's class raises, from whatever process

    Example::

        optimizer = DistributedOptimizer(torch.optim.SGD, [module_rref.remote().weight(), RRef(bias)], lr=0.05)
        with dist_autograd.context() as context_id:
            dist_autograd.backward(context_id, [loss])
            optimizer.step(context_id)
    """

    def __init__(self, optimizer_class: type, params_rref: Sequence[rpc.RRef], *args: Any, **kwargs: Any) -> None:
        by_owner: dict[rpc.WorkerInfo, list[rpc.RRef]] = defaultdict(list)
        for each in params_rref:
            by_owner[each.owner()].append(each)
        if not by_owner:
            raise ValueError("optimizer got an empty parameter list")
        made = [rpc.rpc_async(owner, _make, args=(optimizer_class, parameters, args, kwargs)) for owner, parameters in by_owner.items()]
        self.remote_optimizers: list[rpc.RRef] = wait_all(made)

    def step(self, context_id: int) -> None:
        """Update all parameters, in all processes at the same time; those without gradient in the context stay.

        Raises:
            RuntimeError: the context is not known
        """
        wait_all([each.rpc_async().step(context_id) for each in self.remote_optimizers])


def _make(optimizer_class: type, parameters: Sequence[rpc.RRef], args: tuple, kwargs: dict) -> rpc.RRef:
    return rpc.RRef(_LocalOptimizer(optimizer_class, parameters, args, kwargs))

"""An optimizer that averages parameters over processes now and then (Lin et al. 2020, arXiv:1808.07217)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.distributed.algorithms.model_averaging.averagers import ModelAverager
from flambeau.optim.optimizer import Optimizer

__all__ = ["PostLocalSGDOptimizer"]


class PostLocalSGDOptimizer(Optimizer):
    """Wraps an optimizer: after each of its steps an averager is asked, which averages the parameters if it is time to.

    Args:
        optim: the optimizer of this process
        averager: says when parameters are averaged, and over which processes

    Example::

        model.register_comm_hook(PostLocalSGDState(None, None, start_localSGD_iter=100), post_localSGD_hook)
        optimizer = PostLocalSGDOptimizer(torch.optim.SGD(model.parameters(), lr=0.01), PeriodicModelAverager(period=4, warmup_steps=100))
    """

    def __init__(self, optim: Optimizer, averager: ModelAverager) -> None:
        self.optim, self.averager = optim, averager
        self.param_groups = optim.param_groups

    @property
    def defaults(self) -> dict[str, Any]:
        """The optimizer's."""
        return self.optim.defaults

    @property
    def state(self) -> Any:
        """The optimizer's."""
        return self.optim.state

    def __repr__(self) -> str:
        return repr(self.optim)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, with the averager's number of steps."""
        return {**self.optim.state_dict(), "step": self.averager.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; one without the averager's steps begins with step 0, and a warning."""
        self.optim.load_state_dict({name: value for name, value in state_dict.items() if name != "step"})
        self.param_groups = self.optim.param_groups
        if "step" not in state_dict:
            warnings.warn("Loaded state dict does not contain a step counter for an averager. Setting step counter to 0.", stacklevel=2)
        self.averager.step = state_dict.get("step", 0)

    def step(self, closure: Callable | None = None) -> Any:
        """A step of the optimizer, and the average if it is time to."""
        loss = self.optim.step() if closure is None else self.optim.step(closure)
        self.averager.average_parameters(self.optim.param_groups)
        self._opt_called = True  # which learning-rate schedulers ask
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.optim.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict) -> None:
        """Add parameters with settings of their own."""
        self.optim.add_param_group(param_group)

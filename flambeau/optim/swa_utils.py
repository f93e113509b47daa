"""Averages of a model's parameters over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.optim.lr_scheduler._base import LRScheduler, per_group
from flambeau.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function for :class:`AveragedModel`: the exponential average ``decay`` a + (1 - ``decay``) p."""
    _check_decay(decay)

    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        with flambeau.no_grad():
            return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function for :class:`AveragedModel`: the mean of all steps, a + (p - a) / (n + 1)."""

    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        with flambeau.no_grad():
            return averaged + (current - averaged) / (count + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[list, list, Any], None]:
    """The same as :func:`get_ema_avg_fn` for all parameters at once, in place."""
    _check_decay(decay)

    def average(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with flambeau.no_grad():
            for a, p in zip(averaged, current, strict=True):
                if a.is_floating_point() or a.is_complex():
                    a.lerp_(p, 1 - decay)
                else:
                    a.copy_(a * decay + p * (1 - decay))

    return average


def get_swa_multi_avg_fn() -> Callable[[list, list, Any], None]:
    """The same as :func:`get_swa_avg_fn` for all parameters at once, in place."""

    def average(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with flambeau.no_grad():
            for a, p in zip(averaged, current, strict=True):
                a.copy_(a + (p - a) / (count + 1))

    return average


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's (Izmailov et al. 2018, arXiv:1803.05407).

    Args:
        model: the model, which is copied.
        device: where the averages lie.
        avg_fn: computes a new average from (average, parameter, count so far); the mean of all steps if left out.
        multi_avg_fn: or changes all averages in place.
        use_buffers: whether buffers are averaged too; otherwise they are copied.

    Attributes:
        module: the averaged model.
        n_averaged: how many steps have been averaged.

    Example:
        >>> model = flambeau.nn.Linear(2, 1)
        >>> averaged = flambeau.optim.swa_utils.AveragedModel(model)
        >>> averaged.update_parameters(model)
        >>> averaged.n_averaged.item()
        1
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[list, list, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", flambeau.tensor(0, dtype=flambeau.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the parameters of ``model`` into the averages; the first time they become the averages."""
        averaged, current = (
            [tensor.detach() for tensor in (chain(m.parameters(), m.buffers()) if self.use_buffers else m.parameters())]
            for m in (self.module, model)
        )
        if int(self.n_averaged) == 0:
            for a, p in zip(averaged, current, strict=True):
                a.copy_(p)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(averaged, current, self.n_averaged)
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for a, p in zip(averaged, current, strict=True):
                a.copy_(average(a, p, self.n_averaged))
        if not self.use_buffers:
            for a, p in zip(self.module.buffers(), model.buffers(), strict=True):
                a.detach().copy_(p.detach())
        self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of all batch normalisations in ``model`` anew.

    Args:
        loader: batches of inputs, or tuples whose first element is the input.
        model: the model, such as an averaged one, whose statistics do not fit its parameters.
        device: to where the inputs are moved.
    """
    norms = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    with flambeau.no_grad():
        for batch in loader:
            batch = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """The rate goes to ``swa_lr`` in ``anneal_epochs`` epochs and stays there.

    Args:
        optimizer: whose groups are changed.
        swa_lr: the rate wanted, or one for each group.
        anneal_epochs: how many epochs it takes.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        last_epoch: the epoch after which training goes on.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1
    ) -> None:
        for lr, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """How much of the way is gone after ``step`` steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        self._check_within_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        lrs = []
        for group in self.optimizer.param_groups:
            lr, target = group["lr"], group["swa_lr"]
            start = target if before == 1 else (lr - before * target) / (1 - before)
            lrs.append(target * now + start * (1 - now))
        return lrs

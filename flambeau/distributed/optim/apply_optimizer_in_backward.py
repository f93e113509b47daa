"""Optimizers that step while the backward pass goes on, so that gradients need not be kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.nn import Module, Parameter
from flambeau.optim.optimizer import Optimizer

__all__: list[str] = []


def _apply_optimizer_in_backward(
    optimizer_class: type[Optimizer], params: Iterable[Parameter], optimizer_kwargs: dict[str, Any], register_hook: bool = True
) -> None:
    """Let an optimizer of its own update each parameter as soon as a backward pass has its gradient, which is forgotten then.

    Args:
        optimizer_class: the optimizer
        params: the parameters
        optimizer_kwargs: for the optimizer
        register_hook: whether it steps in the backward pass, or its owner calls ``_in_backward_optimizers`` some other way
    """
    for parameter in params:
        own = parameter.__dict__.setdefault("_in_backward_optimizers", [])
        own.append(optimizer_class([parameter], **optimizer_kwargs))
        if register_hook and len(own) == 1:
            parameter.register_post_accumulate_grad_hook(_step)


def _step(parameter: Parameter) -> None:
    for each in parameter._in_backward_optimizers:
        each.step()
    parameter.grad = None


def _get_in_backward_optimizers(module: Module) -> list[Optimizer]:
    """The optimizers of a module's parameters."""
    return [each for parameter in module.parameters() for each in getattr(parameter, "_in_backward_optimizers", ())]

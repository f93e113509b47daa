"""Resilient backpropagation."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["Rprop", "rprop"]


class Rprop(StepwiseOptimizer):
    """Resilient backpropagation (Riedmiller and Braun 1993): the sign of the gradient alone counts.

    Each element has a step size of its own, which grows by η⁺ while the gradient keeps its sign and shrinks by η⁻ where the
    sign changes (there the element stays for one step). For full batches.

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the step sizes at the beginning.
        etas: (η⁻, η⁺).
        step_sizes: the least and the greatest step size.
        capturable: accepted; there is nothing to capture.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_settings(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}; they must be 0 < η⁻ < 1 < η⁺")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        lr = number(group["lr"])
        size = complex(lr, lr) if parameter.is_complex() else lr
        return {
            "step": self._numbers.make(0.0),
            "prev": zeros_like(parameter),
            "step_size": flambeau.full_like(parameter, size, memory_format=flambeau.preserve_format),
        }

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        shrink, grow = group["etas"]
        self._count_step(state)
        agreement = gradient.mul(state["prev"])
        turned = agreement.lt(0)
        factor = flambeau.ones_like(agreement).masked_fill(turned, shrink).masked_fill(agreement.gt(0), grow)
        step_size = state["step_size"].mul_(factor).clamp_(*group["step_sizes"])
        gradient = gradient.masked_fill(turned, 0.0)
        parameter.addcmul_(gradient.sign(), step_size, value=-1)
        state["prev"].copy_(gradient)


rprop = functional(
    Rprop,
    {"prevs": "prev", "step_sizes": "step_size", "state_steps": "step"},
    "foreach capturable maximize differentiable has_complex",
    "step_size_min step_size_max etaminus etaplus",
)

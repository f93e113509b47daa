"""Adamax."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, saved, zeros_like

__all__ = ["Adamax", "adamax"]


class Adamax(StepwiseOptimizer):
    """Adam with the maximum norm (Kingma and Ba 2014, arXiv:1412.6980).

    m ← β₁ m + (1 - β₁) g and u ← max(β₂ u, |g| + ε); θ moves by -lr / (1 - β₁ᵗ) · m / u.

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
        capturable: accepted; there is nothing to capture.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_settings(lr, eps, weight_decay, betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": self._numbers.make(0.0), "exp_avg": zeros_like(parameter), "exp_inf": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        beta1, beta2 = group["betas"]
        step = self._count_step(state)
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        exp_avg, exp_inf = state["exp_avg"], state["exp_inf"]
        exp_avg.lerp_(gradient, 1 - beta1)
        exp_inf.copy_(flambeau.maximum(exp_inf.mul(beta2), gradient.abs().add(group["eps"])))
        parameter.addcdiv_(saved(exp_avg, group), saved(exp_inf, group), value=-lr / (1 - beta1**step))


adamax = functional(
    Adamax,
    {"exp_avgs": "exp_avg", "exp_infs": "exp_inf", "state_steps": "step"},
    "foreach maximize differentiable capturable has_complex",
    "eps beta1 beta2 lr weight_decay",
)

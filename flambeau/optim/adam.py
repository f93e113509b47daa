"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._ops.optimize import ADAM
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_implementation, check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer, saved, zeros_like

__all__ = ["Adam", "AdamW", "adam"]


class Adam(StepwiseOptimizer):
    """Adam (Kingma and Ba 2014, arXiv:1412.6980).

    m ← β₁ m + (1 - β₁) g and v ← β₂ v + (1 - β₂) g²; θ moves by -lr m̂ / (√v̂ + ε), with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        amsgrad: whether the largest v so far is used (Reddi et al. 2018).
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        capturable: accepted; there is nothing to capture.
        differentiable: whether the step itself is recorded for a backward pass.
        fused: accepted; there is one implementation.
        decoupled_weight_decay: whether the weights are shrunk by lr · ``weight_decay`` instead, as :class:`AdamW` does.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        betas = tuple(number(beta) for beta in betas)
        check_settings(lr, eps, weight_decay, betas)
        check_implementation(foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": self._numbers.make(0.0), "exp_avg": zeros_like(parameter), "exp_avg_sq": zeros_like(parameter)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(parameter)
        return state

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _update_rows(self, rows: list[tuple[Tensor, ...]], group: dict[str, Any], lr: float, step: float) -> bool:
        beta1, beta2 = group["betas"]
        decay, shrink = number(group["weight_decay"]), 1.0
        if group["decoupled_weight_decay"]:
            decay, shrink = 0.0, 1 - lr * decay
        root, size = (1 - beta2**step) ** 0.5, -lr / (1 - beta1**step)
        return ADAM(rows, (decay, shrink, 1 - beta1, beta2, 1 - beta2, root, group["eps"], size), (group["maximize"], decay != 0))

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        beta1, beta2 = group["betas"]
        weight_decay = group["weight_decay"]
        step = self._count_step(state)
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        if weight_decay != 0:
            if group["decoupled_weight_decay"]:
                parameter.mul_(1 - lr * weight_decay)
            else:
                gradient = gradient.add(parameter, alpha=weight_decay)
        exp_avg.lerp_(gradient, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            exp_avg_sq = largest.copy_(flambeau.maximum(saved(largest, group), exp_avg_sq))
        denominator = exp_avg_sq.sqrt().div((1 - beta2**step) ** 0.5).add_(group["eps"])
        parameter.addcdiv_(saved(exp_avg, group), denominator, value=-lr / (1 - beta1**step))


class AdamW(Adam):
    """Adam with decoupled weight decay: θ also shrinks by lr · ``weight_decay`` (Loshchilov and Hutter 2017, arXiv:1711.05101).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: how much the weights shrink, times the learning rate.
        amsgrad: whether the largest v so far is used.
        maximize: whether the objective is maximised.
        foreach: accepted; there is one implementation.
        capturable: accepted; there is nothing to capture.
        differentiable: whether the step itself is recorded for a backward pass.
        fused: accepted; there is one implementation.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Checkpoints written before the two classes were one do not say so.
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


adam = functional(
    Adam,
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "max_exp_avg_sqs": "max_exp_avg_sq", "state_steps": "step"},
    "foreach capturable differentiable fused grad_scale found_inf has_complex decoupled_weight_decay",
    "amsgrad beta1 beta2 lr weight_decay eps maximize",
)

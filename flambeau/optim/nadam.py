"""NAdam."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, saved, zeros_like

__all__ = ["NAdam", "nadam"]


class NAdam(StepwiseOptimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    With μ_t = β₁ (1 - 0.96^(t ψ) / 2), ψ being ``momentum_decay``, θ moves by
    -lr (μ_{t+1} m / (1 - Π_{i≤t+1} μ_i) + (1 - μ_t) g / (1 - Π_{i≤t} μ_i)) / (√v̂ + ε).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        momentum_decay: ψ.
        decoupled_weight_decay: whether the weights are shrunk by lr · ``weight_decay`` instead.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        capturable: accepted; there is nothing to capture.
        differentiable: whether the step itself is recorded for a backward pass.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_settings(lr, eps, weight_decay, betas, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        make = self._numbers.make
        return {
            "step": make(0.0),
            "mu_product": make(1.0),
            "exp_avg": zeros_like(parameter),
            "exp_avg_sq": zeros_like(parameter),
        }

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        beta1, beta2 = group["betas"]
        weight_decay, momentum_decay = group["weight_decay"], group["momentum_decay"]
        step = self._count_step(state)
        if weight_decay != 0:
            if group["decoupled_weight_decay"]:
                parameter.mul_(1 - lr * weight_decay)
            else:
                gradient = gradient.add(parameter, alpha=weight_decay)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        product = self._multiply_product(state, mu)
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = exp_avg_sq.div(1 - beta2**step).sqrt().add(group["eps"])
        parameter.addcdiv_(gradient, denominator, value=-lr * (1.0 - mu) / (1.0 - product))
        parameter.addcdiv_(saved(exp_avg, group), denominator, value=-lr * mu_next / (1.0 - product * mu_next))

    def _multiply_product(self, state: dict[str, Any], mu: float) -> float:
        """Multiplies the product of all μ by one more, in the dtype in which the state keeps it."""
        numbers = self._numbers
        old = numbers.read(state["mu_product"])
        product = float(numbers.round(numbers.round(old) * numbers.round(mu)))
        state["mu_product"] = numbers.make(product)
        return product


nadam = functional(
    NAdam,
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "mu_products": "mu_product", "state_steps": "step"},
    "decoupled_weight_decay foreach capturable differentiable has_complex maximize",
    "beta1 beta2 lr weight_decay momentum_decay eps",
)

"""RAdam."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["RAdam", "radam"]


class RAdam(StepwiseOptimizer):
    """Adam whose adaptive step is rectified while its variance is large (Liu et al. 2019, arXiv:1908.03265).

    With ρ_∞ = 2 / (1 - β₂) - 1 and ρ_t = ρ_∞ - 2 t β₂ᵗ / (1 - β₂ᵗ), θ moves by -lr m̂ r / (√v̂ + ε) with
    r = √((ρ_t - 4)(ρ_t - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ_t)) where ρ_t > 5, and by -lr m̂ before.

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        decoupled_weight_decay: whether the weights are shrunk by lr · ``weight_decay`` instead.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        capturable: accepted; there is nothing to capture.
        differentiable: whether the step itself is recorded for a backward pass.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_settings(lr, eps, weight_decay, betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": self._numbers.make(0.0), "exp_avg": zeros_like(parameter), "exp_avg_sq": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        beta1, beta2 = group["betas"]
        weight_decay = group["weight_decay"]
        step = self._count_step(state)
        if weight_decay != 0:
            if group["decoupled_weight_decay"]:
                parameter.mul_(1 - lr * weight_decay)
            else:
                gradient = gradient.add(parameter, alpha=weight_decay)
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        bias_correction2 = 1 - beta2**step
        move = exp_avg / (1 - beta1**step) * lr
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / bias_correction2
        if length > 5.0:
            rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            move = move * (bias_correction2**0.5 / exp_avg_sq.sqrt().add(group["eps"])) * rectified**0.5
        parameter.add_(move, alpha=-1.0)


radam = functional(
    RAdam,
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "state_steps": "step"},
    "decoupled_weight_decay foreach differentiable capturable has_complex maximize",
    "beta1 beta2 lr weight_decay eps",
)

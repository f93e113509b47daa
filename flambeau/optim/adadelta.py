"""Adadelta."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, saved, zeros_like

__all__ = ["Adadelta", "adadelta"]


class Adadelta(StepwiseOptimizer):
    """Adadelta (Zeiler 2012, arXiv:1212.5701): θ moves by -lr Δ, with Δ = √(u + ε) / √(v + ε) · g.

    v ← ρ v + (1 - ρ) g² and u ← ρ u + (1 - ρ) Δ².

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        rho: ρ.
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        foreach: accepted; there is one implementation.
        capturable: accepted; there is nothing to capture.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_settings(lr, eps, weight_decay, rho=rho)
        if rho > 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": self._numbers.make(0.0), "square_avg": zeros_like(parameter), "acc_delta": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        rho, eps = group["rho"], group["eps"]
        self._count_step(state)
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square_avg = state["square_avg"].mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        delta = state["acc_delta"].add(eps).sqrt().div(square_avg.add(eps).sqrt()).mul(gradient)
        state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
        parameter.add_(saved(delta, group), alpha=-lr)


adadelta = functional(
    Adadelta,
    {"square_avgs": "square_avg", "acc_deltas": "acc_delta", "state_steps": "step"},
    "capturable foreach differentiable has_complex",
    "lr rho eps weight_decay maximize",
)

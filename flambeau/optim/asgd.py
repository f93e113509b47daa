"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["ASGD", "asgd"]


class ASGD(StepwiseOptimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    θ shrinks by λ η_t and moves by -η_t g, with η_t = lr / (1 + λ lr t)^α; ``state[p]["ax"]`` is the mean of θ since step t₀.

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        lambd: λ.
        alpha: α.
        t0: t₀.
        weight_decay: the factor of the L2 penalty.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
        capturable: accepted; there is nothing to capture.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_settings(lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        make = self._numbers.make
        return {"step": make(0.0), "eta": make(number(group["lr"])), "mu": make(1.0), "ax": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        lambd, numbers = group["lambd"], self._numbers
        step = self._count_step(state)
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        eta, mu = numbers.read(state["eta"]), numbers.read(state["mu"])
        parameter.mul_(1 - lambd * eta).add_(gradient, alpha=-eta)
        average = state["ax"]
        if mu == 1:
            average.copy_(parameter)
        else:
            average.add_(parameter.sub(average).mul(mu))
        state["eta"] = numbers.make(lr / (1 + lambd * lr * step) ** group["alpha"])
        state["mu"] = numbers.make(1 / max(1, step - group["t0"]))


asgd = functional(
    ASGD,
    {"axs": "ax", "mus": "mu", "etas": "eta", "state_steps": "step"},
    "foreach maximize differentiable capturable has_complex",
    "lambd lr t0 alpha weight_decay",
)

"""RMSprop."""

from __future__ import annotations

from typing import Any

from flambeau._ops.optimize import RMSPROP
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer, saved, zeros_like

__all__ = ["RMSprop", "rmsprop"]


class RMSprop(StepwiseOptimizer):
    """RMSprop (Hinton's lecture notes): v ← α v + (1 - α) g²; θ moves by -lr g / (√v + ε).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        alpha: α.
        eps: ε.
        weight_decay: the factor of the L2 penalty.
        momentum: if not 0, the steps are summed up in a buffer that shrinks by this factor.
        centered: whether the mean of g is subtracted under the root (Graves 2013, arXiv:1308.0850).
        capturable: accepted; there is nothing to capture.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_settings(lr, eps, weight_decay, momentum=momentum, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": self._numbers.make(0.0), "square_avg": zeros_like(parameter)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = zeros_like(parameter)
        return state

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if group["momentum"] > 0 else ()
        return ("square_avg", *momentum, *(("grad_avg",) if group["centered"] else ()))

    def _update_rows(self, rows: list[tuple[Tensor, ...]], group: dict[str, Any], lr: float, step: float) -> bool:
        decay, momentum, alpha = map(number, (group["weight_decay"], group["momentum"], group["alpha"]))
        flags = group["maximize"], decay != 0, momentum > 0, group["centered"]
        return RMSPROP(rows, (decay, alpha, 1 - alpha, momentum, group["eps"], -lr), flags)

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        alpha = group["alpha"]
        self._count_step(state)
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square_avg = state["square_avg"].mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        if group["centered"]:
            mean = saved(state["grad_avg"].lerp_(gradient, 1 - alpha), group)
            root = square_avg.addcmul(mean, mean, value=-1).sqrt()
        else:
            root = square_avg.sqrt()
        denominator = root.add(group["eps"])
        if group["momentum"] > 0:
            buffer = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(gradient, denominator)
            parameter.add_(buffer, alpha=-lr)
        else:
            parameter.addcdiv_(gradient, denominator, value=-lr)


rmsprop = functional(
    RMSprop,
    {"square_avgs": "square_avg", "grad_avgs": "grad_avg", "momentum_buffer_list": "momentum_buffer", "state_steps": "step"},
    "foreach maximize differentiable capturable has_complex",
    "lr alpha eps weight_decay momentum centered",
)

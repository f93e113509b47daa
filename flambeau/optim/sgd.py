"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau._ops.optimize import SGD as STEP
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_implementation, check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["SGD", "sgd"]


class SGD(StepwiseOptimizer):
    """Stochastic gradient descent, with momentum if wanted.

    With g the gradient plus ``weight_decay`` θ, the buffer b begins as g and then becomes μ b + (1 - ``dampening``) g; θ moves
    by -lr b, or with ``nesterov`` by -lr (g + μ b) (Sutskever et al. 2013).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        momentum: μ.
        dampening: how much less of the gradient enters the buffer.
        weight_decay: the factor of the L2 penalty.
        nesterov: whether the momentum is Nesterov's.
        maximize: whether the objective is maximised.
        foreach: accepted; there is one implementation.
        differentiable: whether the step itself is recorded for a backward pass.
        fused: accepted; there is one implementation.

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> weight = flambeau.nn.Parameter(flambeau.ones(2))
        >>> optimizer = flambeau.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight
        Parameter containing:
        tensor([0.9000, 0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_settings(lr, weight_decay=weight_decay, momentum=momentum)
        check_implementation(foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(f"Nesterov momentum requires a momentum and zero dampening, got momentum={momentum} and dampening={dampening}")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if group["momentum"] == 0:
            return {}
        # To -0.0 times the momentum the gradient is added as it is, so that the first step is the same program as those after it.
        is_plain = group["momentum"] > 0 and group["dampening"] == 0 and not group["differentiable"] and parameter.is_floating_point()
        return {"momentum_buffer": zeros_like(parameter, negative=True) if is_plain else None}

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def _update_rows(self, rows: list[tuple[Tensor, ...]], group: dict[str, Any], lr: float, step: float) -> bool:
        decay, momentum, dampening = map(number, (group["weight_decay"], group["momentum"], group["dampening"]))
        flags = group["maximize"], decay != 0, group["nesterov"], dampening != 0
        return STEP(rows, (decay, momentum, 1 - dampening, -lr), flags)

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        weight_decay, momentum = group["weight_decay"], group["momentum"]
        if weight_decay != 0:
            gradient = gradient.add(parameter, alpha=weight_decay)
        if momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = gradient.detach().clone()
            else:
                buffer.mul_(momentum).add_(gradient, alpha=1 - group["dampening"])
            gradient = gradient.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        parameter.add_(gradient, alpha=-lr)

    def _update_sparse(self, parameter: Tensor, gradient: Any, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        momentum = group["momentum"]
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        if momentum != 0:  # the buffer is dense: every row that ever had a gradient moves on
            if state["momentum_buffer"] is None:
                state["momentum_buffer"] = zeros_like(parameter).add_(gradient)
            else:
                state["momentum_buffer"].mul_(momentum).add_(gradient, alpha=1 - group["dampening"])
            parameter.add_(state["momentum_buffer"], alpha=-lr * momentum if group["nesterov"] else -lr)
        if momentum == 0 or group["nesterov"]:
            parameter.add_(gradient, alpha=-lr)


sgd = functional(
    SGD,
    {"momentum_buffer_list": "momentum_buffer"},
    "has_sparse_grad foreach fused grad_scale found_inf",
    "weight_decay momentum lr dampening nesterov maximize",
    gradients="d_p_list",
)

"""Adagrad."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._ops.optimize import ADAGRAD
from flambeau._tensor.tensor import Tensor
from flambeau.optim._functional import functional
from flambeau.optim._settings import check_implementation, check_settings, number
from flambeau.optim._stepwise import StepwiseOptimizer

__all__ = ["Adagrad", "adagrad"]


class Adagrad(StepwiseOptimizer):
    """Adagrad (Duchi et al. 2011): s ← s + g²; θ moves by -lr / (1 + (t - 1) ``lr_decay``) · g / (√s + ε).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the learning rate.
        lr_decay: how the learning rate falls with the steps t.
        weight_decay: the factor of the L2 penalty.
        initial_accumulator_value: what s begins with.
        eps: ε.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
        differentiable: whether the step itself is recorded for a backward pass.
        fused: accepted; there is one implementation.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_settings(lr, eps, weight_decay, lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value)
        check_implementation(foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        self._numbers.begin()
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = self._new_state(parameter, group)

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        if parameter.is_complex():
            start = complex(start, start)
        total = flambeau.full_like(parameter, start, memory_format=flambeau.preserve_format)
        return {"step": self._numbers.make(0.0), "sum": total}

    def share_memory(self) -> None:
        """Moves the state to memory that other processes can share."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _update_rows(self, rows: list[tuple[Tensor, ...]], group: dict[str, Any], lr: float, step: float) -> bool:
        decay = number(group["weight_decay"])
        return ADAGRAD(rows, (decay, group["eps"], -lr / (1 + (step - 1) * group["lr_decay"])), (group["maximize"], decay != 0))

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        step = self._count_step(state)
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        denominator = state["sum"].addcmul_(gradient, gradient, value=1).sqrt().add(group["eps"])
        parameter.addcdiv_(gradient, denominator, value=-lr / (1 + (step - 1) * group["lr_decay"]))

    def _update_sparse(self, parameter: Tensor, gradient: Any, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        step = self._count_step(state)
        gradient = gradient.coalesce()
        places, values = tuple(gradient.indices()), gradient.values()
        total = state["sum"].index_put_(places, values * values, accumulate=True)[places]
        change = values / (total.sqrt() + group["eps"])
        parameter.index_put_(places, change * (-lr / (1 + (step - 1) * group["lr_decay"])), accumulate=True)


adagrad = functional(
    Adagrad,
    {"state_sums": "sum", "state_steps": "step"},
    "fused grad_scale found_inf has_sparse_grad foreach differentiable has_complex",
    "lr weight_decay lr_decay eps maximize",
)

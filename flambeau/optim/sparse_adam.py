"""Adam for parameters of which a step uses few rows."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["SparseAdam"]


class SparseAdam(StepwiseOptimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on sparse gradients: averages and parameters change where the gradient has values.

    Args:
        params: dense parameters whose gradients are sparse (``nn.Embedding(sparse=True)``).
        lr: the learning rate.
        betas: the decay of the averages of the gradient and of its square.
        eps: added to the root of the average of the square.
        maximize: whether the objective is maximised.

    Raises:
        ValueError: a setting is out of its range, or a parameter is sparse.

    Example:
        >>> table = flambeau.nn.Embedding(4, 2, sparse=True)
        >>> optimizer = flambeau.optim.SparseAdam(table.parameters(), lr=0.1)
        >>> table(flambeau.tensor([1, 1])).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[table.weight]["exp_avg"]
        tensor([[0.0000, 0.0000],
                [0.2000, 0.2000],
                [0.0000, 0.0000],
                [0.0000, 0.0000]])
    """

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, maximize: bool = False
    ) -> None:
        check_settings(lr, eps=eps, betas=betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        sparse = [parameter for group in self.param_groups for parameter in group["params"] if parameter.layout != flambeau.strided]
        if sparse:
            raise ValueError(f"SparseAdam requires dense parameter tensors, but {len(sparse)} of them are sparse")

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": zeros_like(parameter), "exp_avg_sq": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")

    def _update_sparse(self, parameter: Tensor, gradient: Any, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        state["step"] += 1
        gradient = gradient.coalesce()
        if not gradient._nnz():
            return
        places, values = tuple(gradient.indices()), gradient.values()
        beta1, beta2 = group["betas"]
        averages = []
        for name, new, beta in (("exp_avg", values, beta1), ("exp_avg_sq", values * values, beta2)):
            old = state[name][places]
            averages.append(old + (new - old) * (1 - beta))
            state[name][places] = averages[-1]
        step_size = lr * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        change = averages[0] / (averages[1].sqrt() + group["eps"])
        parameter.index_put_(places, change * -step_size, accumulate=True)

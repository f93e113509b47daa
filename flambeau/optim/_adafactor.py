"""Adafactor."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["Adafactor"]


class Adafactor(StepwiseOptimizer):
    """Adafactor (Shazeer and Stern 2018, arXiv:1804.04235): second moments of matrices are kept as those of rows and columns.

    With R and C the moving means of g² over rows and columns, U = g / √(R C / mean(R)); θ moves by
    -max(ε₂, rms(θ)) min(lr, 1/√t) U / max(1, rms(U) / d).

    Args:
        params: parameters, pairs of names and parameters, or groups.
        lr: the largest relative step.
        beta2_decay: the moving means take 1 - t^``beta2_decay`` of what was before.
        eps: (ε₁, ε₂): what is divided by at least (the dtype's machine epsilon if ``None``), and the least scale of a parameter.
        d: the largest root mean square of an update.
        weight_decay: how much the weights shrink, times the learning rate.
        foreach: accepted; there is one implementation.
        maximize: whether the objective is maximised.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_settings(lr, weight_decay=weight_decay)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if parameter.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        step = self._numbers.make(0.0)
        if parameter.dim() < 2:
            return {"step": step, "variance": zeros_like(parameter)}
        *rest, rows, columns = parameter.shape
        return {"step": step, "row_var": parameter.new_zeros(*rest, rows, 1), "col_var": parameter.new_zeros(*rest, 1, columns)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        eps1, eps2 = group["eps"]
        eps1 = flambeau.finfo(parameter.dtype).eps if eps1 is None else eps1
        step = self._count_step(state)
        fresh = step ** group["beta2_decay"]
        # Scale and clipping stay tensors: nothing is waited for.
        scale = (parameter.norm(2) / parameter.numel() ** 0.5).clamp_min(eps2) * min(lr, 1 / step**0.5)
        if group["weight_decay"] != 0:
            parameter.mul_(1 - lr * group["weight_decay"])
        squares = gradient * gradient
        if gradient.dim() > 1:
            rows = state["row_var"].lerp_(squares.mean(-1, keepdim=True), fresh)
            columns = state["col_var"].lerp_(squares.mean(-2, keepdim=True), fresh)
            variance = rows @ columns / rows.mean(-2, keepdim=True).clamp_min(eps1)
        else:
            variance = state["variance"].lerp_(squares, fresh)
        update = variance.clamp_min(eps1 * eps1).rsqrt() * gradient
        clipping = (update.norm(2) / (update.numel() ** 0.5 * group["d"])).clamp_min(1.0)
        parameter.sub_(update * (scale / clipping))

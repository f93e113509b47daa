"""Muon."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._settings import check_settings
from flambeau.optim._stepwise import StepwiseOptimizer, zeros_like

__all__ = ["Muon"]

# The quintic of Newton and Schulz whose slope at 0 is greatest (Jordan 2024).
_COEFFICIENTS = (3.4445, -4.775, 2.0315)


class Muon(StepwiseOptimizer):
    """Muon (Jordan et al. 2024): a matrix moves by its momentum made orthogonal.

    b ← μ b + (1 - μ) g; θ shrinks by lr · ``weight_decay`` and moves by -lr r O(b), O(b) being the nearest orthogonal matrix, which
    a few iterations of Newton and Schulz approximate in bfloat16, and r a factor that depends on the shape. For the hidden
    matrices of a network; its other parameters are trained by another optimizer.

    Args:
        params: matrices, pairs of names and matrices, or groups.
        lr: the learning rate.
        weight_decay: how much the weights shrink, times the learning rate.
        momentum: μ.
        nesterov: whether the momentum is Nesterov's.
        ns_coefficients: of the iteration's polynomial a x + b x³ + c x⁵.
        eps: the least norm that is divided by.
        ns_steps: how many iterations.
        adjust_lr_fn: r: ``"original"`` for √max(1, rows / columns), ``"match_rms_adamw"`` for 0.2 √max(rows, columns).

    Raises:
        ValueError: a parameter is not a matrix, or a setting is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = _COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_settings(lr, eps, weight_decay, momentum=momentum)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError(f"Number of steps must be less than 100 for computational efficiency, got {ns_steps}")
        if len(ns_coefficients) != 3:
            raise ValueError(f"Coefficients must be a tuple of exactly 3 values, got {ns_coefficients}")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {parameter.size()}")

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if parameter.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": zeros_like(parameter)}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        update = _orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameter.shape
        ratio = math.sqrt(max(1, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        parameter.mul_(1 - lr * group["weight_decay"])
        parameter.add_(update, alpha=-lr * ratio)


def _orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """The matrix with all singular values near 1."""
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = flambeau.addmm(x, flambeau.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x

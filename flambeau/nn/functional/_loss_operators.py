"""Losses as PyTorch's operators have them: `aten.mse_loss(input, target, 1)`, with a number for the reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.nn import functional as F

__all__ = ["LOSSES", "REDUCTIONS"]

REDUCTIONS = ("none", "mean", "sum")
"""The names of reductions by their numbers."""


def _named(reduction: int | str) -> str:
    return reduction if isinstance(reduction, str) else REDUCTIONS[reduction]


def _binary(input: Any, target: Any, weight: Any = None, reduction: int | str = 1) -> Any:
    return F.binary_cross_entropy(input, target, weight, reduction=_named(reduction))


def _binary_with_logits(input: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int | str = 1) -> Any:
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction=_named(reduction), pos_weight=pos_weight)


def _cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: int | str = 1, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Any:
    return F.cross_entropy(input, target, weight, ignore_index=ignore_index, reduction=_named(reduction), label_smoothing=label_smoothing)


def _huber(input: Any, target: Any, reduction: int | str = 1, delta: float = 1.0) -> Any:
    return F.huber_loss(input, target, reduction=_named(reduction), delta=delta)


def _kl_div(input: Any, target: Any, reduction: int | str = 1, *, log_target: bool = False) -> Any:
    return F.kl_div(input, target, reduction=_named(reduction), log_target=log_target)


def _l1(input: Any, target: Any, reduction: int | str = 1) -> Any:
    return F.l1_loss(input, target, reduction=_named(reduction))


def _mse(input: Any, target: Any, reduction: int | str = 1) -> Any:
    return F.mse_loss(input, target, reduction=_named(reduction))


def _nll(input: Any, target: Any, weight: Any = None, reduction: int | str = 1, ignore_index: int = -100) -> Any:
    return F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=_named(reduction))


def _smooth_l1(input: Any, target: Any, reduction: int | str = 1, beta: float = 1.0) -> Any:
    return F.smooth_l1_loss(input, target, reduction=_named(reduction), beta=beta)


LOSSES: dict[str, Callable] = {
    "binary_cross_entropy": _binary, "binary_cross_entropy_with_logits": _binary_with_logits, "cross_entropy_loss": _cross_entropy, "huber_loss": _huber,
    "kl_div": _kl_div, "l1_loss": _l1, "mse_loss": _mse, "nll_loss_nd": _nll, "smooth_l1_loss": _smooth_l1,
}  # fmt: skip
"""The operators by name."""

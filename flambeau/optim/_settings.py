"""What optimizers ask of their settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau._tensor.tensor import Tensor


def check_settings(lr: Any, eps: float = 0.0, weight_decay: float = 0.0, betas: Iterable[float] = (), **others: float) -> None:
    """Checks what every optimizer asks of its settings.

    Raises:
        ValueError: a setting is out of its range.
    """
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if not eps >= 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for name, value in others.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    if not weight_decay >= 0.0:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")


def check_implementation(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Checks the settings that choose between PyTorch's implementations. Flambeau has one, which fuses.

    Raises:
        RuntimeError: two of them exclude each other.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def number(value: Any) -> Any:
    """A setting that may be a tensor of one element, as a number."""
    return value.item() if isinstance(value, Tensor) else value

"""What other libraries' optimizers, written as PyTorch's own are, import from ``torch.optim.optimizer``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import flambeau
from flambeau._tensor.tensor import Tensor

ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
"""What an optimizer takes."""


def _use_grad_for_differentiable(step: Callable) -> Callable:
    """A ``step`` that records gradients if the optimizer was made with ``differentiable=True``, and none else."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with flambeau.set_grad_enabled(bool(self.defaults["differentiable"])):
            return step(self, *args, **kwargs)

    return wrapper


def _default_to_fused_or_foreach(params: list[Tensor], differentiable: bool, use_fused: bool = False) -> tuple[bool, bool]:
    """Whether to use an implementation that fuses all of a step, if there is one, and whether one that takes many tensors a call.

    The latter never pays here: what is recorded becomes one program in any case.
    """
    fused = use_fused and not differentiable and all(each is None or each.is_floating_point() for each in params)
    return fused, False


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """The devices whose graphs can capture a step, where ``capturable=True`` is accepted."""
    return ["cuda", "xpu", "hpu", *(["xla"] if supports_xla else [])]

"""Limits for gradients."""

from __future__ import annotations

import types
import warnings
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _gradients(parameters: Any) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Computes the norm of all ``tensors`` as if they were one vector.

    Args:
        tensors: a tensor, or several.
        norm_type: the exponent of the norm; ``inf`` for the largest element.
        error_if_nonfinite: whether a norm that is not finite is an error.
        foreach: accepted; there is one implementation.

    Raises:
        RuntimeError: the norm is not finite, and ``error_if_nonfinite``.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return flambeau.tensor(0.0)
    with flambeau.no_grad():
        norms = [flambeau.linalg.vector_norm(tensor, norm_type) for tensor in tensors]
        total = flambeau.linalg.vector_norm(flambeau.stack(norms), norm_type)
        if error_if_nonfinite and not bool(total.isfinite()):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
                "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
            )
    return total


def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Scales the gradients, in place, by min(1, ``max_norm`` / (``total_norm`` + 1e-6)).

    Args:
        parameters: a parameter, or several.
        max_norm: the norm wanted at most.
        total_norm: the norm of all gradients.
        foreach: accepted; there is one implementation.
    """
    gradients = _gradients(parameters)
    with flambeau.no_grad():
        # The factor stays a tensor: nothing is waited for, and with a factor of 1 nothing changes.
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.to(gradient.device))


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the gradients of ``parameters``, in place, so that their norm is at most ``max_norm``.

    Args:
        parameters: a parameter, or several.
        max_norm: the norm wanted at most.
        norm_type: the exponent of the norm; ``inf`` for the largest element.
        error_if_nonfinite: whether a norm that is not finite is an error.
        foreach: accepted; there is one implementation.

    Returns:
        The norm of all gradients, as if they were one vector, before.

    Raises:
        RuntimeError: the norm is not finite, and ``error_if_nonfinite``.
    """
    if not isinstance(parameters, Tensor):
        is_generator = isinstance(parameters, types.GeneratorType)
        parameters = list(parameters)
        if is_generator and not parameters:
            warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters: Any, max_norm: float, norm_type: float = 2.0, **options: Any) -> Tensor:
    """The old name of :func:`clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, **options)


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limits every element of the gradients, in place, to [-``clip_value``, ``clip_value``].

    Args:
        parameters: a parameter, or several.
        clip_value: the limit.
        foreach: accepted; there is one implementation.
    """
    limit = float(clip_value)
    with flambeau.no_grad():
        for gradient in _gradients(parameters):
            gradient.clamp_(min=-limit, max=limit)

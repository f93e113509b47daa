"""Derivatives in a direction: dual tensors, which carry a tangent along.

There are no rules of forward mode here. A dual tensor is a variable; the tangent of what was computed from it, the product of the Jacobian
and the tangents, is found by two backward passes when ``unpack_dual`` asks for it, as ``func.jvp`` does. What is computed under
``no_grad`` within a level therefore has no tangent, which it has in PyTorch.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from flambeau._ops.creation import zeros_like
from flambeau._tape.storage import TensorBase
from flambeau.autograd import grad
from flambeau.autograd.functional import gradients
from flambeau.autograd.grad_mode import enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent (``None`` if it has none)."""

    primal: Any
    tangent: Any


class _Level:
    """The dual tensors that were made at one level."""

    def __init__(self, mode: enable_grad) -> None:
        self.mode = mode
        self.duals: list[Any] = []
        self.tangents: list[Any] = []


class _State(threading.local):
    """The level that this thread is in."""

    level: _Level | None = None


STATE = _State()


def enter_dual_level() -> int:
    """Begin a level, and return its number, 0.

    Raises:
        RuntimeError: there is one already, as in PyTorch
    """
    if STATE.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    mode = enable_grad()
    mode.__enter__()
    STATE.level = _Level(mode)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level; tangents are gone.

    Raises:
        RuntimeError: there is none
    """
    current = STATE.level
    if current is None or level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created. This is not supported.")
    STATE.level = None
    current.mode.__exit__(None, None, None)


class dual_level:
    """A context in which dual tensors can be made.

    Example::

        >>> import flambeau.autograd.forward_ad as fwAD
        >>> with fwAD.dual_level():
        ...     x = fwAD.make_dual(flambeau.tensor(3.0), flambeau.tensor(1.0))
        ...     fwAD.unpack_dual(x * x).tangent
        tensor(6.)
    """

    def __enter__(self) -> int:
        self._level = enter_dual_level()
        return self._level

    def __exit__(self, *exception: object) -> None:
        exit_dual_level(level=self._level)


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """The tensor with a tangent.

    Raises:
        RuntimeError: there is no level, or the shapes differ
        ValueError: the dtype has no derivatives
    """
    current = STATE.level
    if current is None:
        raise RuntimeError("Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.")
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if not (tangent.is_floating_point() or tangent.is_complex()):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            f"Expected tangent to have the same sizes as the primal, but got {list(tangent.shape)} for a primal of shape {list(tensor.shape)}"
        )
    dual = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
    current.duals.append(dual)
    current.tangents.append(tangent)
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor without its tangent, and its tangent at this level."""
    current = STATE.level
    if current is None:
        return UnpackedDualTensor(tensor, None)
    if not isinstance(tensor, TensorBase):
        raise TypeError(f"unpack_dual expects a tensor, not a {type(tensor).__name__}")
    primal = _primal(tensor, current)
    for dual, tangent in zip(current.duals, current.tangents, strict=True):
        if tensor is dual:
            return UnpackedDualTensor(primal, tangent)
    return UnpackedDualTensor(primal, _tangent(tensor, current))


def _primal(tensor: Any, level: _Level) -> Any:
    return tensor if any(dual.grad_fn is not None for dual in level.duals) else tensor.detach()


def _tangent(tensor: Any, level: _Level) -> Any:
    """The sum over the dual tensors of Jacobian times tangent: the derivative of their (linear) gradients by what these start from."""
    if tensor.node is None or not level.duals:
        return None
    probe = zeros_like(tensor).requires_grad_()
    found = grad(tensor, level.duals, probe, create_graph=True, allow_unused=True)
    pairs = [(product, tangent) for product, tangent in zip(found, level.tangents, strict=True) if product is not None]
    if not pairs:
        return None
    nested = any(tangent.requires_grad for _, tangent in pairs) or any(dual.grad_fn is not None for dual in level.duals)
    products, tangents = zip(*pairs, strict=True)
    (tangent,) = gradients(products, (probe,), tangents, nested)
    return tangent if nested else tangent.detach()

"""Tensors without numbers: there are none, for every operator is deferred in any case."""

from __future__ import annotations

from flambeau import Tensor

__all__ = ["is_fake"]


def is_fake(x: object) -> bool:
    """Whether a tensor is without numbers.

    Raises:
        TypeError: it is no tensor
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor, not a {type(x).__name__}")
    return False

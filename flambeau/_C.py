"""What packages take from PyTorch's extension module, although its name begins with an underscore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TensorMeta = type
"""The class of `Tensor` as a class."""


def _disabled_torch_function_impl(
    func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Any:
    """What a class sets as its `__torch_function__` to have functions called as they are."""
    return func(*args, **(kwargs or {}))

"""What each operator is in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["HANDLERS", "MADE_OF", "dimensions", "handler", "made_of"]

HANDLERS: dict[str, Callable] = {}
"""By the name of PyTorch's operator, without its overload, and without the underscore at the end of those that work in place.

A handler has the operator's parameters, after the builder and what has the result's shape and dtype (or a list of such).
"""


def handler(*names: str) -> Callable[[Callable], Callable]:
    """Register a handler under the names of operators."""

    def register(function: Callable) -> Callable:
        for name in names:
            HANDLERS[name] = function
        return function

    return register


def dimensions(dim: Any, ndim: int) -> list[int]:
    """Dimensions counted from the front; all for None and for an empty list."""
    dims = range(ndim) if dim is None or dim in ((), []) else [dim] if isinstance(dim, int) else dim
    return [each % ndim for each in dims] if ndim else []


MADE_OF: dict[str, Callable] = {}
"""Functions that compute what operators do which ONNX lacks, by the names of these. They have the operators' parameters and call public functions."""


def made_of(*names: str) -> Callable[[Callable], Callable]:
    """Register what an operator is made of."""

    def register(function: Callable) -> Callable:
        for name in names:
            MADE_OF[name] = function
        return function

    return register

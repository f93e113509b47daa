"""What packages decorate the functions with that they register for PyTorch's first exporter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["parse_args"]


def parse_args(*arg_descriptors: str) -> Callable[[Any], Any]:
    """A decorator that returns the function itself: see ``register_custom_op_symbolic``."""
    return lambda function: function

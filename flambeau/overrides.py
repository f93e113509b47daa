"""Classes that want to be asked before a function of PyTorch's runs on them: Flambeau's functions ask none of them.

What packages ask for in order to find out is here; what would change how functions run raises an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau import Tensor

__all__ = ["TorchFunctionMode", "has_torch_function", "is_tensor_like"]


class TorchFunctionMode:
    """A context that sees every call of a function.

    Raises:
        NotImplementedError: on entering it
    """

    def __torch_function__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> TorchFunctionMode:
        raise NotImplementedError("Flambeau's functions do not call __torch_function__, so that a TorchFunctionMode would see nothing")

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError("a TorchFunctionMode cannot be entered, nor left")


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a function would ask one of its arguments: it never does."""
    return False


def is_tensor_like(inp: Any) -> bool:
    """Whether a value is a tensor, or would stand in for one (which functions here do not ask)."""
    return isinstance(inp, Tensor)

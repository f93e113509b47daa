"""Modes below autograd, which are told of every operator that PyTorch's dispatcher runs: there is no dispatcher here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass"]


class TorchDispatchMode:
    """A context that sees every operator, also those of backward.

    Raises:
        NotImplementedError: on entering it
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __torch_dispatch__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> TorchDispatchMode:
        raise NotImplementedError(
            "Flambeau has no dispatcher that could call __torch_dispatch__. A torch.overrides.TorchFunctionMode sees the functions that a program calls"
        )

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError("a TorchDispatchMode cannot be entered, nor left")


def is_traceable_wrapper_subclass(t: object) -> bool:
    """Whether a tensor is made of other tensors that a tracer would look into: none is."""
    return False

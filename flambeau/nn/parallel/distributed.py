"""Training in several processes: not here yet (`torch.distributed.is_available()` says so)."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over processes; packages ask whether a module is one: none is.

    Raises:
        RuntimeError: when called
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Flambeau trains in one process: torch.distributed is not available, so that a module cannot be distributed")

"""Parameters that are shared out among processes: not here, only the names that packages ask for.

``ZeroRedundancyOptimizer`` shares out the optimizer's state.
"""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["FullyShardedDataParallel"]

_MISSING = "Flambeau does not share out parameters among processes (FSDP): use DistributedDataParallel, with ZeroRedundancyOptimizer if memory is short"


class FullyShardedDataParallel(Module):
    """A module whose parameters are shared out, to ask whether a module is one: none is.

    Raises:
        RuntimeError: when called
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(_MISSING)

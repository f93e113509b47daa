"""Optimizers of several processes."""

from __future__ import annotations

from typing import Any

from flambeau.distributed.optim.zero_redundancy_optimizer import ZeroRedundancyOptimizer as ZeroRedundancyOptimizer

__all__ = ["DistributedOptimizer", "ZeroRedundancyOptimizer"]


def __getattr__(name: str) -> Any:
    if name != "DistributedOptimizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flambeau.distributed.optim.optimizer import DistributedOptimizer

    return DistributedOptimizer

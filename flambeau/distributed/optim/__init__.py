"""Optimizers of several processes."""

from __future__ import annotations

from typing import Any

from flambeau.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward as _apply_optimizer_in_backward
from flambeau.distributed.optim.apply_optimizer_in_backward import _get_in_backward_optimizers as _get_in_backward_optimizers
from flambeau.distributed.optim.post_localSGD_optimizer import PostLocalSGDOptimizer as PostLocalSGDOptimizer
from flambeau.distributed.optim.zero_redundancy_optimizer import ZeroRedundancyOptimizer as ZeroRedundancyOptimizer

__all__ = ["DistributedOptimizer", "PostLocalSGDOptimizer", "ZeroRedundancyOptimizer"]


def __getattr__(name: str) -> Any:
    if name != "DistributedOptimizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flambeau.distributed.optim.optimizer import DistributedOptimizer  # which needs all of rpc

    return DistributedOptimizer

"""Modules whose parameters are shared out among processes: ``fully_shard`` and ``FullyShardedDataParallel``."""

from __future__ import annotations

from flambeau.distributed.fsdp.fully_shard import CPUOffloadPolicy as CPUOffloadPolicy
from flambeau.distributed.fsdp.fully_shard import FSDPModule as FSDPModule
from flambeau.distributed.fsdp.fully_shard import MixedPrecisionPolicy as MixedPrecisionPolicy
from flambeau.distributed.fsdp.fully_shard import OffloadPolicy as OffloadPolicy
from flambeau.distributed.fsdp.fully_shard import UnshardHandle as UnshardHandle
from flambeau.distributed.fsdp.fully_shard import fully_shard as fully_shard
from flambeau.distributed.fsdp.fully_shard import register_fsdp_forward_method as register_fsdp_forward_method
from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel as FullyShardedDataParallel

__all__ = [
    "CPUOffloadPolicy", "FSDPModule", "FullyShardedDataParallel", "MixedPrecisionPolicy", "OffloadPolicy", "UnshardHandle", "fully_shard",
    "register_fsdp_forward_method",
]  # fmt: skip

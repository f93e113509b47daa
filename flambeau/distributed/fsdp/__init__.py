"""Modules whose parameters are shared out among processes: ``fully_shard`` and ``FullyShardedDataParallel``."""

from __future__ import annotations

from flambeau.distributed.fsdp.api import BackwardPrefetch as BackwardPrefetch
from flambeau.distributed.fsdp.api import CPUOffload as CPUOffload
from flambeau.distributed.fsdp.api import FullOptimStateDictConfig as FullOptimStateDictConfig
from flambeau.distributed.fsdp.api import FullStateDictConfig as FullStateDictConfig
from flambeau.distributed.fsdp.api import LocalOptimStateDictConfig as LocalOptimStateDictConfig
from flambeau.distributed.fsdp.api import LocalStateDictConfig as LocalStateDictConfig
from flambeau.distributed.fsdp.api import MixedPrecision as MixedPrecision
from flambeau.distributed.fsdp.api import OptimStateDictConfig as OptimStateDictConfig
from flambeau.distributed.fsdp.api import ShardedOptimStateDictConfig as ShardedOptimStateDictConfig
from flambeau.distributed.fsdp.api import ShardedStateDictConfig as ShardedStateDictConfig
from flambeau.distributed.fsdp.api import ShardingStrategy as ShardingStrategy
from flambeau.distributed.fsdp.api import StateDictConfig as StateDictConfig
from flambeau.distributed.fsdp.api import StateDictSettings as StateDictSettings
from flambeau.distributed.fsdp.api import StateDictType as StateDictType
from flambeau.distributed.fsdp.fully_shard import CPUOffloadPolicy as CPUOffloadPolicy
from flambeau.distributed.fsdp.fully_shard import FSDPModule as FSDPModule
from flambeau.distributed.fsdp.fully_shard import MixedPrecisionPolicy as MixedPrecisionPolicy
from flambeau.distributed.fsdp.fully_shard import OffloadPolicy as OffloadPolicy
from flambeau.distributed.fsdp.fully_shard import UnshardHandle as UnshardHandle
from flambeau.distributed.fsdp.fully_shard import fully_shard as fully_shard
from flambeau.distributed.fsdp.fully_shard import register_fsdp_forward_method as register_fsdp_forward_method
from flambeau.distributed.fsdp.fully_sharded_data_parallel import FlatParameter as FlatParameter
from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel as FullyShardedDataParallel

__all__ = [
    "BackwardPrefetch", "CPUOffload", "CPUOffloadPolicy", "FSDPModule", "FlatParameter", "FullOptimStateDictConfig", "FullStateDictConfig",
    "FullyShardedDataParallel", "LocalOptimStateDictConfig", "LocalStateDictConfig", "MixedPrecision", "MixedPrecisionPolicy", "OffloadPolicy",
    "OptimStateDictConfig", "ShardedOptimStateDictConfig", "ShardedStateDictConfig", "ShardingStrategy", "StateDictConfig", "StateDictSettings",
    "StateDictType", "UnshardHandle", "fully_shard", "register_fsdp_forward_method",
]  # fmt: skip

"""Parameters that are shared out among processes: not here, only the names that packages ask for."""

from __future__ import annotations

from flambeau.distributed.fsdp.fully_sharded_data_parallel import FSDPModule as FSDPModule
from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel as FullyShardedDataParallel
from flambeau.distributed.fsdp.fully_sharded_data_parallel import fully_shard as fully_shard

__all__ = ["FSDPModule", "FullyShardedDataParallel", "fully_shard"]

"""Numbers that PyTorch has in a module of their own."""

from __future__ import annotations

from flambeau.distributed.world import default_pg_timeout as default_pg_timeout

default_pg_nccl_timeout = None

__all__ = ["default_pg_nccl_timeout", "default_pg_timeout"]

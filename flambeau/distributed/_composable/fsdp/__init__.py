"""The older home of ``fully_shard`` and its policies."""

from __future__ import annotations

from flambeau.distributed.fsdp.fully_shard import *  # noqa: F403

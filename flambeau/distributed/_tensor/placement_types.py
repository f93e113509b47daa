"""The older name of ``flambeau.distributed.tensor.placement_types``."""

from __future__ import annotations

from flambeau.distributed.tensor.placement_types import *  # noqa: F403

"""The older name of ``flambeau.distributed.tensor``."""

from __future__ import annotations

from flambeau.distributed.tensor import *  # noqa: F403

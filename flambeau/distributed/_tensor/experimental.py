"""The older name of ``flambeau.distributed.tensor.experimental``."""

from __future__ import annotations

from flambeau.distributed.tensor.experimental import *  # noqa: F403

"""Collectives that gradients flow through."""

from __future__ import annotations

from flambeau.distributed.nn import functional as functional
from flambeau.distributed.nn.functional import *  # noqa: F403

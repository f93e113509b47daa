"""What is built on collectives."""

from __future__ import annotations

from flambeau.distributed.algorithms.join import Join as Join
from flambeau.distributed.algorithms.join import Joinable as Joinable
from flambeau.distributed.algorithms.join import JoinHook as JoinHook

__all__ = ["Join", "JoinHook", "Joinable"]

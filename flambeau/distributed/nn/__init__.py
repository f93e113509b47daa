"""Collectives that gradients flow through, and modules that live in other processes."""

from __future__ import annotations

from flambeau.distributed.nn import functional as functional
from flambeau.distributed.nn.functional import *  # noqa: F403


def __getattr__(name: str) -> object:
    if name != "RemoteModule":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flambeau.distributed.nn.api.remote_module import RemoteModule  # which needs all of rpc

    return RemoteModule

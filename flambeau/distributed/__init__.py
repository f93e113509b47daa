"""Several processes that train together.

`docs/distributed.md` tells how they find each other and communicate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.distributed import distributed_c10d as distributed_c10d
from flambeau.distributed.distributed_c10d import *  # noqa: F403
from flambeau.distributed.distributed_c10d import ReduceOp as ReduceOp
from flambeau.distributed.distributed_c10d import _all_gather_base as _all_gather_base
from flambeau.distributed.distributed_c10d import _reduce_scatter_base as _reduce_scatter_base
from flambeau.distributed.grad_bucket import GradBucket as GradBucket

if TYPE_CHECKING:
    from flambeau.distributed import algorithms as algorithms
    from flambeau.distributed import nn as nn
    from flambeau.distributed import optim as optim
    from flambeau.distributed import rpc as rpc
    from flambeau.distributed import tensor as tensor

reduce_op = ReduceOp

_LATER = {
    "DebugLevel": "debug_level", "DeviceMesh": "device_mesh", "algorithms": "", "autograd": "", "checkpoint": "", "constants": "", "device_mesh": "", "elastic": "", "fsdp": "", "get_debug_level": "debug_level", "init_device_mesh": "device_mesh", "launcher": "", "nn": "", "optim": "", "pipelining": "", "rpc": "",
    "run": "", "set_debug_level": "debug_level", "set_debug_level_from_env": "debug_level", "tensor": "",
}  # fmt: skip
"""Names that are loaded when they are first used, and the module that each is in (nothing for a module itself)."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = _LATER[name]
    return getattr(import_module(f"{__name__}.{module}"), name) if module else import_module(f"{__name__}.{name}")

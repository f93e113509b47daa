"""Modules on several devices, and in several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.nn.parallel.data_parallel import DataParallel as DataParallel
from flambeau.nn.parallel.data_parallel import data_parallel as data_parallel
from flambeau.nn.parallel.parallel_apply import parallel_apply as parallel_apply
from flambeau.nn.parallel.replicate import replicate as replicate
from flambeau.nn.parallel.scatter_gather import gather as gather
from flambeau.nn.parallel.scatter_gather import scatter as scatter
from flambeau.nn.parallel.scatter_gather import scatter_kwargs as scatter_kwargs

if TYPE_CHECKING:
    from flambeau.nn.parallel.distributed import DistributedDataParallel as DistributedDataParallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter", "scatter_kwargs"]


def __getattr__(name: str) -> object:
    """What is for several processes is loaded when it is first used: it would take a tenth of the time of `import flambeau`."""
    if name not in ("DistributedDataParallel", "distributed"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.distributed")
    return module if name == "distributed" else module.DistributedDataParallel

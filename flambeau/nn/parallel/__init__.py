"""Modules on several devices."""

from __future__ import annotations

from flambeau.nn.parallel.data_parallel import DataParallel as DataParallel
from flambeau.nn.parallel.distributed import DistributedDataParallel as DistributedDataParallel
from flambeau.nn.parallel.scatter_gather import gather as gather
from flambeau.nn.parallel.scatter_gather import scatter as scatter
from flambeau.nn.parallel.scatter_gather import scatter_kwargs as scatter_kwargs

__all__ = ["DataParallel", "DistributedDataParallel", "gather", "scatter", "scatter_kwargs"]

"""Jobs of several processes for the tests: each runs a function of the test's module."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flambeau import distributed, multiprocessing

TIMEOUT = 60
"""Seconds, for a machine that does much else; nothing here takes more than a few."""


def run(function: Callable, size: int = 2, *arguments: Any, shared: bool = True, timeout: float = TIMEOUT) -> None:
    """Call ``function(rank, *arguments)`` in so many processes, which are a group of ``torch.distributed``.

    Args:
        shared: whether they may share memory, or communicate as processes on several machines do
        timeout: seconds that a collective may take
    """
    with tempfile.TemporaryDirectory() as folder:
        # A fork costs a tenth of what a fresh process does, which has to import everything.
        multiprocessing.start_processes(_member, (size, f"{folder}/store", function, arguments, shared, timeout), size, start_method="fork")


def _member(rank: int, size: int, path: str, function: Callable, arguments: tuple, shared: bool, timeout: float) -> None:
    if not shared:
        os.environ["FLAMBEAU_DISTRIBUTED_TRANSPORT"] = "tcp"
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=size, timeout=timedelta(seconds=timeout))
    function(rank, *arguments)
    distributed.destroy_process_group()


def run_rpc(function: Callable, size: int = 2, *arguments: Any, shared: bool = True, threads: int = 16, timeout: float = TIMEOUT) -> None:
    """Call ``function(rank, *arguments)`` in so many processes, ``worker0`` and so on, which can call each other by ``torch.distributed.rpc``.

    Args:
        shared: whether they are on one machine, or communicate as processes on several machines do
        threads: how many functions may run at a time in each
        timeout: seconds that a call may take
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"{folder}/store", function, arguments, shared, threads, timeout)
        multiprocessing.start_processes(_caller, (size, *settings), size, start_method="fork")


def _caller(rank: int, size: int, path: str, function: Callable, arguments: tuple, shared: bool, threads: int, timeout: float) -> None:
    from flambeau.distributed import rpc

    if not shared:
        os.environ["FLAMBEAU_DISTRIBUTED_TRANSPORT"] = "tcp"
    options = rpc.TensorPipeRpcBackendOptions(init_method=f"file://{path}", num_worker_threads=threads, rpc_timeout=timeout)
    rpc.init_rpc(f"worker{rank}", rank=rank, world_size=size, rpc_backend_options=options)
    function(rank, *arguments)
    if rpc._is_current_rpc_agent_set():
        rpc.shutdown()

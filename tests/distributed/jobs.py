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

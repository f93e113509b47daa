"""Python's ``multiprocessing``, under PyTorch's name, and ``spawn``. Tensors are pickled with their bytes when they are sent to another process."""

from __future__ import annotations

import multiprocessing
from typing import Any

from flambeau.multiprocessing.spawn import ProcessContext as ProcessContext
from flambeau.multiprocessing.spawn import ProcessException as ProcessException
from flambeau.multiprocessing.spawn import ProcessExitedException as ProcessExitedException
from flambeau.multiprocessing.spawn import ProcessRaisedException as ProcessRaisedException
from flambeau.multiprocessing.spawn import SpawnContext as SpawnContext
from flambeau.multiprocessing.spawn import start_processes as start_processes

from flambeau.multiprocessing.spawn import spawn as spawn  # isort: skip  (after its module, whose name it takes)


def get_all_sharing_strategies() -> set[str]:
    """The ways in which tensors could be shared, by PyTorch's name; they are sent by value here."""
    return {"file_system"}


def get_sharing_strategy() -> str:
    """The way that is used."""
    return "file_system"


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose the way, of which there is one."""
    if new_strategy not in ("file_system", "file_descriptor"):
        raise AssertionError(f"{new_strategy!r} is no sharing strategy")


def __getattr__(name: str) -> Any:
    return getattr(multiprocessing, name)

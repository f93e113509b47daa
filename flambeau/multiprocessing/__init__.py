"""Python's ``multiprocessing``, under PyTorch's name, and ``spawn``. Tensors that are sent to another process are moved to memory that both share."""

from __future__ import annotations

import multiprocessing
from typing import Any

from flambeau.multiprocessing import reductions as reductions
from flambeau.multiprocessing.spawn import ProcessContext as ProcessContext
from flambeau.multiprocessing.spawn import ProcessException as ProcessException
from flambeau.multiprocessing.spawn import ProcessExitedException as ProcessExitedException
from flambeau.multiprocessing.spawn import ProcessRaisedException as ProcessRaisedException
from flambeau.multiprocessing.spawn import SpawnContext as SpawnContext
from flambeau.multiprocessing.spawn import start_processes as start_processes

from flambeau.multiprocessing.spawn import spawn as spawn  # isort: skip  (after its module, whose name it takes)


reductions.init_reductions()


def get_all_sharing_strategies() -> set[str]:
    """The ways in which tensors can be shared, by PyTorch's name: open files, by their descriptors."""
    return {"file_descriptor"}


def get_sharing_strategy() -> str:
    """The way that is used."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose the way, of which there is one: PyTorch's other, files with names, differs in what the system limits and not in what is shared."""
    if new_strategy not in ("file_system", "file_descriptor"):
        raise AssertionError(f"{new_strategy!r} is no sharing strategy")


def __getattr__(name: str) -> Any:
    return getattr(multiprocessing, name)

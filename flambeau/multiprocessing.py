"""Python's ``multiprocessing``, under PyTorch's name. Tensors are pickled with their bytes when they are sent to another process."""

from __future__ import annotations

import multiprocessing
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(multiprocessing, name)

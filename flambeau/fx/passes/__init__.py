"""What can be done with graphs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.fx.passes import shape_prop as shape_prop

__all__ = ["graph_drawer", "infra", "shape_prop", "split_module"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""``torch.ao.nn.intrinsic.quantized``: quantized layers that were several."""

from __future__ import annotations

from importlib import import_module

from flambeau.ao.nn.intrinsic.quantized.modules import *  # noqa: F403
from flambeau.ao.nn.intrinsic.quantized.modules import __all__ as _names

__all__ = [*_names]


def __getattr__(name: str) -> object:
    if name == "dynamic":
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

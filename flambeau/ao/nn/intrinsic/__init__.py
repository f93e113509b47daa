"""``torch.ao.nn.intrinsic``: layers that belong together, one after the other, until they become one."""

from __future__ import annotations

from importlib import import_module

from flambeau.ao.nn.intrinsic.modules import *  # noqa: F403
from flambeau.ao.nn.intrinsic.modules import __all__ as _names
from flambeau.ao.nn.intrinsic.modules import _FusedModule as _FusedModule

__all__ = [*_names]


def __getattr__(name: str) -> object:
    if name in ("qat", "quantized"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

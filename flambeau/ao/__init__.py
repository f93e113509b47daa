"""``torch.ao``: smaller and faster networks by computing with integers of 8 bits (see ``docs/quantization.md``)."""

from __future__ import annotations

from importlib import import_module

__all__ = ["nn", "quantization"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

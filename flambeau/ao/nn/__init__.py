"""Layers of networks that are quantized, or will be: ``intrinsic`` (fused), ``qat`` (trained with rounding) and ``quantized``."""

from __future__ import annotations

from importlib import import_module

__all__ = ["intrinsic", "qat", "quantized"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

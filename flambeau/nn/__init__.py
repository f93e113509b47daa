"""Layers, losses and what is needed to make networks of them."""

from __future__ import annotations

from flambeau.nn import functional, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
    *modules.__all__,
]


def __getattr__(name: str) -> object:
    if name in ("attention", "common_types", "grad", "intrinsic", "qat", "quantized"):  # loaded when they are first used
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

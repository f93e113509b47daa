"""Making a module without initialising it."""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """Makes a module whose parameters hold whatever is in memory; for parameters that are loaded next.

    No random numbers are drawn.

    Args:
        module_cls: the class; its constructor takes ``device``.
        args: what it is given.
        kwargs: likewise.

    Raises:
        RuntimeError: ``module_cls`` is not a module class, or takes no ``device``.
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, **kwargs, device="meta").to_empty(device=device)

"""Several modules called side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.nn.modules.module import Module

__all__ = ["parallel_apply"]


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:
    """The results of each module for its inputs, in order. Calls are recorded one after another; what they record runs on all cores.

    Args:
        modules: as many as ``inputs``.
        inputs: a tuple of arguments, or the only one, for each module.
        kwargs_tup: keyword arguments for each.
        devices: the device of each; there is one kind.
    """
    settings = [{}] * len(modules) if kwargs_tup is None else kwargs_tup
    if not len(modules) == len(inputs) == len(settings) or (devices is not None and len(devices) != len(modules)):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}, of their keywords or of devices"
        )
    for device in devices or ():
        if device is not None:
            flambeau.device(device)
    return [
        module(*(given if isinstance(given, (list, tuple)) else (given,)), **named)
        for module, given, named in zip(modules, inputs, settings, strict=True)
    ]  # fmt: skip

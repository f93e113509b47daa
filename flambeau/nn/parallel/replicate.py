"""Copies of a module for several devices. There is one kind of device, which may be named several times."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import flambeau
from flambeau.nn.modules.module import Module

__all__ = ["replicate"]


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """A replica of a network for each device: modules of their own, whose parameters are those of the network, so that gradients add up there.

    Args:
        network: the module; it is not changed.
        devices: as many as there will be replicas.
        detach: whether the parameters of the replicas have no history.
    """
    for device in devices:
        flambeau.device(device)
    return [_replica(network, detach, {}) for _ in devices]


def _replica(module: Module, detach: bool, made: dict[int, Module]) -> Module:
    """A module with the same parameters and buffers; one that occurs several times has one replica (``made``)."""
    if id(module) not in made:
        made[id(module)] = replica = copy(module)
        if detach:
            replica._parameters.update({name: value.detach() for name, value in module._parameters.items() if value is not None})
        replica._modules.update({name: _replica(child, detach, made) for name, child in module._modules.items() if child is not None})
    return made[id(module)]

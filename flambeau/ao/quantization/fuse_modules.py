"""Layers that belong together become one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from flambeau import nn
from flambeau.ao.quantization.fuser_method_mappings import get_fuser_method

__all__ = ["fuse_known_modules", "fuse_modules", "fuse_modules_qat"]


def fuse_known_modules(mod_list: list[Any], is_qat: bool, additional_fuser_method_mapping: Any = None) -> list[Any]:
    """The layers as one, which takes the place of the first, and ``Identity`` in the places of the others."""
    fused = get_fuser_method(tuple(type(each) for each in mod_list), additional_fuser_method_mapping)(is_qat, *mod_list)
    for hook in mod_list[0]._forward_pre_hooks.values():
        fused.register_forward_pre_hook(hook)
    for hook in mod_list[-1]._forward_hooks.values():
        fused.register_forward_hook(hook)
    mod_list[0]._forward_pre_hooks.clear()
    mod_list[-1]._forward_hooks.clear()
    rest = [nn.Identity() for _ in mod_list[1:]]
    for each in rest:
        each.training = mod_list[0].training
    return [fused, *rest]


def _fuse(model: nn.Module, groups: Any, is_qat: bool, inplace: bool, fuser_func: Callable, custom: dict[str, Any] | None) -> nn.Module:
    if not inplace:
        model = copy.deepcopy(model)
    more = (custom or {}).get("additional_fuser_method_mapping", {})
    for names in groups if all(not isinstance(each, str) for each in groups) else [groups]:
        for name, layer in zip(names, fuser_func([model.get_submodule(name) for name in names], is_qat, more)):
            outer, _, last = name.rpartition(".")
            setattr(model.get_submodule(outer), last, layer)
    return model


def fuse_modules(
    model: nn.Module,
    modules_to_fuse: Any,
    inplace: bool = False,
    fuser_func: Callable = fuse_known_modules,
    fuse_custom_config_dict: dict[str, Any] | None = None,
) -> nn.Module:
    """A model in evaluation mode in which layers that belong together are one: conv, bn; conv, bn, relu; conv, relu; linear, relu; bn, relu.

    Args:
        modules_to_fuse: the layers' names, in the order in which they run, or a list of such lists
        inplace: change the model itself

    Example::

        >>> from flambeau.ao.quantization import fuse_modules
        >>> model = flambeau.nn.Sequential(flambeau.nn.Linear(2, 3), flambeau.nn.ReLU())
        >>> fuse_modules(model, ["0", "1"])
        Sequential(
          (0): LinearReLU(
            (0): Linear(in_features=2, out_features=3, bias=True)
            (1): ReLU()
          )
          (1): Identity()
        )
    """
    return _fuse(model, modules_to_fuse, False, inplace, fuser_func, fuse_custom_config_dict)


def fuse_modules_qat(
    model: nn.Module,
    modules_to_fuse: Any,
    inplace: bool = False,
    fuser_func: Callable = fuse_known_modules,
    fuse_custom_config_dict: dict[str, Any] | None = None,
) -> nn.Module:
    """``fuse_modules`` for training with rounding, in which a normalization stays one."""
    return _fuse(model, modules_to_fuse, True, inplace, fuser_func, fuse_custom_config_dict)

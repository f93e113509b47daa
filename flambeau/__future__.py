"""How ``Module.to`` and its kin, and ``load_state_dict``, put other parameters into a module: ways that PyTorch may make the default one day.

By default a parameter keeps its identity and gets new data, unless it goes to another device, for which it is replaced.
https://docs.pytorch.org/docs/stable/future_mod.html
"""

from __future__ import annotations

from flambeau.nn.modules import _conversion

__all__ = [
    "get_overwrite_module_params_on_conversion",
    "get_swap_module_params_on_conversion",
    "set_overwrite_module_params_on_conversion",
    "set_swap_module_params_on_conversion",
]


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Put new parameters in the places of the old ones, which stay as they are for whoever holds them."""
    _conversion.OVERWRITES = value


def get_overwrite_module_params_on_conversion() -> bool:
    """Whether conversion makes new parameters (default: False)."""
    return _conversion.OVERWRITES


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Exchange old and new parameters by ``utils.swap_tensors``: all keep their identity, also those that go to another device.

    ``load_state_dict`` then exchanges a parameter or buffer for what its ``module_load`` makes of it and of the tensor that is loaded.
    """
    _conversion.SWAPS = value


def get_swap_module_params_on_conversion() -> bool:
    """Whether conversion exchanges parameters (default: False)."""
    return _conversion.SWAPS

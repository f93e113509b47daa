"""``QConfigMapping``: which configuration which part of a network gets, in graph mode."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from flambeau import nn
from flambeau.ao.quantization import fake_quantize as fake
from flambeau.ao.quantization import presets
from flambeau.ao.quantization.qconfig import (
    QConfig,
    default_quint8_weight_qconfig,
    default_reuse_input_qconfig,
    get_default_qat_qconfig,
    get_default_qconfig,
)

__all__ = ["QConfigMapping", "get_default_qat_qconfig_mapping", "get_default_qconfig_mapping"]

_KEYS = ("", "object_type", "module_name_regex", "module_name", "module_name_object_type_order")


class QConfigMapping:
    """Configurations for all, for classes and functions, and for names of modules; the more precise wins, in the order of the methods here.

    Example::

        >>> from flambeau.ao.quantization import QConfigMapping, default_qconfig
        >>> mapping = QConfigMapping().set_global(default_qconfig).set_object_type(flambeau.nn.Linear, None)
        >>> mapping.object_type_qconfigs
        OrderedDict([(<class 'flambeau.nn.modules.linear.Linear'>, None)])
    """

    def __init__(self) -> None:
        self.global_qconfig: Any = None
        self.object_type_qconfigs: OrderedDict[Any, Any] = OrderedDict()
        self.module_name_regex_qconfigs: OrderedDict[str, Any] = OrderedDict()
        self.module_name_qconfigs: OrderedDict[str, Any] = OrderedDict()
        self.module_name_object_type_order_qconfigs: OrderedDict[tuple[str, Any, int], Any] = OrderedDict()

    def set_global(self, global_qconfig: Any) -> QConfigMapping:
        """For all (``None``: not quantized)."""
        self.global_qconfig = global_qconfig
        return self

    def set_object_type(self, object_type: Any, qconfig: Any) -> QConfigMapping:
        """For modules of a class, calls of a function, or of a method by its name."""
        self.object_type_qconfigs[object_type] = qconfig
        return self

    def set_module_name_regex(self, module_name_regex: str, qconfig: Any) -> QConfigMapping:
        """For modules whose name begins with a match, and calls in them; of several expressions the first that does."""
        self.module_name_regex_qconfigs[module_name_regex] = qconfig
        return self

    def set_module_name(self, module_name: str, qconfig: Any) -> QConfigMapping:
        """For the module of that name, and for all in it."""
        self.module_name_qconfigs[module_name] = qconfig
        return self

    def set_module_name_object_type_order(self, module_name: str, object_type: Any, index: int, qconfig: Any) -> QConfigMapping:
        """For the call with that number (from 0) of a function, or of a module of that class, in the module of that name (``""``: the network)."""
        self.module_name_object_type_order_qconfigs[module_name, object_type, index] = qconfig
        return self

    def of(self, name: str, kinds: tuple[Any, ...], call: tuple[str, Any, int]) -> Any:
        """The configuration of a module, or of the call of a function.

        Args:
            name: of the module, or of that in which the function is called
            kinds: the module's class, or the class of the module around and the function; the first that has a configuration counts
            call: the name of the module around, the class or function, and the number of its call there
        """
        if call in self.module_name_object_type_order_qconfigs:
            return self.module_name_object_type_order_qconfigs[call]
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            if prefix in self.module_name_qconfigs:
                return self.module_name_qconfigs[prefix]
        for expression, config in self.module_name_regex_qconfigs.items():
            if re.match(expression, name):
                return config
        return next((self.object_type_qconfigs[kind] for kind in kinds if kind in self.object_type_qconfigs), self.global_qconfig)

    def to_dict(self) -> dict[str, Any]:
        """PyTorch's old form, a dictionary."""
        return {
            "": self.global_qconfig,
            "object_type": list(self.object_type_qconfigs.items()),
            "module_name_regex": list(self.module_name_regex_qconfigs.items()),
            "module_name": list(self.module_name_qconfigs.items()),
            "module_name_object_type_order": [(*key, config) for key, config in self.module_name_object_type_order_qconfigs.items()],
        }

    @classmethod
    def from_dict(cls, qconfig_dict: dict[str, Any]) -> QConfigMapping:
        """Of PyTorch's old form, a dictionary.

        Raises:
            ValueError: it has a key that there is not.
        """
        unknown = [key for key in qconfig_dict if key not in _KEYS]
        if unknown:
            raise ValueError(f"unknown keys {unknown} in a dictionary of configurations, expected {', '.join(map(repr, _KEYS))}")
        mapping = cls().set_global(qconfig_dict.get(""))
        for each, set_one in zip(_KEYS[1:], (mapping.set_object_type, mapping.set_module_name_regex, mapping.set_module_name)):
            for key, config in qconfig_dict.get(each, ()):
                set_one(key, config)
        for *key, config in qconfig_dict.get(_KEYS[4], ()):
            mapping.set_module_name_object_type_order(*key, config)
        return mapping

    def __repr__(self) -> str:
        lines = ["QConfigMapping ("]
        for name in ("global_qconfig", *(f"{key}_qconfigs" for key in _KEYS[1:])):
            value = getattr(self, name)
            lines += [
                f" {name}",
                *([f"  {value}"] if name == "global_qconfig" else [f"  {key}: {config}" for key, config in value.items()]),
            ]
        return "\n".join(lines) + "\n)"


def _mapping(config: Any, fixed: tuple[Any, Any], weight: Any) -> QConfigMapping:
    """``config`` for all, with what some layers need: fixed ranges (0 to 1, -1 to 1), weights as a whole."""
    from flambeau.ao.quantization.fx.kinds import FIXED_RANGES

    mapping = QConfigMapping().set_global(config).set_object_type("reshape", default_reuse_input_qconfig)
    for transposed in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
        mapping.set_object_type(transposed, QConfig(activation=config.activation, weight=weight))
    mapping.set_object_type(nn.PReLU, default_quint8_weight_qconfig)
    for kind, signed in FIXED_RANGES.items():
        mapping.set_object_type(kind, QConfig(activation=fixed[signed], weight=weight))
    return mapping


def get_default_qconfig_mapping(backend: str = "x86", version: int = 0) -> QConfigMapping:
    """``get_default_qconfig`` for all, and what some layers need."""
    fixed = presets.default_fixed_qparams_range_0to1_observer, presets.default_fixed_qparams_range_neg1to1_observer
    return _mapping(get_default_qconfig(backend, version), fixed, presets.default_weight_observer)


def get_default_qat_qconfig_mapping(backend: str = "x86", version: int = 1) -> QConfigMapping:
    """``get_default_qat_qconfig`` for all, and what some layers need."""
    fixed = fake.default_fixed_qparams_range_0to1_fake_quant, fake.default_fixed_qparams_range_neg1to1_fake_quant
    weight = fake.default_fused_wt_fake_quant if version else fake.default_weight_fake_quant
    return _mapping(get_default_qat_qconfig(backend, version), fixed, weight)

"""``torch.quantization``: the old name of ``torch.ao.quantization``."""

from __future__ import annotations

import sys
from importlib import import_module

from flambeau.ao.quantization import *  # noqa: F403
from flambeau.ao.quantization import FunctionsFirst
from flambeau.ao.quantization import __all__ as __all__

_MODULES = (
    "fake_quantize", "fuse_modules", "fuser_method_mappings", "observer", "qconfig", "qconfig_mapping", "quant_type", "quantization_mappings", "quantize", "quantize_fx", "stubs",
)  # fmt: skip

for _name in _MODULES:
    sys.modules[f"{__name__}.{_name}"] = import_module(f"flambeau.ao.quantization.{_name}")
sys.modules[__name__].__class__ = FunctionsFirst

"""``torch.ao.quantization``: networks that compute with integers of 8 bits.

*Dynamic*: weights are quantized once, inputs as they come (``quantize_dynamic``). *Static*: a prepared network observes some inputs, and
its layers are converted (``prepare``, ``convert``). *Trained with rounding*: the network learns to live with it (``prepare_qat``).
"""

from __future__ import annotations

import sys
from types import ModuleType

from flambeau.ao.quantization import fake_quantize as fake_quantize
from flambeau.ao.quantization import observer as observer
from flambeau.ao.quantization import qconfig as qconfig
from flambeau.ao.quantization import quantize as _quantize
from flambeau.ao.quantization import stubs as stubs
from flambeau.ao.quantization.fake_quantize import *  # noqa: F403
from flambeau.ao.quantization.fake_quantize import __all__ as _fake_quantize
from flambeau.ao.quantization.fuse_modules import fuse_modules as fuse_modules
from flambeau.ao.quantization.fuse_modules import fuse_modules_qat as fuse_modules_qat
from flambeau.ao.quantization.fuser_method_mappings import *  # noqa: F403
from flambeau.ao.quantization.fuser_method_mappings import __all__ as _fusers
from flambeau.ao.quantization.observer import *  # noqa: F403
from flambeau.ao.quantization.observer import __all__ as _observers
from flambeau.ao.quantization.qconfig import *  # noqa: F403
from flambeau.ao.quantization.qconfig import __all__ as _qconfigs
from flambeau.ao.quantization.qconfig_mapping import *  # noqa: F403
from flambeau.ao.quantization.qconfig_mapping import __all__ as _qconfig_mappings
from flambeau.ao.quantization.quant_type import QuantType as QuantType
from flambeau.ao.quantization.quantization_mappings import *  # noqa: F403
from flambeau.ao.quantization.quantization_mappings import __all__ as _mappings
from flambeau.ao.quantization.quantize import *  # noqa: F403
from flambeau.ao.quantization.quantize import __all__ as _steps
from flambeau.ao.quantization.stubs import DeQuantStub as DeQuantStub
from flambeau.ao.quantization.stubs import QuantStub as QuantStub
from flambeau.ao.quantization.stubs import QuantWrapper as QuantWrapper

quantize = _quantize.quantize  # the function, as in PyTorch, not the module

__all__ = sorted({
    *_fake_quantize, *_fusers, *_mappings, *_observers, *_qconfig_mappings, *_qconfigs, *_steps, "DeQuantStub", "QuantStub", "QuantType", "QuantWrapper",
    "fuse_modules", "fuse_modules_qat",
})  # fmt: skip


class FunctionsFirst(ModuleType):
    """A package in which ``fuse_modules`` and ``quantize`` stay functions when the modules of these names are imported under an alias."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and callable(self.__dict__.get(name))):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = FunctionsFirst


def __getattr__(name: str) -> object:
    if name == "quantize_fx":  # takes the import of ``fx``
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Which of PyTorch's libraries would compute with quantized tensors: a name that is kept, and changes nothing.

``torch.ao.quantization.get_default_qconfig(name)`` is where the name says what is done. The sums are those of int32 with every name, and
what is done with them is what PyTorch's ``fbgemm`` and ``x86`` do.
"""

from __future__ import annotations

import sys
from types import ModuleType

__all__ = ["engine", "supported_engines"]

supported_engines = ["qnnpack", "onednn", "x86", "fbgemm"]
engine = "x86"


class _Checked(ModuleType):
    """The module, which takes the names of engines only."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "engine" and value not in supported_engines:
            raise RuntimeError(f"quantized engine {value!r} is not supported, expected one of {', '.join(supported_engines)}")
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Checked

"""``torch.nn.intrinsic``: the old name of ``torch.ao.nn.intrinsic``."""

from __future__ import annotations

from flambeau.ao.nn.intrinsic import *  # noqa: F403
from flambeau.ao.nn.intrinsic import __all__ as __all__
from flambeau.nn.intrinsic import qat as qat
from flambeau.nn.intrinsic import quantized as quantized

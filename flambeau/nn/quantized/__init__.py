"""``torch.nn.quantized``: the old name of ``torch.ao.nn.quantized``."""

from __future__ import annotations

from flambeau.ao.nn.quantized import *  # noqa: F403
from flambeau.ao.nn.quantized import __all__ as __all__
from flambeau.ao.nn.quantized import functional as functional
from flambeau.nn.quantized import dynamic as dynamic

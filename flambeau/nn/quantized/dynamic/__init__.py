"""``torch.nn.quantized.dynamic``: the old name of ``torch.ao.nn.quantized.dynamic``."""

from __future__ import annotations

from flambeau.ao.nn.quantized.dynamic import *  # noqa: F403
from flambeau.ao.nn.quantized.dynamic import __all__ as __all__

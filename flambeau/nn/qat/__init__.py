"""``torch.nn.qat``: the old name of ``torch.ao.nn.qat``."""

from __future__ import annotations

from flambeau.ao.nn.qat import *  # noqa: F403
from flambeau.ao.nn.qat import __all__ as __all__

"""``torch.ao.nn.intrinsic.qat``: layers that will be one, trained with rounding."""

from __future__ import annotations

from flambeau.ao.nn.intrinsic.qat.modules import *  # noqa: F403
from flambeau.ao.nn.intrinsic.qat.modules import __all__ as __all__

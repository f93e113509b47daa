"""Layers that belong together."""

from __future__ import annotations

from flambeau.ao.nn.intrinsic.modules.fused import *  # noqa: F403
from flambeau.ao.nn.intrinsic.modules.fused import __all__ as __all__
from flambeau.ao.nn.intrinsic.modules.fused import _FusedModule as _FusedModule

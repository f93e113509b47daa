"""Mixed precision on the CPU under its older names; ``flambeau.amp`` has the newer ones."""

from __future__ import annotations

import warnings

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau.amp import GradScaler as _GradScaler
from flambeau.amp import autocast as _autocast

__all__ = ["GradScaler", "autocast"]


def _warn(name: str) -> None:
    message = f"`torch.cpu.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('cpu', args...)` instead."
    warnings.warn(message, FutureWarning, stacklevel=3)


class autocast(_autocast):
    """``amp.autocast("cpu")``."""

    def __init__(self, enabled: bool = True, dtype: DType = dt.bfloat16, cache_enabled: bool = True) -> None:
        _warn("autocast")
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(_GradScaler):
    """``amp.GradScaler("cpu")``."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _warn("GradScaler")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)

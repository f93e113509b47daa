"""Mixed precision on CUDA devices: without one, regions and scalers that are disabled."""

from __future__ import annotations

import warnings
from functools import partial

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau.amp import GradScaler as _GradScaler
from flambeau.amp import autocast as _autocast
from flambeau.amp import custom_bwd as _custom_bwd
from flambeau.amp import custom_fwd as _custom_fwd

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _warn(name: str) -> None:
    message = f"`torch.cuda.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('cuda', args...)` instead."
    warnings.warn(message, FutureWarning, stacklevel=3)


class autocast(_autocast):
    """``amp.autocast("cuda")``."""

    def __init__(self, enabled: bool = True, dtype: DType = dt.float16, cache_enabled: bool = True) -> None:
        _warn("autocast")
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(_GradScaler):
    """``amp.GradScaler("cuda")``."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _warn("GradScaler")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


custom_fwd = partial(_custom_fwd, device_type="cuda")
custom_bwd = partial(_custom_bwd, device_type="cuda")

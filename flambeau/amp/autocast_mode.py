"""``autocast``: a region in which matrix products and convolutions run in half precision, and losses in float32."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

from flambeau._ops import autocast as _casts
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

__all__ = [
    "autocast", "custom_bwd", "custom_fwd", "get_autocast_cpu_dtype", "get_autocast_dtype", "is_autocast_available", "is_autocast_cpu_enabled", "is_autocast_enabled",
    "set_autocast_cpu_dtype", "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip

_LOW = (dt.bfloat16, dt.float16)
_OTHER_DEVICES = ("cuda", "hpu", "ipu", "mps", "mtia", "xla", "xpu")


def is_autocast_available(device_type: str) -> bool:
    """Whether there are regions for the kind of device: for ``"cpu"``."""
    return device_type == "cpu"


class autocast:
    """A region, as a context or around a function, in which tensors are cast for some operations.

    Products (``matmul``, ``linear``, convolutions, and what is made of them) take their floating-point operands, other than float64, in
    ``dtype``; losses take theirs in float32; everything else runs in the dtypes that it gets.

    Args:
        device_type: ``"cpu"``; a region for a device that is not there is disabled, with a warning
        dtype: ``bfloat16`` (the default) or ``float16``
        enabled: False turns casts off within an outer region
        cache_enabled: accepted, and changes nothing: a weight that is cast twice in a program is cast once

    Example::

        >>> with flambeau.autocast("cpu"):
        ...     (flambeau.ones(2, 2) @ flambeau.ones(2, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, device_type: str, dtype: DType | None = None, enabled: bool = True, cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type != "cpu":
            if device_type not in _OTHER_DEVICES:
                raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
            if enabled:
                warnings.warn(f"User provided device_type of '{device_type}', but it is not available. Disabling autocast", stacklevel=2)
            enabled = False
        self.device = device_type
        self.fast_dtype = dtype or _casts.STATE.default
        if enabled and self.fast_dtype not in _LOW:
            warnings.warn(
                f"In CPU autocast, but the target dtype {self.fast_dtype!r} is not supported: use torch.bfloat16 or torch.float16. Disabling autocast",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._outer: list[tuple[DType | None, DType]] = []

    def __enter__(self) -> autocast:
        self._outer.append((_casts.STATE.dtype, _casts.STATE.default))
        if self.device == "cpu":
            if self.fast_dtype in _LOW:  # what regions within that are given none get
                _casts.STATE.default = self.fast_dtype
            if self._enabled:
                _casts.prepare()
            _casts.STATE.dtype = self.fast_dtype if self._enabled else None
        return self

    def __exit__(self, *exception: object) -> None:
        _casts.STATE.dtype, _casts.STATE.default = self._outer.pop()

    def __call__(self, function: Callable) -> Callable:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside


# -- for the forward and backward of a ``Function`` ------------------------------------------------------------------


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: DType | None = None) -> Callable:
    """Around a ``Function``'s forward: remember the region for ``custom_bwd``, or cast the inputs and leave it."""
    if fwd is None:
        return lambda function: custom_fwd(function, device_type=device_type, cast_inputs=cast_inputs)

    @wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._region = None if cast_inputs is not None else _casts.STATE.dtype
        if cast_inputs is None or _casts.STATE.dtype is None:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *[_casts.cast(each, cast_inputs) for each in args], **kwargs)

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Around a ``Function``'s backward: in the region that its forward was in."""
    if bwd is None:
        return lambda function: custom_bwd(function, device_type=device_type)

    @wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._region, enabled=ctx._region is not None):
            return bwd(ctx, *args, **kwargs)

    return backward


# -- the region as a setting -----------------------------------------------------------------------------------------


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is inside a region for the device: by default for CUDA's, as in PyTorch, which is never so here."""
    return device_type == "cpu" and _casts.STATE.dtype is not None


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Begin a region that ends only by the same call."""
    if device_type == "cpu":
        if enabled:
            _casts.prepare()
        _casts.STATE.dtype = _casts.STATE.default if enabled else None


def get_autocast_dtype(device_type: str) -> DType:
    """The dtype of a region that is given none: within another one that one's."""
    return _casts.STATE.default if device_type == "cpu" else dt.float16


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set the dtype of regions that are given none."""
    if device_type == "cpu":
        _casts.STATE.default = dtype
        if _casts.STATE.dtype is not None:
            _casts.STATE.dtype = dtype


def is_autocast_cpu_enabled() -> bool:
    """Whether this thread is inside a region."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> DType:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: DType) -> None:
    """``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> DType:
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: DType) -> None:
    """``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


class _Bookkeeping(threading.local):
    nesting = 0
    cache = True


_KEPT = _Bookkeeping()


def autocast_increment_nesting() -> int:
    """Count one region more; returns how many there are."""
    _KEPT.nesting += 1
    return _KEPT.nesting


def autocast_decrement_nesting() -> int:
    """Count one region less; returns how many there are."""
    _KEPT.nesting -= 1
    return _KEPT.nesting


def is_autocast_cache_enabled() -> bool:
    """What ``set_autocast_cache_enabled`` was told: a weight that is cast twice is the same value of a program, with a cache or without."""
    return _KEPT.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Ask that casts of weights are kept; see ``is_autocast_cache_enabled``."""
    _KEPT.cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the casts of weights that are kept: there are none."""

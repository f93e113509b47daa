"""Global settings that scripts make.

Results are the same on every run and every number of threads, and products are never rounded to less than their dtype: what these
settings ask for at most holds anyway. They are kept, so that scripts read back what they set.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from flambeau._types import dtype as dt
from flambeau._types.device import device, set_contexts
from flambeau._types.promotion import set_default_dtype

PUBLIC = (
    "are_deterministic_algorithms_enabled", "get_default_device", "get_deterministic_debug_mode", "get_float32_matmul_precision", "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled", "set_default_device", "set_default_tensor_type", "set_deterministic_debug_mode",
    "set_float32_matmul_precision", "set_num_interop_threads", "set_warn_always", "use_deterministic_algorithms",
)  # fmt: skip


class _Settings:
    deterministic = False
    warn_only = False
    precision = "highest"
    warn_always = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for results that are the same on every run; they are in any case."""
    _Settings.deterministic, _Settings.warn_only = bool(mode), bool(mode) and warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """Whether the script has asked for results that are the same on every run."""
    return _Settings.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether the script wants a warning, not an error, where results could differ."""
    return _Settings.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``use_deterministic_algorithms`` as a number or word: 0 "default", 1 "warn", 2 "error"."""
    modes = {"default": 0, "warn": 1, "error": 2}
    mode = modes.get(debug_mode, debug_mode)
    if mode not in modes.values():
        raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error` or 0, 1, 2, but got {debug_mode!r}")
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as ``set_deterministic_debug_mode`` takes them."""
    return (1 if _Settings.warn_only else 2) if _Settings.deterministic else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exact products of float32 matrices must be: "highest", "high" or "medium". They are as exact as the highest."""
    if precision not in ("highest", "high", "medium"):
        warnings.warn(f"{precision} is not one of 'highest', 'high', 'medium'; the setting stays {_Settings.precision}", stacklevel=2)
        return
    _Settings.precision = precision


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was told."""
    return _Settings.precision


def set_warn_always(b: bool) -> None:
    """Say whether a warning may come more than once."""
    _Settings.warn_always = bool(b)


def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` was told."""
    return _Settings.warn_always


def get_num_interop_threads() -> int:
    """How many operators run side by side: one; each is spread over all threads."""
    return 1


def set_num_interop_threads(num: int) -> None:
    """Say how many operators may run side by side; it is one."""
    if num < 1:
        raise RuntimeError("expected a positive number of interop threads")


def _devices() -> Any:
    """The module of default devices, which most programs never need."""
    return import_module(f"{__name__.partition('.')[0]}.utils._device")


set_contexts(lambda: _devices().CONTEXTS)


def set_default_device(device: Any) -> None:
    """Set where this thread makes tensors, if nobody says another device: on the CPU (or ``None``), or on the meta device.

    Raises:
        RuntimeError: there is no such device here.
    """
    _devices().set_default(device)


def get_default_device() -> device:
    """Where tensors are made: on the CPU, unless ``set_default_device`` or a ``with torch.device(...)`` block says something else."""
    return _devices().get()


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by the name of an old class of tensors, such as ``torch.DoubleTensor``."""
    warnings.warn(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and torch.set_default_device() as alternatives.",
        stacklevel=2,
    )
    name = t if isinstance(t, str) else t.__name__
    kinds = {"HalfTensor": dt.float16, "BFloat16Tensor": dt.bfloat16, "FloatTensor": dt.float32, "DoubleTensor": dt.float64}
    kind = kinds.get(name.removeprefix("torch."))
    if kind is None:
        raise TypeError(f"only floating-point types are supported as the default type, not {name}")
    set_default_dtype(kind)

"""CUDA devices: there are none, and what scripts ask before they use one says so."""

from __future__ import annotations

from typing import Any

from flambeau.cuda import amp as amp

__all__ = [
    "amp", "device_count", "empty_cache", "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "memory_allocated", "memory_reserved", "reset_peak_memory_stats",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is a CUDA device: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA is in use: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device computes in bfloat16: there is no device."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the generator of the current CUDA device; without one there is nothing to seed."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all CUDA devices, of which there are none."""
    int(seed)


def empty_cache() -> None:
    """Give memory that is cached for CUDA devices back; there is none."""


def reset_peak_memory_stats(device: Any = None) -> None:
    """Forget the most memory that was in use on a CUDA device; none was."""


def memory_allocated(device: Any = None) -> int:
    """The bytes in use on a CUDA device: 0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated

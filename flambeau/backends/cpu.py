"""The CPU, on which everything runs."""

from __future__ import annotations

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The vector instructions that kernels are compiled for: ``"AVX512"``, ``"AVX2"`` or ``"DEFAULT"``."""
    from flambeau._runtime.targets import current

    lanes = current().lanes(32)
    return {16: "AVX512", 8: "AVX2"}.get(lanes, "DEFAULT")

"""CUDA, which is not used: settings that scripts make are kept, and mean nothing here."""

from __future__ import annotations

__all__ = ["is_built"]


class _Matmul:
    """Settings of matrix products on CUDA devices."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True


matmul = _Matmul()


def is_built() -> bool:
    """Whether there is support for CUDA: no."""
    return False

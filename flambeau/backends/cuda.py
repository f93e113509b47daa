"""CUDA, which is not used: settings that scripts make are kept, and mean nothing here."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from flambeau.backends._settings import changed

__all__ = [
    "allow_fp16_bf16_reduction_math_sdp", "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled",
    "fp16_bf16_reduction_math_sdp_allowed", "is_built", "math_sdp_enabled", "mem_efficient_sdp_enabled", "preferred_blas_library", "preferred_linalg_library", "sdp_kernel",
]  # fmt: skip


class _Matmul:
    """Settings of matrix products on CUDA devices."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True


matmul = _Matmul()


def is_built() -> bool:
    """Whether there is support for CUDA: no."""
    return False


# -- kernels of attention: which of CUDA's may be used ---------------------------------------------------------------

_ALLOWED = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True, "fp16_bf16_reduction_math": False}


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid FlashAttention on CUDA devices."""
    _ALLOWED["flash"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    """Whether FlashAttention is allowed on CUDA devices."""
    return _ALLOWED["flash"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid memory-efficient attention on CUDA devices."""
    _ALLOWED["mem_efficient"] = bool(enabled)


def mem_efficient_sdp_enabled() -> bool:
    """Whether memory-efficient attention is allowed on CUDA devices."""
    return _ALLOWED["mem_efficient"]


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention by products and a softmax on CUDA devices."""
    _ALLOWED["math"] = bool(enabled)


def math_sdp_enabled() -> bool:
    """Whether attention by products and a softmax is allowed on CUDA devices."""
    return _ALLOWED["math"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid cuDNN's attention."""
    _ALLOWED["cudnn"] = bool(enabled)


def cudnn_sdp_enabled() -> bool:
    """Whether cuDNN's attention is allowed."""
    return _ALLOWED["cudnn"]


def allow_fp16_bf16_reduction_math_sdp(enabled: bool) -> None:
    """Allow or forbid sums in half precision in attention on CUDA devices."""
    _ALLOWED["fp16_bf16_reduction_math"] = bool(enabled)


def fp16_bf16_reduction_math_sdp_allowed() -> bool:
    """Whether sums in half precision are allowed in attention on CUDA devices."""
    return _ALLOWED["fp16_bf16_reduction_math"]


def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> AbstractContextManager[None]:
    """A context in which some kernels of attention are allowed on CUDA devices and others are not."""
    return changed(_ALLOWED, flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)


_PREFERRED: dict[str, Any] = {"linalg": "default", "blas": "default"}


def preferred_linalg_library(backend: Any = None) -> Any:
    """The library of linear algebra on CUDA devices: what the script has set."""
    return _preferred("linalg", backend)


def preferred_blas_library(backend: Any = None) -> Any:
    """The library of matrix products on CUDA devices: what the script has set."""
    return _preferred("blas", backend)


def _preferred(kind: str, backend: Any) -> Any:
    if backend is not None:
        _PREFERRED[kind] = backend
    return _PREFERRED[kind]

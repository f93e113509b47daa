"""Networks as files in the Open Neural Network Exchange format."""

from __future__ import annotations

__all__ = ["is_in_onnx_export"]


def is_in_onnx_export() -> bool:
    """Whether a network is being exported."""
    return False

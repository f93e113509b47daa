"""PyTorch's compiler of kernels, as far as scripts set something of it: kernels are Flambeau's own."""

from __future__ import annotations

from flambeau._inductor import config as config

__all__ = ["config", "list_mode_options"]


def list_mode_options(mode: str | None = None, dynamic: bool | None = None) -> dict:
    """The settings that a mode of ``compile`` stands for: none."""
    return {}

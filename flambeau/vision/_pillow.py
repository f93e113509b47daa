"""Pillow, which is imported only when somebody needs it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["is_pil_image", "pillow"]


def pillow(name: str = "Image") -> ModuleType:
    """A module of Pillow, such as ``Image`` or ``ImageOps``.

    Raises:
        ImportError: Pillow is not installed.
    """
    loaded = sys.modules.get(f"PIL.{name}")
    if loaded is not None:
        return loaded
    try:
        return getattr(__import__("PIL", fromlist=[name]), name)
    except ImportError as error:
        raise ImportError('images other than tensors need Pillow: pip install "flambeau[vision]"') from error


def is_pil_image(value: Any) -> bool:
    """Whether ``value`` is an image of Pillow's."""
    loaded = sys.modules.get("PIL.Image")  # nobody can have made one without it
    return loaded is not None and isinstance(value, loaded.Image)

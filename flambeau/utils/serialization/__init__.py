"""Defaults of ``torch.save`` and ``torch.load``."""

from __future__ import annotations

from flambeau.utils.serialization import config as config

__all__ = ["config"]

"""A setting beside ``use_deterministic_algorithms``: whether ``torch.empty`` fills its memory then. It never does, and scripts may say so."""

from __future__ import annotations

fill_uninitialized_memory = False

"""The generic types that TorchScript knows, under the name that packages import them by."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple, Union  # noqa: UP035

__all__ = ["Dict", "List", "Optional", "Tuple", "Union"]

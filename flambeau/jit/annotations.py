"""The generic types that TorchScript knows, under the name that packages import them by."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple, Union  # noqa: UP035

__all__ = ["BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "Dict", "List", "Optional", "Tuple", "Union"]

BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = List  # noqa: UP006 - a number, or a list of so many

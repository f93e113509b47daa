"""Containers of arguments and results that files know."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["CONTAINERS"]

CONTAINERS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict, "OrderedDict": OrderedDict}
"""The classes by their names."""

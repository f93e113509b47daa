"""Processes with a cache of their own."""

from __future__ import annotations

from tests._runtime.conftest import cache_home as cache_home
from tests._runtime.conftest import python as python

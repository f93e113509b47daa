"""One file for each group of workloads."""

from __future__ import annotations

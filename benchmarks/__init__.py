"""The same work on Flambeau and on PyTorch, in turn, in fresh processes. See `python -m benchmarks --help`."""

from __future__ import annotations

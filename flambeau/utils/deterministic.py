"""Settings of programs that ask for results that are the same on every run: kept, and true in any case."""

from __future__ import annotations

fill_uninitialized_memory = True

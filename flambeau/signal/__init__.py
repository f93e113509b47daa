"""Signal processing: window functions (``signal.windows``)."""

from __future__ import annotations

from flambeau.signal import windows as windows

__all__ = ["windows"]

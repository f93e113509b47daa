"""What can be done with graphs."""

from __future__ import annotations

from flambeau.fx.passes import shape_prop as shape_prop

__all__ = ["shape_prop"]

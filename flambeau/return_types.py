"""The named tuples of functions that return several tensors: ``torch.max(x, 0)`` is a ``torch.return_types.max``."""

from __future__ import annotations

from flambeau._ops import return_types as _kinds

all_return_types = [kind for kind in vars(_kinds).values() if isinstance(kind, type) and kind.__module__ == __name__]
globals().update({kind.__name__: kind for kind in all_return_types})

__all__ = ["all_return_types", *(kind.__name__ for kind in all_return_types)]

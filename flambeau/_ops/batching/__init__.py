"""What makes ``func.vmap`` of operators: a tape on which a call with one sample is a call with all of them (``docs/design/0009-vmap.md``).

``level.py`` is that tape, ``samples.py`` what stands behind its storages, and ``rules.py`` what each operator's call becomes. Nothing of it is loaded
until something is mapped.
"""

from __future__ import annotations

from flambeau._ops.batching.level import Level, NoSingleValue, mapped

__all__ = ["Level", "NoSingleValue", "mapped"]

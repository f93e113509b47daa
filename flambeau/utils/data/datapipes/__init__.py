"""Pipes: datasets that are built from one another, each a step of how samples are loaded.

``iter`` holds the pipes that are iterated, ``map`` those that are indexed. Most have a functional name as well:
``IterableWrapper(names).map(load).shuffle().batch(8)`` is what the classes make when they are nested.
"""

from __future__ import annotations

from flambeau.utils.data.datapipes import iter as iter
from flambeau.utils.data.datapipes import map as map

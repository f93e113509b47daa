"""The graph of pipes that a pipe is made of."""

from __future__ import annotations

from collections import deque
from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe, _Functional

__all__ = ["DataPipe", "DataPipeGraph", "traverse_dps"]

_PLAIN = {bool, bytes, complex, float, int, str, type(None)}

DataPipe = IterDataPipe | MapDataPipe
DataPipeGraph = dict[int, tuple[DataPipe, "DataPipeGraph"]]


def traverse_dps(datapipe: DataPipe) -> DataPipeGraph:
    """The graph of a pipe: from its ``id`` to the pair of it and the graphs of the pipes that it reads.

    Those are the pipes among its attributes, also inside of lists, tuples, sets, deques and dictionaries. A pipe that several read appears
    below each of them.

    Raises:
        RuntimeError: something else than a pipe
    """
    if not isinstance(datapipe, (IterDataPipe, MapDataPipe)):
        raise RuntimeError(f"Expected `IterDataPipe` or `MapDataPipe`, but {type(datapipe)} is found")
    return _graph(datapipe, frozenset())


def _graph(pipe: DataPipe, above: frozenset[int]) -> DataPipeGraph:
    above |= {id(pipe)}
    sources: DataPipeGraph = {}
    for source in _pipes_in(vars(pipe)):
        if id(source) not in above:
            sources |= _graph(source, above)
    return {id(pipe): (pipe, sources)}


def _pipes_in(value: Any) -> list[DataPipe]:
    """The pipes in nested containers, in order; a container may hold millions of samples."""
    found: list[DataPipe] = []
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Functional):
            found.append(value)
        elif isinstance(value, (list, tuple, set, frozenset, dict, deque)):
            items = value.values() if isinstance(value, dict) else value
            if not _PLAIN.issuperset(map(type, items)) and id(value) not in seen:
                seen.add(id(value))
                waiting += reversed(list(items))
    return found

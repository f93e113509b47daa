"""The graph of pipes that a pipe is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["DataPipe", "DataPipeGraph", "traverse_dps"]

DataPipe = IterDataPipe | MapDataPipe
DataPipeGraph = dict[int, tuple[DataPipe, "DataPipeGraph"]]  # type: ignore[misc]


def traverse_dps(datapipe: DataPipe) -> DataPipeGraph:
    """The graph of a pipe: from its ``id`` to the pair of it and the graphs of the pipes that it reads.

    Those are the pipes among its attributes, also inside of lists, tuples, sets and mappings. A pipe that several read appears
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
    for source in _pipes_in(vars(pipe), set()):
        if id(source) not in above:
            sources |= _graph(source, above)
    return {id(pipe): (pipe, sources)}


def _pipes_in(value: Any, seen: set[int]) -> Iterator[DataPipe]:
    if isinstance(value, (IterDataPipe, MapDataPipe)):
        yield value
    elif isinstance(value, (list, tuple, AbstractSet, Mapping)) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _pipes_in(item, seen)

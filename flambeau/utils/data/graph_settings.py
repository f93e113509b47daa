"""Settings for all pipes of a graph: shares, shuffling, seeds."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import flambeau
from flambeau.utils.data.datapipes.iter.combinatorics import ShufflerIterDataPipe
from flambeau.utils.data.datapipes.iter.sharding import SHARDING_PRIORITIES
from flambeau.utils.data.graph import DataPipe, DataPipeGraph, traverse_dps
from flambeau.utils.data.sampler import random_seed

__all__ = [
    "apply_random_seed",
    "apply_sharding",
    "apply_shuffle_seed",
    "apply_shuffle_settings",
    "get_all_graph_pipes",
]


def get_all_graph_pipes(graph: DataPipeGraph) -> list[DataPipe]:
    """The pipes of a graph, each once, those that read others before these."""
    found: dict[int, DataPipe] = {}

    def visit(graph: DataPipeGraph) -> None:
        for identity, (pipe, sources) in graph.items():
            if identity not in found:
                found[identity] = pipe
                visit(sources)

    visit(graph)
    return list(found.values())


def apply_sharding(
    datapipe: DataPipe,
    num_of_instances: int,
    instance_id: int,
    sharding_group: SHARDING_PRIORITIES = SHARDING_PRIORITIES.DEFAULT,
) -> DataPipe:
    """Calls ``apply_sharding`` of all pipes of a graph that have it. Returns the pipe.

    Raises:
        RuntimeError: one such pipe reads another: samples would be lost
    """

    def visit(graph: DataPipeGraph, below: DataPipe | None) -> None:
        for pipe, sources in graph.values():
            applied = below
            if _has_methods(pipe, "apply_sharding"):
                if below is not None:
                    raise RuntimeError(
                        "Sharding twice on a single pipeline is likely unintended and will cause data loss. "
                        f"Sharding already applied to {below} while trying to apply to {pipe}"
                    )
                applied = pipe
                share: Any = pipe.apply_sharding
                if len(inspect.signature(share).parameters) < 3:  # a pipe that knows no groups
                    share(num_of_instances, instance_id)
                else:
                    share(num_of_instances, instance_id, sharding_group=sharding_group)
            visit(sources, applied)

    visit(traverse_dps(datapipe), None)
    return datapipe


def apply_shuffle_settings(datapipe: DataPipe, shuffle: bool | None = None) -> DataPipe:
    """Turns shuffling on or off in all pipes of a graph that can; ``None`` leaves them as they are.

    Returns the pipe; or, where none can shuffle and ``shuffle`` is true, the pipe with a shuffler behind it, and a warning.
    """
    if shuffle is None:
        return datapipe
    shufflers = [pipe for pipe in get_all_graph_pipes(traverse_dps(datapipe)) if _has_methods(pipe, "set_shuffle", "set_seed")]
    if shuffle and not shufflers:
        warnings.warn(
            "`shuffle=True` was set, but the datapipe does not contain a `Shuffler`. Adding one at the end. Be aware that the "
            "default buffer size might not be sufficient for your task.",
            stacklevel=2,
        )
        return ShufflerIterDataPipe(datapipe)
    for pipe in shufflers:
        pipe.set_shuffle(shuffle)
    return datapipe


def apply_random_seed(datapipe: DataPipe, rng: flambeau.Generator) -> DataPipe:
    """Calls ``set_seed`` of all pipes of a graph that have it, each with a seed drawn from ``rng``. Returns the pipe."""
    for pipe in get_all_graph_pipes(traverse_dps(datapipe)):
        if _has_methods(pipe, "set_seed"):
            pipe.set_seed(random_seed(rng))
    return datapipe


def apply_shuffle_seed(datapipe: DataPipe, rng: flambeau.Generator) -> DataPipe:
    """:func:`apply_random_seed` under its old name."""
    warnings.warn("`apply_shuffle_seed` is deprecated, use `apply_random_seed` instead.", FutureWarning, stacklevel=2)
    return apply_random_seed(datapipe, rng)


def _has_methods(pipe: Any, *names: str) -> bool:
    return all(inspect.ismethod(getattr(pipe, name, None)) for name in names)

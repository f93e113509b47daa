"""Patterns: loop nests that look alike are worked out once.

Before: the updates of a hundred weights of one shape, or the steps of an unrolled loop: as many clusters, each lowered by ``nest.py``.
After: one of them lowered, and for each of the others a copy of its kernel calls with its own buffers, offsets and run-time scalars.

That is also done from one program to the next: where none comes again, most of their nests do. A cluster is lowered in 0.1 to 0.5 ms, and looked up in a tenth
of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from flambeau._codegen.loops import VECTOR
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.digits import Cluster, domain_key
from flambeau._compiler.moving import WIDEST
from flambeau._compiler.nest import Nest
from flambeau._compiler.node import Node, base_of, is_uniform
from flambeau._runtime import targets

_MOST = 1024
"""Patterns that are remembered, some kB each."""
_ALIGNED = 2 * VECTOR
"""By how many elements starts must differ where what is written past the caches (``streaming.py``), or moved in larger pieces (``moving.widen``), is to lie alike."""


class _Call(NamedTuple):
    """A kernel call of a pattern. Of nodes, starts and numbers it has the places in the pattern: those of buffers, of the parameters that are starts (with the size
    of an element) or numbers, and of the nodes that are computed."""

    name: str
    source: str
    params: tuple[int, ...]
    buffers: tuple[tuple[int, int | str], ...]
    starts: tuple[tuple[int, int, int], ...]
    numbers: tuple[tuple[int, int], ...]
    tiles: int
    grain: int
    scratch_bytes: int
    nodes: tuple[int, ...]
    temporaries: tuple[tuple[str, int], ...]


class Pattern:
    """What the loop nest of a cluster follows from.

    Attributes:
        key: all of it but what clusters of the same key may have different, which is numbered in the order in which it comes
        memory: the nodes of the cluster, and those whose memory they read
        starts: in which memory, and how many elements from its beginning, something is read or written
        numbers: the run-time scalars
    """

    def __init__(
        self, cluster: Cluster, stored: Collection[int], home: Mapping[int, Cluster], is_fresh: Callable[[Node], bool], stays_cached: bool
    ) -> None:
        self._cluster = cluster
        self._home = home
        self._stays_cached = stays_cached
        self._places: dict[int, int] = {}
        self._computed: set[int] = set()
        self.memory: list[Node] = []
        self.starts: dict[tuple[int, int], int] = {}
        self.numbers: dict[int, int] = {}
        nodes = []
        for node in cluster.nodes:
            written = node.index in stored and (1 + is_fresh(node))
            nodes.append((self._place(node), written, *self._node(node)))
        self.key = (
            tuple(nodes), tuple(cluster.extents), cluster.reduced, cluster.runs, cluster.closed, stays_cached, targets.current(),
            targets.available_cores(), targets.cache_sizes(),
        )  # fmt: skip

    def _place(self, node: Node) -> int:
        """The number of a node in ``memory``."""
        place = self._places.get(node.index)
        if place is None:
            place = self._places[node.index] = len(self.memory)
            self.memory.append(node)
        return place

    def _start(self, node: Node, offset: int) -> tuple[int, int, int]:
        """What is the same of clusters in which ``node`` is read or written from another offset on."""
        matters = not self._stays_cached or node.dtype.itemsize < WIDEST
        place = self._place(node)
        return place, self.starts.setdefault((place, offset), len(self.starts)), offset % _ALIGNED if matters else 0

    def _node(self, node: Node) -> tuple:
        """All that ``Nest`` looks at in a node of the cluster."""
        kind, dims = node.kind, self._cluster.dims
        if kind == "update":
            strides, offset = node.attrs
            return kind, node.dtype, strides, self._start(node, offset), dims[node.index], self._argument(node.args[1])
        if kind == "check":
            return kind, node.shape, dims[node.index], *map(self._argument, node.args)
        own = kind, node.dtype, node.strides, self._start(node, 0), dims[node.index]
        if kind == "gather":
            strides, offset, index_strides, reach = node.attrs
            source = base_of(node.args[0])[0]
            attrs: tuple = strides, self._start(source, offset), index_strides, reach
            arguments = node.args[1:]
        else:
            attrs = (node.attrs, dims[domain_key(node)]) if kind == "reduce" else node.attrs[:1]
            arguments = node.args
        found = *own, attrs, *map(self._argument, arguments)
        self._computed.add(node.index)
        return found

    def _argument(self, argument: Node) -> int | tuple:
        """All that ``Nest`` looks at in what a node of the cluster reads."""
        base, view = base_of(argument)
        kind = base.kind
        bounds = view.attrs[1] if view is not None else ()
        if kind == "constant":
            return kind, base.dtype, base.attrs[1:], bounds
        if kind == "number":
            return kind, base.dtype, self.numbers.setdefault(base.attrs[0], len(self.numbers)), bounds
        if kind == "iota":
            return kind, base.attrs, base.shape, base.strides, argument.attrs, argument.shape, argument.strides
        is_own = self._home.get(base.index) is self._cluster
        if is_uniform(base) and not is_own:
            return kind, base.dtype, base.attrs[:1], bounds, *map(self._argument, base.args)
        if is_own and base.index in self._computed:
            return self._places[base.index]
        return base.dtype, argument.strides, self._start(base, 0 if view is None else view.attrs[0]), bounds

    def generalize(self, call: KernelCall) -> _Call:
        """A kernel call of the cluster without what is its own."""
        starts = []
        for position, buffer in call.buffers:
            if not isinstance(buffer, str):
                itemsize = buffer.dtype.itemsize
                start = self.starts[self._places[buffer.index], call.params[position + 1] // itemsize]
                starts.append((position + 1, start, itemsize))
        return _Call(
            call.name,
            call.source,
            tuple(call.params),
            tuple([(position, each if isinstance(each, str) else self._places[each.index]) for position, each in call.buffers]),
            tuple(starts),
            tuple([(position, self.numbers[call.params[position]]) for position in call.numbers]),
            call.tiles,
            call.grain,
            call.scratch_bytes,
            tuple([self._places[node.index] for node in call.nodes]),
            tuple(call.temporaries.items()),
        )

    def particular(self, calls: Sequence[_Call]) -> list[KernelCall]:
        """The kernel calls of the cluster, given those of the pattern."""
        memory, numbers = self.memory, list(self.numbers)
        offsets = [offset for _, offset in self.starts]
        found = []
        for call in calls:
            params = list(call.params)
            for position, start, itemsize in call.starts:
                params[position] = offsets[start] * itemsize
            for position, place in call.numbers:
                params[position] = numbers[place]
            buffers = [(position, each if isinstance(each, str) else memory[each]) for position, each in call.buffers]
            nodes = tuple([memory[each] for each in call.nodes])
            found.append(
                KernelCall(
                    call.name, call.source, params, buffers, call.tiles, call.grain, call.scratch_bytes, nodes, dict(call.temporaries)
                )
            )
        return found


_KNOWN: dict[tuple, tuple[_Call, ...]] = {}


def lower(
    cluster: Cluster, stored: Collection[int], home: dict[int, Cluster], is_fresh: Callable[[Node], bool], stays_cached: bool
) -> list[KernelCall]:
    """The kernel calls of a cluster that is computed in loops."""
    pattern = Pattern(cluster, stored, home, is_fresh, stays_cached)
    known = _KNOWN.get(pattern.key)
    if known is not None:
        return pattern.particular(known)
    calls = Nest(cluster, stored, home, is_fresh, stays_cached).lower()
    if len(_KNOWN) >= _MOST:
        del _KNOWN[next(iter(_KNOWN))]
    _KNOWN[pattern.key] = tuple(map(pattern.generalize, calls))
    return calls

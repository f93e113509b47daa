"""Clusters: which nodes are computed together in one loop nest.

Before::

    %3 = map sub (%0, view of %2)        %4 = map exp (%3)
    %5 = reduce sum 1 (%4)               %6 = map div (%4, view of %5)

After: one cluster of four nodes over the *digits* (rows, columns), which reduces over ``columns``.

What digits are: ``digits.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from math import prod
from operator import or_
from typing import Any

from flambeau._compiler.digits import Cluster, Dims, digit_strides, domain_key, read_dims, reads_alike, runs_of
from flambeau._compiler.node import Node, base_of, is_uniform, turns
from flambeau._runtime import targets

LOOP_KINDS = frozenset(("map", "cast", "reduce", "gather", "update", "check"))
"""Kinds of nodes that are computed in loops; the others are steps of their own, or are read where they lie."""

RISKS = frozenset(("host", "check", "scatter"))
"""Kinds of nodes that may find something wrong with their data."""

LEAVES = frozenset(("constant", "number", "iota"))

ATTENTION = frozenset(("attention", "attention_backward"))
"""Kinds of which one kernel computes several nodes, those that differ in their first attribute only."""


MAX_NODES = 96
MAX_BUFFERS = 28
_FAR = 8
"""So many steps of elementwise work are followed to see when a value is wanted."""
MOST_OF_UPDATE = 6
"""So many steps of an update may be done where its gradient is added up."""
SPLIT_ELEMENTS = 1 << 15
"""A reduction of at least this many elements is split into chunks that threads share, if it has too few tiles for all of them."""
TILES_PER_CORE = 4
COLUMN_RESULTS = 64
"""Results that a tile should have where these lie side by side: narrower ones read too little of each line."""


class Clustering:
    """Assigns every needed node that is computed in loops, and every other step, to a cluster. Nodes of ``overwriting`` replace inputs."""

    def __init__(self, needed: Sequence[Node], roots: Collection[Node], overwriting: Collection[int] = ()) -> None:
        self.clusters: dict[int, Cluster] = {}
        self.home: dict[int, Cluster] = {}
        self.readers: dict[int, list[Node]] = {}
        self._made = 0
        self._followed = 0  # bits of the clusters that others come after
        self._together: dict[Any, Cluster] = {}
        self._roots = {node.index for node in roots}
        self._overwriting = overwriting
        self._users: dict[int, list[Node]] = {}
        for node in needed:
            for argument in node.args:
                self._users.setdefault(argument.index, []).append(node)
        self._update_of = self._find_updates(needed) if overwriting else {}
        in_memory = set(self._roots)
        for node in needed:
            if node.kind in ("gather", "update"):  # loops, but they reach into the memory of what they read from or write to
                in_memory.add(base_of(node.args[0])[0].index)
            elif node.kind not in LOOP_KINDS and node.kind != "view":
                in_memory |= {base_of(argument)[0].index for argument in node.args}
        for node in needed:
            if node.kind in LEAVES or node.kind in ("view", "input") or (is_uniform(node) and node.index not in in_memory):
                continue
            if node.kind in LOOP_KINDS:
                self._place(node)
            else:
                self._alone(node)

    def _find_updates(self, needed: Sequence[Node]) -> dict[int, list[Node]]:
        """For each node that only leads, by elementwise steps, to what replaces inputs: the steps of the same update."""
        leading: set[int] = set()
        for node in reversed(needed):
            users = self._users.get(node.index, ())
            ends = node.index in self._overwriting if not users else all(user.index in leading for user in users)
            if ends and node.kind in ("map", "cast") and not is_uniform(node):
                leading.add(node.index)
        found: dict[int, list[Node]] = {}
        for node in needed:
            if node.index not in leading:
                continue
            update = found[node.index] = [node]
            for argument in node.args:
                other = found.get(argument.index, update)
                if other is not update:
                    update += other
                    found.update((each.index, update) for each in other)
        return found

    # -- the dependency graph of clusters --------------------------------------------------------------------------

    def _new(self) -> Cluster:
        self._made += 1
        cluster = self.clusters[self._made] = Cluster(self._made)
        return cluster

    def sources(self, node: Node) -> list[Cluster]:
        """The clusters that a node reads from."""
        found: list[Cluster] = []
        for argument in node.args:
            base = argument.args[0] if argument.kind == "view" else argument
            cluster = self.home.get(base.index)
            if cluster is not None and cluster not in found:
                found.append(cluster)
        return found

    def depend(self, cluster: Cluster, on: Iterable[Cluster]) -> None:
        """Let ``cluster`` run after the clusters ``on``."""
        new = 0
        for other in on:
            if other is not cluster:
                new |= other.ancestors | (1 << other.number)
        self._followed |= new
        self._follow(cluster, new)

    def _follow(self, cluster: Cluster, new: int) -> None:
        """Let a cluster, and all that come after it, run after those that ``new`` has as bits, with all that these come after."""
        new &= ~cluster.ancestors
        if not new:
            return
        cluster.ancestors |= new
        bit = 1 << cluster.number
        if not self._followed & bit:
            return
        for other in self.clusters.values():
            if other.ancestors & bit:
                other.ancestors |= new

    def _is_between(self, first: Cluster, second: Cluster) -> bool:
        """Whether a cluster that ``first`` comes after comes after ``second``. Only those can that ``second`` does not come after, which are few."""
        bit = 1 << second.number
        left = first.ancestors & ~(second.ancestors | bit)
        while left:
            lowest = left & -left
            if self.clusters[lowest.bit_length() - 1].ancestors & bit:
                return True
            left ^= lowest
        return False

    def _alone(self, node: Node) -> Cluster:
        """Put a node into a cluster of its own; the results of one attention share theirs."""
        key = (node.kind, node.attrs[1:], node.args) if node.kind in ATTENTION else node
        cluster = self._together.get(key) or self._together.setdefault(key, self._new())
        cluster.nodes.append(node)
        self.home[node.index] = cluster
        self.depend(cluster, self.sources(node))
        return cluster

    # -- placing a node --------------------------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        """Put a node into the cluster of an argument, merging the clusters of several, or into a new one."""
        sources = self.sources(node)
        for cluster in sorted(sources, key=lambda each: -each.number) if len(sources) > 1 else sources:
            if not self._is_for_later(node, cluster) and not self._is_of_long_update(node, cluster) and self._join(node, cluster, sources):
                for other in sources:
                    if other is not cluster:
                        self._merge(cluster, other, node)
                return
        if node.kind == "reduce" and self._join_sibling(node):
            return
        cluster = self._new()
        self._add(node, cluster, cluster.fresh_dims(self._domain(node)))

    def _is_for_later(self, node: Node, cluster: Cluster) -> bool:
        """Whether a node reads no more of a cluster than results of its reductions, and is wanted only by what runs after the cluster.

        The backward pass of a normalization, say, which reads what was normalized and the mean: if that were computed right after the mean, it would be
        kept in memory from the forward to the backward pass. (ResNet-50's training step: 521 MB of temporaries became 379.) Or what a gradient adds up over
        the rows of which the cluster has the statistics: to store that would be to write and read as much as the input once more.
        """
        inside = [base for base, _ in map(base_of, node.args) if self.home.get(base.index) is cluster]
        if not inside or not all(self._after_reduction(cluster, base) for base in inside):
            return False
        return self._is_used_later(node, cluster, _FAR)

    def _is_used_later(self, node: Node, cluster: Cluster, depth: int) -> bool:
        users = self._users.get(node.index, ())
        if not users or not depth or node.index in self._roots:
            return False
        bit = 1 << cluster.number
        return all(
            any(other is not cluster and other.ancestors & bit for other in self.sources(user))
            or (user.kind == "reduce" and self._reduces_otherwise(user, cluster))
            or (user.kind in ("map", "cast", "view") and self._is_used_later(user, cluster, depth - 1))
            for user in users
        )

    @staticmethod
    def _reduces_otherwise(node: Node, cluster: Cluster) -> bool:
        """Whether a reduction is over other axes than the reductions of a cluster of arrays of the same shape."""
        others = {each.attrs[1] for each in cluster.nodes if each.kind == "reduce" and each.args[0].shape == node.args[0].shape}
        return bool(others) and node.attrs[1] not in others

    def _is_of_long_update(self, node: Node, cluster: Cluster) -> bool:
        """Whether a node is one of many steps that update an input by a result of the cluster's reductions, as Adam's are by a bias's gradient.

        As contractions do, reductions take along what is short: they and updates are a kernel each, and not one of each reduction.
        """
        update = self._update_of.get(node.index, ())
        if cluster.reduced is None or sum(each.kind != "cast" for each in update) <= MOST_OF_UPDATE:
            return False
        return all(self._after_reduction(cluster, base) for base, _ in map(base_of, node.args) if self.home.get(base.index) is cluster)

    def _join_sibling(self, node: Node) -> bool:
        """Put a reduction into a cluster that reads the same memory at the same positions and reduces alike."""
        for other in self.readers.get(node.args[0].index, ()):
            cluster = self.home[other.index]
            bit = 1 << cluster.number
            if 0 in cluster.extents or len(cluster.nodes) >= MAX_NODES or any(each.ancestors & bit for each in self.sources(node)):
                continue
            dims = cluster.dims[domain_key(other) if other.kind == "reduce" else other.index]
            every = {digit for digit, extent in enumerate(cluster.extents) if extent > 1}
            if {digit for digits in dims for digit in digits} >= every and self._reducible(node, cluster, dims):
                self._add(node, cluster, dims)
                return True
        return False

    @staticmethod
    def _domain(node: Node) -> tuple[int, ...]:
        """The shape that a node's loops run over."""
        if node.kind == "reduce":
            return node.args[0].shape
        return node.args[1].shape if node.kind == "update" else node.shape

    @staticmethod
    def _fused_args(node: Node) -> tuple[Node, ...]:
        """The arguments that are read at the position of the loop (a gather's source and an update's target are not)."""
        return node.args[1:] if node.kind in ("gather", "update") else node.args

    def _join(self, node: Node, cluster: Cluster, sources: Sequence[Cluster]) -> bool:
        """Try to add a node, which reads from ``sources``, to one of them; on failure the cluster is as it was."""
        if not cluster.dims or len(cluster.nodes) >= MAX_NODES or len(cluster.buffers) >= MAX_BUFFERS:
            return False
        if 0 in cluster.extents or 0 in self._domain(node):  # nothing to loop over, and no digits to speak of
            return False
        inside = []
        for argument in self._fused_args(node):
            base, view = base_of(argument)
            if self.home.get(base.index) is cluster:
                inside.append((base, view))
        if not inside or (node.kind in ("gather", "update") and self.home.get(base_of(node.args[0])[0].index) is cluster):
            return False
        if node.kind == "update" and self._touches(cluster, node.args[0]):
            return False
        if any(base.kind == "update" or (node.kind == "reduce" and turns(base)) for base, _ in inside):
            return False
        bit = 1 << cluster.number
        for other in sources:
            if other is not cluster and other.ancestors & bit:
                return False
        if cluster.closed and any(self._after_reduction(cluster, base) for base, _ in inside):
            return False
        state = cluster.snapshot() if any(view is not None for _, view in inside) else None  # only views split digits
        dims = self._dims(node, cluster, inside)
        if (
            dims is None
            or not all(reads_alike(cluster, base, view, dims) for base, view in inside)
            or not self._reducible(node, cluster, dims)
        ):
            if state is not None:
                cluster.restore(state)
            return False
        self._add(node, cluster, dims)
        return True

    @staticmethod
    def _touches(cluster: Cluster, target: Node) -> bool:
        """Whether a cluster reads the memory that an update is going to overwrite."""
        base, _ = base_of(target)
        roots = {base.index}
        while base.kind in ("update", "bitcast", "scatter"):
            base = base_of(base.args[0])[0]
            roots.add(base.index)
        return any(base_of(argument)[0].index in roots for each in cluster.nodes for argument in each.args)

    @staticmethod
    def _after_reduction(cluster: Cluster, node: Node) -> bool:
        return cluster.reduced is not None and not any(digit in cluster.reduced for digits in cluster.dims[node.index] for digit in digits)

    @staticmethod
    def _dims(node: Node, cluster: Cluster, inside: list[tuple[Node, Node | None]]) -> Dims | None:
        """The node's domain in digits, found through the argument that has the most of them."""
        base, view = inside[0] if len(inside) == 1 else max(inside, key=lambda pair: sum(map(len, cluster.dims[pair[0].index])))
        dims: Dims | None = cluster.dims[base.index]
        if view is not None:
            own = {digit for digits in cluster.dims[base.index] for digit in digits}
            outer, run = cluster.runs or ((), ())
            dims = read_dims(cluster, base, view, [digit for digit in (*outer, *run) if digit not in own])
            if dims is None:
                return None
        used = {digit for digits in dims for digit in digits}
        every = {digit for digit, extent in enumerate(cluster.extents) if extent > 1}
        return dims if used == every or (cluster.reduced is not None and used == every - cluster.reduced) else None

    @staticmethod
    def _reducible(node: Node, cluster: Cluster, dims: Dims) -> bool:
        """Whether the reductions of the cluster and the node reduce the same digits."""
        if node.kind != "reduce":
            return True
        axes = node.attrs[1]
        reduced = frozenset(digit for axis in axes for digit in dims[axis])
        if cluster.reduced is None:
            return bool(reduced)
        if reduced != cluster.reduced or runs_of(dims, axes, node.args[0].shape) != cluster.runs:
            return False
        return not cluster.closed or _lies_as_others(node, cluster, dims)

    def _add(self, node: Node, cluster: Cluster, dims: Dims) -> None:
        if node.kind == "reduce":
            axes = node.attrs[1]
            cluster.reduced = frozenset(digit for axis in axes for digit in dims[axis])
            cluster.runs = runs_of(dims, axes, node.args[0].shape)
            results = prod(extent for digit, extent in enumerate(cluster.extents) if digit not in cluster.reduced)
            tiles = results if _lies_along(node.args[0], axes) else -(-results // COLUMN_RESULTS)
            cluster.closed = cluster.elements >= SPLIT_ELEMENTS and tiles < TILES_PER_CORE * targets.available_cores()
            cluster.dims[domain_key(node)] = dims
            dims = tuple(digits for axis, digits in enumerate(dims) if axis not in axes)
        cluster.nodes.append(node)
        cluster.dims[node.index] = dims
        self.home[node.index] = cluster
        if node.kind in ("map", "cast", "reduce"):
            for argument in node.args:
                self.readers.setdefault(argument.index, []).append(node)
        for argument in node.args:
            base, _ = base_of(argument)
            if self.home.get(base.index) is not cluster and base.kind not in LEAVES and not is_uniform(base):
                cluster.buffers.add(base.index)
        self.depend(cluster, self.sources(node))

    # -- merging two clusters --------------------------------------------------------------------------------------

    def _merge(self, first: Cluster, second: Cluster, node: Node) -> None:
        """Let ``second``, which also feeds ``node``, become part of ``first`` if both run over the same positions."""
        if not second.dims or second.closed or len(first.nodes) + len(second.nodes) > MAX_NODES or 0 in second.extents:
            return
        if len(first.buffers | second.buffers) > MAX_BUFFERS or (first.reduced is not None and second.reduced is not None):
            return
        a, b = 1 << first.number, 1 << second.number
        if second.ancestors & a or self._is_between(first, second):
            return
        pairs = [base_of(argument) for argument in self._fused_args(node)]
        pairs = [(base, view) for base, view in pairs if self.home.get(base.index) is second]
        if not pairs or any(base.kind == "update" for base, _ in pairs):
            return
        for each in (*first.nodes, *second.nodes):
            if each.kind == "update" and (self._touches(first, each.args[0]) or self._touches(second, each.args[0])):
                return
        states = first.snapshot(), second.snapshot()
        mapping = self._align(first, second, node, pairs)
        if mapping is None:
            first.restore(states[0])
            second.restore(states[1])
            return
        for index, dims in second.dims.items():
            first.dims[index] = tuple(tuple(mapping[digit] for digit in digits) for digits in dims)
        if not all(self._reads_at_its_position(first, reader, second) for reader in first.nodes):
            first.restore(states[0])
            second.restore(states[1])
            return
        if second.reduced is not None:
            first.reduced = frozenset(mapping[digit] for digit in second.reduced)
            first.runs = tuple(tuple(mapping[digit] for digit in digits) for digits in second.runs)
        first.nodes = sorted(first.nodes + second.nodes, key=lambda each: each.index)
        for each in second.nodes:
            self.home[each.index] = first
        first.buffers |= second.buffers
        first.buffers -= {each.index for each in first.nodes}
        del self.clusters[second.number]
        if self._followed & b:
            self._followed |= a
        first.ancestors &= ~b
        self._follow(first, second.ancestors)
        for each in self.clusters.values():
            if each.ancestors & b and each is not first:
                each.ancestors = each.ancestors & ~b | a | first.ancestors

    def _reads_at_its_position(self, cluster: Cluster, reader: Node, source: Cluster) -> bool:
        """Whether what a node of ``cluster`` reads from ``source``, whose dimensions are in digits of the cluster by now, is what the
        loop computes at the node's own position."""
        dims = cluster.dims[domain_key(reader) if reader.kind == "reduce" else reader.index]
        if reader.kind in ("gather", "update") and self.home.get(base_of(reader.args[0])[0].index) is source:
            return False
        reads = [base_of(argument) for argument in self._fused_args(reader)]
        return all(reads_alike(cluster, base, view, dims) for base, view in reads if self.home.get(base.index) is source)

    def _align(self, first: Cluster, second: Cluster, node: Node, pairs: list) -> dict[int, int] | None:
        """The digits of ``first`` that the digits of ``second`` are, as ``node`` reads both; splits both where needed."""
        base, view = pairs[0]
        theirs = read_dims(second, base, view)
        if theirs is None:
            return None
        if {digit for digits in theirs for digit in digits} != {digit for digit, extent in enumerate(second.extents) if extent > 1}:
            return None
        count = len(theirs)
        every = {digit for digit, extent in enumerate(first.extents) if extent > 1}
        mine = first.dims[node.index] if node.kind != "reduce" else None
        reduced = first.reduced or frozenset()
        if mine is None or {digit for digits in mine for digit in digits} not in (every, every - reduced):
            return None
        mapping: dict[int, int] = {}
        probe = -1 - node.index  # keeps `theirs` up to date while digits are split
        second.dims[probe] = theirs
        for axis in range(count):
            done = 0
            while True:
                mine_digits, their_digits = first.dims[node.index][axis], second.dims[probe][axis]
                if done == len(mine_digits) and done == len(their_digits):
                    break
                if done >= len(mine_digits) or done >= len(their_digits):
                    del second.dims[probe]
                    return None
                one, two = mine_digits[len(mine_digits) - 1 - done], their_digits[len(their_digits) - 1 - done]
                x, y = first.extents[one], second.extents[two]
                if x > y and x % y == 0:
                    one = first.split(one, y)
                elif y > x and y % x == 0:
                    two = second.split(two, x)
                elif x != y:
                    del second.dims[probe]
                    return None
                mapping[two] = one
                done += 1
        del second.dims[probe]
        for digit, extent in enumerate(second.extents):
            if extent == 1:
                mapping[digit] = first.digit(1)
        return mapping

    def order(self) -> list[Cluster]:
        """The clusters so that each comes after those that it depends on, otherwise by their first node.

        Those that overwrite inputs wait for what can fail, unless that depends on them.
        """
        clusters = list(self.clusters.values())
        risks = [cluster for cluster in clusters if any(node.kind in RISKS for node in cluster.nodes)]
        before = reduce(or_, (cluster.ancestors | 1 << cluster.number for cluster in risks), 0)
        free = [cluster for cluster in clusters if risks and not before >> cluster.number & 1]
        waits = {cluster.number for cluster in free if any(node.index in self._overwriting for node in cluster.nodes)}
        done = 0
        result: list[Cluster] = []
        blocked: list[Cluster] = []
        for cluster in sorted(clusters, key=lambda each: (each.number in waits, each.nodes[0].index)):
            blocked.append(cluster)
            while (ready := next((each for each in blocked if not each.ancestors & ~done), None)) is not None:
                blocked.remove(ready)
                done |= 1 << ready.number
                result.append(ready)
        if blocked:
            raise AssertionError(f"clusters depend on each other: {blocked}")
        return result


def _lies_as_others(node: Node, cluster: Cluster, dims: Dims) -> bool:
    """Whether the results of a reduction lie as those that are in a cluster do: partial results have one order."""
    places = tuple(digits for axis, digits in enumerate(dims) if axis not in node.attrs[1])
    strides = digit_strides(places, node.strides, cluster.extents)
    moves = lambda strides: {digit: stride for digit, stride in strides.items() if cluster.extents[digit] > 1}
    return moves(strides) == moves(cluster.strides(next(each for each in cluster.nodes if each.kind == "reduce")))


def _lies_along(operand: Node, axes: Sequence[int]) -> bool:
    """Whether neighbours in memory are reduced together."""
    steps = [(stride, axis) for axis, (size, stride) in enumerate(zip(operand.shape, operand.strides, strict=True)) if size > 1 and stride]
    return not steps or min(steps)[1] in axes

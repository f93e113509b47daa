"""Digits: the domain of a cluster, in which all its loops run.

A cluster's domain is a set of digits, as in a number with mixed radix: every dimension of every value in the cluster is a
product of some of its digits. A node joins the cluster of its argument if its dimensions can be written in the cluster's digits,
after splitting some of them; thus reshapes, transposes and broadcasts cost nothing inside a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from flambeau._compiler.node import Node

Dims = tuple[tuple[int, ...], ...]
"""For each dimension of a value the digits that make it up, outermost first."""


class Cluster:
    """Nodes that share a loop nest.

    Attributes:
        extents: the size of each digit
        dims: for each node (by index) its dimensions in digits
        reduced: the digits that the reductions of the cluster reduce, or ``None``
        runs: for each reduction node its reduced digits in order, and how many of them make up the outer part
        closed: results of the reductions must be read from memory (a split reduction)
        number: the bit of the cluster in ``ancestors``
        ancestors: the clusters that must run before, as a set of bits
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ancestors = 0
        self.nodes: list[Node] = []
        self.extents: list[int] = []
        self.dims: dict[int, Dims] = {}
        self.reduced: frozenset[int] | None = None
        self.runs: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.closed = False
        self.buffers: set[int] = set()

    def __repr__(self) -> str:
        return f"Cluster({self.number}, {self.extents}, reduced={self.reduced}, {[node.index for node in self.nodes]})"

    @property
    def elements(self) -> int:
        return prod(self.extents)

    def digit(self, extent: int) -> int:
        self.extents.append(extent)
        return len(self.extents) - 1

    def split(self, digit: int, minor: int) -> int:
        """Split off the lower part of a digit as a new one of ``minor`` values; returns the new digit."""
        new = self.digit(minor)
        self.extents[digit] //= minor

        def replace(digits: tuple[int, ...]) -> tuple[int, ...]:
            if digit not in digits:
                return digits
            at = digits.index(digit)
            return (*digits[: at + 1], new, *digits[at + 1 :])

        for index, dims in self.dims.items():
            self.dims[index] = tuple(map(replace, dims))
        if self.reduced is not None and digit in self.reduced:
            self.reduced |= {new}
            outer, run = self.runs
            self.runs = (replace(outer), replace(run))
        return new

    def snapshot(self) -> tuple:
        return list(self.extents), dict(self.dims), self.reduced, self.runs

    def restore(self, state: tuple) -> None:
        self.extents, self.dims, self.reduced, self.runs = list(state[0]), dict(state[1]), state[2], state[3]

    def fresh_dims(self, shape: Sequence[int]) -> Dims:
        """New digits, one for each dimension larger than 1."""
        return tuple(() if size == 1 else (self.digit(size),) for size in shape)

    def strides(self, node: Node) -> dict[int, int]:
        """How far each digit moves in the memory order of a node; in that of the view that an update writes."""
        strides = node.attrs[0] if node.kind == "update" else node.strides
        return digit_strides(self.dims[node.index], strides, self.extents)


def digit_strides(dims: Dims, strides: Sequence[int], extents: Sequence[int]) -> dict[int, int]:
    """The stride of each digit, given those of the dimensions."""
    found: dict[int, int] = {}
    for digits, stride in zip(dims, strides, strict=True):
        step = stride
        for digit in reversed(digits):
            found[digit] = found.get(digit, 0) + step
            step *= extents[digit]
    return found


def read_dims(cluster: Cluster, node: Node, view: Node | None, spare: Iterable[int] = ()) -> Dims | None:
    """The dimensions (in digits) of a read of ``node``, which is in the cluster: directly, or through ``view``.

    ``spare`` are the digits that a dimension of stride 0 may be made of. ``None`` if the view cannot be written in digits.
    """
    if view is None:
        return cluster.dims[node.index]
    offset, bounds = view.attrs
    if offset or bounds:
        return None
    moves = sorted((stride, digit) for digit, stride in cluster.strides(node).items())
    left = list(spare)
    dims: list[tuple[int, ...]] = []
    for size, stride in zip(view.shape, view.strides, strict=True):
        if size == 1:
            dims.append(())
        elif stride == 0:
            taken = _take_spare(cluster, left, size)
            if taken is None:
                return None
            dims.append(taken)
        else:
            found = interval(cluster, moves, stride, size)
            if found is None:
                return None
            dims.append(found)
            moves = sorted((step, digit) for digit, step in cluster.strides(node).items())
    used = [digit for digits in dims for digit in digits]
    return tuple(dims) if len(set(used)) == len(used) else None


def interval(cluster: Cluster, moves: list[tuple[int, int]], stride: int, size: int) -> tuple[int, ...] | None:
    """The digits of a node whose memory they cover from ``stride`` to ``stride * size``, outermost first; splits at the ends."""
    found: list[int] = []
    position = stride
    limit = stride * size
    if not limit:  # nothing is read
        return None
    for start, digit in moves:
        extent = cluster.extents[digit]
        if start * extent <= position:
            continue
        if start > position:
            return None
        if start < position:
            if position % start or extent % (position // start):
                return None
            low = position // start
            cluster.split(digit, low)  # the old digit keeps the upper part, which starts at position
            extent = cluster.extents[digit]
        if position * extent > limit:
            if limit % position or extent % (limit // position):
                return None
            digit = cluster.split(digit, limit // position)
            extent = cluster.extents[digit]
        found.append(digit)
        position *= extent
        if position == limit:
            return tuple(reversed(found))
    return None


def _take_spare(cluster: Cluster, spare: list[int], size: int) -> tuple[int, ...] | None:
    """Digits from the front of ``spare`` whose product is ``size``; splits the last if need be."""
    taken: list[int] = []
    rest = size
    while rest > 1:
        if not spare:
            return None
        digit = spare.pop(0)
        extent = cluster.extents[digit]
        if extent > rest:
            if extent % rest:
                return None
            spare.insert(0, cluster.split(digit, extent // rest))
            extent = rest
        if rest % extent:
            return None
        taken.append(digit)
        rest //= extent
    return tuple(taken)


def reads_alike(cluster: Cluster, node: Node, view: Node | None, dims: Dims) -> bool:
    """Whether a read of ``node`` at ``dims`` (directly or through ``view``) finds each value at the digits where it was computed."""
    if view is None:
        if dims == cluster.dims[node.index]:
            return True
        seen = digit_strides(dims, node.strides, cluster.extents)
    else:
        offset, bounds = view.attrs
        if offset or bounds:
            return False
        seen = digit_strides(dims, view.strides, cluster.extents)
    own = cluster.strides(node)
    return {digit: stride for digit, stride in seen.items() if stride} == {
        digit: stride for digit, stride in own.items() if stride and cluster.extents[digit] > 1
    }


def domain_key(node: Node) -> int:
    """Where ``Cluster.dims`` keeps the dimensions of a reduction's argument."""
    return -1 - node.index


def runs_of(dims: Dims, axes: Sequence[int], shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The digits of the outer reduced axes, and those of the *run*: the last reduced axes that are neighbours (leaving out axes of length 1)."""
    long = [axis for axis, size in enumerate(shape) if size != 1]
    places = [(place, axis) for place, axis in enumerate(long) if axis in axes]
    first = len(places) - 1
    while first > 0 and places[first - 1][0] == places[first][0] - 1:
        first -= 1
    outer = tuple(digit for _, axis in places[: max(first, 0)] for digit in dims[axis])
    return outer, tuple(digit for _, axis in places[max(first, 0) :] for digit in dims[axis])

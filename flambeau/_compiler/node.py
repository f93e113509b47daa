"""A node of the graph: one array. What kinds there are is told in ``graph.py``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph

MAX_UNIFORM = 8
"""How deep an expression of numbers may be that is computed again wherever it is used."""


class Bound(NamedTuple):
    """A coordinate that must be in range: ``0 <= start + sum(coefficients * index) < extent``."""

    coefficients: tuple[int, ...]
    start: int
    extent: int


class Rows(NamedTuple):
    """How a scatter reads its value, if that is rows of memory: ``memory[offset + sum(i * strides) + place[i] * step]``, times a factor if it is
    ``scaled``. Place and factor, which are the last arguments, do not move along the last axis."""

    strides: tuple[int, ...]
    offset: int
    step: int
    scaled: bool


class Node:
    """One array of a graph.  Arithmetic on nodes appends to the graph; Python numbers become constants.

    Attributes:
        kind, args, attrs: what it is (see the table above); ``attrs`` is hashable
        dtype, shape: of its elements
        strides: the dense order in memory; for a ``view`` the strides of the view
        uniform: from how many operators one after another it is made, plus 1, if it is one number made of run-time scalars and
            constants alone; otherwise (or if there are more than ``MAX_UNIFORM``) 0
    """

    __slots__ = ("args", "attrs", "dtype", "graph", "index", "kind", "shape", "strides", "uniform")

    def __init__(
        self, graph: Graph, kind: str, args: tuple[Node, ...], attrs: tuple, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.graph = graph
        self.kind = kind
        self.args = args
        self.attrs = attrs
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.index = len(graph.nodes)
        self.uniform = self._uniform()

    def _uniform(self) -> int:
        if self.kind not in ("number", "constant", "map", "cast") or prod(self.shape) != 1:
            return 0
        depths = [(each.args[0] if each.kind == "view" else each).uniform for each in self.args]
        return 0 if 0 in depths or max(depths, default=0) >= MAX_UNIFORM else 1 + max(depths, default=0)

    def __repr__(self) -> str:
        arguments = ", ".join(f"%{argument.index}" for argument in self.args)
        attributes = "".join(f" {attribute}" for attribute in self.attrs)
        return f"%{self.index} = {self.kind}{attributes} ({arguments}) : {self.dtype.name}{list(self.shape)}"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def layout(self) -> Layout:
        """The layout through which the elements are read (of the node's own memory, or of a view's argument)."""
        return lay.layout(self.shape, self.strides, self.attrs[0] if self.kind == "view" else 0, self.dtype)

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Node:
        return self.graph.map("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return self.graph.map("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return self.graph.map("sub", self, other)

    def __rsub__(self, other: Any) -> Node:
        return self.graph.map("sub", other, self)

    def __mul__(self, other: Any) -> Node:
        return self.graph.map("mul", self, other)

    def __rmul__(self, other: Any) -> Node:
        return self.graph.map("mul", other, self)

    def __truediv__(self, other: Any) -> Node:
        return self.graph.map("div", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return self.graph.map("div", other, self)

    def __neg__(self) -> Node:
        return self.graph.map("neg", self)

    def __lt__(self, other: Any) -> Node:
        return self.graph.map("lt", self, other)

    def __le__(self, other: Any) -> Node:
        return self.graph.map("le", self, other)

    def __gt__(self, other: Any) -> Node:
        return self.graph.map("gt", self, other)

    def __ge__(self, other: Any) -> Node:
        return self.graph.map("ge", self, other)

    def __and__(self, other: Any) -> Node:
        return self.graph.map("bitwise_and", self, other)

    def __or__(self, other: Any) -> Node:
        return self.graph.map("bitwise_or", self, other)

    def __invert__(self) -> Node:
        return self.graph.map("bitwise_not", self)

    def equals(self, other: Any) -> Node:
        return self.graph.map("eq", self, other)

    def differs(self, other: Any) -> Node:
        return self.graph.map("ne", self, other)

    def cast(self, dtype: DType) -> Node:
        return self.graph.cast(self, dtype)

    # -- views -----------------------------------------------------------------------------------------------------

    @property
    def plain(self) -> Node:
        """The node, or a copy of it if it is a padded view (whose elements do not all lie in memory)."""
        return self.graph.copy(self) if self.kind == "view" and self.attrs[1] else self

    def expand(self, shape: tuple[int, ...]) -> Node:
        if shape == self.shape:
            return self
        source = self.plain
        return self.graph.view(source, lay.expand(source.layout, shape))

    def permute(self, axes: Sequence[int]) -> Node:
        layout = lay.permute(self.layout, axes)
        if self.kind != "view" or not self.attrs[1]:
            return self.graph.view(self, layout)
        bounds = tuple(Bound(tuple(bound.coefficients[axis] for axis in axes), bound.start, bound.extent) for bound in self.attrs[1])
        return self.graph.view(self, layout, bounds)

    def split_axis(self, axis: int, outer: int) -> Node:
        """An axis as two: ``outer`` and what is left; also of a padded view."""
        inner = self.shape[axis] // outer if outer else self.shape[axis]
        source = self.layout
        shape = (*source.shape[:axis], outer, inner, *source.shape[axis + 1 :])
        strides = (*source.strides[:axis], source.strides[axis] * inner, *source.strides[axis:])
        bounds = tuple(
            Bound((*bound.coefficients[:axis], bound.coefficients[axis] * inner, *bound.coefficients[axis:]), bound.start, bound.extent)
            for bound in (self.attrs[1] if self.kind == "view" else ())
        )
        return self.graph.view(self, lay.layout(shape, strides, source.offset, self.dtype), bounds)

    def transpose(self, first: int, second: int) -> Node:
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return self.permute(axes)

    def reshape(self, shape: tuple[int, ...]) -> Node:
        """The elements in row-major order with another shape; copies where strides cannot express it."""
        shape = lay.infer_size(shape, self.numel)
        source = self.plain
        viewed = lay.view(source.layout, shape)
        return self.graph.copy(source).reshape(shape) if viewed is None else self.graph.view(source, viewed)

    def joined(self, first: int, second: int) -> Node:
        """Two neighbouring axes as one."""
        return self.reshape((*self.shape[:first], self.shape[first] * self.shape[second], *self.shape[second + 1 :]))

    def slice(self, axis: int, start: int, length: int, step: int = 1) -> Node:
        source = self.plain
        return self.graph.view(source, lay.slice_axis(source.layout, axis, start, length, step))

    def select(self, axis: int, index: int) -> Node:
        source = self.plain
        return self.graph.view(source, lay.select(source.layout, axis, index))

    def unsqueeze(self, axis: int) -> Node:
        source = self.plain
        return self.graph.view(source, lay.unsqueeze(source.layout, axis))

    # -- reductions ------------------------------------------------------------------------------------------------

    def sum(self, axes: Sequence[int], *, keepdim: bool = False) -> Node:
        return self.graph.reduce("sum", self, axes, keepdim=keepdim)

    def max(self, axes: Sequence[int], *, keepdim: bool = False) -> Node:
        return self.graph.reduce("max", self, axes, keepdim=keepdim)

    def min(self, axes: Sequence[int], *, keepdim: bool = False) -> Node:
        return self.graph.reduce("min", self, axes, keepdim=keepdim)


def is_uniform(node: Node) -> bool:
    """Whether a node is one number made of run-time scalars and constants alone; it is computed again wherever it is used."""
    return node.uniform > 0


def base_of(argument: Node) -> tuple[Node, Node | None]:
    """What an argument reads: the node with memory of its own, and the view if there is one."""
    return (argument.args[0], argument) if argument.kind == "view" else (argument, None)


def memory_of(node: Node) -> Node:
    """What has the memory that a node's elements lie in: what is shown, also as another dtype."""
    node, _ = base_of(node)
    return memory_of(node.args[0]) if node.kind == "bitcast" else node


def is_across(layout: Layout, axes: Collection[int]) -> bool:
    """Whether what is reduced over ``axes`` lies across the order in which it is added up: neighbours in memory are neither neighbours of a run,
    nor parts of different results. Lanes would be gathered from as many lines (the sum of a transposed matrix took fifty times as long)."""
    moving = [axis for axis, size in enumerate(layout.shape) if size > 1]
    side = next((axis for axis in moving if layout.strides[axis] == 1), -1)
    return side in axes and side != max(axis for axis in moving if axis in axes)


def turns(node: Node) -> bool:
    """Whether a node is a row-major copy of what lies across it, which is made in squares."""
    return node.kind == "map" and node.attrs[0] == "copy" and node.layout.contiguous and is_across(node.args[0].layout, range(node.ndim))

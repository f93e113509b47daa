"""The verifier finds what is wrong with a graph, and the printer shows a node a line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau._compiler.graph import Graph
from flambeau._compiler.verify import MalformedGraph, verify
from flambeau._types import dtype as dt


def softmax() -> Graph:
    graph = Graph()
    x = graph.input(0, dt.float32, 12).reshape((3, 4))
    e = graph.map("exp", x - x.max((1,), keepdim=True).expand((3, 4)))
    graph.copy(e / e.sum((1,), keepdim=True))
    return graph


def test_printer_writes_a_line_for_each_node() -> None:
    graph = softmax()
    lines = str(graph).splitlines()
    assert len(lines) == len(graph.nodes)
    assert lines[0] == "%0 = input 0 () : float32[12]"
    assert "reduce max (1,) (%1) : float32[3]" in lines[2]
    assert all(line.startswith(f"%{number} = ") for number, line in enumerate(lines))


def test_a_well_formed_graph_passes() -> None:
    verify(softmax())


def make(kind: str, attrs: tuple, dtype: dt.dtype, shape: tuple, strides: tuple | None = None, args: Callable = lambda x: (x,)) -> Graph:
    """A graph of a 3 by 4 float32 array and one more node."""
    graph = Graph()
    x = graph.copy(graph.input(0, dt.float32, 12).reshape((3, 4)))
    graph.make(kind, args(x), attrs, dtype, shape, strides)
    return graph


@pytest.mark.parametrize(
    "graph, message",
    [
        (lambda: make("nothing", (), dt.float32, (3, 4)), "no kind 'nothing'"),
        (lambda: make("map", ("exp",), dt.float32, (4, 3)), r"arguments have the shapes \[\(3, 4\)\]"),
        (lambda: make("map", ("exp",), dt.float64, (3, 4)), "exp of float32 gives float32"),
        (lambda: make("map", ("exponential",), dt.float32, (3, 4)), "no scalar operator 'exponential'"),
        (lambda: make("map", ("add",), dt.float32, (3, 4)), "add takes 2 arguments"),
        (lambda: make("map", ("eq",), dt.float32, (3, 4), args=lambda x: (x, x)), "eq of float32 gives bool"),
        (lambda: make("map", ("add",), dt.float32, (3, 4), args=lambda x: (x, x.cast(dt.float64))), "dtypes"),
        (lambda: make("map", ("where",), dt.float32, (3, 4), args=lambda x: (x, x, x)), "a condition is bool"),
        (lambda: make("cast", (), dt.int32, (12,)), "one argument of its shape"),
        (lambda: make("map", ("exp",), dt.float32, (3, 4), (8, 2)), "must be dense"),
        (lambda: make("map", ("exp",), dt.float32, (3, 4), (1,)), "2 dimensions, but 1 strides"),
        (lambda: make("view", (1, ()), dt.float32, (3, 4), (4, 1)), "reaches out of the memory"),
        (lambda: make("view", (0, ()), dt.int32, (3, 4), (4, 1)), "keeps the dtype"),
        (lambda: make("reduce", ("sum", (2,)), dt.float32, (3,)), "not different axes"),
        (lambda: make("reduce", ("mean", (1,)), dt.float32, (3,)), "no reduction 'mean'"),
        (lambda: make("reduce", ("sum", (1,)), dt.float32, (4,)), r"what is left of \[3, 4\] is \[3\]"),
        (lambda: make("scan", ("sum", 5), dt.float32, (3, 4)), "no axis 5"),
        (lambda: make("contract", (0, 1, 1, 1, ""), dt.float32, (3, 3), args=lambda x: (x, x)), "do not fit"),
        (
            lambda: make("contract", (0, 1, 1, 1, "a"), dt.int32, (3, 3), args=lambda x: (x, x.transpose(0, 1))),
            "quads and their sums are int32",
        ),
        (lambda: make("attention", (0, False, 1.0), dt.float32, (4, 4), args=lambda x: (x, x, x)), r"result 0 is .*\(3, 4\)"),
        (lambda: make("attention", (0, False, 1.0), dt.float32, (3, 4), args=lambda x: (x, x, x, x)), r"mask is of the shape \[3, 3\]"),
        (lambda: make("gather", ((1,), 0, (1,), ()), dt.float32, (3,), args=lambda x: (x, x.sum((1,)))), "must be int64"),
        (lambda: make("update", ((1,), 10), dt.float32, (3, 4), args=lambda x: (x, x.sum((1,)))), "writes outside"),
        (lambda: make("iota", (1,), dt.int64, (3,), args=lambda x: ()), "no axis 1"),
        (lambda: make("iota", (0,), dt.float32, (3,), args=lambda x: ()), "an index is int64"),
        (lambda: make("constant", (1, "int", "1"), dt.float32, ()), "takes no arguments"),
        (lambda: make("item", (0,), dt.float32, ()), "is no host node"),
        (lambda: make("check", (None, None), dt.bool, (), args=lambda x: (x, x)), "a check has a condition"),
    ],
)
def test_a_broken_rule_is_named_with_the_line(graph: Callable[[], Graph], message: str) -> None:
    broken = graph()
    with pytest.raises(MalformedGraph, match=message) as raised:
        verify(broken)
    assert str(raised.value).startswith(repr(broken.nodes[-1]))


def test_nodes_of_other_graphs_and_later_nodes_are_refused() -> None:
    graph = softmax()
    graph.nodes[2].args = (graph.nodes[4],)
    with pytest.raises(MalformedGraph, match="%4 is no earlier node"):
        verify(graph)
    other = Graph()
    other.make("map", (softmax().nodes[0],), ("exp",), dt.float32, (12,))
    with pytest.raises(MalformedGraph, match="no earlier node of this graph"):
        verify(other)

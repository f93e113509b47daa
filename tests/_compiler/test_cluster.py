"""What becomes one loop nest, and in which order the nests run."""

from __future__ import annotations

import random

import pytest

from flambeau._compiler.cluster import Clustering
from flambeau._compiler.digits import runs_of
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types import layout as lay


def clusters(graph: Graph, *roots: Node) -> list[list[str]]:
    """The kinds of the nodes of each cluster, in the order in which they run."""
    return [
        [node.attrs[0] if node.kind in ("map", "reduce") else node.kind for node in cluster.nodes]
        for cluster in Clustering(graph.nodes, roots).order()
    ]


def table(graph: Graph, *shape: int, slot: int = 0) -> Node:
    size = 1
    for extent in shape:
        size *= extent
    return graph.input(slot, dt.float32, size).reshape(shape)


def test_a_chain_becomes_one_cluster() -> None:
    graph = Graph()
    x = table(graph, 5, 6)
    result = graph.map("tanh", graph.map("exp", x) * 2.0 + x)
    assert clusters(graph, result) == [["exp", "mul", "add", "tanh"]]


def test_views_cost_nothing_within_a_cluster() -> None:
    graph = Graph()
    x = graph.map("exp", table(graph, 4, 6))
    result = graph.map("log", x.reshape((2, 2, 6)).permute((2, 0, 1))) + 1.0
    assert clusters(graph, result) == [["exp", "log", "add"]]


def softmax(graph: Graph, x: Node) -> Node:
    e = graph.map("exp", x - x.max((1,), keepdim=True).expand(x.shape))
    return e / e.sum((1,), keepdim=True).expand(x.shape)


def test_softmax_becomes_one_cluster() -> None:
    graph = Graph()
    result = softmax(graph, table(graph, 50, 60))
    assert clusters(graph, result) == [["max", "sub", "exp", "sum", "div"]]


def test_a_normalisation_becomes_one_cluster() -> None:
    graph = Graph()
    x = table(graph, 8, 32, 10)
    shape = (8, 32, 10)
    mean = x.sum((1, 2), keepdim=True) / 320.0
    centred = x - mean.expand(shape)
    variance = (centred * centred).sum((1, 2), keepdim=True) / 320.0
    result = centred * graph.map("rsqrt", variance + 1e-5).expand(shape)
    assert len(clusters(graph, result)) == 1


def test_reductions_over_different_axes_are_apart() -> None:
    graph = Graph()
    x = graph.map("exp", table(graph, 50, 60))
    rows, columns = x.sum((1,)), x.sum((0,))
    found = clusters(graph, rows, columns)
    assert len(found) == 2
    assert sorted(kind for each in found for kind in each) == ["exp", "sum", "sum"]


def test_reductions_of_the_same_memory_share_a_loop() -> None:
    graph = Graph()
    x = table(graph, 50, 60)
    magnitude, total = graph.map("abs", x).max((1,)), x.sum((1,))
    assert clusters(graph, magnitude, total) == [["abs", "max", "sum"]]


def test_reductions_of_the_same_memory_over_other_axes_do_not() -> None:
    graph = Graph()
    x = table(graph, 50, 60)
    assert len(clusters(graph, x.max((1,)), x.sum((0,)))) == 2


def test_passes_apart_compute_again() -> None:
    """What a contraction stands between is kept in memory, unless it belongs to passes of its own."""

    def between(apart: bool) -> list[list[str]]:
        graph = Graph()
        x = table(graph, 8, 8)
        near = x + 1.0
        product = graph.contract(near.sum((1,), keepdim=True), table(graph, 1, 8, slot=1))
        with graph.apart("second" if apart else ""):
            result = (x + 1.0) * product
        return clusters(graph, result)

    assert between(False) == [["add", "sum"], ["contract"], ["mul"]]
    assert between(True) == [["add", "sum"], ["contract"], ["add", "mul"]]


def test_runs_leave_out_axes_of_length_1() -> None:
    dims = ((0,), (), (1,), (2,))
    assert runs_of(dims, (0, 2, 3), (4, 1, 5, 6)) == ((), (0, 1, 2))
    assert runs_of(((0,), (1,), ()), (0, 2), (4, 5, 1)) == ((), (0,))
    assert runs_of(((0,), (1,), (2,)), (0, 2), (4, 5, 6)) == ((0,), (2,))
    assert runs_of(((), ()), (0, 1), (1, 1)) == ((), ())


def test_few_results_of_many_elements_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is a tile of its own; of columns, those that are read together are one tile."""
    monkeypatch.setattr(targets, "available_cores", lambda: 2)

    def closed(*shape: int, axes: tuple[int, ...]) -> bool:
        graph = Graph()
        result = table(graph, *shape).sum(axes)
        return Clustering(graph.nodes, [result]).order()[0].closed

    assert closed(4, 20_000, axes=(1,)) and not closed(8, 20_000, axes=(1,))
    assert closed(20_000, 448, axes=(0,)) and not closed(20_000, 512, axes=(0,))
    assert not closed(4, 100, axes=(1,))


def test_contractions_scans_and_scatters_are_alone() -> None:
    graph = Graph()
    a, b = table(graph, 5, 6), table(graph, 6, 7, slot=1)
    product = graph.contract(graph.map("exp", a), b)
    running = graph.scan("sum", product + 1.0, 1)
    result = graph.map("log", running)
    assert clusters(graph, result) == [["exp"], ["contract"], ["add"], ["scan"], ["log"]]


def test_what_depends_on_a_step_in_between_does_not_join() -> None:
    """``y`` reads ``x`` directly and through a product, so it must run after the product and not with ``x``."""
    graph = Graph()
    x = graph.map("exp", table(graph, 6, 6))
    y = x + graph.contract(x, x)
    assert clusters(graph, x, y) == [["exp"], ["contract"], ["add"]]


def random_graph(seed: int) -> tuple[Graph, list[Node]]:
    """Maps, reductions, transposes, products, gathers and updates of 8 by 8 arrays, each of earlier ones."""
    draw = random.Random(seed)
    graph = Graph()
    values = [table(graph, 8, 8, slot=slot) for slot in range(2)]
    for _ in range(draw.randrange(5, 40)):
        x, y = draw.choice(values), draw.choice(values)
        kind = draw.randrange(8)
        if kind < 3:
            made = graph.map(draw.choice(["add", "mul", "maximum"]), x, y)
        elif kind == 3:
            made = graph.copy(x.transpose(0, 1))
        elif kind == 4:
            made = x - x.max((draw.randrange(2),), keepdim=True).expand((8, 8))
        elif kind == 5:
            made = graph.contract(x, y) * 0.01
        elif kind == 6:
            made = graph.scan("max", x, draw.randrange(2))
        else:
            made = graph.update(
                graph.copy(x), y.slice(0, 2, 3).layout if y.kind != "view" else graph.copy(y).slice(0, 2, 3).layout, y.slice(0, 2, 3)
            )
        values.append(made)
    return graph, draw.sample(values[2:], draw.randrange(1, 4))


def needed(roots: list[Node]) -> list[Node]:
    seen: dict[int, Node] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.index not in seen:
            seen[node.index] = node
            stack.extend(node.args)
    return [seen[index] for index in sorted(seen)]


@pytest.mark.parametrize(("steps", "count"), [(3, 1), (9, 2)])
def test_a_sum_takes_along_a_short_update(steps: int, count: int) -> None:
    """A long one has a loop of its own, which all updates of its kind share, unless it updates nothing."""
    graph = Graph()
    weight = table(graph, 60, slot=1)
    result = table(graph, 50, 60).sum((0,)) * weight
    for _ in range(steps):
        result = graph.map("exp", result)
    assert len(Clustering(graph.nodes, [result], {result.index}).order()) == count
    assert len(Clustering(graph.nodes, [result]).order()) == 1


@pytest.mark.parametrize("seed", range(60))
def test_clusters_run_after_what_they_read(seed: int) -> None:
    graph, roots = random_graph(seed)
    clustering = Clustering(needed(roots), roots)
    done: set[int] = set()
    for cluster in clustering.order():
        inside = {node.index for node in cluster.nodes}
        assert not inside & done, "a node is computed twice"
        for node in cluster.nodes:
            for source in clustering.sources(node):
                assert source is cluster or {each.index for each in source.nodes} <= done
        done |= inside
    assert {root.index for root in roots if root.kind not in ("view", "input")} <= done


def test_who_comes_after_a_cluster_comes_after_what_that_waits_for_later() -> None:
    """Also if that is the cluster that was made last."""
    clustering = Clustering((), ())
    first, second, last = (clustering._new() for _ in range(3))
    clustering.depend(second, [last])
    clustering.depend(last, [first])
    assert second.ancestors == 1 << first.number | 1 << last.number


def test_what_a_gather_reads_is_in_memory_even_if_it_is_one_number() -> None:
    """The gradient of `scatter(…).sum()`: a single 1, expanded and read at an index."""
    graph = Graph()
    one = graph.copy(graph.constant(1.0, dt.float32, ()))
    index = graph.input(0, dt.int64, 4).reshape((4,))
    result = graph.gather(one, lay.layout((4,), (0,), 0, dt.float32), [index], [0])
    assert one.index in Clustering(graph.nodes, [result]).home

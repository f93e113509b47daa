"""Which shape of loop nest a cluster becomes, and what its tiles are."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen.loops import ACROSS, STRIDED, LoopSpec, Parameters
from flambeau._compiler import nest, streaming
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from tests._compiler import graphs


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[LoopSpec]:
    """The specs of the nests that are lowered from here on."""
    found: list[LoopSpec] = []
    original = nest.loops.kernel

    def recording(spec: LoopSpec) -> object:
        found.append(spec)
        return original(spec)

    monkeypatch.setattr(nest.loops, "kernel", recording)
    return found


def matrix(x: Node) -> Node:
    return x.reshape((64, 128))


def test_rows_columns_and_maps(specs: list[LoopSpec]) -> None:
    graphs.plan(lambda graph, x: (matrix(x).sum((1,)),), dt.float32, 64 * 128)
    graphs.plan(lambda graph, x: (matrix(x).sum((0,)),), dt.float32, 64 * 128)
    graphs.plan(lambda graph, x: (graph.map("exp", matrix(x)),), dt.float32, 64 * 128)
    assert [each.mode for each in specs] == ["row", "column", "map"]


def test_a_row_is_walked_along_its_elements_whatever_its_result_does(specs: list[LoopSpec]) -> None:
    """One store for each row weighs nothing beside the loads of its elements."""
    graphs.plan(lambda graph, x: (x.reshape((4096, 40)).sum((1,)),), dt.float32, 4096 * 40)
    assert [each.mode for each in specs] == ["row"]


@pytest.mark.parametrize("positions, what", [(4, "everything"), (49, "sums"), (200, "")])
def test_what_short_channels_have_one_of_is_repeated(specs: list[LoopSpec], positions: int, what: str) -> None:
    def build(graph: Graph, x: Node) -> tuple[Node, ...]:
        weight, images = x.slice(0, 0, 8), x.slice(0, 8, 512 * 8 * positions).reshape((512, 8, positions))
        weight = weight.reshape((8, 1)).expand((512, 8, positions))
        return (graph.reduce("sum", images * weight, (1, 2)),)

    graphs.plan(build, dt.float32, 8 + 512 * 8 * positions)
    assert [each.repeat for each in specs] == [what]


def test_what_lies_across_is_transposed(specs: list[LoopSpec]) -> None:
    planned = graphs.plan(lambda graph, x: (graph.copy(matrix(x).transpose(0, 1)),), dt.float32, 64 * 128)
    assert specs[0].mode == "tiled" and ACROSS in [access.vector for access in specs[0].accesses]
    x = np.arange(64 * 128, dtype=np.float32)
    assert np.array_equal(graphs.run(planned, x)[0], x.reshape(64, 128).T.reshape(-1))


@pytest.mark.parametrize("step, vector", [(1, 1), (2, 2), (4, 4), (5, STRIDED)])
def test_short_strides_are_known_to_the_kernel(specs: list[LoopSpec], step: int, vector: int) -> None:
    planned = graphs.plan(lambda graph, x: (graph.map("neg", x.slice(0, 0, 100, step)),), dt.float32, 600)
    assert vector in [access.vector for access in specs[0].accesses]
    x = np.arange(600, dtype=np.float32)
    assert np.array_equal(graphs.run(planned, x)[0], -x[: 100 * step : step])


def test_a_weight_of_part_of_the_run_is_not_flat(specs: list[LoopSpec]) -> None:
    def write(graph: Graph, x: Node, w: Node) -> tuple[Node, ...]:
        return ((x.reshape((3, 8, 49)) * w.reshape((1, 8, 1))).sum((1, 2)),)

    graphs.plan(write, dt.float32, 3 * 8 * 49, 8)
    assert specs[0].mode == "row" and specs[0].run == 2
    assert sorted(access.flat for access in specs[0].accesses if access.dtype is not None) == [False, True, True]


def test_large_results_are_streamed(specs: list[LoopSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_large", lambda: 4096)
    monkeypatch.setattr(streaming, "_CACHED", 2048)
    draw = np.random.default_rng(0)
    names = set()
    for rows, columns, streams in ((16, 64, True), (16, 60, False), (4, 64, False)):
        specs.clear()
        x = draw.standard_normal(rows * columns).astype(np.float32)
        planned = graphs.plan(lambda graph, x, shape=(rows, columns): (_shifted(graph, x.reshape(shape)),), dt.float32, rows * columns)
        call = planned.steps[-1]
        assert any(call.params[at] for at in Parameters(specs[-1]).streams.values()) is streams
        names.add(call.name)
        table = x.reshape(rows, columns)
        assert np.array_equal(graphs.run(planned, x)[0], (table - table.max(1, keepdims=True)).reshape(-1))
    assert len(names) == 1  # a parameter says so


def _shifted(graph: Graph, x: Node) -> Node:
    return x - x.max((1,), keepdim=True)


def test_elementwise_results_lie_as_their_operands(specs: list[LoopSpec]) -> None:
    graph = Graph()
    last = lay.layout((2, 3, 4, 5), (60, 1, 15, 3), 0, dt.float32)
    x = graph.view(graph.input(0, dt.float32, 120), last)
    assert (x + 1.0).strides == last.strides
    assert graph.cast(x, dt.float64).strides == last.strides
    assert graph.copy(x).strides == (60, 20, 5, 1)
    assert (graph.input(1, dt.float32, 3).reshape((1, 3, 1, 1)) + x).strides == last.strides


def test_padding_of_one_number_is_zero() -> None:
    """A number that is computed wherever it is read is never in memory: the bounds of a view count all the same."""

    def write(graph: Graph, flat: Node) -> tuple[Node, ...]:
        one = graph.copy(graph.constant(1.0, dt.float32))
        return (graph.pad(one.expand((5,)).slice(0, 0, 3), (2,), (1,)) + flat,)

    planned = graphs.plan(write, dt.float32, 6)
    assert graphs.run(planned, np.zeros(6, np.float32))[0].tolist() == [0, 0, 1, 1, 1, 0]


def test_a_check_of_an_index_may_report_something_else() -> None:
    def write(graph: Graph, x: Node) -> tuple[Node, ...]:
        index = graph.cast(x, dt.int64)
        graph.check(graph.map("outside", index, 0, 50), index + 1000, lambda position, found: IndexError(f"{found} at {position}"))
        return (x + 1.0,)

    planned = graphs.plan(write, dt.float32, 100)
    x = np.arange(100, dtype=np.float32) % 50
    assert np.array_equal(graphs.run(planned, x)[0], x + 1)
    x[77] = 60
    with pytest.raises(IndexError, match="1060 at 77"):
        graphs.run(planned, x)


def test_a_reduction_of_nothing_reads_nothing() -> None:
    """What is the same along an empty axis would be read once for all of its places; there may be none of it in memory."""

    def write(graph: Graph, flat: Node) -> tuple[Node, ...]:
        return (flat.reshape((0, 1)).expand((0, 4)).sum((0, 1)), flat.reshape((1, 0)).expand((3, 0)).sum((1,)))

    planned = graphs.plan(write, dt.float32, 0)
    assert all(node.args[0].kind == "constant" for node in planned.graph.nodes if node.kind == "reduce")
    assert [result.tolist() for result in graphs.run(planned, np.zeros(0, np.float32))] == [[0], [0, 0, 0]]


@pytest.mark.parametrize(
    "cores, others, cost, rows",
    [(1, 1, 22, 16), (2, 1, 22, 8), (2, 2, 22, 16), (2, 1, 3, 16), (8, 1, 22, 8), (8, 1, 88, 2)],
    ids=["one core", "two cores", "other tiles", "little to do", "enough for two", "enough for eight"],
)
def test_lines_are_divided_among_cores_if_there_is_much_to_do(
    cores: int, others: int, cost: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nest.targets, "available_cores", lambda: cores)
    assert nest._tile_rows(16, others, 16, 256, cost) == rows

"""Scatters, scans and sorts: which calls they become, and that these agree with the interpreter in every arrangement."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._codegen import sorting
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.graph import Graph
from flambeau._compiler.interpret import Interpreter
from flambeau._compiler.node import Node
from flambeau._compiler.plan import Plan
from flambeau._compiler.verify import verify
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from tests._compiler.graphs import plan, run


def error(position: int, value: int) -> Exception:
    return IndexError(f"{value} at {position}")


def checked(planned: Plan, *arrays: np.ndarray) -> None:
    """Whether a plan gives what the interpreter finds."""
    verify(planned.graph)
    interpreter = Interpreter(planned.graph, {slot: array.view(np.uint8).reshape(-1) for slot, array in enumerate(arrays)}, [])
    for found, node in zip(run(planned, *arrays), planned.roots.values(), strict=True):
        np.testing.assert_allclose(found, interpreter.memory(node), rtol=1e-6)


def shown(node: Node, shape: tuple, order: tuple) -> Node:
    """An input as an array whose axes lie in memory in ``order``, outermost first."""
    return node.graph.view(node, lay.ordered(shape, order, node.dtype))


def kernels(planned: Plan) -> list[KernelCall]:
    return [step for step in planned.steps if isinstance(step, KernelCall) and step.nodes and step.nodes[-1].kind == "scatter"]


@pytest.mark.parametrize("combine", ["set", "sum", "max"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_scatter_in_every_order_of_memory(dim: int, order: tuple, combine: str) -> None:
    shape, size = (5, 19, 34), (4, 19, 30)
    size = tuple(37 if axis == dim else extent for axis, extent in enumerate(size))
    draw = np.random.default_rng(0)

    def write(graph: Graph, target: Node, value: Node, index: Node) -> tuple[Node]:
        whole = graph.copy(shown(target, shape, order), lay.ordered(shape, order, dt.float64).strides)
        strides = [0 if axis == dim else stride for axis, stride in enumerate(whole.strides)]
        layout = lay.layout(size, tuple(strides), 0, dt.float64)
        places = graph.cast(shown(index, size, (0, 1, 2)), dt.int64)
        return (
            graph.scatter(
                whole, layout, [places], [whole.strides[dim]], shown(value, size, order[::-1]), combine, sizes=[shape[dim]], errors=[error]
            ),
        )

    planned = plan(write, dt.float64, 5 * 19 * 34, int(np.prod(size)), int(np.prod(size)))
    checked(planned, draw.standard_normal(5 * 19 * 34), draw.standard_normal(size), draw.integers(0, shape[dim], size).astype(np.float64))


@pytest.mark.parametrize("wraps", [False, True])
def test_scatter_by_two_indices(wraps: bool) -> None:
    draw = np.random.default_rng(1)

    def write(graph: Graph, target: Node, value: Node, rows: Node, columns: Node) -> tuple[Node]:
        layout = lay.layout((40, 3), (0, 1), 0, dt.float64)
        places = [graph.cast(each, dt.int64).reshape((40, 1)).expand((40, 3)) for each in (rows, columns)]
        whole = graph.copy(target.reshape((6, 7, 3)))
        return (
            graph.scatter(whole, layout, places, [21, 3], value.reshape((40, 3)), "sum", sizes=[6, 7], wraps=wraps, errors=[error, error]),
        )

    low = (-6, -7) if wraps else (0, 0)
    planned = plan(write, dt.float64, 126, 120, 40, 40)
    indices = [draw.integers(start, size, 40).astype(np.float64) for start, size in zip(low, (6, 7), strict=True)]
    checked(planned, draw.standard_normal(126), draw.standard_normal(120), *indices)


def rows(graph: Graph, target: Node, value: Node, index: Node, count: int, features: int) -> Node:
    """``index_add`` of rows."""
    layout = lay.layout((count, features), (0, 1), 0, dt.float64)
    places = graph.cast(index, dt.int64).reshape((count, 1)).expand((count, features))
    size = target.numel // features
    return graph.scatter(target, layout, [places], [features], value.reshape((count, features)), "sum", sizes=[size], errors=[error])


def test_rows_are_shared_by_blocks_of_lanes_and_by_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    monkeypatch.setattr("flambeau._runtime.targets.available_cores", lambda: 8)
    for features in (3, 50, 200):
        write = lambda graph, target, value, index, features=features: (
            rows(graph, graph.copy(target.reshape((1000, features))), value, index, 11_000, features),
        )
        planned = plan(write, dt.float64, 1000 * features, 11_000 * features, 11_000)
        assert kernels(planned)[-1].tiles > 5
        checked(
            planned,
            draw.standard_normal(1000 * features),
            draw.standard_normal(11_000 * features),
            draw.integers(0, 1000, 11_000).astype(float),
        )


def test_many_steps_into_few_places_fall_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    monkeypatch.setattr("flambeau._runtime.targets.available_cores", lambda: 8)
    for features, shapes in ((3, [(20, 3)]), (50, [(16, 20, 50), (20, 50)]), (700, [(20, 700)])):  # a step is left over
        write = lambda graph, target, value, index, features=features: (
            rows(graph, graph.copy(target.reshape((20, features))), value, index, 21_001, features),
        )
        planned = plan(write, dt.float64, 20 * features, 21_001 * features, 21_001)
        assert [call.nodes[-1].shape for call in kernels(planned)] == shapes
        checked(
            planned,
            draw.standard_normal(20 * features),
            draw.standard_normal(21_001 * features),
            draw.integers(0, 20, 21_001).astype(float),
        )


def by_rows(graph: Graph, target: Node, value: Node, index: Node, size: int, shape: tuple[int, int], combine: str) -> Node:
    """Elements that have an index each, along the first axis."""
    layout = lay.layout(shape, (0, 1), 0, dt.float64)
    places = [graph.cast(index.reshape(shape), dt.int64)]
    whole = graph.copy(target.reshape((size, shape[1])))
    return graph.scatter(whole, layout, places, [shape[1]], value.reshape(shape), combine, sizes=[size], errors=[error])


@pytest.mark.parametrize("combine", ["set", "sum", "max"])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("cache, features, tiles", [(1 << 20, 70, 3), (1 << 20, 256, 3), (1 << 14, 200, 7), (1 << 10, 200, 13)])
def test_rows_that_are_often_written_are_gathered_in_scratch_memory(
    monkeypatch: pytest.MonkeyPatch, cache: int, features: int, tiles: int, alike: bool, combine: str
) -> None:
    monkeypatch.setattr("flambeau._runtime.targets.available_cores", lambda: 3)
    third = targets.cache_sizes()[2]
    monkeypatch.setattr("flambeau._runtime.targets.cache_sizes", lambda: (1 << 14, cache, third))
    draw, count, size = np.random.default_rng(5), 500, 40
    planned = plan(
        lambda graph, target, value, index: (by_rows(graph, target, value, index, size, (count, features), combine),),
        dt.float64, size * features, count * features, count * features,
    )  # fmt: skip
    (kernel,) = kernels(planned)
    assert kernel.tiles == tiles and (kernel.scratch_bytes > 0) == (cache > 1 << 10)
    indices = draw.integers(0, size, (count, 1 if alike else features)) + np.zeros((1, features), int)
    checked(planned, draw.standard_normal(size * features), draw.standard_normal(count * features), indices.astype(float))
    indices[77, 5:] = 99
    with pytest.raises(IndexError, match=f"99 at {77 * features + 5}"):
        run(planned, np.zeros(size * features), np.zeros(count * features), indices.astype(float))


@pytest.mark.parametrize("cores", [1, 3, 8])
@pytest.mark.parametrize("combine", ["sum", "max"])
@pytest.mark.parametrize("wraps", [False, True])
def test_long_rows_are_taken_in_the_order_of_their_places(monkeypatch: pytest.MonkeyPatch, wraps: bool, combine: str, cores: int) -> None:
    monkeypatch.setattr("flambeau._runtime.targets.available_cores", lambda: cores)
    sizes = targets.cache_sizes()
    monkeypatch.setattr("flambeau._runtime.targets.cache_sizes", lambda: (sizes[0], 1 << 16, sizes[2]))
    draw, count, size, features = np.random.default_rng(5), 333, 37, 261

    def write(graph: Graph, target: Node, value: Node, index: Node) -> tuple[Node]:
        layout = lay.layout((count, features), (0, 1), 0, dt.float64)
        places = [graph.cast(index, dt.int64).reshape((count, 1)).expand((count, features))]
        whole, rows = graph.copy(target.reshape((size, features))), value.reshape((count, features))
        return (graph.scatter(whole, layout, places, [features], rows, combine, sizes=[size], wraps=wraps, errors=[error]),)

    planned = plan(write, dt.float64, size * features, count * features, count)
    (kernel,) = kernels(planned)
    assert kernel.scratch_bytes == 8 * (1 + size + count)
    index = draw.integers(-size if wraps else 0, size - 2, count).astype(float)  # some places are in no step
    checked(planned, draw.standard_normal(size * features), draw.standard_normal(count * features), index)
    index[[77, 200]] = size, size + 1
    with pytest.raises(IndexError, match=f"{size} at {77 * features}"):
        run(planned, np.zeros(size * features), np.zeros(count * features), index)


def test_a_copy_is_made_by_the_tiles_that_write_it_and_zeros_are_not_made_before() -> None:
    write = lambda graph, target, value, index: (rows(graph, graph.copy(target.reshape((9, 8))), value, index, 5, 8),)
    planned = plan(write, dt.float64, 72, 40, 5)
    assert len([step for step in planned.steps if step.nodes and step.nodes[-1].kind == "scatter"]) == 1 and len(planned.steps) == 2
    zeros = lambda graph, value, index: (rows(graph, graph.copy(graph.constant(0.0, dt.float64, (9, 8))), value, index, 5, 8),)
    planned = plan(zeros, dt.float64, 40, 5)
    assert len(planned.steps) == 2
    checked(planned, np.arange(40.0), np.array([1.0, 1, 8, 0, 1]))


def test_a_copy_of_what_lies_the_other_way_is_made_before() -> None:
    """Of a transposed copy that is looked at transposed: in memory its columns are what the target's rows are."""
    x, index, more = np.arange(64.0).reshape(8, 8), np.array([3, 1, 7]), np.ones((3, 8))
    turned = flambeau.tensor(x).t().contiguous().t()
    found = turned.index_add_(0, flambeau.tensor(index), flambeau.tensor(more)).numpy()
    x[index] += more
    np.testing.assert_array_equal(found, x)


def test_what_replaces_its_input_is_written_in_place_after_a_dry_run() -> None:
    write = lambda graph, target, value, index: (rows(graph, graph.copy(target.reshape((9, 8))), value, index, 5, 8),)
    planned = plan(write, dt.float64, 72, 40, 5, replaces={0: 0})
    assert planned.reused == {3: 0}
    assert len(kernels(planned)) == 2
    target = np.arange(72.0)
    with pytest.raises(IndexError, match="9 at 16"):
        run(planned, target, np.ones(40), np.array([1.0, 1, 9, 0, 1]))


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "logaddexp"])
@pytest.mark.parametrize("shape, axis", [((9, 33), 1), ((4, 7), 1), ((3, 5, 70), 1), ((6, 1100), 0), ((1, 5), 0)])
def test_scans(kind: str, shape: tuple, axis: int) -> None:
    write = lambda graph, x: (graph.scan(kind, x.reshape(shape), axis),)
    checked(plan(write, dt.float64, int(np.prod(shape))), np.random.default_rng(3).standard_normal(shape))


def test_a_scan_reads_a_contiguous_input_where_it_lies() -> None:
    planned = plan(lambda graph, x: (graph.scan("sum", x.reshape((4, 8)), 1),), dt.float64, 32)
    assert len(planned.steps) == 1


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    "length, inner, low, high, mode",
    [(300, 1, 0, 300, "all"), (30, 2, 0, 30, "all"), (300, 1, 0, 5, "few"), (300, 3, 0, 5, "some"), (40_000, 1, 20_000, 20_001, "some")],
)
def test_sorts(length: int, inner: int, low: int, high: int, mode: str, descending: bool) -> None:
    assert sorting.mode_for(length, inner, low, high) == mode
    write = lambda graph, x: (graph.sort(x.reshape((2, length, inner)), 1, descending, low, high),)
    values = np.random.default_rng(4).integers(-20, 20, 2 * length * inner).astype(np.float32)
    values[::17] = np.nan
    values[::19] *= 0.0
    checked(plan(write, dt.float32, values.size), values)


@pytest.mark.parametrize("length, inner", [(300, 1), (30, 2), (40_000, 1)])
def test_each_line_has_a_rank_of_its_own(length: int, inner: int) -> None:
    write = lambda graph, x, ranks: (
        graph.sort(x.reshape((2, length, inner)), 1, False, 0, 1, graph.cast(ranks.reshape((2, 1, inner)), dt.int64)),
    )
    values = np.random.default_rng(5).integers(-20, 20, 2 * length * inner).astype(np.float64)
    ranks = np.array([0, length - 1, length // 2, 7], np.float64)[: 2 * inner]
    checked(plan(write, dt.float64, values.size, ranks.size), values, ranks)


def test_a_long_line_is_sorted_in_parts_and_merged() -> None:
    length = 3 * sorting.part_length(dt.float32) + 5
    planned = plan(lambda graph, x: (graph.sort(x, 0, False, 0, length),), dt.float32, length)
    assert [step.tiles for step in planned.steps if isinstance(step, KernelCall)] == [4, 13, 13]
    checked(planned, np.random.default_rng(6).standard_normal(length).astype(np.float32))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("width", [8, 20, 64])
@pytest.mark.parametrize("combine", ["sum", "max", "set"])
def test_rows_that_an_index_names_are_read_where_they_lie(combine: str, width: int, scaled: bool) -> None:
    draw, edges, count = np.random.default_rng(3), 300, 12

    def write(graph: Graph, source: Node, places: Node, rows: Node, factors: Node) -> tuple[Node]:
        shape = (edges, width)
        spread = [graph.cast(each, dt.int64).reshape((edges, 1)).expand(shape) for each in (places, rows)]
        value = graph.gather(source, lay.layout(shape, (0, 1), width, dt.float64), [spread[1]], [width])
        if scaled:
            value = factors.reshape((edges, 1)).expand(shape) * value
        target = graph.constant(0.5, dt.float64, (count, width))
        layout = lay.layout(shape, (0, 1), 0, dt.float64)
        return (graph.scatter(graph.copy(target), layout, [spread[0]], [width], value, combine, sizes=[count], errors=[error]),)

    planned = plan(write, dt.float64, (count + 1) * width, edges, edges, edges)
    arrays = [draw.standard_normal((count + 1) * width), *(draw.integers(0, count, edges).astype(np.float64) for _ in range(2))]
    checked(planned, *arrays, draw.standard_normal(edges))
    assert not any(node.kind == "gather" for step in planned.steps for node in step.nodes)


@pytest.mark.parametrize("threads", [1, 2])
def test_messages_have_the_bits_that_stored_ones_have(threads: int) -> None:
    draw, before = np.random.default_rng(4), flambeau.get_num_threads()
    x, weight = flambeau.tensor(draw.standard_normal((500, 40)).astype(np.float32)), flambeau.tensor(draw.standard_normal(9000))
    source, target = (flambeau.tensor(draw.integers(0, 500, 9000)) for _ in range(2))
    flambeau.set_num_threads(threads)
    try:
        for messages in (lambda: x[source], lambda: x[source] * weight.float()[:, None]):
            stored = messages()
            stored.data_ptr()  # computed before
            expected = flambeau.zeros(500, 40).index_add(0, target, stored).numpy().tobytes()
            assert flambeau.zeros(500, 40).index_add(0, target, messages()).numpy().tobytes() == expected
    finally:
        flambeau.set_num_threads(before)


def test_an_index_of_messages_out_of_range_is_reported() -> None:
    x = flambeau.zeros(5, 16)
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        flambeau.zeros(3, 16).index_add(0, flambeau.tensor([0, 1, 2]), x[flambeau.tensor([0, 5, 1])]).sum().item()


@pytest.mark.parametrize("indices", [[], [3]])
def test_a_copy_that_was_made_with_another_shape_is_no_copy_of_zeros(indices: list[int]) -> None:
    """Axes of 1 have changed places between two writes by an index: strides are the same, shapes are not."""
    x, ones = flambeau.arange(1.0, 10).reshape(9, 1, 1, 1), flambeau.ones(1, 9, 1, 1)
    places, first = flambeau.tensor(indices, dtype=flambeau.int64), flambeau.tensor([0])
    flambeau.flush()
    written = x * 2
    written[places] = flambeau.zeros(1, 1, 1)
    found = flambeau.index_add(written.permute(2, 0, 3, 1), 0, first, ones)
    expected = 2 * np.arange(1.0, 10)
    expected[indices] = 0
    assert found.flatten().tolist() == (expected + 1).tolist()

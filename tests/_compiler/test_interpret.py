"""The interpreter defines what graphs mean; compiled programs must agree with it up to rounding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._compiler.graph import Graph
from flambeau._compiler.interpret import Interpreter
from flambeau._compiler.verify import verify
from flambeau._tape.tape import LOCAL
from flambeau._tape.trie import TRIE
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from tests._compiler.graphs import pending
from tests.samples.programs import PROGRAMS

TOLERANCE = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 2e-5, "complex64": 2e-5, "float64": 1e-11, "complex128": 1e-11}


def wide(array: np.ndarray, dtype: dt.dtype) -> np.ndarray:
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype is dt.bfloat16 else array


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_agree_with_the_interpreter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a program flushes, its graph is well-formed and the interpreter finds the same values."""
    flambeau.flush()
    TRIE.clear()  # what is known is run without Python
    tape = LOCAL.tape
    tape.cursor = TRIE.root
    compared = []
    commit = type(tape)._commit
    state = {}

    def prepare(self: Any) -> None:
        if self.cursor.parent is None or self.flushing:
            return flush(self)
        graph, roots, inputs, numbers = pending()
        verify(graph)
        interpreter = Interpreter(graph, inputs, numbers)
        interpreter.check()
        state["expected"] = {slot: (interpreter.memory(node), node.dtype) for slot, node in roots.items()}
        flush(self)

    def compare(self: Any, results: Iterable) -> None:
        results = dict(results)
        for slot, (expected, dtype) in state.pop("expected").items():
            found = results[slot].view(dtype.numpy, expected.size)
            if dtype.name in TOLERANCE:
                scale = np.abs(wide(expected, dtype)).max(initial=0)
                tolerance = TOLERANCE[dtype.name]
                np.testing.assert_allclose(wide(found, dtype), wide(expected, dtype), rtol=tolerance, atol=tolerance * max(scale, 1))
            else:
                np.testing.assert_array_equal(found, expected)
            compared.append(slot)
        commit(self, results.items())

    flush = type(tape).flush
    monkeypatch.setattr(type(tape), "flush", prepare)
    monkeypatch.setattr(type(tape), "_commit", compare)
    results = PROGRAMS[name](flambeau)
    flambeau.flush()
    assert len(compared) >= 1 and results


def evaluate(write, *arrays: np.ndarray) -> list[np.ndarray]:
    graph = Graph()
    inputs = [graph.input(slot, dt.from_numpy(array.dtype), array.size) for slot, array in enumerate(arrays)]
    nodes = write(graph, *inputs)
    verify(graph)
    interpreter = Interpreter(graph, {slot: array.reshape(-1).view(np.uint8) for slot, array in enumerate(arrays)}, [])
    return [interpreter.value(node) for node in nodes]


def test_views_and_padding() -> None:
    x = np.arange(12, dtype=np.float32)

    def write(graph: Graph, flat):
        table = flat.reshape((3, 4))
        return (
            table.transpose(0, 1),
            table.slice(1, 1, 2),
            graph.pad(table, (1, 0), (0, 2)),
            graph.windows(table, (1,), (3,), (1,), (1,), (1,), (4,)),
        )

    transposed, cut, padded, windows = evaluate(write, x)
    table = x.reshape(3, 4)
    np.testing.assert_array_equal(transposed, table.T)
    np.testing.assert_array_equal(cut, table[:, 1:3])
    np.testing.assert_array_equal(padded, np.pad(table, ((1, 0), (0, 2))))
    np.testing.assert_array_equal(windows, np.lib.stride_tricks.sliding_window_view(np.pad(table, ((0, 0), (1, 1))), 3, 1))


def test_memory_is_in_the_order_of_the_strides() -> None:
    x = np.arange(6, dtype=np.float64)
    graph = Graph()
    flat = graph.input(0, dt.float64, 6)
    column_major = graph.copy(flat.reshape((2, 3)), (1, 2))
    interpreter = Interpreter(graph, {0: x.view(np.uint8)}, [])
    assert interpreter.value(column_major).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert interpreter.memory(column_major).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize(
    "combine, expected",
    [("set", [0, 7, 2, 9]), ("sum", [0, 13, 2, 12]), ("prod", [0, 35, 2, 27]), ("max", [0, 7, 2, 9]), ("min", [0, 1, 2, 3])],
)
def test_scatter(combine: str, expected: list) -> None:
    def write(graph: Graph, target, value, index):
        layout = lay.layout((3,), (0,), 0, dt.float64)
        errors = (lambda position, value: IndexError(f"{value} at {position}"),)
        return (graph.scatter(graph.copy(target), layout, (index,), (1,), value, combine, sizes=(4,), errors=errors),)

    (found,) = evaluate(write, np.arange(4.0), np.array([5.0, 9.0, 7.0]), np.array([1, 3, 1]))
    assert found.tolist() == expected
    with pytest.raises(IndexError, match="4 at 1"):
        evaluate(write, np.arange(4.0), np.array([5.0, 9.0, 7.0]), np.array([1, 4, 1]))


def test_bfloat16_is_rounded_after_each_operator() -> None:
    def write(graph: Graph, x):
        rounded = x.cast(dt.bfloat16)
        return rounded, (rounded * rounded), rounded.cast(dt.float32)

    bits, square, back = evaluate(write, np.array([1.01, -3.3, np.inf], np.float32))
    assert bits.dtype == square.dtype == np.uint16
    np.testing.assert_array_equal(back, np.array([1.0078125, -3.296875, np.inf], np.float32))
    np.testing.assert_allclose(wide(square, dt.bfloat16), back * back, rtol=2**-8)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions_of_nothing_give_the_identity(kind: str) -> None:
    graph = Graph()
    dtype = dt.bool if kind in ("any", "all") else dt.float32
    node = graph.reduce(kind, graph.empty(dtype, (3, 0)), (1,))
    expected = {"sum": 0, "prod": 1, "max": -np.inf, "min": np.inf, "any": False, "all": True}[kind]
    assert Interpreter(graph, {}, []).value(node).tolist() == [expected] * 3


def test_a_check_raises_its_error() -> None:
    graph = Graph()
    index = graph.input(0, dt.int64, 4)
    graph.check(index >= 3, index, lambda position, detail: IndexError(f"{detail} at {position}"))
    Interpreter(graph, {0: np.array([0, 1, 2, -5]).view(np.uint8)}, []).check()
    with pytest.raises(IndexError, match="7 at 1"):
        Interpreter(graph, {0: np.array([0, 7, 9, 1]).view(np.uint8)}, []).check()

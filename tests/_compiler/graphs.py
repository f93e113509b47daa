"""Graphs for the tests: of what the tape has recorded, and of a lowering given as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau._compiler import graph as graphs
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._compiler.plan import Plan
from flambeau._compiler.program import CompiledProgram
from flambeau._runtime import jit
from flambeau._runtime.allocator import allocate
from flambeau._tape.tape import LOCAL


def pending() -> tuple[Graph, dict[int, Node], dict[int, np.ndarray], list[Any]]:
    """What the tape would compute now: the graph, the values by slot, and copies of the inputs and numbers."""
    tape = LOCAL.tape
    graph, roots, nodes = graphs.build(tape.cursor.path(), tape.alive())
    return graph, roots, {slot: tape.inputs[slot].view().copy() for slot in nodes}, list(tape.numbers)


def plan(write: Callable[..., tuple[Node, ...]], dtype: Any, *sizes: int, replaces: dict[int, int] | None = None) -> Plan:
    """The plan of a graph that ``write(graph, *inputs)`` writes, for flat inputs; ``replaces`` says which result may overwrite which input."""
    graph = Graph()
    inputs = {slot: graph.input(slot, dtype, size) for slot, size in enumerate(sizes)}
    results = write(graph, *inputs.values())
    roots = {len(sizes) + number: node for number, node in enumerate(results)}
    alive = [(slot, -1 if replaces is None else replaces.get(slot - len(sizes), -1)) for slot in roots]
    return Plan(graph, roots, inputs, alive)


def run(planned: Plan, *arrays: np.ndarray) -> list[np.ndarray]:
    """Run a plan on arrays; gives the memory of each result, flat."""
    kernels = {call.name: call.source for call in planned.steps if isinstance(call, KernelCall)}
    program = CompiledProgram(planned.blueprint(), jit.compile_kernels(kernels), lambda: planned.graph, lambda: planned)
    buffers = {}
    for slot, array in enumerate(arrays):
        buffers[slot] = allocate(array.nbytes)
        buffers[slot].view(array.dtype, array.size)[:] = array.reshape(-1)
    started = program.start(buffers, [])
    started.execute()
    return [buffer.view(planned.roots[slot].dtype.numpy) for slot, buffer in zip(program.results, started.results, strict=True)]

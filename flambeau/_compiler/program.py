"""Programs: kernel calls and host steps, and running them.

A program is data: native segments (arrays of kernel calls that one native function walks) with host steps between them. Its buffers are
reached through a table of addresses: slot 0 the error block, 1 the numbers, 2 the arena for temporaries, then inputs and results.

Running needs neither the compiler nor LLVM: a program that comes from the disk cache imports nothing more than this file.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau._runtime.allocator import Buffer, allocate
from flambeau._runtime.pool import Call
from flambeau._runtime.pool import Program as NativeProgram

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.plan import Plan

FIRST_BUFFER = 3
"""Table slots before the inputs."""
_ERROR_WORDS = 4


class Array(NamedTuple):
    """An array that a host step reads or writes: table slot, byte offset, NumPy's name of the dtype, shape, strides in bytes."""

    slot: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class HostCall(NamedTuple):
    """A call back into Python between native segments: the ``host`` node of the graph, what it reads, and which results go where."""

    node: int
    arguments: tuple[Array, ...]
    items: tuple[tuple[int, Array], ...]


class CallWords(NamedTuple):
    """A kernel call: which kernel, and how many of the parameters are its own."""

    kernel: int
    params: int
    tiles: int
    grain: int
    scratch_bytes: int


class Blueprint(NamedTuple):
    """All of a program that does not depend on the process: numbers, texts, and tuples of them.

    Attributes:
        results: the slots whose bytes it computes
        inputs: the slots that it reads
        fresh: slots of results in new memory, with their sizes
        reused: slots of results with the slot of the input that each is written over
        arena: bytes of memory for temporaries
        numbers: the format of the run-time scalars
        kernels: names
        calls, params: the kernel calls, and the parameters of all of them as int64
        segments: ranges of calls, and host calls between them
        checks: for calls that find bad data, the nodes of the graph that say which error that is
    """

    results: tuple[int, ...]
    inputs: tuple[int, ...]
    fresh: tuple[tuple[int, int], ...]
    reused: tuple[tuple[int, int], ...]
    arena: int
    numbers: str
    kernels: tuple[str, ...]
    calls: tuple[CallWords, ...]
    params: bytes
    segments: tuple[Any, ...]
    checks: tuple[tuple[int, tuple[int, ...]], ...]


class Run:
    """One run of a program: its memory, and whether the results are in it."""

    __slots__ = ("finished", "fresh", "inputs", "numbers", "program", "results")

    def __init__(
        self, program: CompiledProgram, results: list[Buffer], fresh: list[Buffer], inputs: dict[int, Buffer], numbers: list
    ) -> None:
        self.program = program
        self.results = results
        self.fresh = fresh
        self.inputs = inputs
        self.numbers = numbers
        self.finished = False

    def execute(self) -> None:
        self.program.execute(self)


class CompiledProgram:
    """A program that is ready to run.

    Attributes:
        results: the slots whose bytes it computes
        segments: ranges of kernel calls, and host calls between them

    Args:
        blueprint: what it consists of
        addresses: of its kernels, by name
        graph, plan: make the graph and the plan again, which only errors, host steps and ``explain`` need
    """

    def __init__(self, blueprint: Blueprint, addresses: Mapping[str, int], graph: Callable[[], Graph], plan: Callable[[], Plan]) -> None:
        self.results = blueprint.results
        self.input_slots = blueprint.inputs
        self.fresh = blueprint.fresh
        self.reused = dict(blueprint.reused)
        places = {slot: number for number, (slot, _) in enumerate(self.fresh)}
        self._sources = tuple(~self.reused[slot] if slot in self.reused else places[slot] for slot in self.results)
        self.arena = blueprint.arena
        self.segments: Sequence[tuple[int, int] | HostCall] = blueprint.segments
        self.checks = dict(blueprint.checks)
        self.graph = graph
        self.plan = plan
        self.native = NativeProgram(_calls(blueprint, addresses))
        self._hosts: dict[int, tuple] = {}
        self._kinds = blueprint.numbers
        self._numbers_count = len(self._kinds)
        self._numbers_format = struct.Struct("=" + self._kinds) if self._kinds else None
        self._table_words = FIRST_BUFFER + len(self.input_slots) + len(self.fresh)
        self._format = struct.Struct(f"{self._table_words}Q")
        self._tables: list[tuple[Any, int, int]] = []

    # -- running ---------------------------------------------------------------------------------------------------

    def _new_table(self) -> tuple[Any, int, int]:
        """Memory for one run: error block (zeros), numbers, and the table of addresses."""
        words = _ERROR_WORDS + self._numbers_count + self._table_words
        memory = ctypes.create_string_buffer(8 * words + 64)
        return memory, ctypes.addressof(memory), 8 * (_ERROR_WORDS + self._numbers_count)

    def start(self, inputs: dict[int, Buffer], numbers: list[Any]) -> Run:
        """Prepare a run with these inputs (by slot) and numbers."""
        fresh = [allocate(nbytes) for _, nbytes in self.fresh]
        results = [fresh[source] if source >= 0 else inputs[~source] for source in self._sources]
        return Run(self, results, fresh, inputs, numbers)

    def execute(self, run: Run) -> None:
        """Compute the results of a run.

        Inputs are overwritten in the last segment only, after everything that can fail: an error leaves them as they were, and so does
        an interrupt, unless it comes during the last segment, which is native code and runs to its end.

        Raises:
            Exception: what a check or a host function found wrong; its attribute ``record`` is the record that it belongs to.
        """
        try:
            table = self._tables.pop()
        except IndexError:
            table = self._new_table()
        memory, address, start = table
        inputs = run.inputs
        arena = allocate(self.arena) if self.arena else None
        addresses = [address, address + 8 * _ERROR_WORDS, 0 if arena is None else arena.address]
        addresses += [inputs[slot].address for slot in self.input_slots]
        addresses += [buffer.address for buffer in run.fresh]
        self._format.pack_into(memory, start, *addresses)
        if self._numbers_format is not None:
            self._pack_numbers(memory, run.numbers)
        for number, segment in enumerate(self.segments, 1):
            if segment.__class__ is HostCall:
                self._run_host(segment, addresses)
                continue
            run.finished = number == len(self.segments)  # also if an interrupt comes before the call returns
            failed = self.native.run(address + start, *segment)
            if failed:
                run.finished = False
                self._fail(failed - 1, memory)
        run.finished = True
        self._tables.append(table)  # not after an error, whose block would have to be cleared

    def _pack_numbers(self, memory: Any, numbers: list[Any]) -> None:
        assert self._numbers_format is not None
        used = numbers[: self._numbers_count]
        try:
            self._numbers_format.pack_into(memory, 8 * _ERROR_WORDS, *used)
        except struct.error:
            fixed = [int(number) if letter == "q" else float(number) for number, letter in zip(used, self._kinds, strict=True)]
            self._numbers_format.pack_into(memory, 8 * _ERROR_WORDS, *fixed)

    def _fail(self, number: int, memory: Any) -> None:
        """Raise the error of the check that stopped the run."""
        code, position, detail, _ = struct.unpack_from("=4q", memory, 0)
        nodes = self.graph().nodes
        faults = [(make, nodes[index].attrs[-1]) for index in self.checks[number] for make in nodes[index].attrs[-2]]
        make, record = faults[code - 1]
        raise _blamed(make(position, detail), record)

    @staticmethod
    def _array(array: Array, addresses: Sequence[int]) -> np.ndarray:
        dtype, count = np.dtype(array.dtype), prod(array.shape)
        if not count:
            return np.empty(array.shape, dtype)
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(addresses[array.slot] + array.offset)
        return np.lib.stride_tricks.as_strided(np.frombuffer(raw, dtype), array.shape, array.strides)

    def _run_host(self, step: HostCall, addresses: Sequence[int]) -> None:
        if step.node not in self._hosts:
            graph = self.graph()
            function, statics, _ = graph.nodes[step.node].attrs
            self._hosts[step.node] = function, statics, graph.origins[step.node]
        function, statics, record = self._hosts[step.node]
        try:
            results = function(*[self._array(argument, addresses) for argument in step.arguments], *statics)
        except Exception as error:
            _blamed(error, record)
            raise
        for number, item in step.items:
            self._array(item, addresses)[...] = np.asarray(results[number]).reshape(item.shape)


def _blamed(error: Exception, record: Any) -> Exception:
    """The error with the record that it belongs to, and the user's line in its message if the record keeps that."""
    if record is not None and record.origin is not None and error.args:
        file, line = record.origin
        error.args = (f"{error.args[0]} (in {record.op.name}, called at {file}:{line})", *error.args[1:])
    error.record = record  # type: ignore[attr-defined]
    return error


def _calls(blueprint: Blueprint, addresses: Mapping[str, int]) -> list[Call]:
    """The kernel calls with addresses and parameters."""
    functions = [addresses[name] for name in blueprint.kernels]
    params = struct.unpack(f"={len(blueprint.params) // 8}q", blueprint.params)
    calls, start = [], 0
    for kernel, count, *rest in blueprint.calls:
        calls.append(Call(functions[kernel], params[start : start + count], *rest))
        start += count
    return calls

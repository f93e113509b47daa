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

from flambeau._compiler.prepacking import RESTS, PackedOperand, Prepacking
from flambeau._runtime.allocator import Buffer, allocate
from flambeau._runtime.launch import ALWAYS, Launch
from flambeau._runtime.pool import Call, native_runner
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
        sizes: extents that kernels read behind the run-time scalars, as those do, so that they are no part of a kernel's structure
        kernels: names
        calls, params: the kernel calls, and the parameters of all of them as int64
        segments: ranges of calls, and host calls between them
        checks: for calls that find bad data, the nodes of the graph that say which error that is
        packed: operands that need not be packed at each run
    """

    results: tuple[int, ...]
    inputs: tuple[int, ...]
    fresh: tuple[tuple[int, int], ...]
    reused: tuple[tuple[int, int], ...]
    arena: int
    numbers: str
    sizes: tuple[int, ...]
    kernels: tuple[str, ...]
    calls: tuple[CallWords, ...]
    params: bytes
    segments: tuple[Any, ...]
    checks: tuple[tuple[int, tuple[int, ...]], ...]
    packed: tuple[PackedOperand, ...]


class Run:
    """What a run of a program needs; one that ended well serves the next.

    Attributes:
        memory: error block (zeros), numbers, sizes, and the table
        table: the addresses
        tasks: what the native runner is given, by segment
        inputs: the memory of each input, by slot
        results: the memory of each result, in the order of ``CompiledProgram.results``
        finished: whether the results are in it
        filling: the packed operands that it fills
    """

    __slots__ = ("arena", "filling", "finished", "inputs", "memory", "program", "results", "table", "tasks")

    inputs: dict[int, Buffer]
    results: list[Buffer]
    arena: Buffer | None

    def __init__(self, program: CompiledProgram, numbers: int, sizes: Sequence[int], table_words: int) -> None:
        self.program = program
        behind = _ERROR_WORDS + numbers
        start = behind + len(sizes)
        self.memory = (ctypes.c_uint64 * (start + table_words))()
        self.memory[behind:start] = sizes
        self.table = (ctypes.c_uint64 * table_words).from_buffer(self.memory, 8 * start)
        address = ctypes.addressof(self.memory)
        self.table[:2] = address, address + 8 * _ERROR_WORDS
        self.tasks: dict[tuple[int, int], Any] = {}
        self.filling: list[Any] = []

    def execute(self) -> None:
        self.program.execute(self)

    def release(self) -> None:
        """Let go of the buffers, and be ready for another run of the program (not after an error, whose block would have to be cleared)."""
        self.inputs = self.results = self.arena = None
        self.program.idle.append(self)


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
        self._in_order = self._sources == tuple(range(len(self.fresh)))
        self.arena = blueprint.arena
        self.segments: Sequence[tuple[int, int] | HostCall] = blueprint.segments
        self.checks = dict(blueprint.checks)
        self.graph = graph
        self.plan = plan
        self.native = NativeProgram(_calls(blueprint, addresses))
        self.idle: list[Run] = []
        self._hosts: dict[int, tuple] = {}
        self._sizes = tuple(nbytes for _, nbytes in self.fresh)
        self._kinds = blueprint.numbers
        self._extents = blueprint.sizes
        self._inputs = len(self.input_slots) if list(self.input_slots) == sorted(self.input_slots) else -1
        self._numbers = struct.Struct("=" + self._kinds)
        self._table_words = FIRST_BUFFER + len(self.input_slots) + len(self.fresh)
        self.prepacking: Prepacking | None = None
        if blueprint.packed:
            self.prepacking = Prepacking(blueprint.packed, self.native, FIRST_BUFFER - 1, self._table_words)
            self._table_words += len(blueprint.packed)

    # -- running ---------------------------------------------------------------------------------------------------

    def start(self, inputs: dict[int, Buffer], numbers: list[Any], storages: Sequence[Any] = ()) -> Run:
        """Prepare a run with these inputs (by slot) and numbers, and the storages of all slots, some of which may be ``None``."""
        try:
            run = self.idle.pop()
        except IndexError:
            run = Run(self, len(self._kinds), self._extents, self._table_words)
        run.finished = False
        run.inputs = inputs
        run.results = fresh = []
        table, place = run.table, FIRST_BUFFER
        # Storing them one by one takes 0.3 µs for three addresses, and packing them 0.7.
        for buffer in inputs.values() if len(inputs) == self._inputs else [inputs[slot] for slot in self.input_slots]:
            table[place] = buffer.address
            place += 1
        for nbytes in self._sizes:
            buffer = allocate(nbytes)
            fresh.append(buffer)
            table[place] = buffer.address
            place += 1
        if self.arena:
            run.arena = buffer = allocate(self.arena)
            table[FIRST_BUFFER - 1] = buffer.address
        if self._kinds:
            self._pack_numbers(run.memory, numbers[: len(self._kinds)])
        if not self._in_order:
            run.results = [fresh[source] if source >= 0 else inputs[~source] for source in self._sources]
            for replaced in self.reused.values():
                inputs[replaced].changes()
        if self.prepacking is not None:
            run.filling = self.prepacking.begin(inputs, storages, table)
        return run

    def launch(self) -> Launch | None:
        """How native code runs it without this file; ``None`` if that takes more than one native segment."""
        if len(self.segments) != 1 or isinstance(self.segments[0], HostCall):
            return None
        if self.prepacking is not None and not self.prepacking.is_in_vain:
            return None
        run = Run(self, len(self._kinds), self._extents, self._table_words)
        table, memory = ctypes.addressof(run.table), ctypes.addressof(run.memory)
        task = self.native.task(table, *self.segments[0])
        addresses = table, ctypes.addressof(task), memory + 8 * _ERROR_WORDS, memory
        left = ALWAYS if self.prepacking is None else RESTS
        kept = self, run, task
        results = self.results, self._sources
        launch = Launch(addresses, tuple(self.input_slots), self._kinds, self._sizes, self.arena, results, kept, left)
        if self.prepacking is not None:
            self.prepacking.rest(launch)
        return launch

    def _pack_numbers(self, memory: Any, numbers: list[Any]) -> None:
        try:
            self._numbers.pack_into(memory, 8 * _ERROR_WORDS, *numbers)
        except struct.error:
            fixed = [int(number) if kind == "q" else float(number) for number, kind in zip(numbers, self._kinds, strict=True)]
            self._numbers.pack_into(memory, 8 * _ERROR_WORDS, *fixed)

    def execute(self, run: Run) -> None:
        """Compute the results of a run.

        Inputs are overwritten in the last segment only, after everything that can fail: an error leaves them as they were, and so does
        an interrupt, unless it comes during the last segment, which is native code and runs to its end.

        Raises:
            Exception: what a check or a host function found wrong; its attribute ``record`` is the record that it belongs to.
        """
        native = native_runner()
        left = len(self.segments)
        for segment in self.segments:
            left -= 1
            if segment.__class__ is HostCall:
                self._run_host(segment, run)
                continue
            task = run.tasks.get(segment)
            if task is None:
                task = run.tasks[segment] = self.native.task(ctypes.addressof(run.table), *segment)
            run.finished = not left  # also if an interrupt comes before the call returns
            failed = native(task)
            if failed:
                run.finished = False
                raise self.native.no_scratch() if failed < 0 else self._failure(failed - 1, run)
        run.finished = True
        for each in run.filling:
            each.ready = True

    def _failure(self, number: int, run: Run) -> Exception:
        """The error of the check that stopped the run."""
        code, position, detail, _ = struct.unpack_from("=4q", run.memory, 0)
        nodes = self.graph().nodes
        faults = [(make, nodes[index].attrs[-1]) for index in self.checks[number] for make in nodes[index].attrs[-2]]
        make, record = faults[code - 1]
        return _blamed(make(position, detail), record)

    @staticmethod
    def _array(array: Array, addresses: Sequence[int]) -> np.ndarray:
        dtype, count = np.dtype(array.dtype), prod(array.shape)
        if not count:
            return np.empty(array.shape, dtype)
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(addresses[array.slot] + array.offset)
        return np.lib.stride_tricks.as_strided(np.frombuffer(raw, dtype), array.shape, array.strides)

    def _run_host(self, step: HostCall, run: Run) -> None:
        addresses = run.table
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
    error.record = record
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

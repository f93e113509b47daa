"""Programs: from a graph to kernel calls over planned memory, and running them.

A program is data: native segments (arrays of kernel calls that one native function walks) with host steps between them. Its buffers are
reached through a table of addresses: slot 0 the error block, 1 the numbers, 2 the arena for temporaries, then inputs and results.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from flambeau._codegen import contract as contraction
from flambeau._codegen import serial
from flambeau._compiler import graph as graphs
from flambeau._compiler.cluster import LEAVES, LOOP_KINDS, Cluster, Clustering, base_of, digit_strides
from flambeau._compiler.graph import Graph, Node
from flambeau._compiler.nest import KernelCall, Nest, features
from flambeau._runtime import jit, targets
from flambeau._runtime.allocator import Buffer, allocate
from flambeau._runtime.pool import Call
from flambeau._runtime.pool import Program as NativeProgram

_FIRST = 3
"""Table slots before the inputs."""
_ERROR_WORDS = 4
_ALIGN = 64


@dataclass
class Place:
    """Where a value lies: a buffer (``input`` slot, ``result`` number, or ``arena``) and a byte offset."""

    kind: str
    number: int
    offset: int = 0


@dataclass
class HostStep:
    """A call back into Python, between native segments."""

    node: Node
    items: list[Node]


@dataclass
class _Temporary:
    """A piece of the arena, needed from step ``first`` to step ``last``."""

    nbytes: int
    first: int
    last: int
    offset: int = -1


class Plan:
    """The decisions that lead from a graph to a program."""

    def __init__(self, graph: Graph, roots: dict[int, Node], inputs: dict[int, Node], alive: Sequence[tuple[int, int]]) -> None:
        self.graph = graph
        self.roots = roots
        self.inputs = inputs
        self.alive = alive
        self.needed = self._find_needed()
        self.clustering = Clustering(self.needed, self.roots.values())
        self.order = self.clustering.order()
        self.step_of = {node.index: step for step, cluster in enumerate(self.order) for node in cluster.nodes}
        self.readers = self._find_readers()
        self.places: dict[int, Place] = {}
        self.temporaries: dict[Any, _Temporary] = {}
        self._temporary_key: dict[int, int] = {}  # the temporary that each node's place is in
        self.result_places: dict[int, Place] = {}
        self.reused: dict[int, int] = {}
        self.copies: dict[int, Node] = {}
        self._assign_places()
        self.steps: list[KernelCall | HostStep] = []
        for step, cluster in enumerate(self.order):
            self._lower(step, cluster)
        self.arena = self._pack_arena()

    # -- what is needed, and by whom -------------------------------------------------------------------------------

    def _find_needed(self) -> list[Node]:
        seen: set[int] = set()
        stack = [*self.roots.values(), *self.graph.checks]
        while stack:
            node = stack.pop()
            if node.index not in seen:
                seen.add(node.index)
                stack.extend(node.args)
        return [self.graph.nodes[index] for index in sorted(seen)]

    def _find_readers(self) -> dict[int, list[int]]:
        """For each node with memory of its own the steps that read it from there."""
        readers: dict[int, list[int]] = {}
        home = self.clustering.home
        for node in self.needed:
            if node.kind == "view" or (node.kind in LOOP_KINDS and node.index not in home):
                continue
            for argument in node.args:
                base, _ = base_of(argument)
                if base.kind in LEAVES or (base.kind in LOOP_KINDS and base.index not in home):
                    continue
                if (
                    home.get(base.index) is home[node.index]
                    and base.kind in LOOP_KINDS
                    and base.kind != "update"
                    and not (node.kind == "gather" and argument is node.args[0])
                ):
                    continue
                readers.setdefault(base.index, []).append(self.step_of[node.index])
        return readers

    # -- memory ----------------------------------------------------------------------------------------------------

    def _nbytes(self, node: Node) -> int:
        return node.numel * node.dtype.itemsize

    def _last_use(self, node: Node) -> int:
        """The last step that reads a node's memory, directly or after it was handed on (by an update in place or a bitcast)."""
        last = max(self.readers.get(node.index, [0]), default=0)
        return max(last, self.step_of.get(node.index, 0))

    def _assign_places(self) -> None:
        """Give every value that needs memory a place."""
        slots = {node.index: slot for slot, node in self.roots.items()}
        replaces = {slot: replaced for slot, replaced in self.alive if replaced >= 0}
        self.stored: set[int] = set()
        for slot, node in self.inputs.items():
            self.places[node.index] = Place("input", slot)
        chains = self._chains(replaces)
        self.last_risk = max((self.step_of[node.index] for node in self.needed if node.kind in ("host", "check")), default=-1)
        for cluster in self.order:
            for node in cluster.nodes:
                if node.kind in ("host", "check"):
                    continue
                is_root = node.index in slots
                if node.kind in LOOP_KINDS and node.kind != "update" and not is_root and node.index not in self.readers:
                    continue
                self.stored.add(node.index)
                base = base_of(node.args[0])[0] if node.args else None
                if node.kind == "bitcast":
                    assert base is not None
                    self.places[node.index] = self.places[base.index]
                    self._extend(base, node)
                elif node.kind in ("update", "scatter"):
                    assert base is not None
                    self._place_overwritten(node, base, slots, chains)
                elif is_root:
                    replaced = replaces.get(slots[node.index], -1)
                    if self._may_overwrite(node, cluster, replaced):
                        self.places[node.index] = self.result_places[slots[node.index]] = Place("input", replaced)
                        self.reused[slots[node.index]] = replaced
                    else:
                        self._place_result(node, slots[node.index])
                else:
                    self._place_temporary(node)

    def _may_overwrite(self, node: Node, cluster: Cluster, replaced: int) -> bool:
        """Whether a result may be written over the input that it replaces: nobody reads the input later, and the loop itself reads
        each element where it then writes."""
        source = self.inputs.get(replaced)
        if source is None or node.kind not in ("map", "cast") or cluster.reduced is not None or source.dtype is not node.dtype:
            return False
        step = self.step_of[node.index]
        if any(reader > step for reader in self.readers.get(source.index, ())):
            return False
        own = {digit: stride for digit, stride in cluster.strides(node).items() if stride and cluster.extents[digit] > 1}
        for each in cluster.nodes:
            for argument in each.args:
                base, view = base_of(argument)
                if base is not source:
                    continue
                if view is None or view.attrs != (0, ()) or each.kind == "gather":
                    return False
                seen = digit_strides(cluster.dims[each.index], view.strides, cluster.extents)
                if {digit: stride for digit, stride in seen.items() if stride and cluster.extents[digit] > 1} != own:
                    return False
        return all(each.kind != "bitcast" or base_of(each.args[0])[0] is not source for each in self.needed)

    def _chains(self, replaces: dict[int, int]) -> set[int]:
        """The nodes that may be written over an input in place: those on the way from an input to the value that replaces it."""
        found: set[int] = set()
        for slot, replaced in replaces.items():
            node = self.roots[slot]
            path = []
            while node.kind in ("update", "scatter", "bitcast"):
                path.append(node.index)
                node = base_of(node.args[0])[0]
            if node.kind == "input" and node.attrs[0] == replaced and self.inputs.get(replaced) is node:
                found.update(path)
        return found

    def _place_overwritten(self, node: Node, base: Node, slots: dict[int, int], chains: set[int]) -> None:
        """An update or scatter: in place if nobody needs what was there before, else on a copy."""
        step = self.step_of[node.index]
        origin = base
        others = [each for each in self.readers.get(base.index, ()) if each != step]
        while origin.kind == "bitcast":
            origin = base_of(origin.args[0])[0]
            others += [each for each in self.readers.get(origin.index, ()) if each != step and each != self.step_of[base.index]]
        place = self.places.get(base.index)
        reads_itself = sum(base_of(argument)[0] is base for each in self.order[step].nodes for argument in each.args) > 1
        free = (
            place is not None
            and base.index not in slots
            and origin.index not in slots
            and all(each < step for each in others)
            and not reads_itself
            and (origin.kind != "input" or (node.index in chains and step > self.last_risk))
            and base.kind not in LEAVES
        )
        if free:
            assert place is not None
            self.places[node.index] = place
            self._extend(base, node)
            if node.index in slots:
                self._take_over(node, slots[node.index], place)
            return
        if node.index in slots:
            self._place_result(node, slots[node.index])
        else:
            self._place_temporary(node)
        if base.kind != "empty":
            self.copies[node.index] = base

    def _extend(self, base: Node, node: Node) -> None:
        """Keep a temporary alive for as long as the node that took it over is read."""
        key = self._temporary_key.get(base.index)
        if key is not None:
            self._temporary_key[node.index] = key
            self.temporaries[key].last = max(self.temporaries[key].last, self._last_use(node))

    def _take_over(self, node: Node, slot: int, place: Place) -> None:
        """A root whose memory was made for another value: the whole chain moves into the result's buffer."""
        if place.kind == "arena":
            key = self._temporary_key[node.index]
            moved = Place("result", slot)
            for index, other in self._temporary_key.items():
                if other == key:
                    self.places[index] = moved
            del self.temporaries[key]
            self._temporary_key = {index: other for index, other in self._temporary_key.items() if other != key}
            self.result_places[slot] = moved
        else:
            self.result_places[slot] = place
            if place.kind == "input":
                self.reused[slot] = place.number

    def _place_result(self, node: Node, slot: int) -> None:
        self.places[node.index] = self.result_places[slot] = Place("result", slot)

    def _place_temporary(self, node: Node) -> None:
        step = self.step_of[node.index]
        self.temporaries[node.index] = _Temporary(self._nbytes(node), step, self._last_use(node))
        self._temporary_key[node.index] = node.index
        self.places[node.index] = Place("arena", node.index)

    def _pack_arena(self) -> int:
        """Offsets for the temporaries, so that those needed at one time do not overlap: the largest first, each at the lowest gap."""
        placed: list[_Temporary] = []
        size = 0
        for item in sorted(self.temporaries.values(), key=lambda each: (-each.nbytes, each.first)):
            at = 0
            for other in sorted(
                (each for each in placed if each.first <= item.last and item.first <= each.last), key=lambda each: each.offset
            ):
                if other.offset - at >= item.nbytes:
                    break
                at = max(at, -(-(other.offset + other.nbytes) // _ALIGN) * _ALIGN)
            item.offset = at
            placed.append(item)
            size = max(size, at + item.nbytes)
        return size

    # -- steps -----------------------------------------------------------------------------------------------------

    def _lower(self, step: int, cluster: Cluster) -> None:
        for node in cluster.nodes:
            if node.index in self.copies:
                self.steps.append(self._copy(self.copies[node.index], node))
        first = cluster.nodes[0]
        if first.kind in LOOP_KINDS:
            if 0 not in cluster.extents or cluster.reduced is not None:
                for call in Nest(cluster, self.stored, self.clustering.home).lower():
                    self._add(step, call)
            return
        if first.kind in ("empty", "bitcast", "item", "input"):
            return
        for call in getattr(self, "_lower_" + first.kind)(first):
            self._add(step, call)

    def _add(self, step: int, call: KernelCall | HostStep) -> None:
        if isinstance(call, KernelCall):
            if call.tiles <= 0:
                return
            for name, nbytes in call.temporaries.items():
                self.temporaries[name, step] = _Temporary(nbytes, step, step)
            call.buffers = [(position, (buffer, step) if isinstance(buffer, str) else buffer) for position, buffer in call.buffers]  # type: ignore[misc]
        self.steps.append(call)

    def _copy(self, source: Node, target: Node) -> KernelCall:
        name, text = serial.copy_kernel()
        count = self._nbytes(target)
        return KernelCall(name, text, [0, 0, 0, 0, count], [(0, source), (2, target)], -(-count // serial.COPY_TILE), nodes=(target,))

    def _lower_contract(self, node: Node) -> list[KernelCall]:
        batch, m, n, k = node.attrs
        a, b = node.args
        operands = []
        for argument in (a, b):
            base, view = base_of(argument)
            offset, bounds = view.attrs if view is not None else (0, ())
            limits = tuple(contraction.Bound(bound.coefficients, bound.start, bound.extent) for bound in bounds)
            operands.append((base, contraction.Operand(argument.dtype, argument.strides, offset, limits)))
        axes = a.shape
        problem = contraction.Contract(
            axes[:batch], axes[batch : batch + m], b.shape[batch + k :], axes[batch + m :],
            operands[0][1], operands[1][1], contraction.Operand(node.dtype, node.strides),
        )  # fmt: skip
        plan = contraction.plan(problem, targets.current())
        nodes = {"a": operands[0][0], "b": operands[1][0], "out": node}
        temporaries = {f"t{number}": nbytes for number, nbytes in enumerate(plan.temporaries)}
        calls = []
        for call in plan.calls:
            buffers: list[tuple[int, Node | str]] = [(position, nodes.get(name, name)) for position, name in call.buffers]
            calls.append(
                KernelCall(
                    call.kernel, call.source, list(call.params), buffers, call.tiles, call.grain, call.scratch_bytes, (node,), temporaries
                )
            )
            temporaries = {}
        return calls

    def _lower_scan(self, node: Node) -> list[KernelCall]:
        kind, axis = node.attrs
        source = node.args[0]
        name, text = serial.scan_kernel(kind, node.dtype, features())
        inner = prod(node.shape[axis + 1 :])
        lines = prod(node.shape[:axis]) * inner
        length = node.shape[axis]
        return [
            KernelCall(
                name,
                text,
                [0, 0, 0, 0, length, inner],
                [(0, source), (2, node)],
                lines if length else 0,
                max(1, 4096 // max(length, 1)),
                nodes=(node,),
            )
        ]

    def _lower_scatter(self, node: Node) -> list[KernelCall]:
        combine, shape, strides, offset, index_strides = node.attrs
        value, indices = node.args[1], node.args[2:]
        name, text = serial.scatter_kernel(combine, node.dtype, len(shape), len(indices), features())
        params = [0, offset * node.dtype.itemsize, 0, 0, *shape, *strides]
        buffers: list[tuple[int, Node | str]] = [(0, node), (2, value)]
        for index, stride in zip(indices, index_strides, strict=True):
            buffers.append((len(params), index))
            params += [0, 0, stride]
        return [KernelCall(name, text, params, buffers, 1 if prod(shape) else 0, nodes=(node,))]

    def _lower_check(self, node: Node) -> list[KernelCall]:
        name, text = serial.check_kernel()
        return [KernelCall(name, text, [0, 0, 0, 0], [(0, node.args[0]), (2, node.args[1])], 1, nodes=(node,))]

    def _lower_host(self, node: Node) -> list[HostStep]:
        items = [each for each in self.needed if each.kind == "item" and each.args[0] is node]
        return [HostStep(node, items)]


@dataclass
class Run:
    """One run of a program: its memory, and whether the results are in it."""

    program: CompiledProgram
    results: list[Buffer]
    inputs: dict[int, Buffer]
    numbers: list[Any]
    finished: bool = False

    def execute(self) -> None:
        self.program.execute(self)


class CompiledProgram:
    """A program that is ready to run.

    Attributes:
        results: the slots whose bytes it computes
        calls: the kernel calls, for ``explain``
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.results = tuple(slot for slot, _ in plan.alive)
        self.input_slots = tuple(plan.inputs)
        self._slot_of = {("input", slot): _FIRST + number for number, slot in enumerate(self.input_slots)}
        fresh = [slot for slot in self.results if slot not in plan.reused]
        for number, slot in enumerate(fresh):
            self._slot_of["result", slot] = _FIRST + len(self.input_slots) + number
        self.fresh = tuple((slot, plan.roots[slot].numel * plan.roots[slot].dtype.itemsize) for slot in fresh)
        self.reused = plan.reused
        self.arena = plan.arena
        self.segments: list[tuple[int, int] | HostStep] = []
        calls: list[Call] = []
        self.calls: list[KernelCall] = [step for step in plan.steps if isinstance(step, KernelCall)]
        addresses = jit.compile_kernels({call.name: call.source for call in self.calls})
        start = 0
        for step in plan.steps:
            if isinstance(step, HostStep):
                if len(calls) > start:
                    self.segments.append((start, len(calls)))
                    start = len(calls)
                self.segments.append(step)
                continue
            params = list(step.params)
            for position, buffer in step.buffers:
                slot, offset = self.locate(buffer)
                params[position] = slot
                params[position + 1] += offset
            calls.append(Call(addresses[step.name], params, step.tiles, step.grain, step.scratch_bytes))
        if len(calls) > start:
            self.segments.append((start, len(calls)))
        self.native = NativeProgram(calls)
        count = max((index + (2 if kind is complex else 1) for index, kind in self._number_nodes()), default=0)
        self._kinds = self._number_format(count)
        self._table_words = _FIRST + len(self.input_slots) + len(fresh)
        self._format = struct.Struct(f"{self._table_words}Q")
        self._numbers_format = struct.Struct("=" + self._kinds) if count else None
        self._numbers_count = count
        self._tables: list[tuple[Any, int, int]] = []

    def locate(self, buffer: Any) -> tuple[int, int]:
        """The table slot and byte offset of a node or a named temporary."""
        plan = self.plan
        if isinstance(buffer, tuple):
            return 2, plan.temporaries[buffer].offset
        place = plan.places[buffer.index]
        if place.kind == "arena":
            return 2, plan.temporaries[place.number].offset
        return self._slot_of[place.kind, place.number], place.offset

    def _number_nodes(self) -> list[tuple[int, type]]:
        return [node.attrs for node in self.plan.graph.nodes if node.kind == "number"]  # type: ignore[misc]

    def _number_format(self, count: int) -> str:
        """How the numbers are laid out: ``q`` for int64, ``d`` for float64 (numbers that nobody uses are passed as int64 zeros)."""
        letters = ["q"] * count
        for index, kind in self._number_nodes():
            if kind is float:
                letters[index] = "d"
            elif kind is complex:
                letters[index] = letters[index + 1] = "d"
        return "".join(letters)

    # -- running ---------------------------------------------------------------------------------------------------

    def _take_table(self) -> tuple[Any, int, int]:
        """Memory for one run: error block, numbers, and the table of addresses."""
        try:
            return self._tables.pop()
        except IndexError:
            words = _ERROR_WORDS + self._numbers_count + self._table_words
            memory = ctypes.create_string_buffer(8 * words + 64)
            address = ctypes.addressof(memory)
            return memory, address, 8 * (_ERROR_WORDS + self._numbers_count)

    def start(self, inputs: dict[int, Buffer], numbers: list[Any]) -> Run:
        """Prepare a run with these inputs (by slot) and numbers."""
        by_slot: dict[int, Buffer] = {slot: allocate(nbytes) for slot, nbytes in self.fresh}
        for slot, replaced in self.reused.items():
            by_slot[slot] = inputs[replaced]
        return Run(self, [by_slot[slot] for slot in self.results], inputs, numbers)

    def execute(self, run: Run) -> None:
        """Compute the results of a run.

        Inputs are overwritten in the last segment only, after everything that can fail: an error leaves them as they were, and so does
        an interrupt, unless it comes during the last segment, which is native code and runs to its end.

        Raises:
            Exception: what a check or a host function found wrong; its attribute ``record`` is the record that it belongs to.
        """
        table = self._take_table()
        memory, address, start = table
        arena = allocate(self.arena) if self.arena else None
        by_slot = dict(zip(self.results, run.results, strict=True))
        addresses = [address, address + 8 * _ERROR_WORDS, arena.address if arena is not None else 0]
        addresses += [run.inputs[slot].address for slot in self.input_slots]
        addresses += [by_slot[slot].address for slot, _ in self.fresh]
        self._format.pack_into(memory, start, *addresses)
        if self._numbers_format is not None:
            self._pack_numbers(memory, run.numbers)
        try:
            for number, segment in enumerate(self.segments, 1):
                if isinstance(segment, HostStep):
                    self._run_host(segment, addresses)
                    continue
                run.finished = number == len(self.segments)  # also if an interrupt comes before the call returns
                failed = self.native.run(address + start, *segment)
                if failed:
                    run.finished = False
                    self._fail(failed - 1, memory)
            run.finished = True
        finally:
            ctypes.memset(address, 0, 8 * _ERROR_WORDS)
            self._tables.append(table)

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
        _, position, detail, _ = struct.unpack_from("=4q", memory, 0)
        node = self.calls[number].nodes[0]
        error = node.attrs[0](position, detail)
        record = node.attrs[1]
        if record is not None and record.origin is not None and error.args:
            file, line = record.origin
            error.args = (f"{error.args[0]} (in {record.op.name}, called at {file}:{line})", *error.args[1:])
        error.record = record
        raise error

    def _array(self, node: Node, addresses: Sequence[int]) -> np.ndarray:
        slot, offset = self.locate(node)
        if not node.numel:
            return np.empty(node.shape, node.dtype.numpy)
        count = node.numel * node.dtype.itemsize
        raw = (ctypes.c_char * count).from_address(addresses[slot] + offset)
        flat = np.frombuffer(raw, node.dtype.numpy)
        return np.lib.stride_tricks.as_strided(flat, node.shape, tuple(stride * node.dtype.itemsize for stride in node.strides))

    def _run_host(self, step: HostStep, addresses: Sequence[int]) -> None:
        function, statics, _ = step.node.attrs
        try:
            results = function(*[self._array(argument, addresses) for argument in step.node.args], *statics)
        except Exception as error:
            error.record = self.plan.graph.origins[step.node.index]  # type: ignore[attr-defined]
            raise
        for item in step.items:
            self._array(item, addresses)[...] = np.asarray(results[item.attrs[0]]).reshape(item.shape)


def compile(path: Sequence[Any], alive: Sequence[tuple[int, int]]) -> CompiledProgram:
    """The program of the records on a trie path that computes what is alive after them."""
    graph, roots, inputs = graphs.build(path, alive)
    return CompiledProgram(Plan(graph, roots, inputs, alive))

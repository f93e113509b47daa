"""Plans: which kernels a graph becomes, in which order, and where its values lie.

Before: a graph. After: kernel calls and host steps over numbered buffers, and an arena for temporaries that live at different times.
``blueprint`` writes it down as plain numbers, which is what a program is made of and what the disk cache keeps.

What lowers the larger kinds of nodes is imported when the first of them comes: for a program of one addition that is half of the time that it
takes to be compiled.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import attrgetter
from typing import Any

from flambeau._codegen import serial
from flambeau._compiler import patterns, streaming
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.cluster import ATTENTION, LEAVES, LOOP_KINDS, RISKS, Clustering
from flambeau._compiler.digits import Cluster, digit_strides
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node, base_of, memory_of
from flambeau._compiler.prepacking import LEAST_KEPT, PackedOperand
from flambeau._compiler.program import FIRST_BUFFER, Array, Blueprint, CallWords, HostCall
from flambeau._runtime import targets

CHECKED = ("check", "scatter")
"""Kinds of nodes that find bad data; their last attributes are the errors, and the record that they belong to."""
_ALIGN = 64
_SHORTLY = 64
"""For so many steps a packed operand is kept for another contraction: longer, and memory would be held from the forward to the backward pass."""

_offset = attrgetter("offset")


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
    """The decisions that lead from a graph to a program.

    ``compile(name, IR)`` is told of each kernel as soon as it is known, so that it can be compiled while planning goes on. ``weights`` are
    the input slots of what is likely to be the same in the next run (``prepacking.py``).
    """

    def __init__(
        self,
        graph: Graph,
        roots: dict[int, Node],
        inputs: dict[int, Node],
        alive: Sequence[tuple[int, int]],
        compile: Callable[[str, str], None] = lambda name, source: None,
        weights: Iterable[int] = (),
    ) -> None:
        self.graph = graph
        self.roots = roots
        self.inputs = inputs
        self.alive = alive
        self._compile = compile
        self.weights = frozenset(weights)
        self.needed = self._find_needed()
        overwriting = {roots[slot].index for slot, replaced in alive if replaced >= 0}
        self.clustering = Clustering(self.needed, self.roots.values(), overwriting)
        if any(node.kind == "contract" for node in self.needed):
            from flambeau._compiler import contraction

            contraction.absorb(self.clustering)
        self.order = self.clustering.order()
        self.step_of = {node.index: step for step, cluster in enumerate(self.order) for node in cluster.nodes}
        self.readers = self._find_readers()
        self.places: dict[int, Place] = {}
        self.temporaries: dict[Any, _Temporary] = {}
        self._packed: dict[tuple, tuple[str, int]] = {}  # the temporary that each packing wrote last
        self._shared: dict[tuple[str, int], tuple[str, int]] = {}  # temporaries that are those of earlier steps
        self._prepacked: dict[
            tuple[int, str], tuple[KernelCall, Any]
        ] = {}  # packings that need not be made at each run, by input slot and key
        self._derived: dict[int, tuple[int, str]] = {}  # the nodes that are made of a weight alone: its input slot, and how
        self._temporary_key: dict[int, int] = {}  # the temporary that each node's place is in
        self.result_places: dict[int, Place] = {}
        self.reused: dict[int, int] = {}
        self.copies: dict[int, Node] = {}
        self._assign_places()
        self.steps: list[KernelCall | HostStep] = []
        for step, cluster in enumerate(self.order):
            self._lower(step, cluster)
        self.arena = self._pack_arena()

    @cached_property
    def _written(self) -> set[int]:
        """The inputs that are overwritten, or all if Python gets in between."""
        if any(node.kind == "host" for node in self.needed):
            return set(self.inputs)
        stored = [self.places[node.index] for node in self.needed if node.index in self.stored and node.kind != "bitcast"]
        return {place.number for place in stored if place.kind == "input"}

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
                    and base.kind in (*LOOP_KINDS, "contract")
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
        self.read_as_bits = {base_of(node.args[0])[0].index for node in self.needed if node.kind == "bitcast"}
        chains = self._chains(replaces)
        self.last_risk = max((self.step_of[node.index] for node in self.needed if node.kind in RISKS), default=-1)
        """The last step that can fail: what lies in memory outside the program is overwritten after it."""
        for cluster in self.order:
            for node in cluster.nodes:
                if node.kind in ("host", "recur", "linear", "check"):
                    continue
                is_root = node.index in slots
                if node.kind in (*LOOP_KINDS, "contract") and node.kind != "update" and not is_root and node.index not in self.readers:
                    continue
                self.stored.add(node.index)
                base = base_of(node.args[0])[0] if node.args else None
                if node.kind == "bitcast":
                    assert base is not None
                    self.places[node.index] = self.places[base.index]
                    self._extend(base, node)
                elif node.kind in ("update", "scatter") or (node.kind == "fourier" and self._reads_before_it_writes(node)):
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

    def _is_fresh(self, node: Node) -> bool:
        """Whether a value's memory is our own, which starts at a multiple of ``_ALIGN``."""
        return self.places[node.index].kind != "input"

    @cached_property
    def _stays_cached(self) -> bool:
        """See ``streaming.stays_cached``."""
        written = (self._nbytes(node) for node in self.needed if node.index in self.stored and node.kind not in ("update", "bitcast"))
        return streaming.stays_cached(sum(written))

    def _may_overwrite(self, node: Node, cluster: Cluster, replaced: int) -> bool:
        """Whether a result may be written over the input that it replaces: nobody reads the input later, and the loop itself reads
        each element where it then writes."""
        source = self.inputs.get(replaced)
        if source is None or node.kind not in ("map", "cast") or cluster.reduced is not None or source.dtype is not node.dtype:
            return False
        step = self.step_of[node.index]
        if step <= self.last_risk or any(reader > step for reader in self.readers.get(source.index, ())):
            return False
        own = {digit: stride for digit, stride in cluster.strides(node).items() if stride and cluster.extents[digit] > 1}
        for each in cluster.nodes:
            for argument in each.args:
                base, view = base_of(argument)
                if base is not source:
                    continue
                if view is None or view.attrs != (0, ()) or each.kind in ("gather", "contract"):
                    return False
                seen = digit_strides(cluster.dims[each.index], view.strides, cluster.extents)
                if {digit: stride for digit, stride in seen.items() if stride and cluster.extents[digit] > 1} != own:
                    return False
        return source.index not in self.read_as_bits

    @staticmethod
    def _reads_before_it_writes(node: Node) -> bool:
        """Whether a transform's result may lie where its operand does: lines stay where they are, and each is read before it is written."""
        what, *_, moves = node.attrs
        return what in ("plain", "second half") and (not moves or node.args[0].shape[2] == 1)

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
        """An update, a scatter or a transform: in place if nobody needs what was there before, else on a copy."""
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
            and (origin.kind != "input" or (node.index in chains and step >= self.last_risk + (node.kind != "scatter")))
            and base.kind not in LEAVES
            and (origin.kind == "input" or self._nbytes(origin) == self._nbytes(node))  # not if it is the start of something larger
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
        if base.kind != "empty" and node.kind != "fourier":
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
        step = self.step_of[(node.args[0] if node.kind == "item" else node).index]  # an item is written by the step that it belongs to
        self.temporaries[node.index] = _Temporary(self._nbytes(node), step, self._last_use(node))
        self._temporary_key[node.index] = node.index
        self.places[node.index] = Place("arena", node.index)

    def _pack_arena(self) -> int:
        """Offsets for the temporaries, so that those needed at one time do not overlap: the largest first, each at the lowest gap."""
        placed: list[_Temporary] = []  # by offset
        size = 0
        for item in sorted(self.temporaries.values(), key=lambda each: (-each.nbytes, each.first)):
            at, first, last = 0, item.first, item.last
            for other in placed:
                if other.first <= last and first <= other.last:
                    if other.offset - at >= item.nbytes:
                        break
                    at = max(at, -(-(other.offset + other.nbytes) // _ALIGN) * _ALIGN)
            item.offset = at
            insort(placed, item, key=_offset)
            size = max(size, at + item.nbytes)
        return size

    # -- steps -----------------------------------------------------------------------------------------------------

    def _lower(self, step: int, cluster: Cluster) -> None:
        for node in cluster.nodes:
            if node.index in self.copies and node.kind != "scatter":
                self._add(step, self._copy(self.copies[node.index], node))
        first = cluster.nodes[0]
        if first.kind in LOOP_KINDS:
            if 0 not in cluster.extents or cluster.reduced is not None:
                calls = patterns.lower(cluster, self.stored, self.clustering.home, self._is_fresh, self._stays_cached)
                for call in calls:
                    self._add(step, call)
                if len(calls) == 1 and self.weights:
                    self._derive(calls[0])
            return
        if first.kind in ("empty", "bitcast", "item", "input"):
            return
        if first.kind == "contract":
            from flambeau._compiler import contraction

            calls = contraction.lower(cluster, self.stored, self.clustering.home, lambda node: self._source_of(node)[0] in self.weights)
            for call in calls[:-1]:
                self._add_packing(step, call)
            for call in calls[-1:]:
                self._add(step, call)
            return
        if first.kind in ATTENTION:
            from flambeau._compiler import attention

            for call in attention.lower(cluster.nodes):
                self._add(step, call)
            return
        for call in getattr(self, "_lower_" + first.kind)(first):
            self._add(step, call)

    def _add(self, step: int, call: KernelCall | HostStep) -> None:
        if isinstance(call, KernelCall):
            if call.tiles <= 0:
                return
            for name, nbytes in call.temporaries.items():
                self.temporaries[name, step] = _Temporary(nbytes, step, step)
            call.buffers = [(position, self._temporary(buffer, step)) for position, buffer in call.buffers]
            self._compile(call.name, call.source)
            for source, nbytes, key, *where in call.keeps:
                self._prepack(source, nbytes, key, call, (nbytes, *where))
        self.steps.append(call)

    def _temporary(self, buffer: Node | str, step: int) -> Any:
        return self._shared.get((buffer, step), (buffer, step)) if isinstance(buffer, str) else buffer

    def _add_packing(self, step: int, call: KernelCall) -> None:
        """Pack an operand of a contraction, unless one shortly before has packed the same, as the steps of a recurrent network do."""
        (name,) = call.temporaries
        key = (call.name, *call.params, *[each.index for _, each in call.buffers if not isinstance(each, str)])
        known = self._packed.get(key)
        if known is not None and step - self.temporaries[known].last <= _SHORTLY:
            self.temporaries[known].last = step
            self._shared[name, step] = known
        else:
            self._packed[key] = name, step
            (source,) = [each for _, each in call.buffers if not isinstance(each, str)]
            self._prepack(source, call.temporaries[name], repr((call.name, *call.params)), call, (name, step))
            self._add(step, call)

    def _prepack(self, source: Node, nbytes: int, key: str, call: KernelCall, where: Any) -> None:
        """Note that what ``call`` packs may be kept for the next run, if it is, or is made of, an input whose bytes the program leaves as they are."""
        slot, made = self._source_of(source)
        if slot >= 0 and nbytes >= LEAST_KEPT:
            self._prepacked.setdefault((slot, hashlib.sha256((made + key).encode()).hexdigest()), (call, where))

    def _derive(self, call: KernelCall) -> None:
        """Note that what ``call`` makes of a weight and nothing else may be kept as what is packed is: the weight as bfloat16, or as pairs."""
        buffers = {each.index: each for _, each in call.buffers if not isinstance(each, str)}
        targets = [each for each in buffers.values() if each in call.nodes]
        if len(targets) != 1 or len(buffers) != 2 or call.temporaries or call.numbers or call.sizes:
            return
        (target,) = targets
        (source,) = [each for each in buffers.values() if each is not target]
        key = self._temporary_key.get(target.index)
        slot, made = self._source_of(source)
        sharing = [index for index, other in self._temporary_key.items() if other == key and index != target.index]
        if slot not in self.weights or key is None or any(self.graph.nodes[index].kind != "bitcast" for index in sharing):
            return
        self._derived[target.index] = slot, made + repr((call.name, *call.params))
        self._prepack(target, self._nbytes(target), "", call, key)

    def _source_of(self, node: Node) -> tuple[int, str]:
        """The input slot that a node's memory is, or is made of and of nothing else, and how; -1 if there is none that the program leaves as it is."""
        memory = memory_of(node)
        if memory.kind == "input" and memory.attrs[0] not in self._written:
            return memory.attrs[0], ""
        return self._derived.get(memory.index, (-1, ""))

    def _copy(self, source: Node, target: Node) -> KernelCall:
        name, text = serial.copy_kernel()
        count = self._nbytes(target)
        return KernelCall(name, text, [0, 0, 0, 0, count], [(0, source), (2, target)], -(-count // serial.COPY_TILE), nodes=(target,))

    def _lower_scan(self, node: Node) -> list[KernelCall]:
        kind, axis = node.attrs
        source, view = base_of(node.args[0])
        offset = view.attrs[0] * node.dtype.itemsize if view is not None else 0
        lines, length, inner = prod(node.shape[:axis]), node.shape[axis], prod(node.shape[axis + 1 :])
        if not node.numel:
            return []
        buffers: list[tuple[int, Node | str]] = [(0, source), (2, node)]
        if inner < serial.LANES:
            name, text = serial.scan_along_kernel(kind, node.dtype, targets.current().instruction_sets)
            tiles = -(-lines * inner // serial.SCAN_LINES)
            params = [0, offset, 0, 0, length, lines * inner, inner]
            return [KernelCall(name, text, params, buffers, tiles, max(1, 2048 // length), nodes=(node,))]
        name, text = serial.scan_across_kernel(kind, node.dtype, targets.current().instruction_sets)
        wanted = -(-inner // targets.available_cores()) if lines == 1 else inner
        block = min(serial.SCAN_BLOCK, -(-max(64, wanted) // serial.LANES) * serial.LANES)
        blocks = -(-inner // block)
        params = [0, offset, 0, 0, length, inner, block, blocks]
        return [KernelCall(name, text, params, buffers, lines * blocks, max(1, 8192 // (length * min(block, inner))), nodes=(node,))]

    def _lower_sort(self, node: Node) -> list[KernelCall]:
        from flambeau._compiler.ordering import lower_sort

        return lower_sort(node)

    def _lower_scatter(self, node: Node) -> list[KernelCall]:
        from flambeau._compiler.scattering import lower_scatter

        return lower_scatter(node, self.copies.get(node.index), guarded=self.places[node.index].kind == "input")

    def _lower_recur(self, node: Node) -> list[KernelCall]:
        from flambeau._compiler import recurrence

        return [recurrence.lower(node, self.needed)]

    def _lower_linear(self, node: Node) -> list[KernelCall]:
        from flambeau._compiler import linear

        return linear.lower(node, self.needed)

    def _lower_fourier(self, node: Node) -> list[KernelCall]:
        from flambeau._compiler import fourier

        return fourier.lower(node)

    def _lower_host(self, node: Node) -> list[HostStep]:
        items = [each for each in self.needed if each.kind == "item" and each.args[0] is node]
        return [HostStep(node, items)]

    # -- as plain numbers ------------------------------------------------------------------------------------------

    def blueprint(self) -> Blueprint:
        """The plan as plain numbers."""
        fresh = [slot for slot, _ in self.alive if slot not in self.reused]
        self._buffers = {("input", slot): FIRST_BUFFER + number for number, slot in enumerate(self.inputs)}
        self._buffers |= {("result", slot): FIRST_BUFFER + len(self.inputs) + number for number, slot in enumerate(fresh)}
        kernels: dict[str, int] = {}
        calls: list[tuple[int, ...]] = []
        params: list[int] = []
        checks: dict[int, tuple[int, ...]] = {}
        segments: list[tuple[int, int] | HostCall] = []
        starts: dict[int, tuple[int, int]] = {}  # of the calls and their parameters, by the identity of what they were made of
        sizes: dict[int, int] = {}  # in the order of their places behind the numbers
        numbers = self._number_format()
        named: dict[Any, list[int]] = {}  # where parameters say in which temporary something lies
        start = 0
        for step in self.steps:
            if isinstance(step, HostStep):
                if len(calls) > start:
                    segments.append((start, len(calls)))
                    start = len(calls)
                items = tuple((item.attrs[0], self._array(item)) for item in step.items)
                segments.append(HostCall(step.node.index, tuple(map(self._array, step.node.args)), items))
                continue
            found = [node.index for node in step.nodes if node.kind in CHECKED]
            if found:
                checks[len(calls)] = tuple(found)
            kernel = kernels.setdefault(step.name, len(kernels))
            starts[id(step)] = len(calls), len(params)
            calls.append(CallWords(kernel, len(step.params), step.tiles, step.grain, step.scratch_bytes))
            words = list(step.params)
            for position, buffer in step.buffers:
                slot, offset = self._locate(buffer)
                words[position] = slot
                words[position + 1] += offset
                where = buffer if isinstance(buffer, tuple) else self._temporary_key.get(buffer.index)
                if where is not None:
                    named.setdefault(where, []).append(len(params) + position)
            for position, size in step.sizes:
                words[position : position + 2] = 1, 8 * (len(numbers) + sizes.setdefault(size, len(sizes)))
            params += words
        if len(calls) > start:
            segments.append((start, len(calls)))
        return Blueprint(
            results=tuple(slot for slot, _ in self.alive),
            inputs=tuple(self.inputs),
            fresh=tuple((slot, self._nbytes(self.roots[slot])) for slot in fresh),
            reused=tuple(self.reused.items()),
            arena=self.arena,
            numbers=numbers,
            sizes=tuple(sizes),
            kernels=tuple(kernels),
            calls=tuple(calls),
            params=struct.pack(f"={len(params)}q", *params),
            segments=tuple(segments),
            checks=tuple(checks.items()),
            packed=tuple(self._packed_operand(slot, key, *self._prepacked[slot, key], starts, named) for slot, key in self._prepacked),
        )

    def _packed_operand(self, slot: int, key: str, call: KernelCall, where: Any, starts: Any, named: dict[Any, list[int]]) -> PackedOperand:
        number, start = starts[id(call)]
        if where in self.temporaries:  # the call does nothing else
            piece = self.temporaries[where]
            return PackedOperand(slot, piece.nbytes, key, number, tuple(named[where]), piece.offset)
        nbytes, mode, place = where
        return PackedOperand(slot, nbytes, key, number, (start + place,), mode=start + mode)

    def _locate(self, buffer: Any) -> tuple[int, int]:
        """The table slot and byte offset of a node or a named temporary."""
        if isinstance(buffer, tuple):
            return FIRST_BUFFER - 1, self.temporaries[buffer].offset
        place = self.places[buffer.index]
        if place.kind == "arena":
            return FIRST_BUFFER - 1, self.temporaries[place.number].offset
        return self._buffers[place.kind, place.number], place.offset

    def _array(self, node: Node) -> Array:
        itemsize = node.dtype.itemsize
        slot, offset = self._locate(node) if node.numel else (0, 0)
        return Array(slot, offset, node.dtype.numpy.str, node.shape, tuple(stride * itemsize for stride in node.strides))

    def _number_format(self) -> str:
        """How the numbers are laid out: ``q`` for int64, ``d`` for float64 (numbers that nobody uses are passed as int64 zeros)."""
        letters: dict[int, str] = {}
        for node in self.graph.nodes:
            if node.kind == "number":
                index, kind = node.attrs
                letters[index] = "q" if kind is int or kind is bool else "d"
                if kind is complex:
                    letters[index + 1] = "d"
        return "".join(letters.get(index, "q") for index in range(max(letters, default=-1) + 1))

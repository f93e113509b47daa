"""Replaying a backward pass: what it records is looked up instead of recorded again.

In every iteration of a training loop the backward pass calls the same formulas, and these record the same operators. The formulas
are Python, and most of what a small step costs. But what they record depends on few things: where the tape's cursor
stands, how the gradient nodes hang together, the records that they belong to, and the slots, layouts and numbers that they saved.
``survey`` collects all of that in a key. The first pass with a key only notes it (most graphs of a test or a notebook never come again), the
second is watched while it runs, and from the third on the tape *follows* the known way through the trie in one step.

```
            forward                     backward, found under the survey's key
root ──▶ ● ──▶ ● ──▶ ● cursor ═══════════════════════════════════════════════════▶ ● end
                       replays: {key: Replay(end, inputs that it brings, slots of the gradients, numbers)}
```

A pass for ``backward()`` leaves its gradients in the ``grad`` of leaves, one for ``grad()`` returns those that are wanted; they differ in nothing else.

A pass that does anything else than record is not replayed: one with hooks, in anomaly mode, with nodes made by Python of the user's own
(``Function``) or by writes through views, that creates a graph, that adds to gradients which exist already, or that looks at bytes or
writes in place on its way. Nor is one that must raise an error. They all run as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau._alias import is_ours
from flambeau._ops import autocast
from flambeau._ops.elementwise import ADD
from flambeau._ops.node import AccumulateGrad, GradNode
from flambeau._ops.operator import PLAIN_NUMBERS, Operator
from flambeau._ops.origin import user_line
from flambeau._ops.registry import ANOMALY, new_tensor
from flambeau._ops.views import ViewOperator
from flambeau._tape.cuts import CUTS
from flambeau._tape.storage import WATCHED, Storage, TensorBase
from flambeau._tape.tape import LOCAL, Tape, recording_lock
from flambeau._tape.trie import TrieNode
from flambeau._types.device import CPU
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

Edge = tuple[Any, int]

MAX_REPLAYS = 16
"""A trie node forgets its replays when it has this many: a number that is saved (a loss scale, say) may differ in every pass."""


class Survey:
    """The graph below some outputs: its nodes, and the key under which a pass over it is known."""

    __slots__ = ("key", "leaves", "nodes", "strangers")

    def __init__(self, key: tuple, nodes: list[Any], leaves: list[TensorBase], strangers: list[Storage]) -> None:
        self.key = key
        self.nodes = nodes
        self.leaves = leaves
        self.strangers = strangers


class Replay:
    """What a pass has recorded.

    Attributes:
        end: the trie node of its last record
        entries: the slots that became inputs, each with the position of its storage in ``Survey.strangers``
        numbers: the run-time scalars that it recorded
        gradients: which of ``Survey.leaves``, or of the wanted edges, got a gradient, its place in ``kept``, and its layout
        kept: the slot and the size of each storage that these gradients lie in
        released: which of ``Survey.nodes`` let go of what they had saved
        origin: the user's line that is part of the records, or ``None``
    """

    __slots__ = ("end", "entries", "gradients", "kept", "numbers", "origin", "released")


def survey(
    tape: Tape, outputs: Sequence[TensorBase], grads: Sequence[TensorBase | None], retain: bool, wanted: Iterable[Edge] | None = None
) -> Survey | None:
    """Look over the graph below ``outputs``; ``None`` if the pass has to run.

    The key is flat, for speed, and can be read in one way only: a node begins with its record, its view or the class of a leaf, of which
    none can stand elsewhere, and these say how many edges and saved things follow.
    """
    key: list[Any] = [get_default_dtype(), autocast.STATE.dtype, retain, len(outputs)]
    nodes: list[Any] = []
    places: dict[Any, int] = {}  # of the nodes, by the nodes
    leaves: list[TensorBase] = []
    strangers: dict[Storage, int] = {}
    if not _begins_with(key, nodes, places, strangers, tape, outputs, grads):
        return None
    for node in nodes:  # which grows on the way
        if node.hooks is not None:
            return None
        if node.__class__ is AccumulateGrad:
            key.append(AccumulateGrad)
            if wanted is None:
                leaf = node.reference()
                if leaf is None or leaf._grad is not None:
                    return None
                leaves.append(leaf)
            continue
        if node.__class__ is not GradNode or node.saved is None:
            return None
        record = node.record
        if node.op.__class__ in _OPERATORS:
            key.append(record)
        elif node.op.__class__ is ViewOperator:
            key += (node.op, record.operands[0][1], record.layouts[0], _hashable(record.statics))
        else:
            return None
        for edge in node.inputs:
            if edge is None:
                key.append(-1)
                continue
            below, number = edge
            place = places.get(below)
            if place is None:
                place = places[below] = len(nodes)
                nodes.append(below)
            key += (place, number)
        for item in node.saved:
            kind = item.__class__
            if kind is tuple:
                if len(item) == 3:
                    tensor, storage, version = item
                    layout = tensor.layout
                    if tensor.memory is not storage or not _plain(tensor.__class__):
                        return None
                else:
                    storage, layout, _, version = item
                if storage.version != version:
                    return None
                key += (storage.slot if storage.tape is tape else _slot(storage, tape, strangers), layout)
            elif kind in PLAIN_NUMBERS:
                key += (kind, item if item and kind is not complex else repr(item))  # 0.0 and -0.0 are equal
            else:
                return None
    if wanted is not None:
        key.append("wanted")
        for node, number in wanted:
            key += (places.get(node, -1), number)
    return Survey(tuple(key), nodes, leaves, list(strangers))


def _begins_with(
    key: list[Any],
    nodes: list[Any],
    places: dict[Any, int],
    strangers: dict[Storage, int],
    tape: Tape,
    outputs: Sequence[TensorBase],
    grads: Sequence[TensorBase | None],
) -> bool:
    """Begin a survey with the outputs and what is given of their gradients; whether they are such as can be surveyed."""
    for output, grad in zip(outputs, grads, strict=True):
        node = output.node
        if node is None or not isinstance(output, TensorBase) or output.layout.__class__ is not Layout or output.memory.device is not CPU:
            return False
        if node not in places:
            places[node] = len(nodes)
            nodes.append(node)
        key += (places[node], output.output_nr, output.layout)
        if grad is None:
            key.append(None)
        elif isinstance(grad, TensorBase) and grad.layout.__class__ is Layout:
            key += (_slot(grad.memory, tape, strangers), grad.layout)
        else:
            return False
    return True


_OPERATORS = frozenset((Operator, autocast.Casting))
"""The classes of operators whose formulas depend on nothing but what is in the key."""


def _slot(storage: Storage, tape: Tape, strangers: dict[Storage, int]) -> Any:
    """The slot of a storage, or for one that the tape does not know yet, which of the strangers it is, and whether others may write it."""
    if storage.tape is tape:
        return storage.slot
    number = strangers.get(storage)
    if number is not None:
        return ~number
    strangers[storage] = number = len(strangers)
    return (~number, bool(storage.exported))


def _hashable(static: Any) -> Any:
    """A static attribute of a view with what stands for its slices, which cannot be hashed before Python 3.12."""
    if static.__class__ in (tuple, list):
        return tuple([_hashable(each) for each in static])
    return (slice, static.start, static.stop, static.step) if static.__class__ is slice else static


_PLAIN: dict[type, bool] = {}


def _plain(cls: type) -> bool:
    """Whether formulas may be given a tensor of this class without calling methods that are not ours."""
    known = _PLAIN.get(cls)
    if known is None:
        known = _PLAIN[cls] = all(is_ours(base) or base.__module__ == "builtins" for base in cls.__mro__)
    return known


Gradients = Sequence[TensorBase | None]
"""Those of the wanted edges; nothing, if the pass has left its gradients in the leaves."""


def replayed(
    outputs: Sequence[TensorBase],
    grads: Sequence[TensorBase | None],
    retain: bool,
    run: Callable[[], Gradients],
    wanted: Iterable[Edge] | None = None,
) -> Gradients:
    """Do what ``run``, a backward pass that creates no graph, does: by calling it, or by recording what it is known to record.

    With ``wanted`` edges the pass returns their gradients; without, it adds them to the ``grad`` of leaves.
    """
    tape = LOCAL.tape
    if tape.cursor.cut:
        CUTS.cut(tape)
    replays = tape.cursor.replays
    if ANOMALY.enabled or tape.limit < 0 or (found := survey(tape, outputs, grads, retain, wanted)) is None:
        return run()
    if replays is None:
        replays = tape.cursor.replays = {}
    state = replays.get(found.key, _NEW)
    if state is _NEW:
        if len(replays) >= MAX_REPLAYS:
            replays.clear()
        replays[found.key] = _SEEN
        gradients = run()
        if wanted is None:
            CUTS.passed(tape.cursor, found.leaves)
        return gradients
    if state is _SEEN:
        replays[found.key], gradients = _watch(tape, found, run)
        return gradients
    if state is None or (state.origin is not None and state.origin != user_line()):
        return run()
    return _replay(tape, found, state, wanted)


_NEW, _SEEN = object(), object()
"""What is known of a pass that never ran, and of one that ran once. ``None`` stands for one that cannot be replayed."""


def _replay(tape: Tape, found: Survey, replay: Replay, wanted: Iterable[Edge] | None) -> Gradients:
    strangers, nodes = found.strangers, found.nodes
    gradients: list[TensorBase | None] = [] if wanted is None else [None for _ in wanted]
    with recording_lock():
        storages = tape.follow(replay.end, [(slot, strangers[number]) for slot, number in replay.entries], replay.kept, replay.numbers)
        for number, place, layout in replay.gradients:
            grad = new_tensor(storages[place], layout)
            if wanted is not None:
                gradients[number] = grad
            elif (leaf := found.leaves[number])._grad is None:
                leaf.__dict__["_grad"] = grad
            else:  # another thread was here since the survey
                ADD.inplace(leaf._grad, leaf._grad, grad)
    for number in replay.released:
        nodes[number].saved = None
    return gradients


def _watch(tape: Tape, found: Survey, run: Callable[[], Gradients]) -> tuple[Replay | None, Gradients]:
    """Run a pass and see what it records (``None`` if it did anything else), and what it returns."""
    start, values = tape.cursor, tape.values
    first, numbers, replaced = len(values), len(tape.numbers), len(tape.replaced)
    entered: list[Storage] = []
    try:
        tape.entered = entered
        WATCHED.add(tape.thread)
        returned = run()
        blind = tape.thread in WATCHED
    finally:
        tape.entered = None
        WATCHED.discard(tape.thread)
    if not blind or tape.values is not values or len(tape.replaced) != replaced:
        return None, returned  # looked, flushed, or wrote in place
    gradients = returned or [leaf._grad for leaf in found.leaves]
    replay = _recorded(tape, found, start, first, entered, gradients)
    if replay is not None:
        replay.numbers = tuple(tape.numbers[numbers:])
        if not returned and len(replay.kept) != len(replay.gradients):
            return None, returned  # leaves share one, and add to theirs in place
    return replay, returned


def _recorded(tape: Tape, found: Survey, start: TrieNode, first: int, entered: Sequence[Storage], gradients: Gradients) -> Replay | None:
    """What a pass has recorded since ``start``, when there were ``first`` values; ``None`` if it cannot be replayed."""
    values = tape.values
    path: list[TrieNode] = []
    node: TrieNode | None = tape.cursor
    while node is not None and node is not start:
        path.append(node)
        node = node.parent
    if node is None:
        return None
    results = {slot for record in path for slot in range(record.first, record.slots)}
    if any(values[slot] is None or values[slot].version for slot in results):
        return None  # overwritten
    slots = [slot for slot in range(first, len(values)) if slot not in results]
    positions = {id(storage): number for number, storage in enumerate(found.strangers)}
    if len(slots) != len(entered) or any(id(storage) not in positions for storage in entered):
        return None  # read something that the graph does not hold
    replay = Replay()
    replay.end = tape.cursor
    replay.entries = tuple(zip(slots, [positions[id(storage)] for storage in entered], strict=True))
    kept: dict[int, int] = {}
    found_gradients = []
    for number, grad in enumerate(gradients):
        if grad is None:
            continue
        storage = grad.memory
        if storage.tape is not tape or storage.slot not in results or grad.layout.__class__ is not Layout:
            return None
        kept[storage.slot] = storage.nbytes
        found_gradients.append((number, list(kept).index(storage.slot), grad.layout))
    replay.gradients, replay.kept = tuple(found_gradients), tuple(kept.items())
    replay.released = tuple(number for number, node in enumerate(found.nodes) if node.__class__ is GradNode and node.saved is None)
    origins = {record.origin for record in path if record.origin is not None}
    if len(origins) > 1:
        return None
    replay.origin = origins.pop() if origins else None
    return replay

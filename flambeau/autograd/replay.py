"""Replaying a backward pass: what it records is looked up instead of recorded again.

In every iteration of a training loop the backward pass calls the same formulas, and these record the same operators. The formulas
are Python, and most of what a small step costs. But what they record depends on few things: where the tape's cursor
stands, how the gradient nodes hang together, the records that they belong to, and the slots, layouts and numbers that they saved.
``survey`` collects all of that in a key. The first pass with a key only notes it (most graphs of a test or a notebook never come again), the
second is watched while it runs, and from the third on the tape *follows* the known way through the trie in one step.

```
            forward                     backward, found under the survey's key
root ──▶ ● ──▶ ● ──▶ ● cursor ═══════════════════════════════════════════════════▶ ● end
                       replays: {key: Replay(end, inputs that it brings, slots of the leaves' gradients, numbers)}
```

A pass that does anything else than record is not replayed: one with hooks, in anomaly mode, with nodes made by Python of the user's own
(``Function``) or by writes through views, that creates a graph, that adds to gradients which exist already, or that looks at bytes or
writes in place on its way. Nor is one that must raise an error. They all run as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau._ops import autocast
from flambeau._ops.elementwise import ADD
from flambeau._ops.node import AccumulateGrad, GradNode
from flambeau._ops.operator import PLAIN_NUMBERS, Operator, user_line
from flambeau._ops.registry import ANOMALY, new_tensor
from flambeau._ops.views import ViewOperator
from flambeau._tape.storage import WATCHED, Storage, TensorBase
from flambeau._tape.tape import LOCAL, Tape, recording_lock
from flambeau._tape.trie import TrieNode
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

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
        leaves: which of ``Survey.leaves`` got a gradient, and its layout
        kept: the slot and the size of each of these gradients
        released: which of ``Survey.nodes`` let go of what they had saved
        origin: the user's line that is part of the records, or ``None``
    """

    __slots__ = ("end", "entries", "kept", "leaves", "numbers", "origin", "released")


def survey(tape: Tape, outputs: Sequence[TensorBase], grads: Sequence[TensorBase | None], retain: bool) -> Survey | None:
    """Look over the graph below ``outputs``; ``None`` if the pass has to run.

    The key is flat, for speed, and can be read in one way only: a node begins with its record, its view or the class of a leaf, of which
    none can stand elsewhere, and these say how many edges and saved things follow.
    """
    key: list[Any] = [get_default_dtype(), autocast.STATE.dtype, retain, len(outputs)]
    nodes: list[Any] = []
    places: dict[Any, int] = {}  # of the nodes, by the nodes
    leaves: list[TensorBase] = []
    strangers: list[Storage] = []
    for output, grad in zip(outputs, grads, strict=True):
        node = output.node
        if node is None or output.layout.__class__ is not Layout:
            return None
        if node not in places:
            places[node] = len(nodes)
            nodes.append(node)
        key += (places[node], output.output_nr, output.layout)
        if grad is None:
            key.append(None)
        elif isinstance(grad, TensorBase) and grad.layout.__class__ is Layout:
            key += (_slot(grad.storage, tape, strangers), grad.layout)
        else:
            return None
    for node in nodes:  # which grows on the way
        if node.hooks is not None:
            return None
        if node.__class__ is AccumulateGrad:
            leaf = node.reference()
            if leaf is None or leaf._grad is not None:
                return None
            key.append(AccumulateGrad)
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
                    if tensor.storage is not storage or not _plain(tensor.__class__):
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
    return Survey(tuple(key), nodes, leaves, strangers)


_OPERATORS = frozenset((Operator, autocast.Casting))
"""The classes of operators whose formulas depend on nothing but what is in the key."""


def _slot(storage: Storage, tape: Tape, strangers: list[Storage]) -> Any:
    """The slot of a storage, or for one that the tape does not know yet, which of the strangers it is, and whether others may write it."""
    if storage.tape is tape:
        return storage.slot
    for number, known in enumerate(strangers):
        if known is storage:
            return ~number
    strangers.append(storage)
    return (~(len(strangers) - 1), bool(storage.exported))


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
        known = _PLAIN[cls] = all(base.__module__.partition(".")[0] in (_PACKAGE, "builtins") for base in cls.__mro__)
    return known


_PACKAGE = __name__.partition(".")[0]


def backward(outputs: Sequence[TensorBase], grads: Sequence[TensorBase | None], retain: bool, run: Callable[[], None]) -> None:
    """Do what ``run``, a backward pass that creates no graph, does: by calling it, or by recording what it is known to record."""
    tape = LOCAL.tape
    if ANOMALY.enabled or tape.limit < 0 or (found := survey(tape, outputs, grads, retain)) is None:
        run()
        return
    replays = tape.cursor.replays
    if replays is None:
        replays = tape.cursor.replays = {}
    state = replays.get(found.key, _NEW)
    if state is _NEW:
        if len(replays) >= MAX_REPLAYS:
            replays.clear()
        replays[found.key] = _SEEN
        run()
    elif state is _SEEN:
        replays[found.key] = _watch(tape, found, run)
    elif state is None or (state.origin is not None and state.origin != user_line()):
        run()
    else:
        _replay(tape, found, state)


_NEW, _SEEN = object(), object()
"""What is known of a pass that never ran, and of one that ran once. ``None`` stands for one that cannot be replayed."""


def _replay(tape: Tape, found: Survey, replay: Replay) -> None:
    strangers, nodes = found.strangers, found.nodes
    with recording_lock():
        storages = tape.follow(replay.end, [(slot, strangers[number]) for slot, number in replay.entries], replay.kept, replay.numbers)
        for (number, layout), storage in zip(replay.leaves, storages, strict=True):
            leaf, grad = found.leaves[number], new_tensor(storage, layout)
            if leaf._grad is None:
                leaf.__dict__["_grad"] = grad
            else:  # another thread was here since the survey
                ADD.inplace(leaf._grad, leaf._grad, grad)
    for number in replay.released:
        nodes[number].saved = None


def _watch(tape: Tape, found: Survey, run: Callable[[], None]) -> Replay | None:
    """Run a pass and see what it records; ``None`` if it did anything else."""
    start, values = tape.cursor, tape.values
    first, numbers, replaced = len(values), len(tape.numbers), len(tape.replaced)
    tape.entered = entered = []
    WATCHED.add(tape.thread)
    try:
        run()
        blind = tape.thread in WATCHED
    finally:
        tape.entered = None
        WATCHED.discard(tape.thread)
    path: list[TrieNode] = []
    node: TrieNode | None = tape.cursor
    while node is not None and node is not start:
        path.append(node)
        node = node.parent
    if not blind or node is None or tape.values is not values or len(tape.replaced) != replaced:
        return None  # looked, flushed, or wrote in place
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
    replay.numbers = tuple(tape.numbers[numbers:])
    gradients = [(number, leaf._grad) for number, leaf in enumerate(found.leaves) if leaf._grad is not None]
    replay.leaves = tuple((number, grad.layout) for number, grad in gradients)
    replay.kept = tuple((grad.storage.slot, grad.storage.nbytes) for _, grad in gradients)
    if any(grad.storage.tape is not tape or grad.storage.slot not in results for _, grad in gradients):
        return None
    if len({slot for slot, _ in replay.kept}) != len(gradients):
        return None  # two leaves share one
    replay.released = tuple(number for number, node in enumerate(found.nodes) if node.__class__ is GradNode and node.saved is None)
    origins = {record.origin for record in path if record.origin is not None}
    if len(origins) > 1:
        return None
    replay.origin = origins.pop() if origins else None
    return replay

"""The trie of records: what was recorded before, and the programs that were made of it.

The children of a trie node are found by the *key* of the next record: the operator, its static attributes, and for each operand the slot of its
value with the layout it is read through.

What has not been used for long is forgotten, by *generations*: when so many new records have been made a new one begins, and what no flush of
the last ``KEPT`` has come by is dropped. A loop over some sizes makes no new records once it has seen them all, and so keeps them;
one that sees ever new sizes keeps the latest. Recording pays nothing for it, a flush one store.
"""

from __future__ import annotations

from typing import Any

from flambeau._types.layout import Layout, forget_unused

GENERATION = 4096
"""New records of a generation (2 kB each, with their part of a program) ..."""
PROGRAMS, MOST = 64, 4
"""... and so many new programs at least, unless that takes ``MOST`` times as many records: some sizes of a large network are to be kept, too."""
KEPT = 2
"""Generations that are kept besides the one that begins."""


class TrieNode(dict):
    """A recorded call at its place in the trie; as a dictionary it maps the key of the next record to its node.

    Attributes:
        op, statics, operands: the call; an operand is ``(slot, layout)`` or, for a number, ``(scalar index, class)``
        layouts: the layouts of the results, which have the slots from ``first`` on
        single, nbytes: the layout and size of the result, if there is one only
        sizes: the sizes of the results
        differentiable: whether the operator has gradients and a result can carry one
        wanted, saves: which operands required grad the last time, as bits, and the operands (or ``~`` the results) to save for them
        passed: whether it was first recorded in a backward pass
        slots, scalars: how many the tape has after this record
        depth: how many records lead here, this one included
        cut: the kind of cut if what is recorded next begins a new tape (``cuts.py``), or 0
        programs: compiled programs for a flush here, by what is alive
        latest: the child that was recorded last, which native code tries first
        launches: programs that native code can run, by what is alive (``native/``); ``None`` if there are none
        replays: what was recorded from here on by passes that come again (``autograd/replay.py``); ``None`` if nothing was
        origin: ``(file name, line)`` of the user's call, where the operator keeps it for its errors
        used: the generation in which it was made, or a flush came by last as far as is known; -1 if it has been forgotten
    """

    __slots__ = (
        "cut",
        "depth",
        "differentiable",
        "first",
        "latest",
        "launches",
        "layouts",
        "nbytes",
        "op",
        "operands",
        "origin",
        "parent",
        "passed",
        "programs",
        "replays",
        "saves",
        "scalars",
        "single",
        "sizes",
        "slots",
        "statics",
        "used",
        "wanted",
    )

    op: Any
    statics: tuple
    operands: tuple
    layouts: tuple[Layout, ...]
    parent: TrieNode | None

    def __init__(self) -> None:
        self.parent = None
        self.slots = 0
        self.scalars = 0
        self.depth = 0
        self.cut = 0
        self.programs: dict[tuple, Any] = {}
        self.latest: TrieNode | None = None
        self.launches: dict[bytes, Any] | None = None
        self.replays: dict[tuple, Any] | None = None
        self.origin = None
        self.used = 0

    def path(self) -> list[TrieNode]:
        """The records from the root to here."""
        nodes: list[TrieNode] = []
        node: TrieNode | None = self
        while node is not None and node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    @property
    def trains(self) -> bool:
        """Whether a record that leads here has ever had a history, or is one of a backward pass."""
        return any(record.wanted >= 0 or record.passed for record in self.path())

    def forget(self, oldest: int) -> int:
        """Drop the children that no flush has come by since the generation ``oldest``, and what refers to records that were dropped.

        Must have been called for all children. A tape of another thread may stand in what is dropped, and ends its flush there.
        Returns how many children were dropped.
        """
        stale = [key for key, child in self.items() if child.used < oldest]
        for key in stale:
            child = self.pop(key)
            child.used = -1
            child.programs = {}  # whose paths lead back here
            child.latest = child.launches = child.replays = None
        self.used = max(self.used, *[child.used for child in self.values()], 0)
        if self.latest is not None and self.latest.used < 0:
            self.latest = None
        if self.replays is not None:
            self.replays = {key: replay for key, replay in self.replays.items() if getattr(replay, "end", self).used >= 0}
        return len(stale)

    __hash__ = object.__hash__
    __eq__ = object.__eq__  # a node is equal to itself alone, whatever its children are
    __ne__ = object.__ne__


class Trie:
    """The root that all tapes start from.

    Attributes:
        size: the number of nodes
        generation: how often what was old has been forgotten
        programs: how many have been made in this generation
        began: the number of nodes when it began
        turn: at more nodes than this it may end
    """

    __slots__ = ("began", "generation", "programs", "root", "size", "turn")

    def __init__(self) -> None:
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Forget all records and programs; tapes that stand in the old trie end their flush there."""
        self.root = TrieNode()
        self.size = 0
        self._begin()

    def _begin(self) -> None:
        self.programs = 0
        self.began = self.size
        self.turn = self.size + GENERATION

    def age(self) -> None:
        """Begin a new generation if this one has made enough, and forget what has not been used for long."""
        if self.programs < PROGRAMS and self.size - self.began < MOST * GENERATION:
            self.turn += GENERATION
            return
        self.generation += 1
        nodes: list[TrieNode] = [self.root]
        for node in nodes:  # which grows on the way
            nodes += node.values()
        self.size = len(nodes) - 1
        while nodes:
            self.size -= nodes.pop().forget(self.generation - KEPT)
        self._begin()
        forget_unused()


TRIE = Trie()

"""The trie of records: what was recorded before, and the programs that were made of it.

The children of a trie node are found by the *key* of the next record: the operator, its static attributes, and for each operand the slot of its
value with the layout it is read through.
"""

from __future__ import annotations

from typing import Any

from flambeau._types.layout import Layout


class TrieNode(dict):
    """A recorded call at its place in the trie; as a dictionary it maps the key of the next record to its node.

    Attributes:
        op, statics, operands: the call; an operand is ``(slot, layout)`` or, for a number, ``(scalar index, class)``
        layouts: the layouts of the results, which have the slots from ``first`` on
        single, nbytes: the layout and size of the result, if there is one only
        sizes: the sizes of the results
        differentiable: whether the operator has gradients and a result can carry one
        wanted, saves: which operands required grad the last time, as bits, and the operands (or ``~`` the results) to save for them
        slots, scalars: how many the tape has after this record
        depth: how many records lead here, this one included
        cut: whether what is recorded next begins a new tape (``cuts.py``)
        programs: compiled programs for a flush here, by what is alive
        latest: the child that was recorded last, which native code tries first
        launches: programs that native code can run, by what is alive (``native/``); ``None`` if there are none
        replays: what was recorded from here on by passes that come again (``autograd/replay.py``); ``None`` if nothing was
        origin: ``(file name, line)`` of the user's call, where the operator keeps it for its errors
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
        "programs",
        "replays",
        "saves",
        "scalars",
        "single",
        "sizes",
        "slots",
        "statics",
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
        self.cut = False
        self.programs: dict[tuple, Any] = {}
        self.latest: TrieNode | None = None
        self.launches: dict[bytes, Any] | None = None
        self.replays: dict[tuple, Any] | None = None
        self.origin = None

    def path(self) -> list[TrieNode]:
        """The records from the root to here."""
        nodes: list[TrieNode] = []
        node: TrieNode | None = self
        while node is not None and node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    __hash__ = object.__hash__
    __eq__ = object.__eq__  # a node is equal to itself alone, whatever its children are
    __ne__ = object.__ne__


class Trie:
    """The root that all tapes start from, and the number of nodes."""

    __slots__ = ("root", "size")

    def __init__(self) -> None:
        self.root = TrieNode()
        self.size = 0

    def clear(self) -> None:
        """Forget all records and programs; tapes that stand in the old trie end their flush there."""
        self.root = TrieNode()
        self.size = 0


TRIE = Trie()

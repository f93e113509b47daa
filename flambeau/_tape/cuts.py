"""Where the tape is cut in programs whose length varies: the episodes of a game, the steps of a solver, sentences word by word.

A tape that is flushed makes one program of all that it holds. Where the same work recurs that is best, but a loop that takes another number of
rounds each time never makes the same program twice, and to plan a record takes as long as computing with some thousand numbers. So once
a few long programs in a row (``PATIENCE``) were run a single time each, new paths of the trie are cut into pieces, which do recur:

```
              rounds              cut after ``h``, the least operator of a window
a b | c d e f g h | c d e f g h | …        ──▶   [a b c d e f g h] [c d e f g h] [c d e f g h] …
```

Places are chosen by what is recorded and not by counting, so that the pieces of every round begin alike: after a record whose operator has the
least rank (a number made of its name) of those in the ``WINDOW`` before. A cut is a mark on a trie node; what is recorded there next
begins a new tape. There is one, too, behind a backward pass that comes a third time otherwise, as with images of a third size: what follows it, the limits of gradients
and an optimizer's step, is the same for all sizes. Results do not depend on cuts: the bits are the same wherever a tape is flushed. Paths that were known before stay whole, as
long as they are followed to their end; and if the same pieces follow each other again and again, the work has one length after all, and
the trie is begun anew, without cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau._tape.trie import TRIE, TrieNode

if TYPE_CHECKING:
    from flambeau._tape.tape import Tape

LONG = 256
"""So many records make a program that takes long to plan: a hundredth of a second and more."""
WINDOW = 24
"""A piece has at least so many records: to run one takes some microseconds, to plan one half a millisecond and 0.1 for each record. Short ones come again more often: of a
translator that is told the right word at random 12,600 records were planned in twenty steps with 64, 9,400 with 24 and 8,900 with 16; of a mixture of experts 15,800, 13,400 and
11,400. Later steps of the translator took 50 ms with 24, 57 with 16 and 65 with 8, and as long with any once all pieces were known."""
PATIENCE = 4
"""Long programs in a row that ran once and did not come again, until tapes are cut."""
WHOLE, LEAVES, SETS = 2, 16, 256
"""So many programs of a training step are whole, which may begin otherwise the first time, and those with gradients of fewer leaves all are: little is
planned for these, and a step of an MLP takes 104 µs whole and 126 cut. So many sets of leaves are remembered."""
PIECE, PASS = 1, 2
"""Kinds of cuts: between pieces, and behind a backward pass."""
REMEMBERED, FEW = 8, 2
"""If the last ``REMEMBERED`` tapes that were cut were cut in at most so many ways, they should not have been."""


class Cuts:
    """Whether tapes are cut, for all threads.

    Attributes:
        single: how many more long programs were made than came again; those that left a known path on their way count twice
        passes: how many backward passes were new, by a hash of the leaves that got gradients
        ways: a number for each of the last tapes that were cut, which says where
        way: that of the tape which is being cut
    """

    def __init__(self) -> None:
        self.single = 0
        self.passes: dict[int, int] = {}
        self.ways: deque[int] = deque(maxlen=REMEMBERED)
        self.way = 0

    @property
    def on(self) -> bool:
        """Whether new paths are cut."""
        return self.single >= PATIENCE

    def made(self, end: TrieNode) -> None:
        """A program was made of the path to ``end``."""
        if end.depth >= LONG:
            self.single += 1 + _has_left(end)
            if self.on:
                _mark_before(end)

    def recurred(self, end: TrieNode) -> None:
        """The program of the path to ``end`` is run again."""
        if end.depth >= LONG and 0 < self.single < PATIENCE:
            self.single -= 1

    def passed(self, end: TrieNode, leaves: Sequence[Any]) -> None:
        """A backward pass that is new has ended."""
        if len(leaves) < LEAVES:
            return
        if len(self.passes) >= SETS:
            self.passes.clear()
        key = hash(tuple(map(id, leaves)))
        self.passes[key] = count = self.passes.get(key, 0) + 1
        if (self.on or count > WHOLE) and not end and not end.programs and end.parent is not None:
            end.cut = PASS

    def cut(self, tape: Tape) -> None:
        """Compute what is on a tape, at a mark."""
        here = tape.cursor
        goes_on = tape.flushed.cut == PIECE
        tape.flush()
        if not self.on:  # a mark behind a pass, which says nothing about pieces
            return
        if not goes_on:
            self.ways.append(self.way)
            self.way = 0
            if len(self.ways) == REMEMBERED and len(set(self.ways)) <= FEW:
                self.single = 0
                self.ways.clear()
                TRIE.clear()
                tape.cursor = TRIE.root
        self.way = hash((self.way, id(here)))

    def place(self, node: TrieNode) -> None:
        """Mark a node that is new, if the tape is to be cut there; one that a long path without cuts has led to, whatever it is, so that they are set once."""
        if not self.on:
            return
        if node.depth > LONG:
            _mark_before(node)
            node.cut = PIECE
        else:
            node.cut = PIECE * _is_place(node, node.depth)


def _has_left(end: TrieNode) -> bool:
    """Whether another path goes elsewhere on the way to ``end``, after a window at least."""
    node = end.parent
    while node is not None and node.depth >= WINDOW:
        if len(node) > 1:
            return True
        node = node.parent
    return False


def _is_place(node: TrieNode, length: int) -> bool:
    """Whether a piece of ``length`` records that ends with this one should be cut here."""
    if length < WINDOW:
        return False
    rank, before = node.op.rank, node.parent
    for _ in range(WINDOW - 1):
        if before is None or before.parent is None:
            break
        if before.op.rank < rank:
            return False
        before = before.parent
    return True


def _mark_before(node: TrieNode) -> None:
    """Cut a long path that was known and turned out to lead elsewhere: what is behind the cuts is recorded anew, in pieces."""
    start = 0
    for record in node.path()[:-1]:
        if _is_place(record, record.depth - start):
            record.cut = PIECE
            record.clear()
            record.latest = None
            start = record.depth


CUTS = Cuts()

"""What a package is made of, and why: a graph of modules and pickles, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Action", "DependencyGraph", "Entry", "Problem"]


class Action(Enum):
    """What becomes of a module: it is put into the package, imported from the surroundings, left out, or forbidden."""

    INTERN = 1
    EXTERN = 2
    MOCK = 3
    DENY = 4


class Problem(Enum):
    """Why a package cannot be made."""

    UNMATCHED = "no pattern says what to do with the module: intern, extern or mock it"
    DENIED = "a pattern denies the module"
    EXTENSION = "the module is compiled code; only Python code can be put into a package: extern it"
    NO_SOURCE = "the module has no source code that could be put into a package: extern it"
    NOT_PYTHON = "the module's source cannot be read as Python"
    MOCKED_BUT_USED = "the module is mocked, but pickled objects are made of it: intern or extern it"


@dataclass
class Entry:
    """A module, or a pickle."""

    action: Action | None = None
    source: str | None = None
    is_package: bool = False
    is_pickle: bool = False
    problem: Problem | None = None
    context: str = ""
    needs: dict[str, None] = field(default_factory=dict)


class DependencyGraph:
    """Entries by name, and which needs which."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def add(self, name: str, **what: Any) -> Entry:
        """An entry, which is made if there is none, with some of its attributes set."""
        entry = self.entries.setdefault(name, Entry())
        for attribute, value in what.items():
            setattr(entry, attribute, value)
        return entry

    def connect(self, user: str, used: str) -> None:
        """Note that one entry needs another."""
        self.add(used)
        self.add(user).needs[used] = None

    def named(self, action: Action) -> list[str]:
        """The modules that something becomes of."""
        return [name for name, entry in self.entries.items() if entry.action is action]

    def needed_by(self, name: str) -> list[str]:
        """What needs an entry."""
        return [user for user, entry in self.entries.items() if name in entry.needs]

    def paths(self, start: str, end: str) -> DependencyGraph:
        """The part of the graph that leads from one entry to another."""
        forward, backward = self._reached(start, lambda name: self.entries[name].needs), self._reached(end, self.needed_by)
        kept = DependencyGraph()
        for user, entry in self.entries.items():
            for used in entry.needs:
                if {user, used} <= forward & backward:
                    kept.connect(user, used)
        return kept

    def _reached(self, start: str, step: Any) -> set[str]:
        found, pending = set(), [start] if start in self.entries else []
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending.extend(step(name))
        return found

    def shortest(self, end: str) -> list[str]:
        """A way from something that the user saved to an entry."""
        way = [end]
        while users := [user for user in self.needed_by(way[0]) if user not in way]:
            way.insert(0, users[0])
        return way

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        edges = [f'"{user}" -> "{used}";' for user, entry in self.entries.items() for used in entry.needs]
        return "\n".join(["digraph G {", "rankdir = LR;", "node [shape=box];", *edges, "}", ""])

    def problems(self) -> Iterator[tuple[Problem, dict[str, Entry]]]:
        """What is wrong, and with which entries."""
        for problem in Problem:
            found = {name: entry for name, entry in self.entries.items() if entry.problem is problem}
            if found:
                yield problem, found

"""The files of a package as a tree."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.package.glob_group import GlobGroup, GlobPattern

__all__ = ["Directory", "structure"]


class Directory:
    """A folder with what is in it, or a file; ``print`` it to see the tree.

    Attributes:
        name: without the folders above
        is_dir: whether it is a folder
        children: what is in it, by name
    """

    def __init__(self, name: str, is_dir: bool) -> None:
        self.name = name
        self.is_dir = is_dir
        self.children: dict[str, Directory] = {}

    def add(self, path: str) -> None:
        """Add a file, by its path from here."""
        first, inside, rest = path.partition("/")
        child = self.children.setdefault(first, Directory(first, bool(inside)))
        if inside:
            child.add(rest)

    def has_file(self, filename: str) -> bool:
        """Whether there is a file or folder at a path from here."""
        first, inside, rest = filename.partition("/")
        child = self.children.get(first)
        return child is not None and (not inside or child.has_file(rest))

    def _lines(self, prefix: str) -> Iterable[str]:
        inside = sorted(self.children.values(), key=lambda child: (not child.is_dir, child.name))
        for child in inside:
            last = child is inside[-1]
            yield f"{prefix}{'└── ' if last else '├── '}{child.name}"
            yield from child._lines(prefix + ("    " if last else "│   "))

    def __str__(self) -> str:
        return "\n".join([f"─── {self.name}", *self._lines("    "), ""])


def structure(name: str, paths: Iterable[str], include: GlobPattern = "**", exclude: GlobPattern = ()) -> Directory:
    """The tree of the files that fit patterns."""
    group = GlobGroup(include, exclude=exclude, separator="/")
    root = Directory(name, True)
    for path in paths:
        if group.matches(path):
            root.add(path)
    return root

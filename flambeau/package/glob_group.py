"""Sets of modules, or of files, by patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["GlobGroup", "GlobPattern"]

GlobPattern = str | Iterable[str]


class GlobGroup:
    """Names that fit one of some patterns, and none of others.

    A name is made of segments, and so is a pattern. ``*`` stands for any characters within a segment, ``**`` for any number of segments,
    also for none.

    Args:
        include: a pattern, or several
        exclude: patterns of what is not meant
        separator: what is between segments

    Raises:
        ValueError: ``**`` is only a part of a segment

    Example:
        >>> from flambeau.package import GlobGroup
        >>> group = GlobGroup("torch.**", exclude="torch.nn.*")
        >>> [group.matches(name) for name in ("torch", "torch.nn", "torch.nn.init", "torchvision")]
        [True, True, False, False]
    """

    def __init__(self, include: GlobPattern, *, exclude: GlobPattern = (), separator: str = ".") -> None:
        self.separator = separator
        self._texts = tuple(", ".join(_listed(each)) or "()" for each in (include, exclude))
        self.include, self.exclude = ([_compiled(pattern, separator) for pattern in _listed(each)] for each in (include, exclude))

    def matches(self, candidate: str) -> bool:
        """Whether a name is in the set."""
        candidate = self.separator + candidate
        return any(each.fullmatch(candidate) for each in self.include) and not any(each.fullmatch(candidate) for each in self.exclude)

    def __repr__(self) -> str:
        return f"GlobGroup(include={self._texts[0]}, exclude={self._texts[1]})"


def _listed(pattern: GlobPattern) -> list[str]:
    return [pattern] if isinstance(pattern, str) else list(pattern)


def _compiled(pattern: str, separator: str) -> re.Pattern:
    """What the separator and a name fit; each segment is preceded by the separator."""
    between = re.escape(separator)
    segment = f"[^{between}]"
    parts = []
    for part in pattern.split(separator):
        if part == "**":
            parts.append(f"(?:{between}{segment}+)*")
        elif "**" in part:
            raise ValueError(f"** stands for whole segments, but in {pattern!r} it is a part of {part!r}")
        else:
            parts.append(between + f"{segment}*".join(map(re.escape, part.split("*"))))
    return re.compile("".join(parts))

"""Finding out what a package needs, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.package.package_exporter import PackagingError

__all__ = ["find_first_use_of_broken_modules", "trace_dependencies"]


def find_first_use_of_broken_modules(exc: PackagingError) -> dict[str, list[str]]:
    """For each module that a package cannot have, a way from something that was saved to it.

    Raises:
        AssertionError: it is no ``PackagingError``
    """
    if not isinstance(exc, PackagingError):
        raise AssertionError(f"expected a PackagingError, not a {type(exc).__name__}")
    return {name: exc.dependency_graph.shortest(name) for _, entries in exc.dependency_graph.problems() for name in entries}


def trace_dependencies(callable: Callable[..., Any], inputs: Iterable[tuple]) -> list[str]:
    """The modules whose functions run when a function is called with some arguments."""
    found: dict[str, None] = {}

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "__name__" in frame.f_globals:
            found[frame.f_globals["__name__"]] = None

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for each in inputs:
            callable(*each)
    finally:
        sys.setprofile(before)
    return list(found)

"""Names: of functions in generated code, and of nodes."""

from __future__ import annotations

import builtins
import keyword
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

NAMESPACES = {
    "torch": "",
    "torch.nn.functional": "nn.functional",
    "torch.linalg": "linalg",
    "torch.special": "special",
    "torch.fft": "fft",
}
"""The modules of public functions, by their name in generated code, and where they are."""

RESERVED = frozenset({*keyword.kwlist, *dir(builtins), "torch", "device", "inf", "nan", "self"})


def functions_of(path: str) -> dict[str, Callable]:
    """The public functions of one of the namespaces."""
    import flambeau

    module: Any = flambeau
    for part in filter(None, path.split(".")):
        module = getattr(module, part)
    listed = getattr(module, "__all__", None) or dir(module)
    found = {name: module.__dict__.get(name) for name in listed if not name.startswith("_")}
    return {name: function for name, function in found.items() if callable(function) and not isinstance(function, type)}


@lru_cache(maxsize=1)
def public_names() -> dict[int, str]:
    """The name of each public function, by its identity; the first namespace counts."""
    named: dict[int, str] = {}
    for prefix, path in NAMESPACES.items():
        for name, function in functions_of(path).items():
            named.setdefault(id(function), f"{prefix}.{name}")
    return named


def qualified_name(function: Any) -> str:
    """How a function is written: `torch.relu`, `operator.add`, `getattr`."""
    if id(function) in public_names():
        return public_names()[id(function)]
    name = getattr(function, "__name__", type(function).__name__)
    if hasattr(function, "overloadpacket"):
        return f"torch.ops.{function.overloadpacket._namespace}.{name}"
    if getattr(builtins, name, None) is function:
        return name
    home = getattr(function, "__module__", None) or "builtins"
    return f"{'operator' if getattr(operator, name, None) is function else home}.{name}"


class Namespace:
    """Names that are given once each."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}  # how far the numbers behind a name are taken

    def create(self, candidate: str) -> str:
        """A name that is free, a number behind the one that was asked for if need be."""
        candidate = re.sub(r"\W", "_", candidate) or "_unnamed"
        if candidate[0].isdigit():
            candidate = f"_{candidate}"
        base, number = candidate, 0
        matched = re.fullmatch(r"(.*)_(\d+)", candidate)
        if candidate in self._used or candidate in RESERVED:
            if matched:
                base, number = matched[1], int(matched[2])
            else:
                number = self._numbers.get(base, 0)
            while candidate in self._used or candidate in RESERVED:
                number += 1
                candidate = f"{base}_{number}"
            if not matched:
                self._numbers[base] = number
        self._used.add(candidate)
        return candidate

    def take(self, name: str) -> None:
        """Give a name to no one else."""
        self._used.add(name)


def snake_case(name: str) -> str:
    """`ReLU6` as `re_lu6`: how PyTorch names the nodes of a module or a function."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()

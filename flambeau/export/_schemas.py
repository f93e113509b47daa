"""What PyTorch's operators take: the names and kinds of their arguments, which its files call them by (`aten_arguments.txt`; `parity/schemas.py` writes it)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from flambeau.export._tracing import Described
from flambeau.fx.node import Node

__all__ = ["Argument", "NotWritable", "Overload", "overload_of"]


class NotWritable(Exception):
    """A program has something that PyTorch's files do not hold."""


class Argument(NamedTuple):
    """An argument of an operator, as a word of a line of `aten_arguments.txt` says.

    Attributes:
        kind: a letter: a Tensor, a List of them, a bool, int, float, number or string, their capitals for lists, and another thing
        count: how many integers it takes, if that is fixed
        by_name: whether it can be given by name only
        required: whether it has to be given
    """

    name: str
    kind: str
    count: int
    by_name: bool
    required: bool

    @staticmethod
    def parsed(text: str) -> Argument:
        """The argument of a word."""
        name, _, kind = text.rpartition(":")
        return Argument(name.removeprefix("*"), kind[0], int(kind[1:].strip("!") or 0), name.startswith("*"), kind.endswith("!"))


class Overload(NamedTuple):
    """What an overload of an operator takes, and how many results it gives, or "*" for a list."""

    name: str
    arguments: tuple[Argument, ...]
    results: str

    def fits(self, node: Node) -> bool:
        """Whether a call's arguments are of its kinds."""
        named = {each.name: each for each in self.arguments}
        if len(node.args) > len(self.arguments) or any(name not in named for name in node.kwargs):
            return False
        given = [*zip(node.args, self.arguments), *[(value, named[name]) for name, value in node.kwargs.items()]]
        missing = {each.name for each in self.arguments if each.required} - {argument.name for _, argument in given}
        return not missing and all(_fits(value, argument) for value, argument in given)


@cache
def _overloads() -> dict[str, dict[str, Overload]]:
    """The overloads of each operator by their names."""
    found: dict[str, dict[str, Overload]] = {}
    for line in files("flambeau.export").joinpath("aten_arguments.txt").read_text().splitlines():
        name, *arguments, results = line.split(" ")
        packet, _, overload = name.partition(".")
        found.setdefault(packet, {})[overload] = Overload(overload, tuple(map(Argument.parsed, arguments)), results)
    return found


_NUMBERS_OF_KIND = {"n": (int, float, complex, Node), "f": (int, float), "i": (int, Node)}


def _fits(value: Any, argument: Argument) -> bool:
    """Whether a value may be an argument."""
    kind = argument.kind
    if value is None or kind == "o":
        return True
    is_list = isinstance(value, (list, tuple))
    if kind == "T" or _is_tensor(value):
        return kind == "T" and (_is_tensor(value) or (argument.name == "other" and _is_number(value, "n")))
    if kind == "L":
        return is_list and all(each is None or isinstance(each, Node) for each in value)
    if kind in "IF":
        return (is_list or argument.count > 0) and all(_is_number(each, kind.lower()) for each in (value if is_list else [value]))
    if kind == "B":
        return is_list and all(isinstance(each, bool) for each in value)
    if kind in "bs":
        return isinstance(value, bool if kind == "b" else str)
    return _is_number(value, kind)


def _is_number(value: Any, kind: str) -> bool:
    return isinstance(value, _NUMBERS_OF_KIND[kind]) and not (isinstance(value, bool) and kind != "n") and not _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Node) and isinstance(value.meta.get("val"), Described)


def overload_of(node: Node) -> Overload:
    """The overload that a node calls: the one that it names, or the first that takes its arguments.

    Raises:
        NotWritable: there is none
    """
    packet = node.target.overloadpacket
    overloads = _overloads().get(packet.__name__, {}) if packet._namespace == "aten" else {}
    wanted = overloads.get(node.target._overloadname)
    for overload in [*([wanted] if wanted else []), *overloads.values()]:
        if overload.fits(node):
            return overload
    raise NotWritable(f"it calls {node.target}, which is no operator of PyTorch's" + (" with these arguments" if overloads else ""))

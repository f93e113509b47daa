"""A graph as Python code."""

from __future__ import annotations

import builtins
import json
import keyword
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau._types.layout import Layout
from flambeau.fx._names import qualified_name
from flambeau.fx.node import Node, map_aggregate

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

BINARY = {
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "pos": "+", "neg": "-", "invert": "~", "add": "+", "sub": "-", "mul": "*", "floordiv": "//",
    "truediv": "/", "mod": "%", "pow": "**", "lshift": "<<", "rshift": ">>", "and_": "&", "or_": "|", "xor": "^", "matmul": "@",
}  # fmt: skip
INPLACE = {
    "iadd": "+=", "iand": "&=", "ifloordiv": "//=", "ilshift": "<<=", "imod": "%=", "imul": "*=", "imatmul": "@=", "ior": "|=", "ipow": "**=", "irshift": ">>=",
    "isub": "-=", "itruediv": "/=", "ixor": "^=",
}  # fmt: skip
GLOBALS = {"torch": flambeau, "device": flambeau.device, "inf": math.inf, "nan": math.nan}
"""What all code finds under these names."""
UNARY = ("pos", "neg", "invert")


@dataclass(frozen=True)
class PythonCode:
    """The source of a function `forward`, and the names that it needs to find."""

    src: str
    globals: dict[str, Any]


class Writer:
    """Writes the code of a graph, whose submodules are found under `root`."""

    def __init__(self, graph: Graph, root: str) -> None:
        self.graph = graph
        self.root = root
        self.globals: dict[str, Any] = dict(GLOBALS)
        self.variables = {node.name for node in graph.nodes}

    def write(self) -> PythonCode:
        parameters, lines = [], []
        last_uses = self._last_uses()
        for node in self.graph.nodes:
            if node.op == "placeholder":
                default = f" = {self._value(node.args[0])}" if node.args else ""
                parameters.append(f"{node.target}{default}")
                named = node.target.lstrip("*")
                if named != node.name:
                    lines.append(f"{node.name} = {named}")
            elif node.op == "output":
                lines.append(f"return {self._value(node.args[0])}")
            else:
                released = last_uses.get(node, [])
                freed = f";  {' = '.join(used.name for used in released)} = None" if released else ""
                lines.append(self._statement(node) + freed)
        body = "\n".join(f"    {line}" for line in lines or ["pass"])
        return PythonCode(f"\n\n\ndef forward({', '.join(['self', *parameters])}):\n{body}\n    ", self.globals)

    def _last_uses(self) -> dict[Node, list[Node]]:
        """For each node those that it is the last to use."""
        seen: set[Node] = set()
        last: dict[Node, list[Node]] = {}
        for node in reversed(self.graph.nodes):
            for used in node.all_input_nodes:
                if used not in seen:
                    seen.add(used)
                    last.setdefault(node, []).append(used)
            if not node.users and node.op not in ("placeholder", "output"):
                last.setdefault(node, []).append(node)
        return {node: used for node, used in last.items() if node.op != "output"}

    # -- statements ------------------------------------------------------------------------------------------------------

    def _statement(self, node: Node) -> str:
        return f"{node.name} = {self._expression(node)}"

    def _expression(self, node: Node) -> str:
        if node.op == "get_attr":
            return self._path(node.target)
        if node.op == "call_module":
            return f"{self._path(node.target)}({self._arguments(node.args, node.kwargs)})"
        if node.op == "call_method":
            return f"{self._operand(node.args[0])}.{node.target}({self._arguments(node.args[1:], node.kwargs)})"
        function = node.target
        name = getattr(function, "__name__", "")
        if getattr(operator, name, None) is function and not node.kwargs:
            args = [self._operand(arg) for arg in node.args]
            if name in UNARY:
                return f"{BINARY[name]}{args[0]}"
            if name in BINARY:
                return f"{args[0]} {BINARY[name]} {args[1]}"
            if name in INPLACE:
                return f"{args[0]};  {node.name} {INPLACE[name]} {args[1]}"
            if name == "getitem":
                return f"{args[0]}[{self._index(node.args[1])}]"
        if function is getattr and len(node.args) == 2 and isinstance(node.args[1], str) and node.args[1].isidentifier():
            return f"{self._operand(node.args[0])}.{node.args[1]}"
        return f"{self._function(function)}({self._arguments(node.args, node.kwargs)})"

    def _path(self, target: str) -> str:
        """An attribute below the root, written so that parts that are no names (such as numbers and keywords) can be read."""
        text = self.root
        for part in target.split("."):
            text = f"{text}.{part}" if part.isidentifier() and not keyword.iskeyword(part) else f"getattr({text}, {json.dumps(part)})"
        return text

    def _function(self, function: Any) -> str:
        name = qualified_name(function)
        if name.startswith("torch.") or getattr(builtins, name, None) is function:
            return name
        written = name.replace(".", "_")
        return self._global(written if written.isidentifier() else "function", function)

    def _global(self, name: str, value: Any) -> str:
        """The name under which the code finds a value."""
        candidate, number = name, 0
        while (
            candidate in GLOBALS
            or candidate in self.variables
            or (candidate in self.globals and self.globals[candidate] is not value)
            or hasattr(builtins, candidate)
        ):
            number += 1
            candidate = f"{name}_{number}"
        self.globals[candidate] = value
        return candidate

    # -- values ----------------------------------------------------------------------------------------------------------

    def _arguments(self, args: tuple, kwargs: dict[str, Any]) -> str:
        return ", ".join([*map(self._value, args), *(f"{name} = {self._value(value)}" for name, value in kwargs.items())])

    def _operand(self, value: Any) -> str:
        text = self._value(value)
        return (
            text if (isinstance(value, (Node, tuple, list, dict, int)) and not text.startswith("-")) or text.isidentifier() else f"({text})"
        )

    def _index(self, index: Any) -> str:
        if isinstance(index, tuple) and index:
            return ", ".join(map(self._index_part, index)) + ("," if len(index) == 1 else "")
        return self._index_part(index)

    def _index_part(self, index: Any) -> str:
        if not isinstance(index, slice):
            return self._value(index)
        ends = ["" if end is None else self._value(end) for end in (index.start, index.stop)]
        return ":".join(ends if index.step is None else [*ends, self._value(index.step)])

    def _value(self, value: Any) -> str:
        if isinstance(value, Node):
            return value.name
        if isinstance(value, tuple):
            parts = ", ".join(map(self._value, value))
            if hasattr(value, "_fields"):
                return f"{self._global(type(value).__name__, type(value))}({parts})"
            if isinstance(value, flambeau.Size):
                return f"torch.Size([{parts}])"
            return f"({parts},)" if len(value) == 1 else f"({parts})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._value, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self._value(part)}" for key, part in value.items()) + "}"
        if isinstance(value, slice):
            return f"slice({self._value(value.start)}, {self._value(value.stop)}, {self._value(value.step)})"
        if isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
            return self._function(value)
        if isinstance(value, Layout):  # of an operator of this package's own
            return self._global("layout", value)
        return repr(value)


def copied_arguments(arguments: Any, values: dict[Node, Any]) -> Any:
    """Arguments with other values for nodes."""
    return map_aggregate(arguments, lambda leaf: values[leaf] if isinstance(leaf, Node) else leaf)

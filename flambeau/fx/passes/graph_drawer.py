"""Programs as pictures, in Graphviz's language."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from flambeau.fx._names import qualified_name
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node

__all__ = ["Dot", "FxGraphDrawer"]

_COLORS = {
    "placeholder": "AliceBlue", "get_attr": "LightGrey", "call_function": "PowderBlue", "call_method": "PaleGreen", "call_module": "LemonChiffon1", "output": "PeachPuff",
}  # fmt: skip


class Dot:
    """A graph in Graphviz's language; pictures are made by its program `dot`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: list[str] = []

    def add_node(self, name: str, **attributes: Any) -> None:
        """Add a node."""
        self._lines.append(f"{_quoted(name)} [{', '.join(f'{key}={_quoted(value)}' for key, value in attributes.items())}];")

    def add_edge(self, start: str, end: str) -> None:
        """Add an arrow."""
        self._lines.append(f"{_quoted(start)} -> {_quoted(end)};")

    def to_string(self) -> str:
        """The graph as text."""
        return "\n".join([f"digraph {_quoted(self.name)} {{", "rankdir=TB;", *self._lines, "}", ""])

    __str__ = to_string

    def write(self, path: str | os.PathLike, format: str = "raw") -> None:
        """Write the text, or a picture: `svg`, `png`, `pdf`, ….

        Raises:
            RuntimeError: Graphviz is not installed, or knows no such format
        """
        Path(path).write_bytes(self.to_string().encode() if format in ("raw", "dot") else self.create(format))

    write_raw = write_dot = write

    def write_svg(self, path: str | os.PathLike) -> None:
        """Write a picture."""
        self.write(path, "svg")

    def write_png(self, path: str | os.PathLike) -> None:
        """Write a picture."""
        self.write(path, "png")

    def create(self, format: str) -> bytes:
        """A picture.

        Raises:
            RuntimeError: Graphviz is not installed, or knows no such format
        """
        program = shutil.which("dot")
        if program is None:
            raise RuntimeError("pictures are made by Graphviz's program `dot`, which is not installed; to_string() gives its input")
        done = subprocess.run([program, f"-T{format}"], input=self.to_string().encode(), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"dot -T{format}: {done.stderr.decode().strip()}")
        return done.stdout

    def create_svg(self) -> bytes:
        """A picture."""
        return self.create("svg")


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


class FxGraphDrawer:
    """Draws a program: a box for each node with its name, kind, target and arguments, and the shape of its value, where a pass has noted it.

    Args:
        graph_module: the program
        name: of the picture
        ignore_getattr: leave out attributes
        ignore_parameters_and_buffers: leave out parameters and buffers, which are attributes
        skip_node_names_in_args: write other nodes among the arguments without their names, as arrows show them
        parse_stack_trace, normalize_args: for PyTorch's sake
        dot_graph_shape: of the boxes

    Example:
        >>> import flambeau
        >>> from flambeau.fx.passes.graph_drawer import FxGraphDrawer
        >>> traced = flambeau.fx.symbolic_trace(lambda x: flambeau.relu(x))
        >>> print(FxGraphDrawer(traced, "relu").get_dot_graph().to_string().splitlines()[-2])
        "relu" -> "output";
    """

    def __init__(
        self, graph_module: GraphModule, name: str, ignore_getattr: bool = False, ignore_parameters_and_buffers: bool = False,
        skip_node_names_in_args: bool = True, parse_stack_trace: bool = False, dot_graph_shape: str | None = None, normalize_args: bool = False,
    ) -> None:  # fmt: skip
        self._name = name
        self._shape = dot_graph_shape or "box"
        self._skip_names = skip_node_names_in_args
        self._hide = ignore_getattr or ignore_parameters_and_buffers
        self._graphs = {name: self._drawn(graph_module, name)}
        for path, module in graph_module.named_modules():
            if path and isinstance(module, GraphModule):
                self._graphs[path] = self._drawn(module, f"{name}_{path}")

    def get_dot_graph(self, submod_name: str | None = None) -> Dot:
        """The picture of the program, or of a submodule."""
        return self._graphs[self._name if submod_name is None else submod_name]

    def get_main_dot_graph(self) -> Dot:
        """The picture of the program."""
        return self._graphs[self._name]

    def get_submod_dot_graph(self, submod_name: str) -> Dot:
        """The picture of a submodule that is a program itself."""
        return self._graphs[submod_name]

    def get_all_dot_graphs(self) -> dict[str, Dot]:
        """All pictures by name."""
        return dict(self._graphs)

    def _drawn(self, module: GraphModule, name: str) -> Dot:
        dot = Dot(name)
        shown = [node for node in module.graph.nodes if not (self._hide and node.op == "get_attr")]
        for node in shown:
            dot.add_node(node.name, label=self._label(node), shape=self._shape, style="filled,rounded", fillcolor=_COLORS[node.op])
        for node in shown:
            for used in node.all_input_nodes:
                if used in shown:
                    dot.add_edge(used.name, node.name)
        return dot

    def _label(self, node: Node) -> str:
        lines = [f"name = {node.name}", f"op = {node.op}"]
        if node.op not in ("placeholder", "output"):
            lines.append(f"target = {qualified_name(node.target) if node.op == 'call_function' else node.target}")
        rest = [value for value in (*node.args, *node.kwargs.values()) if not (self._skip_names and isinstance(value, Node))]
        if rest and node.op != "output":
            lines.append(f"args = {', '.join(map(repr, rest))}")
        found = node.meta.get("tensor_meta") or node.meta.get("val")
        if hasattr(found, "shape"):
            lines.append(f"{found.dtype}{list(found.shape)}")
        return "\n".join(lines)

"""A program as a list of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.fx._code import PythonCode, Writer
from flambeau.fx._names import Namespace, snake_case
from flambeau.fx.node import Argument, Node, Target, map_arg

__all__ = ["Graph", "PythonCode"]


class _Nodes:
    """The nodes of a graph, in order; they may be erased while one walks along."""

    def __init__(self, graph: Graph, backward: bool = False) -> None:
        self._graph = graph
        self._backward = backward

    def __len__(self) -> int:
        return self._graph._count

    def __iter__(self) -> Iterator[Node]:
        step = "_prev" if self._backward else "_next"
        root = self._graph._root
        current = getattr(root, step)
        while current is not root:
            if not current._erased:
                yield current
            current = getattr(current, step)

    def __reversed__(self) -> _Nodes:
        return _Nodes(self._graph, not self._backward)


class Graph:
    """A program: placeholders first, calls, and an output. Nodes are created in order, at the insertion point.

    Example:
        >>> import flambeau
        >>> graph = flambeau.fx.Graph()
        >>> x = graph.placeholder("x")
        >>> _ = graph.output(graph.call_function(flambeau.relu, (x,)))
        >>> print(graph)
        graph():
            %x : [num_users=1] = placeholder[target=x]
            %relu : [num_users=1] = call_function[target=torch.relu](args = (%x,), kwargs = {})
            return relu
    """

    def __init__(self, owning_module: Any = None, tracer_cls: Any = None, tracer_extras: dict[str, Any] | None = None) -> None:
        self.owning_module = owning_module
        self._tracer_cls = tracer_cls
        self._tracer_extras = tracer_extras
        self._root = Node(self, "", "root", "", (), {})
        self._count = 0
        self._names = Namespace()
        self._before: Node = self._root  # new nodes go before it

    @property
    def nodes(self) -> Any:
        """The nodes, in order."""
        return _Nodes(self)

    def find_nodes(self, *, op: str, target: Target = None, sort: bool = True) -> list[Node]:
        """The nodes of a kind, and with a target, if there is one."""
        return [node for node in self.nodes if node.op == op and (target is None or node.target == target)]

    def output_node(self) -> Node:
        """The output."""
        return next(node for node in reversed(self.nodes) if node.op == "output")

    # -- making nodes ----------------------------------------------------------------------------------------------------

    def create_node(
        self,
        op: str,
        target: Target,
        args: tuple | None = None,
        kwargs: dict[str, Argument] | None = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Add a node at the insertion point.

        Args:
            op, target, args, kwargs: see `Node`
            name: what to call it, if that is free; after its target otherwise
            type_expr: an annotation
        """
        node = Node(self, self._names.create(name or _name_of(op, target)), op, target, args or (), kwargs or {}, type_expr)
        for used in node.all_input_nodes:
            if used.graph is not self:
                raise AssertionError(f"node {used} is part of another graph")
        self._before.prepend(node)
        self._count += 1
        return node

    def placeholder(self, name: str, type_expr: Any = None, default_value: Any = ...) -> Node:
        """An argument, with a default if one is given."""
        return self.create_node("placeholder", name, () if default_value is ... else (default_value,), type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """A parameter, a buffer or another attribute of the module."""
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_function(
        self, the_function: Callable, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None, name: str | None = None
    ) -> Node:
        """A call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, name, type_expr)

    def call_method(self, method_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None) -> Node:
        """A call of a method of the first argument."""
        return self.create_node("call_method", method_name, args, kwargs, None, type_expr)

    def call_module(self, module_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None) -> Node:
        """A call of a submodule."""
        return self.create_node("call_module", module_name, args, kwargs, None, type_expr)

    def output(self, result: Argument, type_expr: Any = None) -> Node:
        """What the program returns."""
        return self.create_node("output", "output", (result,), type_expr=type_expr)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Argument] = lambda node: node) -> Node:
        """Add a copy of a node of another graph; a function says which node of this one stands for each that it uses."""
        copy = self.create_node(
            node.op, node.target, map_arg(node.args, arg_transform), map_arg(node.kwargs, arg_transform), node.name, node.type
        )
        copy.meta = dict(node.meta)
        return copy

    def graph_copy(self, g: Graph, val_map: dict[Node, Argument], return_output_node: bool = False) -> Any:
        """Add copies of the nodes of another graph.

        Args:
            val_map: what stands for some of its nodes; the copies are added to it

        Returns:
            What stands for its output (and its output node too, if wanted).
        """
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                result = map_arg(node.args[0], lambda used: val_map[used])
                return (result, node) if return_output_node else result
            val_map[node] = self.node_copy(node, lambda used: val_map[used])
        return None

    def __deepcopy__(self, memo: Any = None) -> Graph:
        copy = Graph(tracer_cls=self._tracer_cls, tracer_extras=self._tracer_extras)
        values: dict[Node, Argument] = {}
        result = copy.graph_copy(self, values, return_output_node=True)
        if result is not None:
            copy.output(result[0], result[1].type).meta = dict(result[1].meta)
        return copy

    # -- changing --------------------------------------------------------------------------------------------------------

    @contextmanager
    def inserting_before(self, n: Node | None = None) -> Iterator[None]:
        """New nodes go before a node (before all, without one), within a context or from now on."""
        yield from self._inserting(self._root._next if n is None else n)

    @contextmanager
    def inserting_after(self, n: Node | None = None) -> Iterator[None]:
        """New nodes go behind a node (behind all, without one)."""
        yield from self._inserting(self._root if n is None else n._next)

    def _inserting(self, before: Node) -> Iterator[None]:
        if before.graph is not self:
            raise AssertionError(f"nodes cannot be inserted at {before}, which is a node of another graph")
        previous, self._before = self._before, before
        try:
            yield
        finally:
            self._before = previous

    def erase_node(self, to_erase: Node) -> None:
        """Take a node out.

        Raises:
            RuntimeError: it is used
        """
        if to_erase.users:
            raise RuntimeError(
                f"node {to_erase} cannot be erased while others use it: {', '.join(map(str, to_erase.users))}; replace_all_uses_with gives them another"
            )
        if to_erase._erased:
            return
        to_erase._unlink()
        to_erase._erased = True
        to_erase._set_arguments((), {})
        self._count -= 1

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Take out what nobody uses and that does nothing besides.

        Returns:
            Whether something was taken out.
        """
        impure = is_impure_node or Node.is_impure
        before = self._count
        for node in reversed(self.nodes):
            if not node.users and not impure(node):
                self.erase_node(node)
        return self._count < before

    def lint(self) -> None:
        """Check that the graph can be run: names once each, nodes used behind themselves, attributes that exist.

        Raises:
            RuntimeError: it cannot
        """
        seen: set[Node] = set()
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise RuntimeError(f"two nodes of the graph have the name {node.name}")
            names.add(node.name)
            for used in node.all_input_nodes:
                if used.graph is not self or used not in seen:
                    raise RuntimeError(f"node {node} uses {used}, which does not stand before it in the graph:\n{self}")
            seen.add(node)
            if self.owning_module is not None and node.op in ("get_attr", "call_module"):
                fetch(self.owning_module, node.target, node)

    # -- text ------------------------------------------------------------------------------------------------------------

    def python_code(self, root_module: str, *, verbose: bool = False, **others: Any) -> PythonCode:
        """The graph as a function `forward`, whose module is called `root_module`."""
        return Writer(self, root_module).write()

    def print_tabular(self) -> None:
        """Print the nodes as a table."""
        rows = [("opcode", "name", "target", "args", "kwargs")]
        rows += [(node.op, node.name, str(node.target), str(node.args), str(node.kwargs)) for node in self.nodes]
        widths = [max(map(len, column)) for column in zip(*rows)]
        rows.insert(1, tuple("-" * width for width in widths))
        print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows))

    def __str__(self) -> str:
        names: list[str] = []
        lines = [node.format_node(names) for node in self.nodes]
        return "\n".join(["graph():", *(f"    {line}" for line in lines)])


def _name_of(op: str, target: Target) -> str:
    if op == "call_function":
        return snake_case(getattr(target, "__name__", type(target).__name__).partition(".")[0].rstrip("_") or "function")
    if op == "placeholder":
        return target.lstrip("*")
    return target.replace(".", "_") if op != "call_method" else target.strip("_") or target


def fetch(root: Any, target: str, node: Any = None) -> Any:
    """The attribute at a path below a module.

    Raises:
        RuntimeError: there is none
    """
    found = root
    for depth, part in enumerate(target.split(".")):
        if not hasattr(found, part):
            raise RuntimeError(f"node {node} refers to {target}, but the module has no {'.'.join(target.split('.')[: depth + 1])}")
        found = getattr(found, part)
    return found

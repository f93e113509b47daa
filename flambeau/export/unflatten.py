"""`unflatten`: a program as modules within each other, as those were that it was exported from.

```
the program                                as modules
    relu = relu(x)         in body             forward(x):       return self.head(self.body(x), x)
    linear = linear(relu)  in head             body.forward(x):  return relu(x)
    add = linear + x       in head             head.forward(y, x):  return linear(y) + x
```

Each node knows in which calls of modules it was made (`meta["nn_module_stack"]`). The nodes of a call become the graph of a module, which is given
what they use from outside, and returns what others use of them.
"""

from __future__ import annotations

from operator import getitem
from typing import Any

from flambeau import Tensor
from flambeau.export._module import ExportedModule, unlifted
from flambeau.export.exported_program import ExportedProgram
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_aggregate
from flambeau.nn import Module

__all__ = ["UnflattenedModule", "unflatten"]


class UnflattenedModule(ExportedModule):
    """Runs a program as modules within each other, which can be exchanged; their paths are those that they had when the program was exported.

    Parameters, buffers and constants are the program's own. Where a module was called more than once and did something else, that is a module of
    its own, whose name ends in `@1`, `@2`, …
    """

    def __init__(self, program: ExportedProgram, check_guards: bool = True) -> None:
        super().__init__(program, check_guards=check_guards)
        whole = _Call({**program.constants, **program.state_dict}, "")
        whole.fill(list(unlifted(program).nodes), 1)
        whole.put_members(self)
        self.graph = whole.graph

    def _like(self, state: dict[str, Any]) -> ExportedModule:
        raise NotImplementedError("an unflattened module is not copied: unflatten the program once more")


def unflatten(module: ExportedProgram, flat_args_adapter: Any = None) -> UnflattenedModule:
    """A program as modules within each other, as those were that it was exported from.

    Args:
        module: the program; one that was read from a file has no modules within
        flat_args_adapter: has to be nothing: arguments have the form that the program was exported with

    Raises:
        NotImplementedError: there is an adapter

    Example:
        >>> import flambeau
        >>> program = flambeau.export.export(flambeau.nn.Sequential(flambeau.nn.Linear(2, 3), flambeau.nn.ReLU()), (flambeau.ones(1, 2),))
        >>> modules = flambeau.export.unflatten(program)
        >>> [name for name, _ in modules.named_children()], modules(flambeau.ones(1, 2)).shape
        (['0', '1'], torch.Size([1, 3]))
    """
    if flat_args_adapter is not None:
        raise NotImplementedError("flat_args_adapter is not supported: arguments have the form that the program was exported with")
    return UnflattenedModule(module)


def _calls(node: Node) -> list[tuple[str, tuple[str, str]]]:
    """The calls of modules that a node was made in, from outside in: the name of each, and the path and the class of the module."""
    return list(node.meta.get("nn_module_stack", {}).items())


class _Call:
    """One call of a module.

    Args:
        state: the program's tensors by their paths
        path: of the module

    Attributes:
        graph: what it does
        members: the modules and tensors that this needs, by their paths below the module
        known: what stands in the graph for nodes of the program
        given: the nodes of the program that it is given as arguments
    """

    def __init__(self, state: dict[str, Tensor], path: str) -> None:
        self.state, self.path = state, path
        self.graph = Graph()
        self.members: dict[str, Any] = {}
        self.known: dict[Node, Node] = {}
        self.given: list[Node] = []

    def fill(self, nodes: list[Node], depth: int) -> None:
        """Let the graph be of these nodes, those of further calls as modules.

        Args:
            depth: how many calls they are all made in
        """
        own = set(nodes)
        for used in dict.fromkeys(used for node in nodes for used in node.all_input_nodes):
            if used not in own and self._below(used) is None:
                self.known[used] = self.graph.placeholder(used.name)
                self.given.append(used)
        waiting = [node for node in nodes if node.op != "get_attr"]
        while waiting:
            node, calls = waiting[0], _calls(waiting[0])
            if node.op in ("placeholder", "output") or len(calls) <= depth:
                self.known[node] = self.graph.node_copy(waiting.pop(0), self._value)
                continue
            name, (path, _) = calls[depth]
            inner = {each for each in waiting if len(_calls(each)) > depth and _calls(each)[depth][0] == name}
            self._add(_Call(self.state, path), [each for each in waiting if each in inner], depth)
            waiting = [each for each in waiting if each not in inner]

    def _below(self, node: Node) -> str | None:
        """The path below the module of a tensor that a node is, if it is one of the module's."""
        prefix, target = f"{self.path}." if self.path else "", str(node.target)
        return target.removeprefix(prefix) if node.op == "get_attr" and target.startswith(prefix) else None

    def _value(self, node: Node) -> Node:
        """What stands for a node of the program."""
        if node not in self.known:
            below = self._below(node)
            assert below is not None
            self.members[below] = self.state[str(node.target)]
            self.known[node] = self.graph.create_node("get_attr", below)
        return self.known[node]

    def _add(self, call: _Call, nodes: list[Node], depth: int) -> None:
        """Call a module for some nodes."""
        call.fill(nodes, depth + 1)
        results = [node for node in nodes if any(user not in call.known for user in node.users)]
        values = tuple([call.known[node] for node in results])
        call.graph.output(values[0] if len(values) == 1 else values)
        module = GraphModule(call.members, call.graph, "InterpreterModule")
        call.put_members(module)
        below = name = call.path.removeprefix(f"{self.path}." if self.path else "")
        number = 0
        while isinstance(before := self.members.get(name), GraphModule) and not _alike(before, module):
            number += 1
            name = f"{below}@{number}"
        if before is None:
            self.members[name] = module
        result = self.graph.call_module(name, tuple(map(self._value, call.given)))
        if len(results) == 1:
            self.known[results[0]] = result
        else:
            self.known.update({node: self.graph.call_function(getitem, (result, place)) for place, node in enumerate(results)})

    def put_members(self, module: GraphModule) -> None:
        """Give a module what the graph needs; what was there at the same paths, and is not needed, stays."""
        for path, value in self.members.items():
            if isinstance(value, GraphModule):
                above, _, name = path.rpartition(".")
                owner = module.get_submodule(above)
                _merge(value, owner._modules.get(name))
                owner.add_module(name, value)
        for path, value in self.members.items():
            if isinstance(value, Tensor):
                module._adopt(path, value)


def _alike(first: GraphModule, second: GraphModule) -> bool:
    """Whether two modules do the same."""
    return _form(first.graph) == _form(second.graph) and all(
        _alike(module, second.get_submodule(path))
        for path, module in first.named_modules()
        if path and isinstance(module, GraphModule) and path in {node.target for node in first.graph.nodes}
    )


def _form(graph: Graph) -> list[tuple]:
    """The nodes without their names."""
    places = {node: ("node", place) for place, node in enumerate(graph.nodes)}
    return [
        (
            node.op,
            None if node.op == "placeholder" else node.target,
            map_aggregate((node.args, node.kwargs), lambda leaf: places.get(leaf, leaf) if isinstance(leaf, Node) else leaf),
        )
        for node in graph.nodes
    ]


def _merge(module: Module, other: Module | None) -> None:
    """Give a module what only another one has."""
    if other is None or other is module:
        return
    for mine, theirs in ((module._parameters, other._parameters), (module._buffers, other._buffers)):
        for name, tensor in theirs.items():
            mine.setdefault(name, tensor)
    module._non_persistent_buffers_set |= other._non_persistent_buffers_set
    for name, child in other._modules.items():
        if name in module._modules:
            _merge(module._modules[name], child)
        else:
            module._modules[name] = child

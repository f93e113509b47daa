"""A program as several modules that call one another."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from flambeau.fx._code import copied_arguments
from flambeau.fx.graph import Graph, fetch
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node
from flambeau.nn import Module

__all__ = ["Partition", "split_module"]

_CALLS = ("call_function", "call_method", "call_module")


class Partition:
    """A part of a program.

    Attributes:
        name: what tells it from others
        nodes: what it computes, in order
        inputs, outputs: the values that come in and go out
        needs: the parts whose values come in
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.inputs: dict[Node, None] = {}
        self.outputs: dict[Node, None] = {}
        self.needs: dict[str, None] = {}


def split_module(
    m: GraphModule, root_m: Module, split_callback: Callable[[Node], Any], qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False, keep_original_node_name: bool | None = False, keep_original_input_name: bool = True, *,
    partition_affix: str | None = None, tuple_return: bool = False,
) -> GraphModule:  # fmt: skip
    """A module of submodules `submod_0`, `submod_1`, …, each of which computes a part of a program.

    Submodules of `m` are within the part that calls them. Parameters and buffers that the program uses itself stay where they were, and are
    given to the parts.

    Args:
        m: the program
        root_m: the module that has what the program refers to
        split_callback: says of each call which part it belongs to: a number, or anything with a text
        qualname_map: is filled with the old paths of submodules by their new ones
        keep_original_order: call the parts in the order in which the program comes to them, and not as soon as they can be
        keep_original_node_name: call nodes in the parts as they are called in the program, and not anew
        keep_original_input_name: for PyTorch's sake: inputs of parts are called as the nodes that they come from
        partition_affix: a part of the submodules' names
        tuple_return: let submodules return a tuple in any case

    Raises:
        RuntimeError: two parts need each other

    Example:
        >>> import flambeau
        >>> from flambeau.fx.passes.split_module import split_module
        >>> traced = flambeau.fx.symbolic_trace(flambeau.nn.Sequential(flambeau.nn.Linear(2, 3), flambeau.nn.ReLU()))
        >>> split = split_module(traced, traced, lambda node: 0 if node.target == "0" else 1)
        >>> print(split.code.strip())
        def forward(self, input):
            input_1 = input
            submod_0 = self.submod_0(input_1);  input_1 = None
            submod_1 = self.submod_1(submod_0);  submod_0 = None
            return submod_1
    """
    partitions, home = _partitions(m, split_callback)
    order = _ordered(partitions, bool(keep_original_order))
    base = Graph()
    values: dict[Node, Any] = {node: base.node_copy(node) for node in m.graph.nodes if node.op in ("placeholder", "get_attr")}
    attributes: dict[str, Any] = {node.target: fetch(root_m, node.target) for node in values if node.op == "get_attr"}
    for name in order:
        partition = partitions[name]
        path = "_".join(filter(None, ("submod", partition_affix, name)))
        attributes[path] = _submodule(partition, root_m, path, qualname_map, tuple_return, bool(keep_original_node_name))
        made = base.call_module(path, tuple([values[each] for each in partition.inputs]))
        outputs = list(partition.outputs)
        if len(outputs) == 1 and not tuple_return:
            values[outputs[0]] = made
        else:
            values.update({each: base.call_function(operator.getitem, (made, number)) for number, each in enumerate(outputs)})
    for node in m.graph.nodes:
        if node.op == "output":
            base.output(copied_arguments(node.args[0], values))
    return GraphModule(attributes, base, type(m).__name__)


def _partitions(m: GraphModule, split_callback: Callable[[Node], Any]) -> tuple[dict[str, Partition], dict[Node, str]]:
    """The parts, and which each call belongs to."""
    partitions: dict[str, Partition] = {}
    home: dict[Node, str] = {}
    for node in m.graph.nodes:
        if node.op in _CALLS:
            name = home[node] = str(split_callback(node))
            partitions.setdefault(name, Partition(name)).nodes.append(node)
    for node in m.graph.nodes:
        mine = home.get(node)
        for used in node.all_input_nodes:
            theirs = home.get(used)
            if theirs is not None and theirs != mine:
                partitions[theirs].outputs[used] = None
            if mine is not None and theirs != mine:
                partitions[mine].inputs[used] = None
                if theirs is not None:
                    partitions[mine].needs[theirs] = None
    return partitions, home


def _ordered(partitions: dict[str, Partition], as_they_come: bool) -> list[str]:
    """The parts, each behind those that it needs.

    Raises:
        RuntimeError: there is no such order
    """
    order: list[str] = []
    pending = list(partitions)
    while pending:
        ready = [name for name in pending if all(need in order for need in partitions[name].needs)]
        if not ready or (as_they_come and ready[0] != pending[0]):
            raise RuntimeError(
                f"cycle exists between partitions: {', '.join(pending)} need each other's values; assign calls to parts in order"
            )
        order.append(ready[0])
        pending.remove(ready[0])
    return order


def _submodule(
    partition: Partition, root: Module, path: str, qualname_map: dict[str, str] | None, tuple_return: bool, keep_names: bool
) -> GraphModule:
    graph = Graph()
    attributes: dict[str, Any] = {}
    values: dict[Node, Node] = {each: graph.placeholder(each.name) for each in partition.inputs}
    for node in partition.nodes:
        args, kwargs = copied_arguments((node.args, node.kwargs), values)
        target = node.target
        if node.op == "call_module":
            target = node.target.replace(".", "_")
            attributes[target] = fetch(root, node.target)
            if qualname_map is not None:
                qualname_map[f"{path}.{target}"] = node.target
        values[node] = graph.create_node(node.op, target, args, kwargs, node.name if keep_names else None, node.type)
        values[node].meta = dict(node.meta)
    outputs = tuple([values[each] for each in partition.outputs])
    graph.output(outputs[0] if len(outputs) == 1 and not tuple_return else outputs)
    return GraphModule(attributes, graph)

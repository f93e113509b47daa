"""Replacing every part of a graph that looks like a pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau.fx._symbolic_trace import symbolic_trace
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_arg
from flambeau.nn import Module

__all__ = ["Match", "replace_pattern"]


class Match(NamedTuple):
    """A place where a pattern was found: the node of its result, and which node stands for each of the pattern."""

    anchor: Node
    nodes_map: dict[Node, Node]


def replace_pattern(gm: GraphModule, pattern: Callable | GraphModule, replacement: Callable | GraphModule) -> list[Match]:
    """Replace, in place, whatever computes as a pattern does.

    Args:
        gm: what to search
        pattern, replacement: functions of the same arguments with one result, or graphs

    Returns:
        The places, in order; parts that overlap an earlier one are left.
    """
    wanted, substitute = (_graph(each) for each in (pattern, replacement))
    result = wanted.output_node().args[0]
    replaced: set[Node] = set()
    matches: list[Match] = []
    for node in list(gm.graph.nodes):
        found: dict[Node, Any] = {}
        if not _matches(result, node, found):
            continue
        inner = {found[each] for each in wanted.nodes if each.op not in ("placeholder", "output")}
        # A value in between that something else uses has to stay.
        if inner & replaced or any(user not in inner for each in inner - {node} for user in each.users):
            continue
        replaced |= inner
        matches.append(Match(node, found))
    changed: dict[Node, Any] = {}
    for match in matches:
        inputs = [match.nodes_map[each] for each in wanted.nodes if each.op == "placeholder"]
        inputs = map_arg(inputs, lambda used: changed.get(used, used))
        values = dict(zip((each for each in substitute.nodes if each.op == "placeholder"), inputs, strict=True))
        with gm.graph.inserting_before(match.anchor):
            made = gm.graph.graph_copy(substitute, values)
        match.anchor.replace_all_uses_with(made)
        changed[match.anchor] = made
        for each in reversed(list(wanted.nodes)):
            if each.op not in ("placeholder", "output"):
                gm.graph.erase_node(match.nodes_map[each])
    for each in (pattern, replacement):
        if isinstance(each, Module):
            for name, child in each.named_children():
                if not hasattr(gm, name):
                    gm.add_module(name, child)
    gm.recompile()
    return matches


def _graph(program: Callable | GraphModule) -> Graph:
    return program.graph if isinstance(program, GraphModule) else symbolic_trace(program).graph


def _matches(pattern: Any, value: Any, found: dict[Node, Any]) -> bool:
    """Whether a value was computed as a pattern says; fills in what stands for each of its nodes."""
    if not isinstance(pattern, Node):
        if isinstance(pattern, (tuple, list)):
            return (
                type(pattern) is type(value) and len(pattern) == len(value) and all(_matches(*pair, found) for pair in zip(pattern, value))
            )
        if isinstance(pattern, dict):
            return (
                isinstance(value, dict)
                and pattern.keys() == value.keys()
                and all(_matches(part, value[key], found) for key, part in pattern.items())
            )
        return not isinstance(value, Node) and type(pattern) is type(value) and pattern == value
    if pattern in found:
        return found[pattern] is value
    if pattern.op != "placeholder":
        if not isinstance(value, Node) or (value.op, value.target) != (pattern.op, pattern.target):
            return False
        if not (_matches(pattern.args, value.args, found) and _matches(pattern.kwargs, value.kwargs, found)):
            return False
    found[pattern] = value
    return True

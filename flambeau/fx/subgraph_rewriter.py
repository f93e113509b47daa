"""Replacing every part of a graph that looks like a pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from flambeau.fx._symbolic_trace import symbolic_trace
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_arg
from flambeau.nn import Module

__all__ = ["InternalMatch", "Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """A place where a pattern was found: the node of its result, and which node stands for each of the pattern."""

    anchor: Node
    nodes_map: dict[Node, Node]


@dataclass
class ReplacedPatterns:
    """A place where a pattern was replaced, as `replace_pattern_with_filters` tells of it.

    Attributes:
        anchor: the node of the pattern's result
        nodes_map: which node stood for each of the pattern
        replacements: the nodes that are there now
    """

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node]


@dataclass
class InternalMatch:
    """A place where a pattern was found, as filters and callbacks are given it.

    Attributes:
        anchors: the nodes of the pattern's result
        nodes_map: which node stands for each of the pattern
        placeholder_nodes: what the pattern's arguments stand for
        returning_nodes: as `anchors`
    """

    anchors: list[Node]
    nodes_map: dict[Node, Node]
    placeholder_nodes: list[Any]
    returning_nodes: list[Node]


def replace_pattern(gm: GraphModule, pattern: Callable | GraphModule, replacement: Callable | GraphModule) -> list[Match]:
    """Replace, in place, whatever computes as a pattern does.

    Args:
        gm: what to search
        pattern, replacement: functions of the same arguments with one result, or graphs

    Returns:
        The places, in order; parts that overlap an earlier one are left.
    """
    return [Match(each.anchor, each.nodes_map) for each in replace_pattern_with_filters(gm, pattern, replacement)]


def replace_pattern_with_filters(
    gm: GraphModule, pattern: Callable | Graph | GraphModule, replacement: Callable | Graph | GraphModule | None = None,
    match_filters: list[Callable] | None = None, ignore_literals: bool = False, replacement_callback: Callable | None = None, node_name_match: str = "",
) -> list[ReplacedPatterns]:  # fmt: skip
    """As `replace_pattern`, where some conditions hold.

    Args:
        gm, pattern, replacement: see there
        match_filters: functions of a match, the graph and the pattern's graph; where one says no, nothing is replaced
        ignore_literals: let numbers and other constants in the pattern stand for any
        replacement_callback: makes the replacement's graph for a match, from the arguments of a filter
        node_name_match: replace only where the node of the result has this text in its name

    Raises:
        ValueError: there is no replacement, or there are two
    """
    if (replacement is None) == (replacement_callback is None):
        raise ValueError("either a replacement or a replacement_callback is given")
    wanted = _graph(pattern)
    matches = _found(gm.graph, wanted, match_filters or [], ignore_literals, node_name_match)
    changed: dict[Node, Any] = {}
    done: list[ReplacedPatterns] = []
    for match in matches:
        anchor = match.anchors[0]
        substitute = _graph(replacement if replacement_callback is None else replacement_callback(match, gm.graph, wanted))
        inputs = map_arg(match.placeholder_nodes, lambda used: changed.get(used, used))
        values = dict(zip((each for each in substitute.nodes if each.op == "placeholder"), inputs, strict=True))
        given = set(values)
        with gm.graph.inserting_before(anchor):
            made = gm.graph.graph_copy(substitute, values)
        anchor.replace_all_uses_with(made)
        changed[anchor] = made
        done.append(ReplacedPatterns(anchor, match.nodes_map, [value for node, value in values.items() if node not in given]))
        for each in reversed(list(wanted.nodes)):
            if each.op not in ("placeholder", "output"):
                gm.graph.erase_node(match.nodes_map[each])
    for program in (pattern, replacement):
        if isinstance(program, Module):
            for name, child in program.named_children():
                if not hasattr(gm, name):
                    gm.add_module(name, child)
    gm.recompile()
    return done


def _found(graph: Graph, wanted: Graph, filters: list[Callable], ignore_literals: bool, name: str) -> list[InternalMatch]:
    """The places where a pattern is, in order, without overlaps."""
    result = wanted.output_node().args[0]
    replaced: set[Node] = set()
    matches: list[InternalMatch] = []
    for node in list(graph.nodes):
        found: dict[Node, Any] = {}
        if name not in node.name or not _matches(result, node, found, ignore_literals):
            continue
        inner = {found[each] for each in wanted.nodes if each.op not in ("placeholder", "output")}
        # A value in between that something else uses has to stay.
        if inner & replaced or any(user not in inner for each in inner - {node} for user in each.users):
            continue
        match = InternalMatch([node], found, [found[each] for each in wanted.nodes if each.op == "placeholder"], [node])
        if all(fits(match, graph, wanted) for fits in filters):
            replaced |= inner
            matches.append(match)
    return matches


def _graph(program: Any) -> Graph:
    if isinstance(program, Graph):
        return program
    return program.graph if isinstance(program, GraphModule) else symbolic_trace(program).graph


def _matches(pattern: Any, value: Any, found: dict[Node, Any], any_literal: bool = False) -> bool:
    """Whether a value was computed as a pattern says; fills in what stands for each of its nodes."""
    if not isinstance(pattern, Node):
        if isinstance(pattern, (tuple, list)):
            return (
                type(pattern) is type(value)
                and len(pattern) == len(value)
                and all(_matches(*pair, found, any_literal) for pair in zip(pattern, value))
            )
        if isinstance(pattern, dict):
            return (
                isinstance(value, dict)
                and pattern.keys() == value.keys()
                and all(_matches(part, value[key], found, any_literal) for key, part in pattern.items())
            )
        return not isinstance(value, Node) and (any_literal or (type(pattern) is type(value) and pattern == value))
    if pattern in found:
        return found[pattern] is value
    if pattern.op != "placeholder":
        if not isinstance(value, Node) or (value.op, value.target) != (pattern.op, pattern.target):
            return False
        if not (_matches(pattern.args, value.args, found, any_literal) and _matches(pattern.kwargs, value.kwargs, found, any_literal)):
            return False
    found[pattern] = value
    return True

"""Making networks for inference smaller: batch normalisations go into the layer before them, dropout goes away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from flambeau import nn
from flambeau.fx._symbolic_trace import symbolic_trace
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node
from flambeau.nn import Module
from flambeau.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["fuse", "matches_module_pattern", "remove_dropout", "replace_node_module"]

_FUSED: tuple[tuple[type[Module], type[Module], Callable[[Any, Any], Module]], ...] = (
    (nn.Conv1d, nn.BatchNorm1d, fuse_conv_bn_eval),
    (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
    (nn.Conv3d, nn.BatchNorm3d, fuse_conv_bn_eval),
    (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
)
"""A layer, a normalisation behind it, and what makes one layer of both."""
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def matches_module_pattern(pattern: Iterable[type], node: Node, modules: dict[str, Module]) -> bool:
    """Whether a node calls a module of the last class of a pattern, on the result of one of the class before, and so on."""
    current: Any = node
    for number, cls in enumerate(reversed(list(pattern))):
        if number:
            current = current.args[0] if current.args else None
        if not isinstance(current, Node) or current.op != "call_module" or type(modules.get(current.target)) is not cls:
            return False
    return True


def replace_node_module(node: Node, modules: dict[str, Module], new_module: Module) -> None:
    """Let a node's module be another one, in the network and in the dictionary of its modules."""
    above, _, name = node.target.rpartition(".")
    modules[node.target] = new_module
    setattr(modules[above], name, new_module)


def fuse(model: Module, inplace: bool = False, no_trace: bool = False) -> GraphModule:
    """A network in which convolutions and linear layers do the work of the batch normalisations behind them.

    Args:
        model: in evaluation mode
        inplace: change the network's own layers, and not copies
        no_trace: the network is a `GraphModule` already, whose graph is to be used

    Returns:
        A module with the same results up to rounding.

    Raises:
        TraceError: the network's control flow depends on values
        TypeError: `no_trace`, but the network has no graph

    Example:
        >>> import flambeau
        >>> from flambeau.fx.experimental.optimization import fuse
        >>> network = flambeau.nn.Sequential(flambeau.nn.Conv2d(1, 2, 3), flambeau.nn.BatchNorm2d(2)).eval()
        >>> [node.target for node in fuse(network).graph.nodes if node.op == "call_module"]
        ['0']
    """
    if no_trace and not isinstance(model, GraphModule):
        raise TypeError(f"no_trace=True takes the network's own graph, but a {type(model).__name__} has none: it is no GraphModule")
    model = model if inplace else copy.deepcopy(model)
    traced: Any = model if no_trace else symbolic_trace(model)
    modules = dict(traced.named_modules())
    calls: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    for layer_class, norm_class, fused in _FUSED:
        for node in traced.graph.nodes:
            if not matches_module_pattern((layer_class, norm_class), node, modules):
                continue
            before = node.args[0]
            layer, norm = modules[before.target], modules[node.target]
            # A layer that is called elsewhere, or whose own result is used, is needed as it is.
            if len(before.users) > 1 or calls[before.target] > 1 or norm.running_mean is None:
                continue
            replace_node_module(before, modules, fused(layer, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def remove_dropout(model: Module) -> GraphModule:
    """A network without its dropout layers, which do nothing in evaluation mode.

    Raises:
        TraceError: the network's control flow depends on values
    """
    traced = symbolic_trace(model)
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], _DROPOUTS):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced

"""Graph mode: layers that belong together become one.

before:  ``conv → bn → relu``   after:  ``conv`` (a ``ConvReLU2d``, or for training with rounding a ``ConvBnReLU2d``)
"""

from __future__ import annotations

from typing import Any

from flambeau import nn
from flambeau.ao.quantization.fuse_modules import fuse_known_modules
from flambeau.ao.quantization.fuser_method_mappings import METHODS
from flambeau.ao.quantization.fx.kinds import RELU, replace
from flambeau.fx import GraphModule

_LONGEST = max(len(layers) for layers in METHODS)


def fuse(model: GraphModule, is_qat: bool) -> GraphModule:
    """The graph with all such layers as one, in place."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for node in list(model.graph.nodes):
        chain = _chain(node, modules, is_qat)
        if chain:
            _replace(model, modules, chain, is_qat)
    model.recompile()
    return model


def _layer(node: Any, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The module that a node calls, which for a call of the function is a new ``ReLU``."""
    if node.op == "call_module":
        return modules[node.target]
    return nn.ReLU() if node.op in ("call_function", "call_method") and node.target in RELU else None


def _chain(node: Any, modules: dict[str, nn.Module], is_qat: bool) -> list[tuple[Any, nn.Module]]:
    """The longest run of nodes from here on whose layers become one; each is the only user of the one before."""
    best: list[tuple[Any, nn.Module]] = []
    run: list[tuple[Any, nn.Module]] = []
    current = node
    while len(run) < _LONGEST:
        layer = _layer(current, modules)
        if layer is None:
            break
        if run and current.op != "call_module":
            layer.train(run[-1][1].training)
        run.append((current, layer))
        if tuple(type(each) for _, each in run) in METHODS:
            best = list(run)
        if len(current.users) != 1:
            break
        current = next(iter(current.users))
        if current.args[:1] != (run[-1][0],):
            break
    transposed = bool(best) and isinstance(best[0][1], (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    return [] if is_qat and transposed else best


def _replace(model: GraphModule, modules: dict[str, nn.Module], chain: list[tuple[Any, nn.Module]], is_qat: bool) -> None:
    first, last = chain[0][0], chain[-1][0]
    fused = fuse_known_modules([layer for _, layer in chain], is_qat)[0]
    replace(model, first.target, fused)
    modules[first.target] = fused
    last.replace_all_uses_with(first)
    for node, _ in reversed(chain[1:]):
        model.graph.erase_node(node)
        if node.op == "call_module" and not any(each.target == node.target for each in model.graph.nodes if each.op == "call_module"):
            model.delete_submodule(node.target)

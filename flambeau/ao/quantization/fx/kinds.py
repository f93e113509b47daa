"""What a node of a graph is to quantization: which nodes compute with integers, and on which grid their results are."""

from __future__ import annotations

import operator
from typing import Any

import flambeau
from flambeau import nn
from flambeau.ao.quantization.quantization_mappings import DYNAMIC, QAT, STATIC
from flambeau.fx import Graph
from flambeau.fx.node import Node

F = nn.functional

OWN = "own"
"""The result has a grid of its own, which an observer chooses."""
SHARED = "shared"
"""The result has the grid of the (first) input."""

FIXED_RANGES: dict[Any, bool] = {
    nn.Sigmoid: False, nn.Hardsigmoid: False, nn.Softmax: False, nn.Tanh: True, flambeau.sigmoid: False, F.sigmoid: False, "sigmoid": False, F.hardsigmoid: False, flambeau.tanh: True,
    F.tanh: True, "tanh": True,
}  # fmt: skip
"""Modules, functions and methods whose results lie between 0 and 1, or between -1 and 1 (true)."""

ADDING = (operator.add, flambeau.add)
MULTIPLYING = (operator.mul, flambeau.mul)
RELU = (F.relu, flambeau.relu, "relu", "relu_")

_SHARED_MODULES = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Identity, nn.ReLU,
    nn.ReLU6, nn.Hardtanh, nn.PixelShuffle, nn.PixelUnshuffle,
)  # fmt: skip
_SHARED_CALLS = frozenset({
    *RELU, F.relu6, F.hardtanh, F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d, F.interpolate, F.pixel_shuffle, F.pixel_unshuffle, flambeau.flatten, flambeau.transpose, flambeau.squeeze, flambeau.unsqueeze, flambeau.narrow,
    flambeau.repeat_interleave, flambeau.stack, flambeau.mean, flambeau.clamp, flambeau.cat, "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "mean",
    "clamp", "detach", "repeat", "repeat_interleave",
})  # fmt: skip
_OWN_MODULES = (*[cls for cls in STATIC if cls not in (nn.Embedding, nn.EmbeddingBag, nn.GroupNorm)], *QAT, *QAT.values())
_OWN_CALLS = frozenset({*ADDING, *MULTIPLYING, F.hardswish, F.elu, F.leaky_relu, F.dropout, flambeau.matmul})
WEIGHTED = tuple({*DYNAMIC, *QAT, *QAT.values(), nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.PReLU})


_SIZES = frozenset({"dim", "element_size", "is_floating_point", "ndimension", "nelement", "numel", "size", "stride"})
_FACTS = frozenset({"device", "dtype", "itemsize", "layout", "nbytes", "ndim", "requires_grad", "shape"})


def sizes_of(graph: Graph) -> set[Node]:
    """The nodes whose values are no tensors: what asks for a size, and arithmetic with such."""
    found: set[Node] = set()
    for node in graph.nodes:
        asks = node.op == "call_method" and node.target in _SIZES
        asks = asks or (node.op == "call_function" and node.target is getattr and node.args[1] in _FACTS)
        inputs = node.all_input_nodes
        computes = node.op == "call_function" and getattr(node.target, "__module__", "") in ("_operator", "math", "builtins")
        if asks or (computes and inputs and found.issuperset(inputs)):
            found.add(node)
    return found


def scope_of(node: Node) -> tuple[str, Any]:
    """The name and the class of the module that a node calls, or in which it calls a function or method."""
    return node.meta.get("scope", ("", None))


def target_of(node: Any, modules: dict[str, nn.Module]) -> Any:
    """The class of a module that a node calls, the function, or the name of the method."""
    if node.op == "call_module":
        return type(modules[node.target])
    return node.target if node.op in ("call_function", "call_method") else None


def kind_of(node: Any, modules: dict[str, nn.Module]) -> str | None:
    """``OWN``, ``SHARED``, or ``None``: computed with floating-point numbers."""
    target = target_of(node, modules)
    if target is None or (node.kwargs and target in (*ADDING, *MULTIPLYING)):  # ``add(x, y, alpha=2)``
        return None
    if node.op == "call_module":
        if target in _SHARED_MODULES:
            return SHARED
        return OWN if target in _OWN_MODULES or target in FIXED_RANGES else None
    if target in _SHARED_CALLS or (target in (*ADDING, *MULTIPLYING) and sum(isinstance(each, Node) for each in node.args) == 1):
        return SHARED
    return OWN if target in _OWN_CALLS or target in FIXED_RANGES else None


def replace(model: nn.Module, target: str, module: nn.Module) -> None:
    """Put a module in the place of another."""
    outer, _, name = target.rpartition(".")
    setattr(model.get_submodule(outer), name, module)

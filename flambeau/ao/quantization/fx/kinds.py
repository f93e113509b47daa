"""What a node of a graph is to quantization: which nodes compute with integers, and on which grid their results are."""

from __future__ import annotations

import operator
from typing import Any

import flambeau
from flambeau import nn
from flambeau.ao.quantization.quantization_mappings import DYNAMIC, QAT, STATIC

F = nn.functional

OWN = "own"
"""The result has a grid of its own, which an observer chooses."""
SHARED = "shared"
"""The result has the grid of the (first) input."""

FIXED_RANGES: dict[Any, bool] = {
    nn.Sigmoid: False, nn.Hardsigmoid: False, nn.Tanh: True, flambeau.sigmoid: False, F.sigmoid: False, "sigmoid": False, F.hardsigmoid: False, flambeau.tanh: True,
    F.tanh: True, "tanh": True,
}  # fmt: skip
"""Modules, functions and methods whose results lie between 0 and 1, or between -1 and 1 (true)."""

ADDING = (operator.add, flambeau.add, "add", operator.iadd, "add_")
MULTIPLYING = (operator.mul, flambeau.mul, "mul", operator.imul, "mul_")
RELU = (F.relu, flambeau.relu, "relu", "relu_")

_SHARED_MODULES = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Dropout, nn.Identity, nn.Flatten,
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle,
)  # fmt: skip
_SHARED_CALLS = frozenset({
    *RELU, F.relu6, F.hardtanh, F.max_pool1d, F.max_pool2d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.dropout,
    F.interpolate, F.pixel_shuffle, F.pixel_unshuffle, flambeau.flatten, flambeau.reshape, flambeau.permute, flambeau.transpose, flambeau.squeeze, flambeau.unsqueeze,
    flambeau.mean, flambeau.clamp, flambeau.cat, "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "mean", "clamp",
})  # fmt: skip
_OWN_MODULES = tuple(cls for cls in STATIC if cls is not nn.Dropout) + tuple(QAT) + tuple(QAT.values())
_OWN_CALLS = frozenset({*ADDING, *MULTIPLYING, F.hardswish, F.elu, F.leaky_relu, flambeau.matmul, operator.matmul, "matmul"})
WEIGHTED = tuple({*DYNAMIC, *QAT, *QAT.values(), nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.PReLU})


def target_of(node: Any, modules: dict[str, nn.Module]) -> Any:
    """The class of a module that a node calls, the function, or the name of the method."""
    if node.op == "call_module":
        return type(modules[node.target])
    return node.target if node.op in ("call_function", "call_method") else None


def kind_of(node: Any, modules: dict[str, nn.Module]) -> str | None:
    """``OWN``, ``SHARED``, or ``None``: computed with floating-point numbers."""
    target = target_of(node, modules)
    if target is None:
        return None
    if node.op == "call_module":
        if target in _SHARED_MODULES:
            return SHARED
        return OWN if target in _OWN_MODULES or target in FIXED_RANGES else None
    if target in _SHARED_CALLS:
        return SHARED
    return OWN if target in _OWN_CALLS or target in FIXED_RANGES else None


def replace(model: nn.Module, target: str, module: nn.Module) -> None:
    """Put a module in the place of another."""
    outer, _, name = target.rpartition(".")
    setattr(model.get_submodule(outer), name, module)

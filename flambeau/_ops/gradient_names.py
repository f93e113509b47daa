"""What PyTorch calls the gradient nodes of operators of which it has several, for one here: ``SumBackward0`` of all elements, ``SumBackward1`` along a dimension.

Asked for when a node is printed, and at no other time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _is_number(operand: Any) -> bool:
    return isinstance(operand, type)


def _of_index(node: Any) -> str:
    before, after = node.operands[0].ndim, node.layouts[0].ndim
    return "SelectBackward0" if after < before else "UnsqueezeBackward0" if after > before else "SliceBackward0"


def _of_reduction(node: Any) -> str:
    axes, keepdim = node.statics[:2]
    return f"{node.op.name.capitalize()}Backward{int(keepdim or len(axes) < node.operands[0].ndim)}"


def _of_linear(node: Any) -> str:
    has_bias = len(node.operands) > 2
    if node.operands[0].ndim == 2:
        return "AddmmBackward0" if has_bias else "MmBackward0"
    return "ViewBackward0" if has_bias else "UnsafeViewBackward0"


def _of_norm(node: Any) -> str:
    shape, axes, parameters, is_centred = node.statics
    if not is_centred:
        return "FusedRmsNormBackward0"
    if parameters == axes:
        return "NativeLayerNormBackward0"
    return "NativeBatchNormBackward0" if len(axes) == len(shape) - 1 else "NativeGroupNormBackward0"


def _of_power(node: Any) -> str:
    base, exponent = map(_is_number, node.operands[:2])
    return f"PowBackward{2 if base else 0 if exponent else 1}"


_NAMES: dict[str, Callable[[Any], str]] = {
    "bmm": lambda node: "MmBackward0" if node.layouts[0].ndim == 2 else "BmmBackward0",
    "clamp": lambda node: f"ClampBackward{int(all(map(_is_number, node.operands[1:])))}",
    "clamp_max": lambda node: "ClampBackward1" if _is_number(node.operands[1]) else "ClampMaxBackward0",
    "clamp_min": lambda node: "ClampBackward1" if _is_number(node.operands[1]) else "ClampMinBackward0",
    "div": lambda node: "MulBackward0" if _is_number(node.operands[0]) else "DivBackward0",
    "linear": _of_linear,
    "log1p": lambda node: "Log1PBackward0",
    "mean": _of_reduction,
    "native_norm": _of_norm,
    "pow": _of_power,
    "prod": _of_reduction,
    "slice": _of_index,
    "sub": lambda node: "RsubBackward1" if _is_number(node.operands[0]) else "SubBackward0",
    "sum": _of_reduction,
}


def name_of(node: Any) -> str:
    """The name of a node."""
    named = _NAMES.get(getattr(node.op, "name", ""))  # writes to a part of a tensor are no operator
    return node.op.grad_name if named is None else named(node)

"""What the graph of a converted network calls: operators of quantized tensors with the scale and the zero point of their result."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import nn
from flambeau.ao.nn.quantized.functional import elu, hardswish
from flambeau.ao.nn.quantized.functional import leaky_relu as _leaky_relu
from flambeau.ao.quantization.fx.kinds import ADDING, MULTIPLYING
from flambeau.ao.tensors import arithmetic
from flambeau.ao.tensors.arithmetic import add_scalar, matmul, mul_scalar

__all__ = ["add", "add_relu", "add_scalar", "elu", "hardswish", "leaky_relu", "matmul", "mul", "mul_relu", "mul_scalar"]

TWO = ("add", "mul", "matmul")
"""Operators whose first two arguments are tensors."""
WITH_GRID: dict[Any, str] = {
    **dict.fromkeys(ADDING, "add"), **dict.fromkeys(MULTIPLYING, "mul"), **dict.fromkeys((flambeau.matmul,), "matmul"),
    nn.functional.hardswish: "hardswish", nn.functional.elu: "elu", nn.functional.leaky_relu: "leaky_relu",
}  # fmt: skip
"""Which function of this module takes the place of which function or method."""


def add(x: Any, y: Any, scale: Any, zero_point: Any) -> Any:
    """``x + y``."""
    return arithmetic.add(x, y, scale, zero_point)


def add_relu(x: Any, y: Any, scale: Any, zero_point: Any) -> Any:
    """``relu(x + y)``."""
    return arithmetic.add(x, y, scale, zero_point, True)


def mul(x: Any, y: Any, scale: Any, zero_point: Any) -> Any:
    """``x * y``."""
    return arithmetic.mul(x, y, scale, zero_point)


def mul_relu(x: Any, y: Any, scale: Any, zero_point: Any) -> Any:
    """``relu(x * y)``."""
    return arithmetic.mul(x, y, scale, zero_point, True)


def leaky_relu(x: Any, scale: Any, zero_point: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``x`` above zero and ``negative_slope * x`` below."""
    return _leaky_relu(x, negative_slope, False, scale, zero_point)

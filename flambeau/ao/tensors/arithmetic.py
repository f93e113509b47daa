"""Sums and products of quantized tensors, on a grid that the caller gives."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._ops.quantization import PRODUCT, QUANTIZE
from flambeau._tensor.tensor import Tensor
from flambeau._types.quantized import LIMITS, QUANTIZED
from flambeau.ao.tensors import moving
from flambeau.ao.tensors.pointwise import steps, whole
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor


def _grid(self: Any, scale: Any, zero_point: Any, name: str) -> Grid:
    if not isinstance(self, QuantizedTensor):
        raise NotImplementedError(
            f"quantized {name}: expected quantized tensors, got {self.dtype!r}; put torch.ao.quantization.QuantStub before it"
        )
    return Grid(whole(self, name).dtype, float(scale), int(zero_point))


def _quantized(values: Tensor, grid: Grid, relu: bool = False) -> QuantizedTensor:
    return QuantizedTensor.of(grid.quantized(values.clamp(min=0.0) if relu else values), grid)


def add(x: Any, y: Any, scale: float, zero_point: int, relu: bool = False) -> QuantizedTensor:
    """``x + y``, without what is below zero if ``relu``."""
    grid = _grid(x, scale, zero_point, "add")
    _grid(y, scale, zero_point, "add")
    return _quantized(x.dequantize() + y.dequantize(), grid, relu)


def mul(x: Any, y: Any, scale: float, zero_point: int, relu: bool = False) -> QuantizedTensor:
    """``x * y``, without what is below zero if ``relu``."""
    grid = _grid(x, scale, zero_point, "mul")
    _grid(y, scale, zero_point, "mul")
    scales = [each.to(flambeau.float64) if isinstance(each, Tensor) else each for each in (x._grid.scale, y._grid.scale)]
    factor = scales[0] * scales[1] * (1.0 / grid.scale)
    low, high = LIMITS[grid.dtype]
    statics = (QUANTIZED[grid.dtype], max(low, grid.zero_point) if relu else low, high, PRODUCT)
    return QuantizedTensor.of(QUANTIZE(steps(x) * steps(y), factor, grid.zero_point, statics=statics), grid)


def matmul(x: Any, y: Any, scale: float, zero_point: int) -> QuantizedTensor:
    """``x @ y`` of the numbers that both stand for."""
    grid = _grid(x, scale, zero_point, "matmul")
    return _quantized(x.dequantize() @ y.dequantize(), grid)


def cat(tensors: list[Any], scale: float, zero_point: int, dim: int = 0, relu: bool = False) -> QuantizedTensor:
    """The tensors one after the other."""
    grid = _grid(tensors[0], scale, zero_point, "cat")
    joined = flambeau.cat([moving.on_grid(each, grid) for each in tensors], dim)
    return QuantizedTensor.of(joined.clamp(min=int(zero_point)) if relu else joined, grid)


def add_scalar(x: Any, number: float) -> QuantizedTensor:
    """``x + number`` on a grid of the same steps, moved as far as it must be for the range of the sum.

    The zero point moves by ``round(number / scale)``, if it has room; else it stops at the end of the range, and the scale grows.
    """
    grid = whole(x, "add_scalar")
    low, high = LIMITS[grid.dtype]
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    shift = round(number / scale)
    if zero_point - shift < low:
        grown = (high - (zero_point - shift)) / (high - low) * scale
        found = Grid(grid.dtype, grown, low)
    elif zero_point - shift > high:
        grown = ((zero_point - shift) - low) / (high - low) * scale
        found = Grid(grid.dtype, grown, high)
    else:
        return QuantizedTensor.of(x._integers.clone(), Grid(grid.dtype, scale, zero_point - shift))
    return QuantizedTensor.of(found.quantized(Grid(grid.dtype, scale, zero_point - shift).dequantized(x._integers)), found)


def mul_scalar(x: Any, number: float) -> QuantizedTensor:
    """``x * number``: the same integers with the scale times the number; with a negative one they are mirrored."""
    grid = whole(x, "mul_scalar")
    low, high = LIMITS[grid.dtype]
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    if number > 0:
        return QuantizedTensor.of(x._integers.clone(), Grid(grid.dtype, scale * number, zero_point))
    if number == 0:
        return QuantizedTensor.of(flambeau.zeros_like(x._integers), Grid(grid.dtype, 1.0, 0))
    mirrored = (high + low - x._integers.to(flambeau.int32)).to(x._integers.dtype)
    return QuantizedTensor.of(mirrored, Grid(grid.dtype, -scale * number, high + low - zero_point))

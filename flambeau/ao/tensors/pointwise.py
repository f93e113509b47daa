"""Activations, averages and arithmetic of quantized tensors.

What a function does is written for the numbers that integers stand for, or for *steps*, the integers minus the zero point; the result is
rounded to the grid that PyTorch gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._ops.quantization import DEQUANTIZE, QUANTIZE, SUM
from flambeau._tensor.tensor import Tensor
from flambeau._types.quantized import LIMITS, QUANTIZED, qint8
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor, rounded

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "equal")
"""Functions that compare the numbers that integers stand for."""
AVERAGES = (
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "mean",
    "interpolate",
    "std",
)
"""Functions of steps whose results are steps."""


def whole(tensor: QuantizedTensor, name: str) -> Grid:
    """The grid of a tensor that has one scale for all.

    Raises:
        RuntimeError: each channel has its own.
    """
    if tensor._grid.axis is not None:
        raise RuntimeError(f"{name}: expected a tensor that is quantized as a whole, got one with a scale per channel")
    return tensor._grid


def steps(tensor: QuantizedTensor) -> Tensor:
    """The integers minus the zero point, float32."""
    return DEQUANTIZE(tensor._integers, 1.0, tensor._grid.zero_point)


def from_steps(values: Tensor, grid: Grid, low: int | None = None) -> QuantizedTensor:
    """The tensor on a grid whose steps are closest to numbers; ``low`` cuts off the integers below."""
    least, most = LIMITS[grid.dtype]
    integers = QUANTIZE(values, 1.0, grid.zero_point, statics=(QUANTIZED[grid.dtype], least if low is None else low, most, SUM))
    return QuantizedTensor.of(integers, grid)


def quantized(values: Tensor, grid: Grid) -> QuantizedTensor:
    """The tensor on a grid that is closest to numbers."""
    return QuantizedTensor.of(grid.quantized(values), grid)


def unit_grid(dtype: Any, signed: bool) -> Grid:
    """The grid of functions whose values lie between 0 and 1, or between -1 and 1 (``signed``)."""
    if signed:
        return Grid(dtype, 1 / 128, 0 if dtype is qint8 else 128)
    return Grid(dtype, 1 / 256, -128 if dtype is qint8 else 0)


def compared(name: str) -> Callable:
    """A comparison of the numbers that integers stand for."""
    function = getattr(flambeau.Tensor, name)

    def compare(self: Any, other: Any, **options: Any) -> Any:
        if name == "equal":
            return _equal(self, other)
        return function(_plain(self), _plain(other), **options)

    return compare


def _plain(value: Any) -> Any:
    return value.dequantize() if isinstance(value, QuantizedTensor) else value


def _equal(self: Any, other: Any) -> bool:
    """Whether both are quantized alike, with the same integers."""
    if not (isinstance(self, QuantizedTensor) and isinstance(other, QuantizedTensor)) or self.qscheme() is not other.qscheme():
        return False
    mine, theirs = self._grid, other._grid
    same = mine.dtype is theirs.dtype and mine.axis == theirs.axis and flambeau.equal(self._integers, other._integers)
    pairs = ((mine.scale, theirs.scale), (mine.zero_point, theirs.zero_point))
    return same and all(bool((flambeau.as_tensor(a) == flambeau.as_tensor(b)).all()) for a, b in pairs)


def averaged(name: str) -> Callable:
    """A function of steps whose results are steps on the same grid."""

    def average(self: QuantizedTensor, *args: Any, **options: Any) -> Any:
        grid = whole(self, name)
        run = getattr(flambeau.nn.functional, name, None) or getattr(flambeau, name)
        return from_steps(run(steps(self), *args, **options), grid)

    return average


def relu(self: QuantizedTensor, inplace: bool = False) -> QuantizedTensor:
    """The integers, but none below the zero point."""
    zero_point = whole(self, "relu").zero_point
    found = self._integers.clamp(min=zero_point)
    return _put(self, found) if inplace else self._with(found)


def _put(self: QuantizedTensor, integers: Tensor) -> QuantizedTensor:
    self._integers.copy_(integers)
    return self


def clamp(self: QuantizedTensor, min: Any = None, max: Any = None) -> QuantizedTensor:
    """The integers, held between those of ``min`` and ``max``."""
    grid = whole(self, "clamp")
    low, high = (None if each is None else grid.quantized(flambeau.tensor(float(each))) for each in (min, max))
    return self._with(self._integers.clamp(low, high))


def hardtanh(self: QuantizedTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> QuantizedTensor:
    """``clamp``."""
    found = clamp(self, min_val, max_val)
    return _put(self, found._integers) if inplace else found


def relu6(self: QuantizedTensor, inplace: bool = False) -> QuantizedTensor:
    """The numbers, held between 0 and 6."""
    return hardtanh(self, 0.0, 6.0, inplace)


def sigmoid(self: QuantizedTensor) -> QuantizedTensor:
    """The sigmoid, in steps of 1/256."""
    return quantized(self.dequantize().sigmoid(), unit_grid(self.dtype, False))


def tanh(self: QuantizedTensor) -> QuantizedTensor:
    """The hyperbolic tangent, in steps of 1/128."""
    return quantized(self.dequantize().tanh(), unit_grid(self.dtype, True))


def hardsigmoid(self: QuantizedTensor, inplace: bool = False) -> QuantizedTensor:
    """``clamp(x + 3, 0, 6) / 6``, in steps of 1/256."""
    return quantized(flambeau.nn.functional.hardsigmoid(self.dequantize()), unit_grid(self.dtype, False))


def leaky_relu(self: QuantizedTensor, negative_slope: float = 0.01, inplace: bool = False) -> QuantizedTensor:
    """``x`` above zero and ``negative_slope * x`` below, on the same grid."""
    found = quantized(flambeau.nn.functional.leaky_relu(self.dequantize(), negative_slope), whole(self, "leaky_relu"))
    return _put(self, found._integers) if inplace else found


def gelu(self: QuantizedTensor, approximate: str = "none") -> QuantizedTensor:
    """GELU, on the same grid."""
    grid = whole(self, "gelu")
    grid = grid if isinstance(grid.scale, Tensor) else grid._replace(scale=rounded(grid.scale))
    return quantized(flambeau.nn.functional.gelu(self.dequantize(), approximate=approximate), grid)


def threshold(self: QuantizedTensor, threshold: float, value: float, inplace: bool = False) -> QuantizedTensor:
    """``x`` where it is above the threshold, else ``value``."""
    numbers = self.dequantize()
    above = flambeau.where(numbers.double() > threshold, numbers, flambeau.tensor(float(value)))
    found = quantized(above, whole(self, "threshold"))
    return _put(self, found._integers) if inplace else found


def dropout(self: QuantizedTensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> QuantizedTensor:
    """The tensor itself: dropout is for training."""
    if training and p > 0:
        raise NotImplementedError("dropout of a quantized tensor: quantized networks are not trained; call eval() first")
    return self


def pad(input: QuantizedTensor, pad: Any, mode: str = "constant", value: float | None = None) -> QuantizedTensor:
    """The tensor with a border: of the number closest to ``value``, or of its own elements."""
    grid = whole(input, "pad")
    border = grid.quantized(flambeau.tensor(float(value or 0.0))).item()
    if mode == "constant":
        return input._with(flambeau.nn.functional.pad(input._integers, pad, mode, border))
    return from_steps(flambeau.nn.functional.pad(steps(input), pad, mode), grid)


# -- writing ---------------------------------------------------------------------------------------------------------


def copy_(self: Any, source: Tensor, non_blocking: bool = False) -> Any:
    """Write numbers into the tensor: those of another quantized tensor come with their grid."""
    if not isinstance(self, QuantizedTensor):
        raise RuntimeError("copy_: a quantized tensor cannot be copied into one that is not; use dequantize()")
    if isinstance(source, QuantizedTensor):
        if source.dtype is not self.dtype:
            raise RuntimeError(f"copy_: expected a source of {self.dtype!r}, got {source.dtype!r}")
        self._integers.copy_(source._integers)
        self._grid = source._grid
    else:
        self._integers.copy_(self._grid.quantized(source.detach()))
    return self


def setitem(self: QuantizedTensor, index: Any, value: Any) -> None:
    """``self[index] = value``: numbers are rounded to the grid."""
    self._integers[index] = _integers_of(value, whole(self, "setting elements"))


def fill_(self: QuantizedTensor, value: Any) -> QuantizedTensor:
    """The number closest to ``value`` everywhere."""
    return _put(self, _integers_of(value, whole(self, "fill_")).expand(self.shape))


def masked_fill_(self: QuantizedTensor, mask: Tensor, value: Any) -> QuantizedTensor:
    """The number closest to ``value`` where the mask is true."""
    return _put(self, masked_fill(self, mask, value)._integers)


def masked_fill(self: QuantizedTensor, mask: Tensor, value: Any) -> QuantizedTensor:
    """The tensor with the number closest to ``value`` where the mask is true."""
    return self._with(flambeau.where(mask, _integers_of(value, whole(self, "masked_fill")), self._integers))


def _integers_of(value: Any, grid: Grid) -> Tensor:
    from flambeau.ao.tensors.moving import on_grid

    return on_grid(value if isinstance(value, Tensor) else flambeau.tensor(float(value)), grid)

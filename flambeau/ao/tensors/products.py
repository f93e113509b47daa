"""Products of quantized tensors: linear maps and convolutions, by sums of products of integers.

The integers minus their zero points are multiplied as float32, by the contraction that all else has (``docs/design/0005``). That is exact: a
product is at most 255 * 255, and as long as the sum of all magnitudes stays below 2^24, so does each sum on the way to it, and float32 has
all integers up to there. The weight says how large the sums can become; where that is more, the terms are divided into pieces that are
exact, whose sums are added as int32. So the sums are those of int32 in any case, whatever the order.

What is done with a sum ``s`` is PyTorch's (its engines fbgemm and x86), with the scales of input, weight and result:
``round((s + bias / (scale_x * scale_w)) * (scale_x * scale_w / scale)) + zero_point``, all in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import nn
from flambeau._ops.quantization import DEQUANTIZE, PRODUCT, QUANTIZE, SCALE_SUMS
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import LIMITS, QUANTIZED, qint8, quint8
from flambeau.ao.tensors.creation import choose_qparams, half
from flambeau.ao.tensors.pointwise import steps, whole
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor, rounded

EXACT = 2**24
"""Up to here float32 has all integers."""
LARGEST = 255
"""The largest magnitude of an integer of 8 bits minus its zero point."""


class Packed:
    """A quantized weight with its bias, ready to be multiplied by.

    Args:
        weight: int8 (out, in, …), of a transposed convolution (in, out / groups, …), quantized as a whole or by the outputs
        bias: (out), float32
        outputs: the dimension of the weight that counts outputs
        inputs: the one that is divided where sums would become too large
    """

    def __init__(self, weight: QuantizedTensor, bias: Tensor | None, outputs: int = 0, inputs: int = 1) -> None:
        if not isinstance(weight, QuantizedTensor) or weight.dtype is not qint8:
            raise RuntimeError(f"a quantized weight is of torch.qint8, got {weight.dtype!r}")
        if weight._grid.axis not in (None, outputs):
            raise RuntimeError(f"the weight must be quantized as a whole or along dimension {outputs}, not along {weight._grid.axis}")
        self.weight = weight
        self.bias = None if bias is None else bias.detach()
        self._inputs = inputs
        self._pieces: list[tuple[int, int, Tensor]] | None = None
        self._factors: tuple[tuple, tuple] | None = None

    def unpack(self) -> tuple[QuantizedTensor, Tensor | None]:
        """The weight and the bias."""
        return self.weight, self.bias

    def pieces(self) -> list[tuple[int, int, Tensor]]:
        """Runs of the inputs whose sums are exact in float32: where each starts and ends, and the weight minus its zero point."""
        if self._pieces is None:
            numbers = DEQUANTIZE(self.weight._integers, 1.0, self.weight._grid.factors(self.weight.dim())[1])
            size = numbers.shape[self._inputs]
            others = [dim for dim in range(numbers.dim()) if dim not in (0 if self._inputs else 1, self._inputs)]
            totals = numbers.abs().sum(others) if others else numbers.abs()
            totals = totals if self._inputs else totals.t()  # (outputs, inputs)
            count = 1
            while count < size and any(
                float(each.sum(1).max()) * LARGEST > EXACT for each in totals.split(-(-size // count), 1) if each.numel()
            ):
                count *= 2
            length = -(-size // count)
            runs = [(start, min(start + length, size)) for start in range(0, size, length)]
            self._pieces = [(start, end, numbers.narrow(self._inputs, start, end - start).contiguous()) for start, end in runs]
        return self._pieces

    def sums(self, input: Tensor, product: Callable) -> Tensor:
        """The sums of products, float32, of integers minus their zero points; ``product`` takes input and weight."""
        pieces = self.pieces()
        if len(pieces) == 1:
            return product(input, pieces[0][2])
        axis = 1 if input.dim() > 2 or self.weight.dim() > 2 else -1
        parts = [product(input.narrow(axis, start, end - start), weight).to(flambeau.int32) for start, end, weight in pieces]
        return sum(parts[1:], parts[0]).to(flambeau.float32)

    def factors(self, input_scale: Any, scale: Any, ndim: int) -> tuple[Any, Any]:
        """``bias / (scale_x * scale_w)`` and ``scale_x * scale_w / scale``, shaped for the channels of a result of this many dimensions."""
        key = (input_scale, scale, ndim)
        fixed = not isinstance(input_scale, Tensor) and not isinstance(scale, Tensor)
        if fixed and self._factors is not None and self._factors[0] == key:
            return self._factors[1]
        step = self.step(input_scale)
        if isinstance(step, float) and not isinstance(scale, Tensor):
            multiplier: Any = rounded(step / rounded(scale))
        else:
            multiplier = step / (scale.to(dt.float32) if isinstance(scale, Tensor) else rounded(scale))
        bias = 0.0 if self.bias is None else self.bias / step
        shape = (-1, *(1,) * (ndim - 2)) if self.weight.dim() > 2 else (-1,)
        found = tuple([each.reshape(shape) if isinstance(each, Tensor) and each.dim() else each for each in (bias, multiplier)])
        if fixed:
            self._factors = key, found
        return found

    def step(self, input_scale: Any) -> Any:
        """``scale_x * scale_w`` in float32: a number, or (out)."""
        scale = self.weight._grid.scale
        if isinstance(scale, Tensor) or isinstance(input_scale, Tensor):
            one, other = (each.to(dt.float32) if isinstance(each, Tensor) else rounded(each) for each in (input_scale, scale))
            return one * other
        return rounded(rounded(input_scale) * rounded(scale))


def _result(sums: Tensor, packed: Packed, input: QuantizedTensor, grid: Grid, low: int | None) -> QuantizedTensor:
    """The sums on the grid of the result."""
    bias, multiplier = packed.factors(input._grid.scale, grid.scale, sums.dim())
    least, most = LIMITS[grid.dtype]
    statics = (QUANTIZED[grid.dtype], least if low is None else max(low, least), most, PRODUCT)
    return QuantizedTensor.of(QUANTIZE(sums if packed.bias is None else sums + bias, multiplier, grid.zero_point, statics=statics), grid)


def _grid(input: Tensor, scale: Any, zero_point: Any, name: str, dtype: DType | None = None) -> Grid:
    if not isinstance(input, QuantizedTensor):
        raise NotImplementedError(f"{name}: expected a quantized tensor, got {input.dtype!r}; put torch.ao.quantization.QuantStub before the layer")
    whole(input, name)
    if input.dtype is not quint8 and input.dtype is not qint8:
        raise RuntimeError(f"{name}: expected an input of torch.quint8 or torch.qint8, got {input.dtype!r}")
    return Grid(dtype or input.dtype, scale if isinstance(scale, Tensor) else float(scale), zero_point if isinstance(zero_point, Tensor) else int(zero_point))


def linear(input: Any, packed: Packed, scale: Any, zero_point: Any, relu: bool = False) -> QuantizedTensor:
    """``input @ weight.T + bias`` on the grid of ``scale`` and ``zero_point``, without what is below zero if ``relu``.

    Shapes: input (*, in), weight (out, in), result (*, out).
    """
    grid = _grid(input, scale, zero_point, "quantized linear")
    _check_inputs(input.shape[-1], packed.weight.shape[1], input, packed)
    sums = packed.sums(steps(input), nn.functional.linear)
    return _result(sums, packed, input, grid, int(zero_point) if relu else None)


def _check_inputs(given: int, wanted: int, input: Tensor, packed: Packed) -> None:
    if given != wanted:
        raise RuntimeError(
            f"an input of shape {list(input.shape)} has {given} features (channels), and the weight of shape {list(packed.weight.shape)} is for {wanted}"
        )


def linear_dynamic(input: Tensor, packed: Packed, reduce_range: bool = False, relu: bool = False) -> Tensor:
    """``input @ weight.T + bias`` of float32, rounded to the 256 (128) numbers that just hold the input.

    Args:
        reduce_range: of the 128 numbers, as PyTorch's engines without a check for overflow need them
    """
    if isinstance(input, QuantizedTensor) or input.dtype is not flambeau.float32:
        raise RuntimeError(f"dynamic quantization is of float32 inputs, got {input.dtype!r}")
    _check_inputs(input.shape[-1], packed.weight.shape[1], input, packed)
    scale, zero_point = choose_qparams(input, *half(0, 255, reduce_range))
    grid = Grid(quint8, scale, zero_point)
    numbers = DEQUANTIZE(grid.quantized(input.detach()), 1.0, zero_point)
    bias = packed.bias if packed.bias is not None else 0.0
    result = SCALE_SUMS(packed.sums(numbers, nn.functional.linear), packed.step(scale), bias)
    return result.clamp(min=0.0) if relu else result


def conv(
    input: Any, packed: Packed, settings: dict[str, Any], scale: Any, zero_point: Any, relu: bool = False, dtype: DType | None = None
) -> QuantizedTensor:
    """A convolution (or ``settings["transposed"]`` one) on the grid of ``scale`` and ``zero_point``.

    Shapes: as ``nn.functional.conv1d``, ``conv2d`` and ``conv3d``. Images and volumes come with the channels innermost, as in PyTorch.
    """
    grid = _grid(input, scale, zero_point, "quantized convolution", dtype)
    sums = _convolved(steps(input), packed, settings)
    return _result(sums, packed, input, grid, int(zero_point) if relu else None)


def conv_dynamic(input: Tensor, packed: Packed, settings: dict[str, Any], reduce_range: bool = False) -> Tensor:
    """A convolution of float32, rounded to the 256 (128) numbers that just hold the input."""
    if isinstance(input, QuantizedTensor) or input.dtype is not flambeau.float32:
        raise RuntimeError(f"dynamic quantization is of float32 inputs, got {input.dtype!r}")
    scale, zero_point = choose_qparams(input, *half(0, 255, reduce_range))
    numbers = DEQUANTIZE(Grid(quint8, scale, zero_point).quantized(input.detach()), 1.0, zero_point)
    sums = _convolved(numbers, packed, settings)
    shape = (-1, *(1,) * (sums.dim() - 2))
    step = packed.step(scale)
    bias = packed.bias.reshape(shape) if packed.bias is not None else 0.0
    return SCALE_SUMS(sums, step.reshape(shape) if isinstance(step, Tensor) and step.dim() else step, bias)


def _convolved(numbers: Tensor, packed: Packed, settings: dict[str, Any]) -> Tensor:
    rank = packed.weight.dim() - 2
    name = f"conv_transpose{rank}d" if settings.get("transposed") else f"conv{rank}d"
    if numbers.dim() != rank + 2:
        raise RuntimeError(f"quantized {name}: expected an input of {rank + 2} dimensions (N, C, …), got one of shape {list(numbers.shape)}")
    function = getattr(nn.functional, name)
    options = {key: value for key, value in settings.items() if key != "transposed"}
    if rank > 1:
        numbers = numbers.contiguous(memory_format=flambeau.channels_last if rank == 2 else flambeau.channels_last_3d)
    if settings["groups"] > 1 and len(packed.pieces()) > 1:  # runs of channels would be other ones in each group
        weight = flambeau.cat([each for _, _, each in packed.pieces()], 0 if settings.get("transposed") else 1)
        return function(numbers.double(), weight.double(), None, **options).to(flambeau.int32).to(flambeau.float32)
    return packed.sums(numbers, lambda part, weight: function(part, weight, None, **options))


def matmul(a: QuantizedTensor, b: QuantizedTensor, scale: float, zero_point: int) -> QuantizedTensor:
    """``a @ b`` of two quantized tensors: PyTorch multiplies the numbers that they stand for."""
    grid = _grid(a, scale, zero_point, "quantized matmul")
    return QuantizedTensor.of(grid.quantized(a.dequantize() @ b.dequantize()), grid)

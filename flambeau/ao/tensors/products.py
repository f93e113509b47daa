"""Products of quantized tensors: linear maps and convolutions, by sums of products of integers.

The integers minus their zero points are multiplied as float32, by the contraction that all else has (``docs/design/0005``). That is exact as
long as each sum on the way stays within 2^24, since float32 has all integers up to there. An input's integer minus its zero point lies in an
interval of length 255 that has 0 in it, ``[-z, 255 - z]``. With ``P`` the sum of the positive weights of an output and ``N`` that of the negative
ones, no sum of some of the products is above ``P (255 - z) + N z`` or below ``-(P z + N (255 - z))``, so that none is larger than ``255 max(P, N)``,
whatever the input and its zero point. Where that is more than 2^24, float64 takes the place of float32. So the sums are those of int32 in any
case, whatever the order.

Where the processor has dot products of bytes, most linear maps and convolutions use them (``flambeau/_ops/byte_products.py``): the same sums.

What is done with a sum ``s`` is PyTorch's (its engines fbgemm and x86), with the scales of input, weight and result:
``round((s + bias / (scale_x * scale_w)) * (scale_x * scale_w / scale)) + zero_point``, all in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import nn
from flambeau._ops.byte_products import BYTE_CONV, BYTE_LINEAR, QUAD
from flambeau._ops.conv_shapes import plan
from flambeau._ops.matrix import LINEAR
from flambeau._ops.quantization import BYTES, DEQUANTIZE, PRODUCT, QUANTIZE, SCALE_SUMS, STEPS
from flambeau._runtime import targets
from flambeau._tensor.overriding import Disabled
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import LIMITS, QUANTIZED, qint8, quint8
from flambeau.ao.tensors.creation import half
from flambeau.ao.tensors.pointwise import steps, whole
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor, rounded

EXACT = 2**24
"""Up to here float32 has all integers."""
LARGEST = 255
"""The length of the interval of the integers of 8 bits."""
_MANY = 16
"""Channels of an image from which on it pays to fill them up to a multiple of four in a copy, which took longer than the convolution with 3 of
112 x 112; and of a group's result from which on groups have enough lanes (with 4 in 32 groups bytes took 430 µs and float32 154)."""


class Packed:
    """A quantized weight with its bias, ready to be multiplied by.

    Args:
        weight: int8 (out, in, …), of a transposed convolution (in, out / groups, …), quantized as a whole or by the outputs
        bias: (out), float32
        outputs: the dimension of the weight that counts outputs
    """

    def __init__(self, weight: QuantizedTensor, bias: Tensor | None, outputs: int = 0) -> None:
        if not isinstance(weight, QuantizedTensor) or weight.dtype is not qint8:
            raise RuntimeError(f"a quantized weight is of torch.qint8, got {weight.dtype!r}")
        if weight._grid.axis not in (None, outputs):
            raise RuntimeError(f"the weight must be quantized as a whole or along dimension {outputs}, not along {weight._grid.axis}")
        self.weight = weight
        self.bias = None if bias is None else bias.detach()
        self._outputs = outputs
        self._numbers: Tensor | None = None
        self._bytes: tuple[Tensor, ...] | None = None
        self._factors: tuple[tuple, tuple] | None = None

    def __reduce__(self) -> tuple:
        return Packed, (self.weight, self.bias, self._outputs)

    def unpack(self) -> tuple[QuantizedTensor, Tensor | None]:
        """The weight and the bias."""
        return self.weight, self.bias

    def numbers(self) -> Tensor:
        """The weight minus its zero point, in the dtype in which all sums are exact."""
        if self._numbers is None:
            numbers, largest = self._exact()
            self._numbers = numbers if largest <= EXACT else numbers.double()
        return self._numbers

    def _exact(self) -> tuple[Tensor, float]:
        """The weight minus its zero point, float32, and what no sum is above."""
        numbers = DEQUANTIZE(self.weight._integers, 1.0, self.weight._grid.factors(self.weight.dim())[1])
        others = [dim for dim in range(numbers.dim()) if dim != self._outputs]
        sides = [each.double().sum(others) for each in (numbers.clamp(min=0.0), numbers.clamp(max=0.0))]
        return numbers, max(float(each.abs().max()) for each in sides) * LARGEST if numbers.numel() else 0.0

    def bytes(self) -> tuple[Tensor, ...]:
        """The weight minus its zero point, int8 with the channels innermost and in fours, and its sums, int32 (out); nothing if dot products of
        bytes are not there, or not for this weight."""
        if self._bytes is None:
            self._bytes = self._in_bytes() if targets.has_vnni() else ()
        return self._bytes

    def _in_bytes(self) -> tuple[Tensor, ...]:
        numbers, largest = self._exact()
        if not numbers.numel() or largest >= 2**31 or float(numbers.min()) < -128 or float(numbers.max()) > 127:
            return ()
        innermost = numbers.movedim(1, -1)
        filled = nn.functional.pad(innermost, (0, -innermost.shape[-1] % QUAD))
        return filled.to(dt.int8).contiguous(), numbers.flatten(1).sum(1).to(dt.int32)

    def sums(self, input: Tensor, product: Callable) -> Tensor:
        """The sums of products, float32, of integers minus their zero points; ``product`` takes input and weight."""
        numbers = self.numbers()
        if numbers.dtype is dt.float32:
            return product(input, numbers)
        return product(input.double(), numbers).to(dt.float32)

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
        raise NotImplementedError(
            f"{name}: expected a quantized tensor, got {input.dtype!r}; put torch.ao.quantization.QuantStub before the layer"
        )
    whole(input, name)
    if input.dtype is not quint8 and input.dtype is not qint8:
        raise RuntimeError(f"{name}: expected an input of torch.quint8 or torch.qint8, got {input.dtype!r}")
    return Grid(
        dtype or input.dtype,
        scale if isinstance(scale, Tensor) else float(scale),
        zero_point if isinstance(zero_point, Tensor) else int(zero_point),
    )


def linear(input: Any, packed: Packed, scale: Any, zero_point: Any, relu: bool = False) -> QuantizedTensor:
    """``input @ weight.T + bias`` on the grid of ``scale`` and ``zero_point``, without what is below zero if ``relu``.

    Shapes: input (*, in), weight (out, in), result (*, out).
    """
    grid = _grid(input, scale, zero_point, "quantized linear")
    _check_inputs(input.shape[-1], packed.weight.shape[1], input, packed)
    with Disabled():  # no operand is quantized from here on
        return _result(_multiplied(input, packed), packed, input, grid, int(zero_point) if relu else None)


def _multiplied(input: QuantizedTensor, packed: Packed) -> Tensor:
    """The sums of ``input @ weight.T``, float32."""
    if input.dtype is quint8 and packed.bytes():
        return BYTE_LINEAR(input._integers, *packed.bytes(), input._grid.zero_point)
    return packed.sums(steps(input), LINEAR)


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
    with Disabled():  # no operand is quantized
        if packed.bytes() and input.numel():
            integers, zero_point, scale = BYTES(input.detach(), statics=half(0, 255, reduce_range))
            sums = BYTE_LINEAR(integers, *packed.bytes(), zero_point)
        else:
            numbers, scale = _rounded(input, reduce_range)
            sums = packed.sums(numbers, LINEAR)
        bias = packed.bias if packed.bias is not None else 0.0
        result = SCALE_SUMS(sums, packed.step(scale), bias)
        return result.clamp(min=0.0) if relu else result


def _rounded(input: Tensor, reduce_range: bool) -> tuple[Tensor, Tensor]:
    """The input in steps of the 256 (128) numbers that just hold it, float32, and the step."""
    if not input.numel():
        return input, flambeau.ones(())
    return STEPS(input.detach(), statics=half(0, 255, reduce_range))


def conv(
    input: Any, packed: Packed, settings: dict[str, Any], scale: Any, zero_point: Any, relu: bool = False, dtype: DType | None = None
) -> QuantizedTensor:
    """A convolution (or ``settings["transposed"]`` one) on the grid of ``scale`` and ``zero_point``.

    Shapes: as ``nn.functional.conv1d``, ``conv2d`` and ``conv3d``. Images and volumes come with the channels innermost, as in PyTorch.
    """
    grid = _grid(input, scale, zero_point, "quantized convolution", dtype)
    with Disabled():  # no operand is quantized from here on
        sums = _convolved_bytes(input, packed, settings)
        if sums is None:
            sums = _convolved(steps(input), packed, settings)
        return _result(sums, packed, input, grid, int(zero_point) if relu else None)


def _convolved_bytes(input: QuantizedTensor, packed: Packed, settings: dict[str, Any]) -> Tensor | None:
    """The sums of a convolution of images or volumes by dot products of bytes, if that can be done and pays."""
    shape, rank, groups = packed.weight.shape, packed.weight.dim() - 2, settings["groups"]
    if rank < 2 or input.dim() != rank + 2 or input.dtype is not quint8 or settings.get("transposed"):
        return None
    if not _pays(shape, groups) or not packed.bytes():
        return None
    stride, padding, dilation = [_each(settings[name], rank) for name in ("stride", "padding", "dilation")]
    layouts = [lay.contiguous(tuple(each), dt.float32) for each in (input.shape, shape)]
    statics = plan(*layouts, None, stride, padding, dilation, groups)
    return BYTE_CONV(input._integers, *packed.bytes(), input._grid.zero_point, statics=statics)


def _pays(weight: tuple[int, ...], groups: int) -> bool:
    """Whether channels are enough for dot products of bytes, given the weight's shape."""
    outputs, inputs = weight[0] // groups, weight[1]
    return inputs % QUAD == 0 and outputs >= _MANY if groups > 1 else inputs % QUAD == 0 or inputs >= _MANY


def _each(sizes: Any, rank: int) -> Any:
    """Sizes for all dimensions, of one for all; the name of a padding as it is."""
    if isinstance(sizes, str):
        return sizes
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return sizes * rank if len(sizes) == 1 else sizes


def conv_dynamic(input: Tensor, packed: Packed, settings: dict[str, Any], reduce_range: bool = False) -> Tensor:
    """A convolution of float32, rounded to the 256 (128) numbers that just hold the input."""
    if isinstance(input, QuantizedTensor) or input.dtype is not flambeau.float32:
        raise RuntimeError(f"dynamic quantization is of float32 inputs, got {input.dtype!r}")
    with Disabled():  # no operand is quantized
        numbers, scale = _rounded(input, reduce_range)
        sums = _convolved(numbers, packed, settings)
        shape = (-1, *(1,) * (sums.dim() - 2))
        step = packed.step(scale)
        bias = packed.bias.reshape(shape) if packed.bias is not None else 0.0
        return SCALE_SUMS(sums, step.reshape(shape) if step.dim() else step, bias)


def _convolved(numbers: Tensor, packed: Packed, settings: dict[str, Any]) -> Tensor:
    rank = packed.weight.dim() - 2
    name = f"conv_transpose{rank}d" if settings.get("transposed") else f"conv{rank}d"
    if numbers.dim() != rank + 2:
        raise RuntimeError(
            f"quantized {name}: expected an input of {rank + 2} dimensions (N, C, …), got one of shape {list(numbers.shape)}"
        )
    function = getattr(nn.functional, name)
    options = {key: value for key, value in settings.items() if key != "transposed"}
    if rank > 1:
        numbers = numbers.contiguous(memory_format=flambeau.channels_last if rank == 2 else flambeau.channels_last_3d)
    return packed.sums(numbers, lambda part, weight: function(part, weight, None, **options))


def linear_values(input: Any, packed: Packed) -> Tensor:
    """``input @ weight.T + bias`` of a quantized input, as the numbers that the sums stand for, float32."""
    whole(input, "quantized linear")
    _check_inputs(input.shape[-1], packed.weight.shape[1], input, packed)
    bias = packed.bias if packed.bias is not None else 0.0
    return SCALE_SUMS(_multiplied(input, packed), packed.step(input._grid.scale), bias)

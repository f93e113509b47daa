"""Tensors whose elements are integers that stand for real numbers, ``real = (integer - zero_point) * scale``.

A ``QuantizedTensor`` is a Python object around an ordinary tensor, that of the integers, with which it shares storage, strides and views.
Whatever is computed with it is recorded as work on the integers.

Functions that are given one find it by ``__torch_function__`` (``_tensor/overriding.py``), and ``table.py`` says what they do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau
from flambeau._ops.quantization import DEQUANTIZE, FUSED, QUANTIZE, SUM, along
from flambeau._tensor import overriding
from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.quantized import (
    LIMITS,
    QUANTIZED,
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_tensor_affine,
    qint8,
    qint32,
    qscheme,
    quint8,
)


class Grid(NamedTuple):
    """Which real numbers the integers of a tensor stand for.

    Attributes:
        dtype: the quantized dtype
        scale: a number, or a tensor without dimensions; of channels a tensor (channels)
        zero_point: as the scale
        axis: the dimension of the channels; ``None``: there is one scale and zero point for all
        scheme: the quantization scheme
    """

    dtype: DType
    scale: Any
    zero_point: Any
    axis: int | None = None
    scheme: qscheme = per_tensor_affine

    def factors(self, ndim: int) -> tuple[Any, Any]:
        """Scale and zero point, so that they are broadcast along a tensor of this many dimensions."""
        if self.axis is None:
            return self.scale, self.zero_point
        shape = along(self.axis, ndim)
        return self.scale.reshape(shape), self.zero_point.reshape(shape)

    def quantized(self, values: Tensor) -> Tensor:
        """The integers that are closest to real numbers."""
        scale, zero_point = self.factors(values.dim())
        statics = (QUANTIZED[self.dtype], *LIMITS[self.dtype], FUSED if self.axis is None and self.dtype is not qint32 else SUM)
        return QUANTIZE(values, reciprocal(scale), zero_point, statics=statics)

    def dequantized(self, integers: Tensor) -> Tensor:
        """The real numbers that integers stand for, float32."""
        scale, zero_point = self.factors(integers.dim())
        return DEQUANTIZE(integers, scale, zero_point)

    def along(self, axis: int) -> Grid:
        """The same grid with its channels along another dimension."""
        return self._replace(axis=axis)


def reciprocal(scale: Any) -> Any:
    """1 / scale in float32, of a number or a tensor."""
    if isinstance(scale, Tensor):
        return 1.0 / scale.to(dt.float32)
    scale = rounded(scale)
    return rounded(1.0 / scale) if scale else float("inf")


def rounded(number: float) -> float:
    """A number rounded to float32."""
    return ctypes.c_float(number).value


class QuantizedTensor(Tensor):
    """A tensor of integers that stand for real numbers; made by ``torch.quantize_per_tensor`` and its kin."""

    is_quantized = True
    _integers: Tensor
    _grid: Grid

    @staticmethod
    def of(integers: Tensor, grid: Grid) -> QuantizedTensor:
        """One of these integers, which are taken as they are."""
        overriding.activate()
        made: Any = object.__new__(QuantizedTensor)
        made._integers, made._grid = integers, grid
        return made

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from flambeau.ao.tensors.table import call

        return call(func, args, kwargs or {})

    def _with(self, integers: Tensor) -> QuantizedTensor:
        """Other integers on the same grid."""
        return QuantizedTensor.of(integers, self._grid)

    # -- the fields of a tensor --------------------------------------------------------------------------------------

    node: Any = None
    output_nr: Any = 0
    base: Any = None

    @property
    def memory(self) -> Any:
        return self._integers.memory

    @property
    def layout(self) -> Layout:
        found = self._integers.layout
        return lay.layout(found.shape, found.strides, found.offset, self._grid.dtype)

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions (here, so that nobody is asked)."""
        return Size(self._integers.layout.shape)

    @property
    def dtype(self) -> DType:
        """The quantized dtype."""
        return self._grid.dtype

    def dim(self) -> int:
        """The number of dimensions."""
        return self._integers.layout.ndim

    def int_repr(self) -> Tensor:
        """The integers: int8, uint8 or int32, a copy."""
        return self._integers.clone()

    def dequantize(self) -> Tensor:
        """The real numbers, float32."""
        return self._grid.dequantized(self._integers)

    def qscheme(self) -> qscheme:
        """The quantization scheme."""
        return self._grid.scheme

    def q_scale(self) -> float:
        """The scale.

        Raises:
            RuntimeError: each channel has its own.
        """
        scale = self._of_all("q_scale", "q_per_channel_scales").scale
        return scale.item() if isinstance(scale, Tensor) else scale

    def q_zero_point(self) -> int:
        """The zero point.

        Raises:
            RuntimeError: each channel has its own.
        """
        zero_point = self._of_all("q_zero_point", "q_per_channel_zero_points").zero_point
        return int(zero_point)

    def q_per_channel_scales(self) -> Tensor:
        """The scale of each channel, (channels).

        Raises:
            RuntimeError: there is one for all.
        """
        return self._of_channels("q_per_channel_scales").scale

    def q_per_channel_zero_points(self) -> Tensor:
        """The zero point of each channel, (channels)."""
        return self._of_channels("q_per_channel_zero_points").zero_point

    def q_per_channel_axis(self) -> int:
        """The dimension of the channels."""
        axis = self._of_channels("q_per_channel_axis").axis
        assert axis is not None
        return axis

    def _of_all(self, name: str, other: str) -> Grid:
        if self._grid.axis is not None:
            raise RuntimeError(
                f"{name}() is of tensors that are quantized as a whole, and this one is {self._grid.scheme!r}; see {other}()"
            )
        return self._grid

    def _of_channels(self, name: str) -> Grid:
        if self._grid.axis is None:
            raise RuntimeError(f"{name}() is of tensors that are quantized per channel, and this one is {self._grid.scheme!r}")
        return self._grid

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        if requires_grad:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        return self

    @property
    def grad(self) -> Any:
        """None: a quantized tensor has no gradient."""
        return None

    # -- copies and conversions --------------------------------------------------------------------------------------

    def detach(self) -> Any:
        return self._with(self._integers.detach())

    def detach_(self) -> Any:
        return self

    @property
    def data(self) -> Any:
        return self.detach()

    def to(self, *args: Any, **options: Any) -> Any:
        wanted = [each for each in (*args, options.pop("dtype", None)) if isinstance(each, DType)]
        if any(dtype is not self._grid.dtype for dtype in wanted):
            raise RuntimeError(
                f"a quantized tensor cannot be converted to {wanted[0]!r}: use dequantize() for its values, int_repr() for its integers"
            )
        integers = self._integers.to(*[each for each in args if not isinstance(each, DType)], **options)
        return self if integers is self._integers else self._with(integers)

    def type(self, dtype: Any = None, non_blocking: bool = False, **options: Any) -> Any:
        if dtype is None:
            return f"torch.quantized.{_TYPE_NAMES[self._grid.dtype]}"
        return self.to(dtype)

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"NumPy has no {self._grid.dtype!r}: use dequantize().numpy() or int_repr().numpy()")

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        raise RuntimeError("a quantized tensor has no list of numbers: use dequantize().tolist() or int_repr().tolist()")

    def item(self) -> Any:
        return self.dequantize().item()

    def __deepcopy__(self, memo: dict) -> QuantizedTensor:
        if id(self) not in memo:
            parts = [each.clone() if isinstance(each, Tensor) else each for each in self._grid]
            memo[id(self)] = QuantizedTensor.of(self._integers.clone(), Grid(*parts))
        return memo[id(self)]

    def parts(self) -> tuple:
        """The integers and what tells the grid, as PyTorch's files have it: ``(scheme, scale, zero point)``, or with the axis."""
        grid = self._grid
        if grid.axis is None:
            return self._integers, (grid.scheme, self.q_scale(), self.q_zero_point())
        return self._integers, (per_channel_affine, grid.scale, grid.zero_point, grid.axis)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return of_parts, (*self.parts(), self._grid.dtype)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from flambeau.ao.tensors.printing import text

        return text(self)

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


_TYPE_NAMES = {qint8: "QInt8Tensor", quint8: "QUInt8Tensor", qint32: "QInt32Tensor"}


def of_parts(integers: Tensor, parameters: Any, dtype: DType) -> QuantizedTensor:
    """A quantized tensor of what ``parts`` gave, which may have come out of a stranger's file and is checked.

    Raises:
        RuntimeError: it describes no tensor.
    """
    if dtype not in QUANTIZED or integers.dtype is not QUANTIZED[dtype]:
        raise RuntimeError(f"a quantized tensor of {dtype!r} is not made of {integers.dtype!r}")
    scheme, scale, zero_point, *axis = parameters
    if not isinstance(scheme, qscheme):
        raise RuntimeError(f"expected a quantization scheme such as torch.per_tensor_affine, got {scheme!r}")
    if not axis:
        return QuantizedTensor.of(integers, Grid(dtype, float(scale), int(zero_point), None, scheme))
    check_channels(integers, scale, zero_point, axis[0])
    return QuantizedTensor.of(integers, channel_grid(dtype, scale, zero_point, axis[0]))


def check_channels(tensor: Tensor, scales: Tensor, zero_points: Tensor, axis: int) -> None:
    """Check that there are a scale and a zero point for each index of a dimension.

    Raises:
        RuntimeError: there are not.
    """
    if not 0 <= axis < tensor.dim():
        raise RuntimeError(
            f"the axis of channels (={axis}) must be between 0 and {tensor.dim() - 1}, for a tensor of shape {list(tensor.shape)}"
        )
    channels = (tensor.shape[axis],)
    if tuple(scales.shape) != channels or tuple(zero_points.shape) != channels:
        raise RuntimeError(
            f"scales of shape {list(scales.shape)} and zero_points of shape {list(zero_points.shape)} must have one element for each of the "
            f"{channels[0]} indices of dimension {axis}"
        )


def channel_grid(dtype: DType, scales: Tensor, zero_points: Tensor, axis: int) -> Grid:
    """The grid of a tensor that is quantized per channel: with zero points that are no integers, of its own scheme."""
    if zero_points.dtype.is_floating_point:
        scheme = per_channel_affine_float_qparams
        return Grid(
            dtype, scales.detach().to(flambeau.float32, copy=True), zero_points.detach().to(flambeau.float32, copy=True), axis, scheme
        )
    return Grid(
        dtype, scales.detach().to(flambeau.float64, copy=True), zero_points.detach().to(flambeau.int64, copy=True), axis, per_channel_affine
    )

"""Functions that leave elements as they are: views, copies, choices, and the largest and smallest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.quantized import per_tensor_affine
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor, check_channels

MOVING = (
    "adaptive_max_pool1d", "adaptive_max_pool2d", "argwhere", "as_strided", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_to", "channel_shuffle", "chunk", "clone",
    "contiguous", "cpu", "diagonal", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "gather", "index_select", "masked_select", "max", "max_pool1d", "max_pool2d",
    "max_pool3d", "median", "min", "moveaxis", "movedim", "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "ravel", "repeat", "repeat_interleave", "reshape",
    "reshape_as", "select", "sort", "split", "split_with_sizes", "squeeze", "swapaxes", "swapdims", "t", "take", "take_along_dim", "tensor_split", "tile", "topk", "transpose",
    "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as", "amax", "amin", "kthvalue", "max_unpool2d", "roll", "rot90",
)  # fmt: skip
"""Functions that run on the integers, and whose results (but for indices) are integers of the same grid."""


def moving(name: str) -> Callable:
    """The function of that name."""

    def function(self: Any, *args: Any, **options: Any) -> Any:
        run = getattr(flambeau.Tensor, name, None) or getattr(flambeau, name, None) or getattr(flambeau.nn.functional, name)
        if not isinstance(self, QuantizedTensor):
            raise NotImplementedError(f"{name}: the first argument must be the quantized tensor")
        args = tuple([each._integers if isinstance(each, QuantizedTensor) else each for each in args])
        if self._grid.axis is not None:
            return _of_channels(name, self, run, args, options)
        return _wrapped(run(self._integers, *args, **options), self._grid)

    function.__name__ = name
    return function


def _wrapped(result: Any, grid: Grid) -> Any:
    """The result with its integers (not its indices) as quantized tensors."""
    if isinstance(result, Tensor):
        return QuantizedTensor.of(result, grid)
    if hasattr(result, "_fields"):  # values and indices
        return type(result)(*[_wrapped(each, grid) if field == "values" else each for field, each in zip(result._fields, result)])
    return type(result)([_wrapped(each, grid) for each in result])


def _of_channels(name: str, self: QuantizedTensor, run: Callable, args: tuple, options: dict) -> Any:
    """The function of a tensor that is quantized per channel: where its channels are afterwards must be known."""
    grid = self._grid
    if name in ("clone", "contiguous", "cpu"):
        return self._with(run(self._integers, *args, **options))
    if name in ("view", "reshape"):
        result = run(self._integers, *args, **options)
        check_channels(result, grid.scale, grid.zero_point, grid.axis or 0)
        return QuantizedTensor.of(result, grid)
    assert grid.axis is not None
    if name == "unsqueeze":
        dim = int(args[0] if args else options["dim"])
        dim = dim + self.dim() + 1 if dim < 0 else dim
        return QuantizedTensor.of(run(self._integers, dim), grid.along(grid.axis + (dim <= grid.axis)))
    if name == "select":
        dim, index = (*args, *options.values())
        if dim % self.dim() == grid.axis:
            return QuantizedTensor.of(run(self._integers, dim, index), channel(grid, index))
    raise RuntimeError(
        f"{name}: this tensor has a scale for each index of dimension {grid.axis}, which the result need not have; use dequantize() first"
    )


def channel(grid: Grid, index: int) -> Grid:
    """The grid of one channel."""
    return Grid(grid.dtype, grid.scale[index], grid.zero_point[index], None, per_tensor_affine)


def getitem(self: QuantizedTensor, index: Any) -> QuantizedTensor:
    """``self[index]``; along the dimension of channels one of them can be chosen."""
    grid = self._grid
    if grid.axis is None:
        return self._with(self._integers[index])
    if grid.axis == 0 and isinstance(index, int):
        return QuantizedTensor.of(self._integers[index], channel(grid, index))
    if grid.axis == 0 and isinstance(index, slice):
        return QuantizedTensor.of(self._integers[index], grid._replace(scale=grid.scale[index], zero_point=grid.zero_point[index]))
    raise RuntimeError(
        f"indexing a tensor that has a scale for each index of dimension {grid.axis} is not implemented; use dequantize() first"
    )


def cat(tensors: Any, dim: int = 0) -> QuantizedTensor:
    """Tensors one after the other, on the grid of the first."""
    return joined("cat", tensors, dim)


def stack(tensors: Any, dim: int = 0) -> QuantizedTensor:
    """Tensors side by side along a new dimension, on the grid of the first."""
    return joined("stack", tensors, dim)


def joined(name: str, tensors: Any, dim: int) -> QuantizedTensor:
    first = tensors[0]
    if not all(isinstance(each, QuantizedTensor) and each._grid.axis is None for each in tensors):
        raise RuntimeError(f"{name}: all tensors must be quantized, each as a whole")
    grid = first._grid
    return first._with(getattr(flambeau, name)([on_grid(each, grid) for each in tensors], dim))


def on_grid(tensor: Tensor, grid: Grid) -> Tensor:
    """The integers of a grid for the elements of a tensor, quantized or not."""
    if isinstance(tensor, QuantizedTensor):
        return tensor._integers if _same(tensor._grid, grid) else grid.quantized(tensor.dequantize())
    return grid.quantized(tensor.detach().to(flambeau.float32))


def _same(one: Grid, other: Grid) -> bool:
    """Whether two grids are known to be the same without looking into tensors."""
    return one is other or (
        one.dtype is other.dtype and one.axis is None is other.axis and all(
            mine is theirs or (not isinstance(mine, Tensor) and not isinstance(theirs, Tensor) and mine == theirs)
            for mine, theirs in ((one.scale, other.scale), (one.zero_point, other.zero_point))
        )
    )  # fmt: skip

"""Pictures of what layers and operations do: which inputs each output comes from, found out from the layers themselves.

>>> import flambeau
>>> from flambeau.draw import draw
>>> picture = draw(flambeau.nn.Conv2d(1, 1, 3, stride=2, padding=1, dilation=2), 7)
>>> picture.save("conv2d.svg")  # doctest: +SKIP

or, from a shell, ``python -m flambeau.draw conv2d --input 7 --kernel 3 --stride 2 --padding 1 --dilation 2``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import nn
from flambeau.draw.channels import draw_channels
from flambeau.draw.norms import draw_norm
from flambeau.draw.scattering import draw_scatter
from flambeau.draw.scene import Picture as Picture
from flambeau.draw.windows import draw_window
from flambeau.nn import functional as F

__all__ = ["Picture", "draw"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
)


def draw(layer_or_operation: Any, *arguments: Any, by: str = "output", **keywords: Any) -> Picture:
    """Draws which elements each output of a layer or an operation comes from.

    - A convolution (``nn.Conv1d``, ``nn.Conv2d``, ``nn.ConvTranspose1d``, ``nn.ConvTranspose2d``): the kernel's positions, one a step. The
      argument is the input or its size: ``7``, ``(7, 5)``, or a whole shape (N, C, H, W).
    - A normalisation (``nn.GroupNorm``, ``nn.LayerNorm``, ``nn.InstanceNorm2d``, ``nn.BatchNorm2d``, …): the elements that share a mean and
      a variance. The argument is the input or its shape.
    - ``flambeau.scatter``, with its arguments (``target, dim, index, src``): arrows from src to target.
    - ``conv1d``, ``conv2d``, ``conv_transpose1d``, ``conv_transpose2d`` and ``group_norm`` of ``nn.functional``, with their arguments.

    Args:
        layer_or_operation: one of these.
        arguments: what it is applied to.
        by: ``"output"`` for a step for each output of a convolution (which inputs does it come from?), ``"input"`` for a step for each input
            (which outputs does it reach?), ``"channel"`` for its channels and groups.
        keywords: further arguments of the operation, by name.

    Raises:
        TypeError: there is no picture of this.
        ValueError: it would be too large to be read.

    Example:
        >>> index = flambeau.tensor([[1, 2, 1, 1, 2], [2, 0, 2, 1, 0]])
        >>> draw(flambeau.scatter, flambeau.zeros(3, 5), 0, index, flambeau.arange(10.0).reshape(2, 5)).title
        'target.scatter(0, index, src)'
    """
    if isinstance(layer_or_operation, (*_CONVOLUTIONS, *_NORMS)):
        if len(arguments) != 1 or keywords:
            raise TypeError(
                f"draw({type(layer_or_operation).__name__}(…), input) takes one input, or its size, but got {len(arguments)} arguments"
            )
        sizes = _sizes(arguments[0])
        if isinstance(layer_or_operation, _NORMS):
            return draw_norm(layer_or_operation, sizes)
        if by == "channel":
            return draw_channels(layer_or_operation)
        return draw_window(layer_or_operation, _spatial(layer_or_operation, sizes), by)
    for operation, picture in _OPERATIONS.items():
        if layer_or_operation is operation:
            return picture(layer_or_operation, arguments, keywords, by)
    name = getattr(layer_or_operation, "__name__", type(layer_or_operation).__name__)
    kinds = [kind.__name__ for kind in (*_CONVOLUTIONS, *_NORMS)] + [operation.__name__ for operation in _OPERATIONS]
    raise TypeError(f"there is no picture of {name}, but of {', '.join(kinds)}")


def _sizes(given: Any) -> tuple[int, ...]:
    """The sizes that an input, a shape or a number stands for."""
    sizes = tuple(given.shape) if isinstance(given, flambeau.Tensor) else (given,) if isinstance(given, int) else tuple(given)
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"the sizes of an input are positive integers, but got {given!r}")
    return sizes


def _spatial(layer: nn.Module, sizes: tuple[int, ...]) -> tuple[int, ...]:
    rank = layer.spatial_dims
    if len(sizes) == 1:
        return sizes * rank
    if not rank <= len(sizes) <= rank + 2:
        raise ValueError(
            f"the input of {type(layer).__name__} has {rank} spatial dimensions, and perhaps N and C before them, but got {sizes}"
        )
    return sizes[-rank:]


def _convolution(kind: type[nn.Module]) -> Callable[..., Picture]:
    def picture(function: Any, arguments: tuple, keywords: dict, by: str) -> Picture:
        given = inspect.signature(function).bind(*arguments, **keywords).arguments
        function(*arguments, **keywords)  # what does not fit is said by the function itself
        input, weight = given.pop("input"), given.pop("weight")
        given.pop("bias", None)
        given.pop("groups", None)
        layer = kind(1, 1, tuple(weight.shape[2:]), **given)
        return draw_window(layer, tuple(input.shape[-layer.spatial_dims :]), by)

    return picture


def _group_norm(function: Any, arguments: tuple, keywords: dict, by: str) -> Picture:
    given = inspect.signature(function).bind(*arguments, **keywords).arguments
    input = given["input"]
    layer = nn.GroupNorm(given["num_groups"], input.shape[1], affine=given.get("weight") is not None)
    return draw_norm(layer, tuple(input.shape))


def _scatter(function: Any, arguments: tuple, keywords: dict, by: str) -> Picture:
    names = ("target", "dim", "index", "src")
    given = dict(zip(names, arguments, strict=False)) | {
        {"input": "target", "value": "src"}.get(name, name): value for name, value in keywords.items()
    }
    return draw_scatter(**given)


_OPERATIONS: dict[Any, Callable[..., Picture]] = {
    F.conv1d: _convolution(nn.Conv1d),
    F.conv2d: _convolution(nn.Conv2d),
    F.conv_transpose1d: _convolution(nn.ConvTranspose1d),
    F.conv_transpose2d: _convolution(nn.ConvTranspose2d),
    F.group_norm: _group_norm,
    flambeau.scatter: _scatter,
}

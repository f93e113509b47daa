"""Sampling of images and volumes at given points."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import shape_text

_CORNERS = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify align_corners=True "
    "if the old behavior is desired."
)

_FEW_CHANNELS = 4


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Takes values of ``input`` at the points of ``grid``.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: points (x, y) or (x, y, z) from -1 to 1, (N, H_out, W_out, 2) or (N, D_out, H_out, W_out, 3).
        mode: ``"bilinear"``, ``"nearest"`` or ``"bicubic"`` (images only).
        padding_mode: what lies outside: ``"zeros"``, the ``"border"`` or the ``"reflection"``.
        align_corners: whether -1 and 1 are the centres of the corner elements (otherwise their outer edges).

    Returns:
        (N, C, H_out, W_out) or (N, C, D_out, H_out, W_out).

    Raises:
        ValueError, RuntimeError: a mode is unknown, or the shapes do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(_CORNERS, stacklevel=2)
        align_corners = False
    _check_grid(input, grid, mode)
    sizes = tuple(input.shape[2:])
    # x belongs to the last axis. Places and weights are computed once for all channels and kept; for few, whose gradients nobody asks for, with each.
    each = input.shape[1] if input.shape[1] <= _FEW_CHANNELS and not (_records(input) or _records(grid)) else 1
    points = [_unnormalize(grid[..., -1 - i].unsqueeze(1), size, align_corners) for i, size in enumerate(sizes)]
    points = [point.expand(-1, each, *point.shape[2:]) for point in points]
    if mode == "bicubic":
        return _bicubic(input, points, padding_mode, align_corners)
    points = [_inside(point, size, padding_mode, align_corners) for point, size in zip(points, sizes)]
    if mode == "nearest":
        return _take(input, [_place(input, axis, point.round()) for axis, point in enumerate(points)])
    low = [point.floor() for point in points]
    sides = [[_place(input, axis, floor), _place(input, axis, floor + 1)] for axis, floor in enumerate(low)]
    shares = [(1 - fraction, fraction) for fraction in (point - floor for point, floor in zip(points, low))]
    result: Any = None
    for corner in itertools.product((0, 1), repeat=len(points)):
        weight = functools.reduce(operator.mul, (share[side] for share, side in zip(shares, corner)))
        part = _take(input, [side[which] for side, which in zip(sides, corner)]) * weight
        result = part if result is None else result + part
    return result


def _records(input: Tensor) -> bool:
    return input.requires_grad and flambeau.is_grad_enabled()


def _check_grid(input: Tensor, grid: Tensor, mode: str) -> None:
    n = input.dim() - 2
    if n not in (2, 3) or grid.dim() != input.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[0] != input.shape[0] or grid.shape[-1] != n:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {n} in last dimension and the input's batch size {input.shape[0]} in the first, "
            f"but got grid with sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and n == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def _unnormalize(point: Tensor, size: int, align_corners: bool) -> Tensor:
    """From [-1, 1] to positions of an axis of ``size``."""
    return (point + 1) / 2 * (size - 1) if align_corners else ((point + 1) * size - 1) / 2


def _inside(point: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "zeros":
        return point
    if padding_mode == "reflection":
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        if span <= 0:
            return flambeau.zeros_like(point)
        distance = (point - low).abs()
        turns = (distance / span).floor()
        rest = distance - turns * span
        point = flambeau.where(turns % 2 == 0, rest, span - rest) + low
    return point.clamp(0, size - 1)


def _place(input: Tensor, axis: int, position: Tensor) -> tuple[Tensor, Tensor]:
    """How far a whole position of a spatial axis (or the nearest that there is) lies in a flattened image, and whether it is inside."""
    sizes = input.shape[2:]
    whole = flambeau.int32 if math.prod(sizes) < 1 << 31 else flambeau.int64  # half of what is kept
    inside = (position >= 0) & (position <= sizes[axis] - 1)
    return position.clamp(0, sizes[axis] - 1).to(whole) * math.prod(sizes[axis + 1 :]), inside


def _take(input: Tensor, places: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The values (N, C, ...) at places (N, C or 1, ...), with zeros outside."""
    index = functools.reduce(operator.add, (place for place, _ in places))
    inside = functools.reduce(operator.and_, (inside for _, inside in places))
    shape = (*input.shape[:2], *index.shape[2:])
    values = input.flatten(2).gather(2, index.expand(shape).flatten(2)).view(shape)
    return flambeau.where(inside, values, 0.0)


def _bicubic(input: Tensor, points: list[Tensor], padding_mode: str, align_corners: bool) -> Tensor:
    sizes = input.shape[2:]
    low = [point.floor() for point in points]
    weights = [_cubic_weights(point - floor) for point, floor in zip(points, low)]
    taps = [
        [_place(input, axis, _inside(low[axis] + offset, size, padding_mode, align_corners)) for offset in range(-1, 3)]
        for axis, size in enumerate(sizes)
    ]
    result: Any = 0
    for i, j in itertools.product(range(4), repeat=2):
        result = result + _take(input, [taps[0][i], taps[1][j]]) * (weights[0][i] * weights[1][j])
    return result


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Keys' kernel with a = -0.75 at the distances 1 + t, t, 1 - t and 2 - t."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Computes the grid for :func:`grid_sample` that an affine map gives.

    Args:
        theta: (N, 2, 3) or (N, 3, 4), the maps.
        size: (N, C, H, W) or (N, C, D, H, W), the size of the output.
        align_corners: see :func:`grid_sample`.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: the shapes do not fit.
    """
    if align_corners is None:
        warnings.warn(_CORNERS, stacklevel=2)
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {size}."
        )
    n = len(size) - 2
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {tuple(size)}. Got {shape_text(theta)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    axes = []
    for i, length in enumerate(reversed(tuple(size)[2:])):
        axis = flambeau.linspace(-1, 1, length, dtype=theta.dtype, device=theta.device) if length > 1 else theta.new_zeros(1)
        if not align_corners:
            axis = axis * ((length - 1) / length)
        axes.append(axis.view([-1 if d == n - 1 - i else 1 for d in range(n)]).expand(*size[2:]))
    axes.append(flambeau.ones(*size[2:], dtype=theta.dtype, device=theta.device))
    base = flambeau.stack(axes, -1).view(1, math.prod(size[2:]), n + 1).expand(size[0], -1, -1)
    return flambeau.bmm(base, theta.transpose(1, 2)).view(size[0], *size[2:], n)

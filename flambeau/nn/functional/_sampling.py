"""Sampling of images and volumes at given points."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import flambeau
from flambeau._ops import nn as ops
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import shape_text

_CORNERS = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify align_corners=True "
    "if the old behavior is desired."
)


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
    return ops.sampled_at(input, grid, ops.Sampling(mode, padding_mode, align_corners))


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

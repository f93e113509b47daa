"""Resampling, and windows of images, in ONNX, and what pooling is made of that ONNX lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._layers import each
from flambeau.onnx._moving import pad
from flambeau.onnx._registry import HANDLERS, handler, made_of

Attributes = dict[str, Any]


def _resize(g: Builder, like: Any, input: Value, output_size: Any, factors: Any, attributes: Attributes) -> Value:
    spatial = list(range(2, input.dim))
    if factors is not None and not any(isinstance(factor, Number) for factor in factors):
        scales = g.constant(flambeau.tensor([float(factor) for factor in factors], dtype=flambeau.float32), "constant")
        return g("Resize", input, None, scales, like=like, axes=spatial, **attributes)
    sizes = (
        g.vector(*output_size, name="constant") if output_size is not None else g.vector(*[g.extent(like.shape[axis]) for axis in spatial])
    )
    return g("Resize", input, None, None, sizes, like=like, axes=spatial, **attributes)


def _nearest(exact: bool) -> Callable:
    attributes: Attributes = (
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
        if exact
        else {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    )

    def resample(g: Builder, like: Any, input: Value, output_size: Any, scale_factors: Any = None, *others: Any) -> Value:
        return _resize(g, like, input, output_size, _factors(scale_factors), {"mode": "nearest", **attributes})

    return resample


def _smooth(cubic: bool, antialias: bool = False) -> Callable:
    def resample(
        g: Builder, like: Any, input: Value, output_size: Any, align_corners: bool, scale_factors: Any = None, *others: Any
    ) -> Value:
        attributes: Attributes = {
            "mode": "cubic" if cubic else "linear",
            "coordinate_transformation_mode": "align_corners" if align_corners else "half_pixel",
            "cubic_coeff_a": (-0.5 if antialias else -0.75) if cubic else None,
            "antialias": 1 if antialias else None,
        }
        return _resize(g, like, input, output_size, _factors(scale_factors), attributes)

    return resample


def _factors(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) else None


for _name in ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"):
    HANDLERS[_name] = _nearest(False)
for _name in ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"):
    HANDLERS[_name] = _nearest(True)
for _name in ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"):
    HANDLERS[_name] = _smooth(False)
HANDLERS["upsample_bicubic2d"] = _smooth(True)
HANDLERS["_upsample_bilinear2d_aa"], HANDLERS["_upsample_bicubic2d_aa"] = _smooth(False, True), _smooth(True, True)


@handler("nn.functional.interpolate")
def _interpolate(
    g: Builder, like: Any, input: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Value:  # fmt: skip
    """What is no operator of PyTorch's: `nearest-exact`, `antialias`, factors that are computed anew."""
    spatial = input.dim - 2
    sizes = None if size is None else each(size, spatial)
    factors = (
        None
        if scale_factor is None or recompute_scale_factor
        else each(scale_factor, spatial)
        if not isinstance(scale_factor, float)
        else [scale_factor] * spatial
    )
    if mode in ("nearest", "nearest-exact"):
        return _nearest(mode != "nearest")(g, like, input, sizes, factors)
    if mode == "area":
        return HANDLERS[f"adaptive_avg_pool{spatial}d"](g, like, input, sizes)
    return _smooth(mode == "bicubic", antialias)(g, like, input, sizes, bool(align_corners), factors)


@handler("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def _grid_sampler(
    g: Builder, like: Any, input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    modes = ("linear", "nearest", "cubic") if g.version >= 20 else ("bilinear", "nearest", "bicubic")
    if input.dim != 4 and g.version < 20:
        raise NotImplementedError("volumes are sampled since version 20 of ONNX's operators")
    padding = ("zeros", "border", "reflection")[padding_mode]
    return g("GridSample", input, grid, like=like, mode=modes[interpolation_mode], padding_mode=padding, align_corners=int(align_corners))


@handler("affine_grid_generator", "nn.functional.affine_grid")
def _affine_grid(g: Builder, like: Any, theta: Value, size: Any, align_corners: bool | None = False) -> Value:
    if g.version < 20:
        raise NotImplementedError("grids are made since version 20 of ONNX's operators")
    return g("AffineGrid", theta, g.vector(*size), like=like, align_corners=int(bool(align_corners)))


@handler("im2col")
def _im2col(g: Builder, like: Any, input: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    """Rows of windows are gathered, then columns."""
    kernel, apart, around, steps = (each(value, 2) for value in (kernel_size, dilation, padding, stride))
    x = input if input.dim == 4 else g.unsqueeze(input, 0)
    amounts = [around[1], around[1], around[0], around[0]]
    if not all(isinstance(size, int) for size in x.shape[2:]):
        raise NotImplementedError("windows of images whose sizes are not known")
    sizes: list[Any] = [size + 2 * amount for size, amount in zip(x.shape[2:], around)]
    x = pad(g, Value((*x.shape[:2], *sizes), x.dtype), x, amounts)
    counts = [(size - spread * (width - 1) - 1) // step + 1 for size, width, spread, step in zip(sizes, kernel, apart, steps)]
    for axis, (width, spread, step, number) in zip((2, 4), zip(kernel, apart, steps, counts)):
        places = flambeau.arange(width)[:, None] * spread + flambeau.arange(number) * step
        x = g("Gather", x, g.constant(places), shape=(*x.shape[:axis], width, number, *x.shape[axis + 1 :]), dtype=x.dtype, axis=axis)
    turned = g.transpose(x, [0, 1, 2, 4, 3, 5])
    batched = Value((x.shape[0], *like.shape[-2:]), x.dtype)
    result = g("Reshape", turned, g.integers(0, like.shape[-2], like.shape[-1], name="shape"), like=batched)
    return result if input.dim == 4 else g("Squeeze", result, g.axes(0), shape=tuple(like.shape))


@handler("col2im")
def _col2im(g: Builder, like: Any, input: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    x = input if input.dim == 3 else g.unsqueeze(input, 0)
    batched = Value((x.shape[0], *like.shape[-3:]), x.dtype)
    image, block = g.vector(*output_size), g.integers(*each(kernel_size, 2), name="shape")
    result = g("Col2Im", x, image, block, like=batched, dilations=each(dilation, 2), pads=each(padding, 2) * 2, strides=each(stride, 2))
    return result if input.dim == 3 else g("Squeeze", result, g.axes(0), shape=tuple(like.shape))


# -- pooling ---------------------------------------------------------------------------------------------------------------


def _lp_pool(spatial: int) -> Any:
    def pool(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
        kernel = [kernel_size] * spatial if isinstance(kernel_size, int) else list(kernel_size)
        average = getattr(F, f"avg_pool{spatial}d")
        means = average(input.pow(norm_type), kernel_size, kernel_size if stride is None else stride, 0, ceil_mode)
        return (means.sign() * means.abs().relu() * math.prod(kernel)).pow(1 / norm_type)

    return pool


def _max_unpool(spatial: int) -> Any:
    def unpool(input: Tensor, indices: Tensor, *args: Any, output_size: Sequence[int] | None = None, **options: Any) -> Tensor:
        names = ("kernel_size", "stride", "padding", "output_size")
        given = {**dict(zip(names, args)), **options}
        if "kernel_size" in given and not (spatial == 1 or isinstance(given["kernel_size"], (int, tuple, list))):
            raise NotImplementedError("max_unpool is exported with a kernel")
        sizes = output_size or given.get("output_size")
        if sizes is None:
            kernel, stride, padding = (given.get(name) for name in names[:3])
            stride = kernel if stride in (None, (), []) else stride
            every = lambda value: [value] * spatial if isinstance(value, int) else list(value)
            sizes = [
                (size - 1) * step - 2 * pad + width
                for size, step, pad, width in zip(input.shape[-spatial:], every(stride), every(padding or 0), every(kernel))
            ]
        sizes = list(sizes)[-spatial:]
        lead = list(input.shape[:-spatial])
        plane = math.prod(sizes)
        flat = flambeau.zeros([*lead, plane], dtype=input.dtype)
        return flat.scatter(-1, indices.flatten(-spatial), input.flatten(-spatial)).reshape([*lead, *sizes])

    return unpool


for _spatial in (1, 2, 3):
    made_of(f"nn.functional.lp_pool{_spatial}d", f"lp_pool{_spatial}d")(_lp_pool(_spatial))
    made_of(f"nn.functional.max_unpool{_spatial}d", f"max_unpool{_spatial}d")(_max_unpool(_spatial))

"""Maximum pooling by a factor that need not be whole."""

from __future__ import annotations

import functools
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import ntuple


def _starts(samples: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """The windows' first positions along one axis, (N, C, out): steps of α = (size - kernel) / (out - 1), shifted at random."""
    last = flambeau.full_like(samples, size - kernel, dtype=flambeau.int64).unsqueeze(-1)
    if out == 1:
        return last
    alpha = (size - kernel) / (out - 1)
    steps = flambeau.arange(out - 1, dtype=samples.dtype, device=samples.device)
    shift = samples.unsqueeze(-1)
    starts = ((steps + shift) * alpha).to(flambeau.int64) - (shift * alpha).to(flambeau.int64)
    return flambeau.cat((starts, last), -1)


def _fractional_max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    kernel = ntuple(kernel_size, n, "kernel_size")
    sizes = tuple(input.shape[-n:])
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        output_size = tuple(int(size * ratio) for size, ratio in zip(sizes, ratios))
    out = ntuple(output_size, n, "output_size")
    for size, o, k in zip(sizes, out, kernel):
        if o + k - 1 > size:
            raise RuntimeError(f"{name}(): pool size {k} too large relative to input size {size} for {o} outputs: {o} + {k} - 1 > {size}")
    batched = input.dim() == n + 2
    values = input if batched else input.unsqueeze(0)
    if samples is None:
        samples = flambeau.rand(values.size(0), values.size(1), n, dtype=input.dtype, device=input.device)
    samples = samples[: values.size(0)]
    # Positions of every element of every window, counted over the flattened axes: (N, C, out..., kernel...).
    position: Any = 0
    for d in range(n):
        # In two dimensions the first sample is the width's, in three the depth's.
        starts = _starts(samples[..., 1 - d if n == 2 else d], sizes[d], out[d], kernel[d])
        along = starts.unsqueeze(-1) + flambeau.arange(kernel[d], device=input.device)
        shape = [*values.shape[:2], *(out[d] if i == d else 1 for i in range(n)), *(kernel[d] if i == d else 1 for i in range(n))]
        position = position * sizes[d] + along.view(shape)
    position, flat = position.flatten(2 + n).flatten(2, 1 + n), values.flatten(2)
    which = flat.detach().gather(2, position.flatten(2)).view(position.shape).argmax(-1, keepdim=True)
    indices = position.gather(3, which).squeeze(-1)
    maxima, indices = flat.gather(2, indices).unflatten(2, out), indices.unflatten(2, out)
    if not batched:
        maxima, indices = maxima.squeeze(0), indices.squeeze(0)
    return (maxima, indices) if return_indices else maxima


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Computes the maxima of randomly placed windows, so many that the output has the size wanted (Graham 2014, arXiv:1412.6071).

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of the window, an int or a pair.
        output_size: the size of the output, an int or a pair.
        output_ratio: or its ratio to the input's size, a number or a pair.
        return_indices: whether the positions of the maxima are returned too, counted over H·W.
    """
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Computes the maxima of randomly placed windows of a volume; see :func:`fractional_max_pool2d`."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


fractional_max_pool2d_with_indices = functools.partial(fractional_max_pool2d, return_indices=True)
fractional_max_pool3d_with_indices = functools.partial(fractional_max_pool3d, return_indices=True)

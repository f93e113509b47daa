"""Padding: with a constant, or with what the tensor holds."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy

import flambeau
from flambeau._tensor.tensor import Tensor


@functools.lru_cache(maxsize=256)
def _positions(mode: str, size: int, before: int, after: int) -> Tensor:
    """From which position of an axis of ``size`` every position of the padded axis is taken."""
    position = numpy.arange(-before, size + after)
    if mode == "circular":
        # What negative amounts take away does not come back.
        first, end = max(0, -before), size - max(0, -after)
        position = first + (position - first) % (end - first)
    elif mode == "replicate":
        position = position.clip(0, size - 1)
    else:
        position = numpy.abs(position)
        position = size - 1 - numpy.abs(size - 1 - position)
    return flambeau.tensor(position.tolist(), dtype=flambeau.int64)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds elements before and behind the last dimensions; negative amounts take elements away.

    Args:
        input: any shape; (N, C, ...) or (C, ...) unless the mode is ``"constant"``.
        pad: amounts (before, behind) for the last dimension, then for the one before it, and so on.
        mode: ``"constant"``, ``"reflect"`` (without the border), ``"replicate"`` (the border) or ``"circular"``.
        value: the constant; 0 if left out.

    Raises:
        RuntimeError, ValueError: the amounts do not fit the input or the mode.
        NotImplementedError: the mode does not fit the number of dimensions.

    Example:
        >>> flambeau.nn.functional.pad(flambeau.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
        tensor([[2., 1., 2., 3., 2., 1.]])
    """
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {len(pad)} amounts: {tuple(pad)}")
    if len(pad) > 2 * input.dim():
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length {len(pad)} and "
            f"input of dimension {input.dim()}"
        )
    if mode == "constant":
        return flambeau.constant_pad_nd(input, tuple(pad), 0.0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f"Padding mode {mode!r} doesn't take in value argument")
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}: use 'constant', 'reflect', 'replicate' or 'circular'")
    n = len(pad) // 2
    if n not in (1, 2, 3) or input.dim() not in (n + 1, n + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: "
            f"{len(pad)} amounts need an input of {n + 1} or {n + 2} dimensions, got {input.dim()}"
        )
    for i in range(n):
        dim, before, after = input.dim() - 1 - i, pad[2 * i], pad[2 * i + 1]
        if before == 0 and after == 0:
            continue
        size = input.size(dim)
        _check_amounts(mode, input, dim, before, after)
        input = input.index_select(dim, _positions(mode, size, before, after).to(input.device))
    return input


def _check_amounts(mode: str, input: Tensor, dim: int, before: int, after: int) -> None:
    size = input.size(dim)
    where = f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
    if mode == "reflect" and (before >= size or after >= size):
        raise RuntimeError(f"Padding size should be less than the corresponding input dimension, but got: {where}")
    if mode == "circular" and (before > size or after > size):
        raise RuntimeError(f"Padding value causes wrapping around more than once: {where}")
    if size + before + after < 1:
        raise RuntimeError(f"The padded size must be positive: {size} + {before} + {after} = {size + before + after}, {where}")

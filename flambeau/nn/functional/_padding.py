"""Padding: with a constant, or with what the tensor holds."""

from __future__ import annotations

from collections.abc import Sequence

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.autocast import STATE, cast
from flambeau._ops.padding import MODES
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau.nn.functional._common import all_ints, integer


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds elements before and behind the last dimensions; negative amounts take elements away.

    Args:
        input: any shape; (N, C, ...) or (C, ...) unless the mode is ``"constant"``.
        pad: amounts (before, behind) for the last dimension, then for the one before it, and so on.
        mode: ``"constant"``, ``"reflect"`` (without the border), ``"replicate"`` (the border) or ``"circular"``.
        value: the constant; 0 if left out.

    Raises:
        RuntimeError: the amounts do not fit the input, or the mode takes no ``value``.
        TypeError: an amount is no int, or the value is complex.
        NotImplementedError: the mode does not fit the number of dimensions.

    Example:
        >>> flambeau.nn.functional.pad(flambeau.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
        tensor([[2., 1., 2., 3., 2., 1.]])
    """
    dims = input.dim()
    if pad.__class__ is not tuple or not all_ints(pad):
        pad = tuple(integer(amount, "pad") for amount in pad)
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {len(pad)} amounts: {tuple(pad)}")
    if len(pad) > 2 * dims:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length {len(pad)} and "
            f"input of dimension {dims}"
        )
    if mode == "constant":
        if isinstance(value, (complex, str)):
            raise TypeError(f"pad(): argument 'value' must be float, not {value!r}; constant_pad_nd() takes complex numbers")
        return flambeau.constant_pad_nd(input, pad, 0.0 if value is None else float(value))
    if value is not None and value != 0:
        raise RuntimeError(f"Padding mode {mode!r} doesn't take in value argument")
    if mode not in MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}: use 'constant', 'reflect', 'replicate' or 'circular'")
    n = len(pad) // 2
    if n not in (1, 2, 3) or dims not in (n + 1, n + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: "
            f"{len(pad)} amounts need an input of {n + 1} or {n + 2} dimensions, got {dims}"
        )
    if STATE.dtype is not None and (mode == "replicate" or (mode == "reflect" and n < 3)):
        input = cast(input, dt.float32)
    if mode != "circular" and 0 in input.shape[-n - 1 :]:
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but "
            f"got: {list(input.shape)}"
        )
    sides = tuple((pad[2 * i], pad[2 * i + 1]) for i in reversed(range(n)))
    return ops.pad_border(input, mode, ((0, 0),) * (dims - n) + sides)

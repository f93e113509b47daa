"""The arithmetic of a convolution's shapes: sizes, padding, what must hold, and what is said when it does not.

With ``before`` and ``after`` for the padding on the two sides of a dimension,

- a convolution gives ``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1`` positions, and
- a transposed one gives ``(size - 1) * stride - before - after + dilation * (kernel - 1) + output_padding + 1``.

A plan is all that an operator needs to know, from layouts alone. Plans are remembered, so that a layer that sees the same layouts again looks
one up.
"""

from __future__ import annotations

from functools import lru_cache
from operator import index
from typing import Any

from flambeau._types import dtype as dt
from flambeau._types.layout import Layout

Ints = tuple[int, ...]
Sides = tuple[tuple[int, int], ...]
"""What padding adds before and after each spatial dimension."""


def output_sizes(sizes: Ints, kernel: Ints, stride: Ints, sides: Sides, dilation: Ints) -> Ints:
    """``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1`` for each dimension."""
    return tuple(
        (size + before + after - spread * (places - 1) - 1) // step + 1
        for size, places, step, (before, after), spread in zip(sizes, kernel, stride, sides, dilation, strict=True)
    )


def transposed_sizes(sizes: Ints, kernel: Ints, stride: Ints, sides: Sides, output_padding: Ints, dilation: Ints) -> Ints:
    """``(size - 1) * stride - before - after + dilation * (kernel - 1) + output_padding + 1`` for each dimension."""
    return tuple(
        (size - 1) * step - before - after + spread * (places - 1) + extra + 1
        for size, places, step, (before, after), extra, spread in zip(sizes, kernel, stride, sides, output_padding, dilation, strict=True)
    )


def same_sides(sizes: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Sides:
    """What ``padding="same"`` adds before and after each dimension, so that the output has ``ceil(size / stride)`` positions.

    In all ``max((ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)``, the odd one at the end. With stride 1 it is
    PyTorch's rule, ``dilation * (kernel - 1)``.

    Source: the ``SAME`` rule in the notes on padding of https://www.tensorflow.org/api_docs/python/tf/nn.
    """
    totals = (
        max((-(-size // step) - 1) * step + spread * (places - 1) + 1 - size, 0)
        for size, places, step, spread in zip(sizes, kernel, stride, dilation, strict=True)
    )
    return tuple((total // 2, total - total // 2) for total in totals)


def padding_sides(sizes: Ints, kernel: Ints, stride: Ints, padding: Ints | str, dilation: Ints) -> Sides:
    """``padding`` as what it adds before and after each dimension of an input of ``sizes``."""
    if padding == "same":
        return same_sides(sizes, kernel, stride, dilation)
    return ((0, 0),) * len(sizes) if padding == "valid" else tuple((pad, pad) for pad in padding)


# -- plans -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def plan(input: Layout, weight: Layout, bias: Layout | None, stride: Ints, padding: Ints | str, dilation: Ints, groups: int) -> tuple:
    """The statics of a convolution: ``(stride, before, dilation, groups, sizes)``.

    Raises:
        RuntimeError: the shapes or dtypes do not fit.
        NotImplementedError: there is no arithmetic for the dtype.
    """
    rank = weight.ndim - 2
    name = f"conv{rank}d"
    stride, padding, dilation = _ints(stride), _ints(padding), _ints(dilation)
    _check(name, input, weight, bias, stride, padding, dilation, groups, transposed=False)
    kernel, given = weight.shape[2:], input.shape[2:]
    sides = padding_sides(given, kernel, stride, padding, dilation)
    sizes = output_sizes(given, kernel, stride, sides, dilation)
    for axis, size in enumerate(sizes):
        if size <= 0:
            raise RuntimeError(
                _too_small(name, _letters(rank)[axis], given[axis], sides[axis], kernel[axis], stride[axis], dilation[axis], size)
            )
    return stride, tuple(before for before, _ in sides), dilation, groups, sizes


@lru_cache(maxsize=1024)
def plan_transposed(
    input: Layout,
    weight: Layout,
    bias: Layout | None,
    stride: Ints,
    padding: Ints | str,
    output_padding: Ints,
    dilation: Ints,
    groups: int,
    folded: bool,
) -> tuple[tuple, Sides]:
    """The statics of a transposed convolution, and the sides of its padding.

    If the padding is to be ``folded`` (padding with something else than zeros), the statics are of the padded sizes; else it is cut off.

    With ``padding="same"`` the result has ``size * stride + output_padding`` positions, ``-stride < output_padding <= 0``: these are the sizes of
    which ``padding="same"`` of a convolution makes ``size``.

    Raises:
        RuntimeError: the shapes or dtypes do not fit, or nothing would be left.
        NotImplementedError: there is no arithmetic for the dtype.
    """
    rank = weight.ndim - 2
    name = f"conv_transpose{rank}d"
    stride, padding, output_padding, dilation = _ints(stride), _ints(padding), _ints(output_padding), _ints(dilation)
    _check(name, input, weight, bias, stride, padding, dilation, groups, transposed=True)
    if len(output_padding) != rank:
        raise RuntimeError(f"{name}: output_padding must have {rank} elements, one for each spatial dimension, but got {output_padding}")
    kernel, given = weight.shape[2:], input.shape[2:]
    if padding == "same":
        if not all(-step < extra <= 0 for extra, step in zip(output_padding, stride, strict=True)):
            raise RuntimeError(
                f"{name}: with padding='same' an output has the size * stride + output_padding positions of which a convolution makes size, so "
                f"that output_padding must be above -stride and at most 0, but got output_padding {output_padding} and stride {stride}"
            )
        sizes = tuple(size * step + extra for size, step, extra in zip(given, stride, output_padding, strict=True))
        sides = same_sides(sizes, kernel, stride, dilation)
    else:
        if any(extra < 0 for extra in output_padding):
            raise RuntimeError(f"{name}: negative output_padding is not supported: got {output_padding}; padding cuts off, on both sides")
        if any(extra >= max(step, gap) for extra, step, gap in zip(output_padding, stride, dilation, strict=True)):
            raise RuntimeError(
                f"{name}: output padding must be smaller than either stride or dilation: no convolution leaves so much open, but got output_padding "
                f"{output_padding}, stride {stride} and dilation {dilation}"
            )
        sides = padding_sides(given, kernel, stride, padding, dilation)
        sizes = transposed_sizes(given, kernel, stride, sides, output_padding, dilation)
    for axis, size in enumerate(sizes):
        if size <= 0:
            numbers = (sides[axis], kernel[axis], stride[axis], dilation[axis], output_padding[axis])
            raise RuntimeError(_too_small_transposed(name, _letters(rank)[axis], given[axis], *numbers, size))
    if folded:
        padded = tuple(size + before + after for size, (before, after) in zip(sizes, sides, strict=True))
        return (stride, (0,) * rank, dilation, groups, padded), sides
    return (stride, tuple(before for before, _ in sides), dilation, groups, sizes), sides


def _ints(values: Ints | str) -> Any:
    """Sizes as Python's own ints: an equal NumPy integer finds the same plan, and must not be in it."""
    return values if isinstance(values, str) else tuple(map(index, values))


# -- what must hold --------------------------------------------------------------------------------------------------


def _letters(rank: int) -> str:
    return {1: "L", 2: "HW", 3: "DHW"}.get(rank) or "?" * rank


def _check(
    name: str,
    input: Layout,
    weight: Layout,
    bias: Layout | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    groups: int,
    *,
    transposed: bool,
) -> None:
    """Check everything that the operands of a convolution must satisfy, but for the size of the output."""
    rank = weight.ndim - 2
    if rank < 1 or input.ndim != weight.ndim:
        axes = ", ".join(_letters(rank)) if rank > 0 else "*"
        raise RuntimeError(
            f"{name}: expected an input of {max(weight.ndim, 3)} dimensions (N, C, {axes}) for a weight of shape {weight.shape}, but got an "
            f"input of shape {input.shape}"
        )
    if padding.__class__ is str and padding not in ("same", "valid"):
        raise RuntimeError(f"{name}: Invalid padding string: {padding!r}, should be one of 'same' or 'valid'")
    for what, values, least, rule in (
        ("stride", stride, 1, "non-positive stride is not supported"),
        ("dilation", dilation, 1, "dilation should be greater than zero"),
        ("padding", padding, 0, "negative padding is not supported"),
    ):
        if values.__class__ is str:
            continue
        if len(values) != rank:
            raise RuntimeError(f"{name}: {what} must have {rank} elements, one for each spatial dimension, but got {values}")
        if any(value < least for value in values):
            raise RuntimeError(f"{name}: {what} must be at least {least}, but got {values} ({rule})")
        if any(value >= 1 << 63 for value in values):
            raise ValueError(f"{name}: {what} must be below 2**63, but got {values} (Overflow when unpacking long long)")
        if what == "padding" and any(value >= 1 << 62 for value in values):
            raise RuntimeError(f"{name}: padding must be below 2**62, as it is added on two sides, but got {values}")
    if groups <= 0:
        raise RuntimeError(f"{name}: groups must be positive, but got {groups} (non-positive groups is not supported)")
    _check_dtypes(name, input, weight, bias)
    _check_channels(name, input, weight, bias, groups, transposed)
    for axis, (size, places) in enumerate(zip(input.shape[2:], weight.shape[2:], strict=True)):
        letter = _letters(rank)[axis]
        if places == 0:
            raise RuntimeError(
                f"{name}: kernel size should be greater than zero, but the weight of shape {weight.shape} has none along {letter}"
            )
        if size == 0:
            raise RuntimeError(
                f"{name}: only the batch and the channels may be empty, but the input of shape {input.shape} has {letter} = 0"
            )


def _check_dtypes(name: str, input: Layout, weight: Layout, bias: Layout | None) -> None:
    for what, operand in (("weight", weight), ("bias", bias)):
        if operand is not None and operand.dtype is not input.dtype:
            raise RuntimeError(f"{name}: Input type ({input.dtype!r}) and {what} type ({operand.dtype!r}) should be the same")
    if input.dtype is dt.bool:
        raise NotImplementedError(f"{name} is not implemented for torch.bool: convert the operands, to torch.uint8 or torch.float32 say")


def _check_channels(name: str, input: Layout, weight: Layout, bias: Layout | None, groups: int, transposed: bool) -> None:
    shape = weight.shape
    if shape[0] % groups:
        raise RuntimeError(
            f"{name}: the first dimension of the weight of shape {shape} must be divisible by groups: {shape[0]} % {groups} = {shape[0] % groups}"
        )
    if shape[0] == 0 or (transposed and shape[1] == 0):
        raise RuntimeError(f"{name}: expected a weight with output and input channels, but got one of shape {shape}")
    channels, takes = (shape[0], shape[0]) if transposed else (shape[1] * groups, shape[1])
    got = input.shape[1]
    if got != channels:
        product = f"{takes} * groups (={groups}) = {channels}" if groups > 1 and not transposed else f"{channels}"
        fitting = (got, *shape[1:]) if transposed else (shape[0], got // groups, *shape[2:])
        fits = f"an input of shape {(input.shape[0], channels, *input.shape[2:])} fits"
        if got and got % groups == 0:
            fits += f", and so would a weight of shape {fitting} (in_channels={got})"
        if input.shape[-1] == channels != input.shape[-2]:
            fits += f". The last dimension has {channels}: channels come second here, so input.movedim(-1, 1) may be what is meant"
        raise RuntimeError(
            f"{name}: the input of shape {input.shape} has {got} channels, but the weight of shape {shape} takes {product}; {fits}"
        )
    outputs = shape[1] * groups if transposed else shape[0]
    if bias is not None and bias.shape != (outputs,):
        raise RuntimeError(
            f"{name}: the bias of shape {bias.shape} must have shape ({outputs},), a number for each output channel of the weight of shape {shape}"
        )


def _too_small(name: str, letter: str, size: int, sides: tuple[int, int], places: int, step: int, spread: int, output: int) -> str:
    """What is said of an output of no positions: the formula with its numbers, and what would fit."""
    before, after = sides
    pads = f"2*{before}" if before == after else f"{before + after}"
    reach = spread * (places - 1) + 1
    return (
        f"{name}: the output would be empty: {letter}_out = floor(({letter} + 2*padding - dilation*(kernel - 1) - 1) / stride) + 1 = "
        f"floor(({size} + {pads} - {spread}*({places} - 1) - 1) / {step}) + 1 = {output}. A kernel of {places} at dilation {spread} reaches "
        f"over {reach} positions, and there are {size + before + after}: {letter} >= {reach - before - after} fits, or padding >= "
        f"{-(-(reach - size) // 2)} (Kernel size can't be greater than actual input size)"
    )


def _too_small_transposed(
    name: str, letter: str, size: int, sides: tuple[int, int], places: int, step: int, spread: int, extra: int, output: int
) -> str:
    before, after = sides
    pads = f"2*{before}" if before == after else f"{before + after}"
    rest = spread * (places - 1) + extra
    return (
        f"{name}: the output would be empty: {letter}_out = ({letter} - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1 = "
        f"({size} - 1)*{step} - {pads} + {spread}*({places} - 1) + {extra} + 1 = {output}. {letter} >= "
        f"{-(-(before + after - rest) // step) + 1} fits, or padding <= {((size - 1) * step + rest) // 2} (Output size is too small)"
    )

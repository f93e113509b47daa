"""Fake quantization that observes: the range follows the values that pass by, and the values are rounded to it."""

from __future__ import annotations

import flambeau
from flambeau._ops.quantization import CHOOSE, FAKE_QUANTIZE, along
from flambeau._tensor.tensor import Tensor

__all__ = ["fused_moving_avg_obs_fake_quant"]


def fused_moving_avg_obs_fake_quant(
    input: Tensor,
    observer_on: Tensor,
    fake_quant_on: Tensor,
    running_min: Tensor,
    running_max: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    averaging_const: float,
    quant_min: int,
    quant_max: int,
    ch_axis: int,
    per_row_fake_quant: bool = False,
    symmetric_quant: bool = False,
) -> Tensor:
    """Move a range towards that of the input, and round the input to the numbers that the range has.

    ``running_min``, ``running_max``, ``scale`` and ``zero_point`` are written in place; nothing is looked at, so that what surrounds it stays
    one program.

    Args:
        observer_on, fake_quant_on: one element each, 0 or 1: whether the range moves, and whether the input is rounded
        running_min, running_max: no dimensions, or (channels); infinite at first, and then replaced as a whole
        scale, zero_point: (1) or (channels)
        averaging_const: how far the range moves
        quant_min, quant_max: the range of the integers
        ch_axis: the dimension of the channels
        per_row_fake_quant: whether each index of that dimension has a range of its own
        symmetric_quant: whether the range is as long below zero as above
    """
    axis = ch_axis % input.dim() if per_row_fake_quant else None
    observing, rounding = (each.reshape(()) >= 1 for each in (observer_on, fake_quant_on))
    with flambeau.no_grad():
        moved = _move(input.detach(), observing, (running_min, running_max), averaging_const, axis)
        for place, value in zip((scale, zero_point), CHOOSE(*moved, statics=(quant_min, quant_max, symmetric_quant))):
            if place.numel() != value.numel():
                place.resize_(value.shape).fill_(1)
            place.copy_(flambeau.where(observing & rounding, value.reshape(place.shape).to(place.dtype), place))
        shape = () if axis is None else along(axis, input.dim())
        factors = scale.reshape(shape).clone(), zero_point.reshape(shape).clone()
    rounded = FAKE_QUANTIZE(input, *factors, statics=(quant_min, quant_max))
    return flambeau.where(rounding, rounded, input)


def _move(input: Tensor, observing: Tensor, running: tuple[Tensor, Tensor], share: float, axis: int | None) -> list[Tensor]:
    """Move the range where the observer is on; the range as it is then."""
    found = flambeau.aminmax(input) if axis is None else flambeau.aminmax(input.movedim(axis, 0).flatten(1), dim=1)
    moved = []
    for before, new, nothing in zip(running, found, (float("inf"), float("-inf"))):
        if before.shape != new.shape:  # a module does not know at first how many channels there will be
            before.resize_(new.shape).fill_(nothing)
        after = flambeau.where(flambeau.isinf(before), new, before + share * (new - before))
        before.copy_(flambeau.where(observing, after, before))
        moved.append(before.clone())
    return moved

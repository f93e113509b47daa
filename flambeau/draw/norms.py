"""Normalisations: which elements share a mean and a variance."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

import flambeau
from flambeau.draw.reach import reach
from flambeau.draw.scene import GROUPS, MARGIN, Grid, Label, Picture, Shape, lines, text_width
from flambeau.nn import Module

LARGEST = 400
"""As many elements as a picture may have."""

_GAP = 36.0
_CELL = 26.0


def shared_statistics(layer: Module, shape: tuple[int, ...]) -> np.ndarray:
    """For each element of an input of this shape, the number of the set that it shares its statistics with."""
    probe = copy.deepcopy(layer)
    for parameter in probe.parameters():
        parameter.detach().fill_(1)
    probe.eps = 1.0  # with a small one, two elements are normalised to ±1 whatever they are, and no gradient is left
    generator = np.random.default_rng(0)
    reaches = reach(probe.double(), flambeau.from_numpy(generator.standard_normal(shape)))
    # An element reaches itself even where the statistics are constants.
    if (reaches.sum(1) == 1).all():
        return np.full(shape, -1)
    _, numbers = np.unique(reaches.argmax(1), return_inverse=True)
    return numbers.reshape(shape)


def draw_norm(layer: Module, shape: tuple[int, ...]) -> Picture:
    """A sheet for each image: a row for each channel, a column for each position; a step for each set that shares its statistics."""
    if len(shape) < 2:
        raise ValueError(f"the input of a normalisation is (N, C, *), but got {shape}")
    if math.prod(shape) > LARGEST:
        raise ValueError(f"an input {shape} of {math.prod(shape)} elements is too large for a picture: at most {LARGEST} can be read")
    numbers = shared_statistics(layer, shape)
    batch, channels = shape[:2]
    positions = math.prod(shape[2:])
    numbers = numbers.reshape(batch, channels, positions)
    count = int(numbers.max()) + 1
    title = repr(layer)
    top = 96.0
    left = MARGIN + text_width(f"channel {channels - 1}", 13) + 10
    sheets = [Grid(left + image * (positions * _CELL + _GAP), top, channels, positions, _CELL) for image in range(batch)]
    base: list[Shape] = [Label(MARGIN, 36, title, 18, bold=True)]
    base += [Label(left - 10, sheets[0].middle(channel, 0)[1] + 5, f"channel {channel}", 13, "faint", "end") for channel in range(channels)]
    for image, sheet in enumerate(sheets):
        base.append(Label(sheet.x + sheet.width / 2, top - 14, f"image {image}", 15, anchor="middle"))
        for channel, position in np.ndindex(channels, positions):
            number = numbers[image, channel, position]
            if number < 0:
                base.append(sheet.box(channel, position, "empty"))
            else:
                base += [sheet.box(channel, position, f"group {number % GROUPS}"), sheet.text(channel, position, number)]
    texts = _texts(layer, numbers, shape)
    below = top + channels * _CELL + 36
    base += lines(MARGIN, below + 28, texts)
    steps = []
    for number in range(count):
        members = np.argwhere(numbers == number)
        shapes: list[Shape] = []
        for image, channel, position in members:
            shapes += [sheets[image].box(channel, position, "now"), sheets[image].text(channel, position, number, "on now")]
        shapes.append(Label(MARGIN, below, f"set {number}: {_where(members)} share a mean and a variance", 15, bold=True))
        steps.append(shapes)
    still: list[Shape] = [Label(MARGIN, below, f"{count} sets, each with a mean and a variance of its own" if count else "", 15, bold=True)]
    return Picture(title, base, steps, still, seconds=1.2)


def _span(values: Any, one: str) -> str:
    found = np.unique(values)
    if len(found) == 1:
        return f"{one} {found[0]}"
    if found[-1] - found[0] + 1 == len(found):
        return f"{one}s {found[0]} to {found[-1]}"
    return f"{one}s {', '.join(map(str, found))}"


def _where(members: np.ndarray) -> str:
    return f"{len(members)} elements, {_span(members[:, 1], 'channel')} of {_span(members[:, 0], 'image')},"


def _texts(layer: Module, numbers: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    count = int(numbers.max()) + 1
    names = "NCDHW"[:2] + "DHW"[5 - len(shape) :] if 2 < len(shape) < 6 else "NC"
    texts = [f"input ({', '.join(names)}) = {shape}; a column is a position"]
    if count:
        each = numbers.size // count
        texts.append(f"{numbers.size} elements / {count} sets = {each} elements a set")
    else:
        texts.append("mean and variance are constants (of the running statistics): no element depends on another")
    if getattr(layer, "weight", None) is not None:
        texts.append(f"y = (x − mean) / √(variance + eps) · weight + bias, with a weight and a bias of shape {tuple(layer.weight.shape)}")
    else:
        texts.append("y = (x − mean) / √(variance + eps)")
    return texts

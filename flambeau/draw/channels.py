"""Channels of a convolution: which channels of the input each channel of the output comes from, as its groups have it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import flambeau
from flambeau.draw.reach import reach
from flambeau.draw.scene import CELL, GROUPS, MARGIN, Arrow, Grid, Label, Picture, Shape, lines
from flambeau.nn import Module

LARGEST = 24
"""As many channels as a side may have."""


def channel_reach(layer: Module) -> np.ndarray:
    """``reads[o, i]``: whether channel ``o`` of the output reads channel ``i`` of the input."""
    probe: Any = copy.deepcopy(layer)
    for parameter in probe.parameters():
        parameter.detach().fill_(1)
    sizes = [2 * spread * places for spread, places in zip(probe.dilation, probe.kernel_size, strict=True)]
    axes = tuple(range(2, 2 + len(sizes)))
    reads = reach(lambda x: probe(x).sum(axes), flambeau.ones(1, probe.in_channels, *sizes, dtype=probe.weight.dtype))
    return reads.reshape(probe.out_channels, probe.in_channels, -1).any(-1)


def draw_channels(layer: Module) -> Picture:
    """Input channels on the left, output channels on the right, an arrow for each kernel; a step for each output channel."""
    inputs, outputs = layer.in_channels, layer.out_channels
    if not inputs:
        raise ValueError(f"{type(layer).__name__} does not know its channels before it has seen an input")
    if max(inputs, outputs) > LARGEST:
        raise ValueError(f"{inputs} and {outputs} channels are too many for a picture: at most {LARGEST} a side can be read")
    reads = channel_reach(layer)
    firsts = reads.argmax(1)  # which tells groups apart
    _, groups = np.unique(firsts, return_inverse=True)
    roles = [f"group {group % GROUPS}" for group in groups]
    top, height = 92.0, max(inputs, outputs) * CELL
    left = Grid(MARGIN + 70, top + (height - inputs * CELL) / 2, inputs, 1)
    right = Grid(MARGIN + 300, top + (height - outputs * CELL) / 2, outputs, 1)
    below = top + height + 36

    title = f"{type(layer).__name__}({inputs}, {outputs}, kernel_size={layer.kernel_size}, groups={layer.groups})"
    base: list[Shape] = [Label(MARGIN, 36, title, 18, bold=True)]
    for grid, name in ((left, "input channels"), (right, "output channels")):
        base.append(Label(grid.x + CELL / 2, top - 16, name, 15, anchor="middle"))
    for channel in range(inputs):
        base += [left.box(channel, 0, roles[reads[:, channel].argmax()]), left.text(channel, 0, channel)]
    for channel in range(outputs):
        base += [right.box(channel, 0, roles[channel]), right.text(channel, 0, channel)]
    texts = [
        f"weight {tuple(layer.weight.shape)}" + (" (input channels first)" if layer.transposed else ""),
        f"an output channel reads {int(reads[0].sum())} of {inputs} input channels; an arrow is a kernel of its own",
    ]
    base += lines(MARGIN, below + 28, texts)

    steps: list[list[Shape]] = []
    still: list[Shape] = [Label(MARGIN, below, _groups(int(groups.max()) + 1, inputs), 15, bold=True)]
    for output in range(outputs):
        read = np.flatnonzero(reads[output]).tolist()
        arrows: list[Shape] = [_arrow(left, channel, right, output) for channel in read]
        still += arrows
        shapes = [*arrows, right.box(output, 0, "now", heavy=True), right.text(output, 0, output, "on now")]
        for channel in read:
            shapes += [left.box(channel, 0, "read"), left.text(channel, 0, channel, "on read")]
        text = f"output channel {output} comes from input channel{'s' * (len(read) > 1)} {', '.join(map(str, read))}"
        steps.append([*shapes, Label(MARGIN, below, text, 15, bold=True)])
    return Picture(title, base, steps, still, seconds=1.0)


def _groups(count: int, inputs: int) -> str:
    if count == 1:
        return "1 group: every output channel reads every input channel"
    return f"{count} groups" + (": depthwise" if count == inputs else "")


def _arrow(left: Grid, channel: int, right: Grid, output: int) -> Arrow:
    (x1, y1), (x2, y2) = left.middle(channel, 0), right.middle(output, 0)
    return Arrow(x1 + CELL / 2, y1, x2 - CELL / 2, y2)

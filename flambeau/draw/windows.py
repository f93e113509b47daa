"""Convolutions and transposed convolutions: which inputs a kernel reads for each output, or where it writes each input to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flambeau.draw.reach import window_reach
from flambeau.draw.scene import CELL, MARGIN, Grid, Label, Picture, Shape, lines, text_width
from flambeau.nn import Module

LARGEST = 32
"""As many cells as a side of a grid may have."""

MOST_STEPS = 256
"""As many steps as an animation may have."""

_GAP = 56.0


@dataclass(frozen=True)
class Window:
    """The geometry of a (transposed) convolution in two dimensions; one dimension has a first of size 1.

    ``reads`` and the sizes are what the layer does. On the side that has padding, position ``p`` of the other side meets place ``k`` of the
    kernel at ``p * stride + k * dilation - before``: inside, that is what ``reads`` says as well, and outside it says where padding lies.
    """

    transposed: bool
    input: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    reads: np.ndarray

    @property
    def padded(self) -> tuple[int, int]:
        """The sizes of the side that has padding."""
        return self.output if self.transposed else self.input

    def meets(self, position: int, place: int) -> tuple[int, int]:
        """Where a position of the side without padding meets a place of the kernel, in rows and columns of the side with padding."""
        positions = np.unravel_index(position, self.input if self.transposed else self.output)
        places = np.unravel_index(place, self.kernel)
        zipped = zip(positions, self.stride, places, self.dilation, self.before, strict=True)
        row, column = (int(p) * step + int(k) * spread - pad for p, step, k, spread, pad in zipped)
        return row, column


def _twice(values: Sequence[int], first: int) -> tuple[int, int]:
    first, second = values if len(values) == 2 else (first, *values)
    return int(first), int(second)


def measure(layer: Module, sizes: tuple[int, ...]) -> Window:
    """The geometry of a layer for an input of these spatial sizes, from what it does."""
    for what, values in (("input", sizes), ("kernel_size", layer.kernel_size)):
        if max(values) > LARGEST:
            raise ValueError(f"{what} {values} is too large for a picture: at most {LARGEST} cells a side can be read")
    reads, output = window_reach(layer, sizes)
    if max(output) > LARGEST:
        raise ValueError(f"the output {output} is too large for a picture: at most {LARGEST} cells a side can be read")
    input, output, kernel = _twice(sizes, 1), _twice(output, 1), _twice(layer.kernel_size, 1)
    stride, dilation = _twice(layer.stride, 1), _twice(layer.dilation, 1)
    declared = (0, 0) if isinstance(layer.padding, str) else _twice(layer.padding, 0)
    o, k, i = np.nonzero(reads)
    plain, padded = (input, output) if layer.transposed else (output, input)
    position, met = (i, o) if layer.transposed else (o, i)
    positions, places, cells = np.unravel_index(position, plain), np.unravel_index(k, kernel), np.unravel_index(met, padded)
    before, after = [], []
    for axis in range(2):
        # Where padding repeats inputs, a few pairs meet elsewhere; most of them do not.
        offsets, counts = np.unique(positions[axis] * stride[axis] + places[axis] * dilation[axis] - cells[axis], return_counts=True)
        start = int(offsets[counts.argmax()]) if len(offsets) else declared[axis]
        end = (plain[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - start - padded[axis]
        before.append(start)
        after.append(max(end, 0 if layer.transposed else declared[axis], 0))
    return Window(layer.transposed, input, output, kernel, stride, dilation, (before[0], before[1]), (after[0], after[1]), reads)


def draw_window(layer: Module, sizes: tuple[int, ...], by: str) -> Picture:
    """A picture with a step for each output (``by="output"``) or each input (``by="input"``)."""
    if by not in ("output", "input"):
        raise ValueError(f"by must be 'output', 'input' or 'channel', but got {by!r}")
    window = measure(layer, sizes)
    count = window.reads.shape[0 if by == "output" else 2]
    if count > MOST_STEPS:
        raise ValueError(f"an animation of {count} steps, one for each {by}, is too long to be watched: at most {MOST_STEPS} are drawn")
    title = f"{type(layer).__name__}({_settings(layer)})"
    canvas = tuple(size + first + last for size, first, last in zip(window.padded, window.before, window.after, strict=True))
    shown = [canvas if not window.transposed else window.input, window.kernel, canvas if window.transposed else window.output]
    height = max(rows for rows, _ in shown) * CELL
    top = 92.0

    # The three grids beside each other, each with its name above and its size below.
    names = [
        f"{name} {_sizes(each[-len(sizes) :])}"
        for name, each in (("input", window.input), ("kernel", window.kernel), ("output", window.output))
    ]
    texts = [*_formula(layer, window, sizes), *_legend(layer, window, by)]
    grids, x = [], MARGIN
    base: list[Shape] = [Label(MARGIN, 36, title, 18, bold=True)]
    for number, ((rows, columns), name) in enumerate(zip(shown, names, strict=True)):
        wide = max(columns * CELL, text_width(name, 15))
        grids.append(Grid(x + (wide - columns * CELL) / 2, top + (height - rows * CELL) / 2, rows, columns))
        base.append(Label(x + wide / 2, top - 16, name, 15, anchor="middle"))
        x += wide + _GAP
        if number < 2:
            base.append(
                Label(x - _GAP / 2, top + height / 2 + 8, "=" if number else "⋆ᵀ" if window.transposed else "⋆", 24, "faint", "middle")
            )
    below = top + height + 36
    base += lines(MARGIN, below + 28, texts)

    left, kernel, right = grids
    padded = right if window.transposed else left
    inside = Grid(*padded.corner(*window.before), *window.padded)
    plain = left if window.transposed else right
    reached = window.reads.any((1, 2))
    base += [inside.box(*cell, "padding") for cell in _around(window)]
    input, output = (plain, inside) if window.transposed else (inside, plain)
    base += [input.box(*cell, "input") for cell in np.ndindex(window.input)]
    base += [output.box(*cell, "output" if reached[at] else "empty") for at, cell in enumerate(np.ndindex(window.output))]
    base += [kernel.box(*cell, "kernel") for cell in np.ndindex(window.kernel)]
    base += [kernel.text(*cell, at) for at, cell in enumerate(np.ndindex(window.kernel))]

    step = _step_of_output if by == "output" else _step_of_input
    steps = [
        [*step(window, at, input, kernel, output), Label(MARGIN, below, _words(window, at, by, len(sizes)), 15, bold=True)]
        for at in range(count)
    ]
    return Picture(title, base, steps, seconds=min(0.8, max(0.2, 24 / len(steps))))


def _around(window: Window) -> list[tuple[int, int]]:
    """The cells of the padding."""
    ranges = [range(-first, size + last) for first, size, last in zip(window.before, window.padded, window.after, strict=True)]
    rows, columns = window.padded
    return [(row, column) for row in ranges[0] for column in ranges[1] if not (0 <= row < rows and 0 <= column < columns)]


def _step_of_output(window: Window, at: int, input: Grid, kernel: Grid, output: Grid) -> list[Shape]:
    shapes: list[Shape] = [output.box(*_cell(at, window.output), "now", heavy=True)]
    for place in range(window.reads.shape[1]):
        read = [_cell(i, window.input) for i in np.flatnonzero(window.reads[at, place])]
        if not window.transposed:  # outside the input, the kernel reads padding; where that repeats inputs, this is shown there as well
            met = window.meets(at, place)
            if not _holds(window.input, met):
                shapes += [input.box(*met, "read padding"), input.text(*met, place)]
                shapes += [input.box(*cell, "read", heavy=True) for cell in read]
                continue
        for cell in read:
            shapes += [input.box(*cell, "read"), input.text(*cell, place, "on read")]
        if read and window.transposed:
            shapes += [kernel.box(*_cell(place, window.kernel), "read"), kernel.text(*_cell(place, window.kernel), place, "on read")]
    return shapes


def _step_of_input(window: Window, at: int, input: Grid, kernel: Grid, output: Grid) -> list[Shape]:
    shapes: list[Shape] = [input.box(*_cell(at, window.input), "read", heavy=True)]
    for place in range(window.reads.shape[1]):
        written = [_cell(o, window.output) for o in np.flatnonzero(window.reads[:, place, at])]
        for cell in written:
            shapes += [output.box(*cell, "now"), output.text(*cell, place, "on now")]
        if window.transposed and not _holds(window.output, met := window.meets(at, place)):
            shapes += [output.box(*met, "read padding"), output.text(*met, place)]
        if written and not window.transposed:
            shapes += [kernel.box(*_cell(place, window.kernel), "read"), kernel.text(*_cell(place, window.kernel), place, "on read")]
    return shapes


def _cell(at: int, sizes: tuple[int, int]) -> tuple[int, int]:
    return divmod(int(at), sizes[1])


def _holds(sizes: tuple[int, int], cell: tuple[int, int]) -> bool:
    return all(0 <= position < size for position, size in zip(cell, sizes, strict=True))


def _words(window: Window, at: int, by: str, rank: int) -> str:
    """What happens in a step."""
    places = math.prod(window.kernel)
    if by == "output":
        cell = _name(_cell(at, window.output), rank)
        read = int(window.reads[at].sum())
        text = f"output {cell} adds up {read} products" if read != 1 else f"output {cell} is one product"
        if not read:
            text = f"output {cell} is reached by no input: it is the bias alone"
        elif not window.transposed and (outside := sum(not _holds(window.input, window.meets(at, place)) for place in range(places))):
            text = f"output {cell} adds up {places} products, {outside} of them with padding"
    else:
        cell = _name(_cell(at, window.input), rank)
        count = int(window.reads[:, :, at].sum())
        text = f"input {cell} reaches {count} output{'s' * (count != 1)}"
        if window.transposed and count < places:
            text += f"; {places - count} of its {places} products fall into the padding and are cut off"
    return text


def _name(cell: tuple[int, int], rank: int) -> str:
    return str(cell) if rank == 2 else str(cell[1])


def _settings(layer: Module) -> str:
    """The arguments that shape the picture, as one would write them."""
    names = [("kernel_size", None), ("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1), ("padding_mode", "zeros")]
    parts = []
    for name, plain in names:
        value = getattr(layer, name)
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        if value != plain:
            parts.append(f"{name}={value!r}")
    return ", ".join(parts)


def _sizes(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))


def _legend(layer: Module, window: Window, by: str) -> list[str]:
    texts = []
    if any(window.before) or any(window.after):
        if window.transposed:
            texts.append(
                "dashed: padding, cut off the output"
                if layer.padding_mode == "zeros"
                else f"dashed: padding, folded back ({layer.padding_mode})"
            )
        else:
            texts.append("dashed: padding, " + ("zeros" if layer.padding_mode == "zeros" else f"copies of inputs ({layer.padding_mode})"))
    if window.reads.shape[1] > 1:
        texts.append("a number in a cell: the place in the kernel that it is multiplied by")
    if not window.reads.any((1, 2)).all():
        texts.append("white outputs: no input reaches them")
    return texts


def _formula(layer: Module, window: Window, sizes: tuple[int, ...]) -> list[str]:
    """The shape formula with the numbers put in, for each dimension (one line for all if they are alike)."""
    letters = "HW" if len(sizes) == 2 else "L"
    found: dict[str, list[str]] = {}
    for axis, letter in enumerate(letters):
        at = axis - len(sizes)
        size, out = sizes[axis], window.output[at]
        places, step, spread = window.kernel[at], window.stride[at], window.dilation[at]
        span = f"{spread}·({places} − 1)"
        pad = 0 if isinstance(layer.padding, str) else layer.padding[axis]
        extra = layer.output_padding[axis]
        if layer.padding == "same":
            text = f"{size}·{step} + {extra} = {out}" if window.transposed else f"⌈{size} / {step}⌉ = {out}"
        elif window.transposed:
            text = f"({size} − 1)·{step} − 2·{pad} + {span} + {extra} + 1 = {out}"
        else:
            text = f"⌊({size} + 2·{pad} − {span} − 1) / {step}⌋ + 1 = {out}"
        found.setdefault(text, []).append(f"{letter}_out")
    return [" = ".join([*names, text]) for text, names in found.items()]

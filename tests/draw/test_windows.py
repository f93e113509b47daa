"""Pictures of convolutions: what they measure of the layer, and what they say."""

from __future__ import annotations

import re

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.scene import Label, Rectangle
from flambeau.draw.windows import draw_window, measure


def words(picture) -> str:
    return "\n".join(shape.text for shape in (*picture.base, *picture.still) if isinstance(shape, Label))


@pytest.mark.parametrize(
    ("layer", "sizes", "before", "after"),
    [
        (nn.Conv2d(1, 1, 3, stride=2, padding=1, dilation=2), (7, 7), (1, 1), (1, 1)),
        (nn.Conv2d(1, 1, (3, 1), padding=(2, 0)), (4, 5), (2, 0), (2, 0)),
        (nn.Conv1d(1, 1, 4, padding="same", dilation=1), (6,), (0, 1), (0, 2)),
        (nn.Conv1d(1, 1, 3, stride=2, padding="same"), (8,), (0, 0), (0, 1)),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (5, 5), (1, 1), (1, 1)),
        (nn.ConvTranspose1d(1, 1, 3, stride=2, padding="same"), (4,), (0, 0), (0, 1)),
        (nn.ConvTranspose2d(1, 1, 3, padding=1, padding_mode="circular"), (5, 5), (1, 1), (1, 1)),
        (nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), (3, 3), (1, 1), (1, 1)),
        (nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1), (3, 3), (1, 1), (0, 0)),
        (nn.ConvTranspose1d(1, 1, 2, stride=4, output_padding=2), (3,), (0, 0), (0, 0)),
    ],
)
def test_padding_is_measured(layer, sizes, before, after):
    window = measure(layer, sizes)
    assert (window.before, window.after) == (before, after)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 1, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(2, 3)),
        nn.ConvTranspose2d(1, 1, (2, 3), stride=(3, 2), padding=(0, 1), output_padding=(2, 0)),
    ],
)
def test_geometry_agrees_with_what_the_layer_reads(layer):
    """Every pair that the gradients show is where `meets` says, and inside there are no others."""
    window = measure(layer, (5, 6))
    columns = window.padded[1]
    for position in range(np.prod(window.input if window.transposed else window.output)):
        for place in range(window.reads.shape[1]):
            row, column = window.meets(position, place)
            read = window.reads[:, place, position] if window.transposed else window.reads[position, place]
            inside = 0 <= row < window.padded[0] and 0 <= column < columns
            assert np.flatnonzero(read).tolist() == ([row * columns + column] if inside else [])


def test_formula_and_words():
    picture = draw(nn.Conv2d(1, 1, 3, stride=2, padding=1, dilation=2), 7)
    text = words(picture)
    assert picture.title == "Conv2d(kernel_size=3, stride=2, padding=1, dilation=2)"
    assert "H_out = W_out = ⌊(7 + 2·1 − 2·(3 − 1) − 1) / 2⌋ + 1 = 3" in text
    assert "input 7 × 7" in text
    assert "output 3 × 3" in text
    first = [shape.text for shape in picture.steps[0] if isinstance(shape, Label)]
    assert first[-1] == "output (0, 0) adds up 9 products, 5 of them with padding"
    assert len(picture.steps) == 9


@pytest.mark.parametrize(
    ("layer", "sizes", "shape"),
    [
        (nn.Conv2d(1, 1, (3, 2), stride=(2, 1), padding=(1, 0)), (7, 5), (1, 1, 7, 5)),
        (nn.Conv1d(1, 1, 3, dilation=2), (9,), (1, 1, 9)),
        (nn.ConvTranspose2d(1, 1, 3, stride=(2, 3), padding=1, output_padding=1, dilation=2), (4, 3), (1, 1, 4, 3)),
        (nn.Conv2d(1, 1, 4, padding="same"), (5, 6), (1, 1, 5, 6)),
        (nn.Conv2d(1, 1, 3, stride=(2, 3), padding="same"), (7, 8), (1, 1, 7, 8)),
        (nn.ConvTranspose2d(1, 1, 3, stride=(2, 3), padding="same"), (4, 3), (1, 1, 4, 3)),
        (nn.ConvTranspose1d(1, 1, 3, stride=2, padding="valid"), (4,), (1, 1, 4)),
    ],
)
def test_the_numbers_of_the_formula_give_the_shape(layer, sizes, shape):
    """Evaluated, the formula that is printed is the size that the layer has."""
    formulas = re.findall(r"[HLW]_out = (?!.*_out)(.*) = (\d+)$", words(draw_window(layer, sizes, "output")), re.MULTILINE)
    out = tuple(layer(flambeau.zeros(shape)).shape[2:])
    assert sorted({int(result) for _, result in formulas}) == sorted(set(out))
    for text, result in formulas:
        python = text.replace("·", "*").replace("−", "-").replace("⌊", "int(").replace("⌋", ")").replace("⌈", "-(-").replace(" / ", "//")
        assert eval(python.replace("⌉", ")")) == int(result)


def test_each_step_marks_what_is_read():
    layer = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    picture = draw(layer, 5)
    reads = measure(layer, (5, 5)).reads
    for at, step in enumerate(picture.steps):
        marked = sum(isinstance(shape, Rectangle) and shape.role == "read" for shape in step)
        assert marked == reads[at].sum()


def test_by_input_what_is_cut_off():
    picture = draw(nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), 3, by="input")
    assert len(picture.steps) == 9
    texts = [shape.text for shape in picture.steps[0] if isinstance(shape, Label)]
    assert texts[-1] == "input (0, 0) reaches 4 outputs; 5 of its 9 products fall into the padding and are cut off"


def test_padding_that_is_folded_back_is_not_cut_off():
    picture = draw(nn.ConvTranspose1d(1, 1, 3, padding=1, padding_mode="circular"), 5, by="input")
    assert picture.steps[0][-1].text == "input 0 reaches 3 outputs"
    marked = [shape for shape in picture.steps[0] if isinstance(shape, Rectangle) and shape.role == "now"]
    assert len(marked) == 3


def test_outputs_that_no_input_reaches():
    picture = draw(nn.ConvTranspose1d(1, 1, 1, stride=2), 3)
    assert [shape.role for shape in picture.base if isinstance(shape, Rectangle)].count("empty") == 2
    assert "reached by no input" in picture.steps[1][-1].text


def test_impossible_arguments():
    with pytest.raises(ValueError, match="by must be 'output', 'input' or 'channel', but got 'kernel'"):
        draw(nn.Conv2d(1, 1, 3), 7, by="kernel")
    with pytest.raises(ValueError, match=r"input \(40, 40\) is too large for a picture: at most 32 cells"):
        draw(nn.Conv2d(1, 1, 3), 40)
    with pytest.raises(ValueError, match=r"the output \(62, 62\) is too large"):
        draw(nn.ConvTranspose2d(1, 1, 8, stride=6), 10)
    with pytest.raises(RuntimeError, match="the output would be empty"):
        draw(nn.Conv2d(1, 1, 5), 3)
    with pytest.raises(ValueError, match="an animation of 324 steps, one for each output, is too long"):
        draw(nn.Conv2d(1, 1, 3), 20)

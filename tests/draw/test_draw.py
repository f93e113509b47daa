"""`draw`: what it takes, and the command line."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.__main__ import main
from flambeau.nn import functional as F


@pytest.mark.parametrize("given", [5, (5, 5), (3, 5, 5), (2, 3, 5, 5), flambeau.zeros(2, 3, 5, 5)], ids=str)
def test_sizes_of_an_input(given):
    assert draw(nn.Conv2d(3, 3, 3), given).svg() == draw(nn.Conv2d(1, 1, 3), (5, 5)).svg()


@pytest.mark.parametrize(
    ("function", "arguments", "keywords", "layer", "input"),
    [
        (
            F.conv2d,
            (flambeau.zeros(1, 2, 5, 6), flambeau.zeros(4, 2, 3, 2), None, 2),
            {"padding": (1, 0)},
            nn.Conv2d(1, 1, (3, 2), 2, (1, 0)),
            (5, 6),
        ),
        (F.conv1d, (flambeau.zeros(1, 9), flambeau.zeros(1, 1, 3)), {"dilation": 2}, nn.Conv1d(1, 1, 3, dilation=2), 9),
        (
            F.conv_transpose2d,
            (flambeau.zeros(1, 4, 3, 3), flambeau.zeros(4, 1, 2, 2)),
            {"stride": 2, "groups": 2},
            nn.ConvTranspose2d(1, 1, 2, 2),
            3,
        ),
        (F.group_norm, (flambeau.zeros(2, 4, 3), 2), {}, nn.GroupNorm(2, 4, affine=False), (2, 4, 3)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_functions_are_drawn_as_their_layers(function, arguments, keywords, layer, input):
    assert draw(function, *arguments, **keywords).svg() == draw(layer, input).svg()


def test_what_does_not_fit_is_said_by_the_function():
    with pytest.raises(RuntimeError, match="has 3 channels"):
        draw(F.conv2d, flambeau.zeros(1, 3, 5, 5), flambeau.zeros(1, 2, 3, 3))


def test_what_has_no_picture():
    with pytest.raises(TypeError, match="there is no picture of Linear, but of Conv1d, Conv2d"):
        draw(nn.Linear(2, 2), 2)
    with pytest.raises(TypeError, match="takes one input, or its size, but got 2 arguments"):
        draw(nn.Conv2d(1, 1, 3), 5, 5)
    with pytest.raises(ValueError, match="positive integers, but got 0"):
        draw(nn.Conv2d(1, 1, 3), 0)
    with pytest.raises(ValueError, match=r"Conv2d has 2 spatial dimensions, and perhaps N and C before them, but got \(1, 1, 1, 5, 5\)"):
        draw(nn.Conv2d(1, 1, 3), (1, 1, 1, 5, 5))


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        ("conv2d --input 7 --kernel 3 --stride 2 --padding 1 --dilation 2", "Conv2d(kernel_size=3, stride=2, padding=1, dilation=2)"),
        ("conv1d --input 9 --kernel 4 --stride 2 --padding same", "Conv1d(kernel_size=4, stride=2, padding='same')"),
        (
            "conv_transpose2d --input 3x2 --kernel 2x3 --stride 2 --output-padding 1",
            "ConvTranspose2d(kernel_size=(2, 3), stride=2, output_padding=1)",
        ),
        ("conv_transpose1d --input 3 --by input", "ConvTranspose1d(kernel_size=3)"),
        ("conv2d --channels 4x8 --groups 2 --by channel", "Conv2d(4, 8, kernel_size=(3, 3), groups=2)"),
        ("group_norm --input 1x4x3 --groups 2", "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
        ("scatter", "target.scatter(0, index, src)"),
        ("scatter --dim 1 --index [[1],[3]] --src 1.5 --target 2x5 --reduce add", "target.scatter(1, index, src, reduce='add')"),
        ("scatter --index [2,0] --src [5,6] --target 3", "target.scatter(0, index, src)"),
    ],
)
def test_command(arguments, title, tmp_path, capsys):
    path = tmp_path / "picture.svg"
    main([*arguments.split(), "-o", str(path)])
    assert f"<title>{title}</title>" in path.read_text("utf-8")
    assert capsys.readouterr().out == f"{path}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("conv2d --input 3 --kernel 5", "the output would be empty"),
        ("conv2d --input 7 --stride 0", "stride must be at least 1"),
        ("conv2d --input x", "'x' is neither a number, as 7, nor sizes, as 7x5"),
        ("conv2d -o picture.bmp", "must end in .svg, .gif or .png"),
        ("conv2d -o missing/picture.svg", "No such file or directory"),
        ("conv_transpose2d --input 1 --kernel 1 --padding 1", "the output would be empty"),
        ("conv2d --channels 4x6 --groups 4 --by channel", "out_channels (=6) must be divisible by groups (=4)"),
        ("conv2d --channels 1x2x3", "channels are those of the input and of the output, as 4x8, but got (1, 2, 3)"),
        ("group_norm --groups 4", "num_channels (6) must be divisible by num_groups (4)"),
        ("group_norm --input 6", "is (N, C, *), as 2x6x2x2, but got 6"),
        ("scatter --index [[3]]", "index 3 is out of bounds for dimension 0 with size 3"),
        ("scatter --index [[3", "is no list of numbers"),
        ("scatter --index [0.5] --target 3", "int64"),
    ],
)
def test_impossible_arguments(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

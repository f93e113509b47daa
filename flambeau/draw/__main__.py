"""``python -m flambeau.draw conv2d --input 7 --kernel 3 --stride 2``: a picture of an operation, as SVG, GIF or PNG."""

from __future__ import annotations

import argparse
import json
from typing import Any

import flambeau
from flambeau import nn
from flambeau.draw import Picture, draw

_LAYERS = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
}


def _sizes(text: str) -> Any:
    """``7`` as a number, ``7x5`` (or ``7,5``) as a tuple."""
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    try:
        sizes = tuple(map(int, parts))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number, as 7, nor sizes, as 7x5") from None
    return sizes[0] if len(sizes) == 1 else sizes


def _padding(text: str) -> Any:
    return text if text in ("same", "valid") else _sizes(text)


def _numbers(text: str) -> flambeau.Tensor:
    try:
        return flambeau.tensor(json.loads(text))
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, as [[1, 2], [0, 1]]: {error}") from None


def _convolution(arguments: argparse.Namespace) -> Picture:
    settings = {
        "stride": arguments.stride,
        "padding": arguments.padding,
        "dilation": arguments.dilation,
        "padding_mode": arguments.padding_mode,
    }
    if hasattr(arguments, "output_padding"):
        settings["output_padding"] = arguments.output_padding
    channels = (arguments.channels,) * 2 if isinstance(arguments.channels, int) else arguments.channels
    if len(channels) != 2:
        raise ValueError(f"channels are those of the input and of the output, as 4x8, but got {channels}")
    layer = _LAYERS[arguments.operation](*channels, arguments.kernel, groups=arguments.groups, **settings)
    return draw(layer, arguments.input, by=arguments.by)


def _group_norm(arguments: argparse.Namespace) -> Picture:
    shape = arguments.input
    if isinstance(shape, int) or len(shape) < 2:
        raise ValueError(f"the input of group_norm is (N, C, *), as 2x6x2x2, but got {shape}")
    return draw(nn.GroupNorm(arguments.groups, shape[1]), shape)


def _scatter(arguments: argparse.Namespace) -> Picture:
    index = arguments.index
    shape = (arguments.target,) if isinstance(arguments.target, int) else arguments.target
    src = arguments.src
    if src is None:
        src = flambeau.arange(1, index.numel() + 1).reshape(index.shape)
    if src.dim() == 0:
        return draw(flambeau.scatter, flambeau.zeros(shape), arguments.dim, index, src.item(), reduce=arguments.reduce)
    return draw(flambeau.scatter, flambeau.zeros(shape, dtype=src.dtype), arguments.dim, index, src, reduce=arguments.reduce)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flambeau.draw", description="Draws which inputs each output of an operation comes from."
    )
    operations = parser.add_subparsers(dest="operation", required=True, metavar="OPERATION")
    for name in _LAYERS:
        one = operations.add_parser(name, help=f"a step for each position of the kernel of {_LAYERS[name].__name__}")
        one.set_defaults(picture=_convolution)
        one.add_argument("--input", type=_sizes, default=7, metavar="SIZE", help="spatial size of the input, as 7 or 7x5; default: 7")
        one.add_argument("--kernel", type=_sizes, default=3, metavar="SIZE", help="default: 3")
        one.add_argument("--stride", type=_sizes, default=1, metavar="STEP", help="default: 1")
        one.add_argument("--padding", type=_padding, default=0, help="a size, same or valid; default: 0")
        if "transpose" in name:
            one.add_argument("--output-padding", type=_sizes, default=0, metavar="SIZE", help="default: 0")
        one.add_argument("--dilation", type=_sizes, default=1, metavar="STEP", help="default: 1")
        one.add_argument("--padding-mode", default="zeros", metavar="MODE", help="zeros, reflect, replicate or circular; default: zeros")
        one.add_argument("--channels", type=_sizes, default=1, metavar="INxOUT", help="of input and output, as 4x8; default: 1")
        one.add_argument("--groups", type=int, default=1, metavar="NUMBER", help="default: 1")
        one.add_argument(
            "--by",
            choices=("output", "input", "channel"),
            default="output",
            help="a step for each output (default), input, or output channel",
        )
    norm = operations.add_parser("group_norm", help="which elements share a mean and a variance")
    norm.set_defaults(picture=_group_norm)
    norm.add_argument("--input", type=_sizes, default=(2, 6, 2, 2), metavar="SHAPE", help="(N, C, *); default: 2x6x2x2")
    norm.add_argument("--groups", type=int, default=3, metavar="NUMBER", help="default: 3")
    scatter = operations.add_parser("scatter", help="where each element of src goes")
    scatter.set_defaults(picture=_scatter)
    scatter.add_argument("--dim", type=int, default=0, help="default: 0")
    scatter.add_argument("--index", type=_numbers, default="[[1, 2, 1, 1, 2], [2, 0, 2, 1, 0]]", help="as [[1, 2], [0, 1]]")
    scatter.add_argument("--src", type=_numbers, help="likewise, or one number; default: 1, 2, 3, … in the shape of the index")
    scatter.add_argument("--target", type=_sizes, default=(3, 5), metavar="SHAPE", help="shape of the target; default: 3x5")
    scatter.add_argument("--reduce", choices=("add", "multiply"), help="default: the last element wins")
    for one in operations.choices.values():
        one.add_argument("-o", "--output", metavar="FILE", help="ends in .svg (default), .gif or .png")
        one.add_argument("--theme", choices=("light", "dark"), default="light", help="of GIF and PNG; an SVG has both")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Draw what the command line asks for, and say where it is."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    path = parsed.output or f"{parsed.operation}.svg"
    try:
        parsed.picture(parsed).save(path, theme=parsed.theme)
    except (ImportError, IndexError, OSError, RuntimeError, TypeError, ValueError) as error:
        parser.exit(2, f"python -m flambeau.draw {parsed.operation}: {error}\n")
    print(path)


if __name__ == "__main__":
    main()

"""Pictures in pixels, by Pillow: PNG and animated GIF."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from flambeau.draw.scene import Arrow, Label, Picture, Rectangle, Shape, Style
from flambeau.draw.vector import arrow_head

_SCALE = 2  # pixels a unit, so that text stays sharp

# What to write where the font has no such sign.
_PLAIN = {
    "⌊": "floor(",
    "⌋": ")",
    "⌈": "ceil(",
    "⌉": ")",
    "−": "-",
    "·": "*",
    "×": "x",
    "←": "<-",
    "→": "->",
    "⋆": "*",
    "ᵀ": "'",
    "Σ": "sum",
    "√": "sqrt",
}


def _pillow(name: str) -> ModuleType:
    try:
        return import_module(f"PIL.{name}")
    except ImportError as error:
        raise ImportError('GIF and PNG need Pillow, SVG does not: pip install "flambeau[vision]"') from error


@lru_cache
def _font(size: int, bold: bool) -> tuple[Any, bool]:
    """A font, and whether it has mathematical signs."""
    fonts = _pillow("ImageFont")
    for name in ("DejaVuSans-Bold.ttf", "Arial Bold.ttf") if bold else ("DejaVuSans.ttf", "Arial Unicode.ttf"):
        try:
            return fonts.truetype(name, size), "DejaVu" in name or "Unicode" in name
        except OSError:  # not installed
            continue
    return fonts.load_default(size), False


def _dashes(draw: Any, x1: float, y1: float, x2: float, y2: float, colour: str, width: int) -> None:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    on, period = 4 * _SCALE, 7 * _SCALE
    for number in range(int(length // period) + 1):
        begin, end = number * period, min(number * period + on, length)
        if begin < end:
            points = [(x1 + (x2 - x1) * at / length, y1 + (y2 - y1) * at / length) for at in (begin, end)]
            draw.line(points, fill=colour, width=width)


def _paint(draw: Any, shape: Shape, palette: dict[str, Style]) -> None:
    fill, stroke, dashed = palette[shape.role]
    if isinstance(shape, Rectangle):
        left, top = shape.x * _SCALE, shape.y * _SCALE
        right, bottom = left + shape.width * _SCALE, top + shape.height * _SCALE
        width = (3 if shape.heavy else 1) * _SCALE
        if fill or not dashed:
            draw.rounded_rectangle((left, top, right, bottom), 3 * _SCALE, fill or None, None if dashed else stroke, width)
        if dashed:
            for x1, y1, x2, y2 in (
                (left, top, right, top),
                (right, top, right, bottom),
                (right, bottom, left, bottom),
                (left, bottom, left, top),
            ):
                _dashes(draw, x1, y1, x2, y2, stroke, width)
    elif isinstance(shape, Label):
        font, mathematical = _font(round(shape.size * _SCALE), shape.bold)
        text = shape.text if mathematical else "".join(_PLAIN.get(sign, sign) for sign in shape.text)
        anchor = {"start": "l", "middle": "m", "end": "r"}[shape.anchor] + "s"
        draw.text((shape.x * _SCALE, shape.y * _SCALE), text, fill, font, anchor)
    else:
        _paint_arrow(draw, shape, stroke, dashed)


def _paint_arrow(draw: Any, arrow: Arrow, colour: str, dashed: bool) -> None:
    x1, y1, x2, y2 = (value * _SCALE for value in (arrow.x1, arrow.y1, arrow.x2, arrow.y2))
    if dashed:
        _dashes(draw, x1, y1, x2, y2, colour, 2 * _SCALE)
    else:
        draw.line((x1, y1, x2, y2), fill=colour, width=2 * _SCALE)
    draw.polygon([(x * _SCALE, y * _SCALE) for x, y in arrow_head(arrow)], fill=colour)


def save(picture: Picture, path: str | os.PathLike[str], palette: dict[str, Style], *, animated: bool) -> None:
    """Writes the steps as a GIF that goes on for ever, or else the still picture as a PNG."""
    width, height = picture.size
    sheet = _pillow("Image").new("RGB", (width * _SCALE, height * _SCALE), palette["sheet"].fill)
    draw = _pillow("ImageDraw").Draw(sheet)
    for shape in picture.base:
        _paint(draw, shape, palette)

    def frame(step: list[Shape]) -> Any:
        image = sheet.copy()
        draw = _pillow("ImageDraw").Draw(image)
        for shape in step:
            _paint(draw, shape, palette)
        return image

    if not animated:
        frame(picture.still).save(path, "PNG", optimize=True)
        return
    # One palette for all frames, so that only what changes is stored; they are made one by one, as large ones fill the memory.
    steps = picture.steps or [picture.still]
    colours = frame(steps[len(steps) // 2]).quantize(64)
    frames = (frame(step).quantize(palette=colours, dither=0) for step in steps)
    next(frames).save(path, "GIF", save_all=True, append_images=frames, duration=round(1000 * picture.seconds), loop=0, optimize=False)

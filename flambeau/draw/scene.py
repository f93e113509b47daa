"""What a picture is made of, apart from the format that it is written in: shapes on a sheet, and the steps of its animation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CELL = 30.0
"""The usual side of a grid's cell, in pixels."""

MARGIN = 28.0
"""Around everything."""


class Style(NamedTuple):
    """The colours of a role; an empty one is not painted."""

    fill: str
    stroke: str = ""
    dashed: bool = False


# Roles are told apart by lightness, by dashes and by numbers too, never by hue alone. Hues follow M. Okabe and K. Ito's palette for all
# kinds of colour vision.
LIGHT = {
    "sheet": Style("#ffffff"),
    "text": Style("#1f2328"),
    "faint": Style("#59636e"),
    "input": Style("#dcebf8", "#5b8ab5"),
    "padding": Style("", "#8c959f", True),
    "read": Style("#f0a30a", "#7a4f00"),
    "read padding": Style("#fbe3b0", "#7a4f00", True),
    "on read": Style("#1f2328"),
    "kernel": Style("#fdf1d8", "#a87a20"),
    "output": Style("#d9f2e6", "#4f9e7c"),
    "empty": Style("#ffffff", "#4f9e7c"),
    "now": Style("#00734d", "#00452e"),
    "on now": Style("#ffffff"),
    "arrow": Style("", "#b35900"),
    "lost": Style("", "#8c959f", True),
    "group 0": Style("#cfe6f7", "#3f84b5"),
    "group 1": Style("#fde3b5", "#a87a20"),
    "group 2": Style("#cdeee0", "#4f9e7c"),
    "group 3": Style("#f4d9e8", "#b56592"),
    "group 4": Style("#f7f2b8", "#9c9130"),
    "group 5": Style("#e3e0f5", "#7b71b8"),
}
DARK = {
    "sheet": Style("#0d1117"),
    "text": Style("#e6edf3"),
    "faint": Style("#9da7b3"),
    "input": Style("#14304a", "#4a7ca8"),
    "padding": Style("", "#6e7681", True),
    "read": Style("#f0a30a", "#ffd98a"),
    "read padding": Style("#4d3a10", "#f0a30a", True),
    "on read": Style("#1f2328"),
    "kernel": Style("#33290f", "#a57a28"),
    "output": Style("#10382a", "#3f8f6c"),
    "empty": Style("#0d1117", "#3f8f6c"),
    "now": Style("#56d3a0", "#c4f5df"),
    "on now": Style("#04261a"),
    "arrow": Style("", "#ffb454"),
    "lost": Style("", "#6e7681", True),
    "group 0": Style("#123650", "#4f94c4"),
    "group 1": Style("#46340c", "#c79a3c"),
    "group 2": Style("#10402e", "#4aa581"),
    "group 3": Style("#4a2239", "#c678a3"),
    "group 4": Style("#3d3a10", "#aca23c"),
    "group 5": Style("#2c2753", "#8d83cc"),
}
GROUPS = 6
"""How many roles ``group 0``, ``group 1``, … there are."""


@dataclass(frozen=True)
class Rectangle:
    """A rectangle by its upper left corner; ``heavy`` for a thick edge."""

    x: float
    y: float
    width: float
    height: float
    role: str
    heavy: bool = False


@dataclass(frozen=True)
class Label:
    """A line of text whose baseline, at ``anchor`` (start, middle or end), is at (x, y)."""

    x: float
    y: float
    text: str
    size: float = 15
    role: str = "text"
    anchor: str = "start"
    bold: bool = False


@dataclass(frozen=True)
class Arrow:
    """A straight arrow."""

    x1: float
    y1: float
    x2: float
    y2: float
    role: str = "arrow"


Shape = Rectangle | Label | Arrow


@dataclass
class Picture:
    """A drawing that can be saved as SVG, PNG or GIF; notebooks show it.

    Attributes:
        title: what it shows, in a line.
        base: what is seen all the time.
        steps: for each step of the animation, what is seen in it besides.
        still: what is seen besides where nothing moves; default: the middle step.
        seconds: how long a step lasts.
    """

    title: str
    base: list[Shape]
    steps: list[list[Shape]] = field(default_factory=list)
    still: list[Shape] = field(default_factory=list)
    seconds: float = 0.8

    def __post_init__(self) -> None:
        if self.steps and not self.still:
            self.still = self.steps[len(self.steps) // 2]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet in pixels: everything fits, with a margin around it."""
        ends = [_end(shape) for shape in (*self.base, *self.still, *(shape for step in self.steps for shape in step))]
        return round(max(x for x, _ in ends) + MARGIN), round(max(y for _, y in ends) + MARGIN)

    def svg(self) -> str:
        """The picture as the text of an SVG, animated and in the reader's light or dark colours."""
        from flambeau.draw.vector import svg

        return svg(self)

    _repr_svg_ = svg

    def save(self, path: str | os.PathLike[str], *, theme: str = "light") -> None:
        """Writes an SVG (animated), a GIF (animated) or a PNG (a still), by the ending of ``path``.

        Args:
            path: where to.
            theme: ``"light"`` or ``"dark"``, for GIF and PNG; an SVG has both.

        Raises:
            ValueError: the path ends otherwise, or there is no such theme.
            ImportError: GIF and PNG need Pillow.
        """
        if theme not in ("light", "dark"):
            raise ValueError(f"theme must be 'light' or 'dark', but got {theme!r}")
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending == ".svg":
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.svg())
        elif ending in (".gif", ".png"):
            from flambeau.draw.raster import save

            save(self, path, LIGHT if theme == "light" else DARK, animated=ending == ".gif")
        else:
            raise ValueError(f"the name of a picture must end in .svg, .gif or .png, but got {os.fspath(path)!r}")


@dataclass(frozen=True)
class Grid:
    """``rows`` × ``columns`` cells from (x, y) on. Rows and columns outside are allowed: that is where padding lies."""

    x: float
    y: float
    rows: int
    columns: int
    cell: float = CELL

    @property
    def width(self) -> float:
        return self.columns * self.cell

    @property
    def height(self) -> float:
        return self.rows * self.cell

    def corner(self, row: int, column: int) -> tuple[float, float]:
        return self.x + column * self.cell, self.y + row * self.cell

    def middle(self, row: int, column: int) -> tuple[float, float]:
        x, y = self.corner(row, column)
        return x + self.cell / 2, y + self.cell / 2

    def box(self, row: int, column: int, role: str, heavy: bool = False) -> Rectangle:
        x, y = self.corner(row, column)
        return Rectangle(x + 1, y + 1, self.cell - 2, self.cell - 2, role, heavy)

    def text(self, row: int, column: int, text: Any, role: str = "text", size: float = 0, bold: bool = False) -> Label:
        x, y = self.middle(row, column)
        text = str(text)
        size = size or min(0.47 * self.cell, 1.6 * self.cell / max(len(text), 1))
        return Label(x, y + 0.36 * size, text, size, role, "middle", bold)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a line of text is, in a wide font."""
    return (0.67 if bold else 0.6) * size * len(text)


def lines(x: float, y: float, texts: Sequence[str], size: float = 15, role: str = "faint") -> list[Shape]:
    """Lines of text, one below the other."""
    return [Label(x, y + 1.5 * size * number, text, size, role) for number, text in enumerate(texts)]


def _end(shape: Shape) -> tuple[float, float]:
    """The right and the lower end of a shape."""
    if isinstance(shape, Rectangle):
        return shape.x + shape.width, shape.y + shape.height
    if isinstance(shape, Arrow):
        return max(shape.x1, shape.x2), max(shape.y1, shape.y2)
    share = {"start": 1.0, "middle": 0.5, "end": 0.0}[shape.anchor]
    return shape.x + share * text_width(shape.text, shape.size, shape.bold), shape.y + 0.25 * shape.size

"""``scatter``: an arrow from each element of ``src`` to where its index sends it."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau
from flambeau.draw.scene import MARGIN, Arrow, Grid, Label, Picture, Shape, lines

LARGEST = 12
"""As many cells as a side of a grid may have."""

_GAP = 100.0
_CELL = 46.0
_SIGN = {None: "=", "add": "+=", "multiply": "*="}


def destinations(target_shape: tuple[int, ...], dim: int, index: flambeau.Tensor) -> np.ndarray:
    """For each element of ``index``, row by row, the element of the target that `flambeau.scatter_add` adds it to."""
    found = []
    for chosen in flambeau.eye(index.numel()):
        hit = flambeau.zeros(target_shape).scatter_add(dim, index, chosen.reshape(index.shape))
        found.append(int(hit.numpy().argmax()))
    return np.array(found, int)


def overwritten(target: flambeau.Tensor, dim: int, index: flambeau.Tensor, src: flambeau.Tensor, reduce: str | None) -> np.ndarray:
    """For each element of ``index``, row by row, whether nothing of it is left in the result: whether its gradient is zero."""
    if reduce is not None:
        return np.zeros(index.numel(), bool)
    source = flambeau.ones(src.shape, requires_grad=True)
    flambeau.zeros(target.shape).scatter(dim, index, source).sum().backward()
    kept = source.grad.numpy()[tuple(slice(size) for size in index.shape)]
    return kept.ravel() == 0


def draw_scatter(target: flambeau.Tensor, dim: int, index: flambeau.Tensor, src: Any, reduce: str | None = None) -> Picture:
    """A step for each element of ``index``, in the order in which they count: row by row."""
    result = target.scatter(dim, index, src) if reduce is None else target.scatter(dim, index, src, reduce=reduce)
    if not isinstance(src, flambeau.Tensor):
        src = flambeau.full(index.shape, src, dtype=target.dtype)
    for what, tensor in (("target", target), ("index", index), ("src", src)):
        if tensor.dim() not in (1, 2) or 0 in tensor.shape or max(tensor.shape) > LARGEST:
            raise ValueError(
                f"{what} has shape {tuple(tensor.shape)}, but a picture has room for one or two dimensions of 1 to {LARGEST} elements"
            )
    return _Drawing(target, dim % target.dim(), index, src, reduce, result).picture()


class _Drawing:
    """Where things are, and what is drawn there. All arrays have rows and columns; what has one dimension is one row."""

    def __init__(self, target: Any, dim: int, index: Any, src: Any, reduce: str | None, result: Any) -> None:
        self.dim, self.reduce = dim, reduce
        self.dims = target.dim()
        self.shapes = {"src": tuple(src.shape), "index": tuple(index.shape), "target": tuple(target.shape)}
        self.target, self.index, self.src, self.result = (np.atleast_2d(each.detach().numpy()) for each in (target, index, src, result))
        self.sent = [divmod(int(at), self.target.shape[1]) for at in destinations(self.shapes["target"], dim, index)]
        self.lost = overwritten(target, dim, index, src, reduce)
        # Arrows stay in their row where dim is 1, so that the grids stand side by side; else in their column.
        self.across = self.dims == 2 and dim == 1
        rows, columns = self.src.shape
        self.above = 92.0
        self.first = Grid(MARGIN, self.above, rows, columns, _CELL)
        x, y = (MARGIN + max(columns * _CELL, 170) + _GAP, self.above) if self.across else (MARGIN, self.above + rows * _CELL + _GAP)
        self.second = Grid(x, y, *self.target.shape, _CELL)
        self.bottom = max(self.first.y + self.first.height, self.second.y + self.second.height + (0 if self.across else 26))

    def picture(self) -> Picture:
        title = f"target.scatter({self.dim}, index, src{'' if self.reduce is None else f', reduce={self.reduce!r}'})"
        texts = self.texts()
        steps, now = [], self.target.copy()
        for at, cell in enumerate(np.ndindex(self.index.shape)):
            value, to = self.src[cell], self.sent[at]
            now[to] = value if self.reduce is None else now[to] + value if self.reduce == "add" else now[to] * value
            steps.append(self.step(cell, to, now))
        still = self.contents(self.result)
        still += [
            self.arrow(cell, self.sent[at], "lost" if self.lost[at] else "arrow") for at, cell in enumerate(np.ndindex(self.index.shape))
        ]
        words = f"{int(self.lost.sum())} of {self.index.size} elements are overwritten" if self.lost.any() else "the result"
        still.append(Label(MARGIN, self.bottom + 38, words, 15, bold=True))
        base = [Label(MARGIN, 36, title, 18, bold=True), *self.grids(), *lines(MARGIN, self.bottom + 68, texts)]
        return Picture(title, base, steps, still, seconds=1.0)

    def grids(self) -> list[Shape]:
        shapes: list[Shape] = [Label(self.first.x, self.above - 14, f"src {_sizes(self.shapes['src'])} (→ index)", 15)]
        y = self.above - 14 if self.across else self.second.y + self.second.height + 22
        shapes.append(Label(self.second.x, y, f"target {_sizes(self.shapes['target'])}", 15))
        for cell in np.ndindex(self.src.shape):
            shapes += [self.first.box(*cell, "input" if self.has_index(cell) else "padding"), *self.element(cell)]
        return [*shapes, *(self.second.box(*cell, "output") for cell in np.ndindex(self.target.shape))]

    def has_index(self, cell: tuple[int, ...]) -> bool:
        return all(position < size for position, size in zip(cell, self.index.shape, strict=True))

    def element(self, cell: tuple[int, ...], role: str = "text") -> list[Shape]:
        """The value of an element of ``src``, with its index below."""
        x, y = self.first.middle(*cell)
        if not self.has_index(cell):
            return [Label(x, y + 6, _short(self.src[cell]), 16, "faint", "middle")]
        return [Label(x, y, _short(self.src[cell]), 17, role, "middle"), Label(x, y + 17, f"→ {self.index[cell]}", 13, role, "middle")]

    def contents(self, values: np.ndarray) -> list[Shape]:
        return [self.second.text(*cell, _short(values[cell]), size=17) for cell in np.ndindex(values.shape)]

    def step(self, cell: tuple[int, ...], to: tuple[int, int], now: np.ndarray) -> list[Shape]:
        others = [self.second.text(*other, _short(now[other]), size=17) for other in np.ndindex(now.shape) if other != to]
        names = [f"[{position}]" for position in cell[2 - self.dims :]]
        places = [f"[{position}]" for position in to[2 - self.dims :]]
        text = f"target{''.join(places)} {_SIGN[self.reduce]} src{''.join(names)}, which is {_short(self.src[cell])}"
        return [
            *others, self.first.box(*cell, "read"), *self.element(cell, "on read"), self.second.box(*to, "now"),
            self.second.text(*to, _short(now[to]), "on now", 17), self.arrow(cell, to, "arrow"), Label(MARGIN, self.bottom + 38, text, 15, bold=True),
        ]  # fmt: skip

    def arrow(self, cell: tuple[int, ...], to: tuple[int, int], role: str) -> Arrow:
        (x1, y1), (x2, y2) = self.first.middle(*cell), self.second.middle(*to)
        # Beside the numbers that an arrow passes, and each row (column) in a lane of its own, so that they can be told apart.
        if self.across:
            lane = -20 + 6 * cell[1] / self.src.shape[1]
            return Arrow(x1 + 8, y1 + lane, x2 - _CELL / 2 + 2, y2 + lane, role)
        lane = (-18 if cell[0] % 2 == 0 else 18) * (1 - 0.4 * cell[0] / self.src.shape[0])
        return Arrow(x1 + lane, y1 + 8, x2 + lane, y2 - _CELL / 2 + 2, role)

    def texts(self) -> list[str]:
        letters = ["[i]", "[j]"][: self.dims]
        moved = list(letters)
        moved[self.dim] = f"[index{''.join(letters)}]"
        texts = [
            f"target{''.join(moved)} {_SIGN[self.reduce]} src{''.join(letters)}, for each element of index {_sizes(self.shapes['index'])}"
        ]
        if self.lost.any():
            texts.append("dashed arrows: overwritten by an element that comes later, row by row")
        if self.shapes["index"] != self.shapes["src"]:
            texts.append("dashed elements of src have no index, and are not used")
        return texts


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, np.floating) else str(value)


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))

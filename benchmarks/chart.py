"""The ratios of a benchmark run as a picture: one bar for each workload, on a logarithmic scale around 1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

WIDTH, LEFT, LINE, MARGIN = 1100, 430, 18, 12
FASTER, SLOWER, INK, PAPER, RULE = "#2a7f62", "#c0562f", "#222222", "#ffffff", "#cccccc"


PLAIN = str.maketrans({"²": "^2", "³": "^3", "×": "x", "→": "-"})
"""Characters that Pillow's own font lacks."""


def draw(rows: list[dict[str, Any]], peer: str, path: Path) -> None:
    """Write a PNG with a bar for each row that has a ratio."""
    from PIL import Image, ImageDraw, ImageFont

    shown = [row for row in rows if "ratio" in row]
    reach = max([2.0, *(max(row["ratio"], 1 / row["ratio"]) for row in shown)])
    image = Image.new("RGB", (WIDTH, (len(shown) + 3) * LINE + 2 * MARGIN), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)

    def across(ratio: float) -> float:
        return LEFT + (WIDTH - MARGIN - 60 - LEFT) * (math.log(ratio) / math.log(reach) + 1) / 2

    pen.text((MARGIN, MARGIN), f"times as fast as {peer} (logarithmic)", INK, font)
    top, bottom = MARGIN + 2 * LINE, MARGIN + (len(shown) + 2) * LINE
    for mark in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16):
        if 1 / reach <= mark <= reach:
            pen.line((across(mark), top, across(mark), bottom), INK if mark == 1 else RULE)
            pen.text((across(mark), top - LINE), f"{mark:g}", INK, font, anchor="ma")
    for number, row in enumerate(shown):
        y = top + number * LINE
        pen.text((MARGIN, y), f"{row['group']}: {row['name']}".translate(PLAIN), INK, font)
        low, high = sorted((across(1), across(row["ratio"])))
        pen.rectangle((low, y + 3, high, y + LINE - 4), FASTER if row["ratio"] >= 1 else SLOWER)
        pen.text((high + 5, y), f"{row['ratio']:.2f}", INK, font)
    image.save(path)

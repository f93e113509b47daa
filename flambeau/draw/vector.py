"""Pictures as SVG: one file for light and dark pages, animated by CSS alone, and still for readers who asked for no motion."""

from __future__ import annotations

from html import escape
from math import atan2, cos, sin

from flambeau.draw.scene import DARK, LIGHT, Arrow, Label, Picture, Rectangle, Shape, Style

HEAD = 9.0
"""The length of an arrow's head."""


def arrow_head(arrow: Arrow) -> list[tuple[float, float]]:
    """The corners of an arrow's head, its tip first."""
    angle = atan2(arrow.y2 - arrow.y1, arrow.x2 - arrow.x1)
    corners = [(arrow.x2, arrow.y2)]
    for side in (-0.42, 0.42):
        corners.append((arrow.x2 - HEAD * cos(angle + side), arrow.y2 - HEAD * sin(angle + side)))
    return corners


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _name(role: str) -> str:
    return role.replace(" ", "-")


def _shape(shape: Shape) -> str:
    if isinstance(shape, Rectangle):
        x, y, width, height = map(_number, (shape.x, shape.y, shape.width, shape.height))
        heavy = ' stroke-width="3"' if shape.heavy else ""
        return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" class="{_name(shape.role)}"{heavy}/>'
    if isinstance(shape, Label):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        bold = ' font-weight="600"' if shape.bold else ""
        place = f'x="{_number(shape.x)}" y="{_number(shape.y)}" font-size="{_number(shape.size)}"'
        return f'<text {place}{anchor}{bold} class="{_name(shape.role)}">{escape(shape.text, quote=False)}</text>'
    tip = " ".join(f"{_number(x)},{_number(y)}" for x, y in arrow_head(shape))
    x1, y1, x2, y2 = map(_number, (shape.x1, shape.y1, shape.x2, shape.y2))
    name = _name(shape.role)
    return f'<path d="M{x1} {y1}L{x2} {y2}" class="{name}"/><polygon points="{tip}" class="{name}-head"/>'


def _rules(palette: dict[str, Style], roles: set[str]) -> str:
    rules = []
    for role in sorted(roles & palette.keys()):
        fill, stroke, dashed = palette[role]
        rule = f"fill:{fill or 'none'}"
        if stroke:
            rule += f";stroke:{stroke}"
        if dashed:
            rule += ";stroke-dasharray:4 3"
        rules.append(f".{_name(role)}{{{rule}}}")
        if not fill:
            rules.append(f".{_name(role)}-head{{fill:{stroke}}}")
    return "".join(rules)


def svg(picture: Picture) -> str:
    """The text of an SVG file."""
    shapes = [*picture.base, *picture.still, *(shape for step in picture.steps for shape in step)]
    roles = {"sheet", *(shape.role for shape in shapes)}
    width, height = picture.size
    style = "text{font-family:system-ui,'Noto Sans','DejaVu Sans',sans-serif}path{stroke-width:2}"
    style += _rules(LIGHT, roles) + f"@media(prefers-color-scheme:dark){{{_rules(DARK, roles)}}}"
    if picture.steps:
        # A step is hidden but for its share of the round. What cannot animate, or must not, shows the still picture instead.
        share = 100 / len(picture.steps)
        seconds = len(picture.steps) * picture.seconds
        style += (
            f".step{{visibility:hidden}}@keyframes step{{0%{{visibility:visible}}{share:.4f}%,100%{{visibility:hidden}}}}"
            f"@media(prefers-reduced-motion:no-preference){{.still{{visibility:hidden}}.step{{animation:step {seconds:.2f}s step-end infinite}}}}"
        )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(picture.title, quote=False)}</title>",
        f"<style>{style}</style>",
        f'<rect width="{width}" height="{height}" rx="8" class="sheet"/>',
        *map(_shape, picture.base),
    ]
    if picture.still:
        parts.append(f'<g class="still">{"".join(map(_shape, picture.still))}</g>')
    for number, step in enumerate(picture.steps):
        # A negative delay: the step is hidden until its turn from the first round on.
        delay = (number - len(picture.steps)) * picture.seconds
        parts.append(f'<g class="step" style="animation-delay:{delay:.2f}s">{"".join(map(_shape, step))}</g>')
    parts.append("</svg>\n")
    return "\n".join(parts)

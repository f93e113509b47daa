"""Pictures as SVG: well-formed, animated, in light and dark colours that can be told apart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.scene import DARK, LIGHT, Arrow, Label, Picture, Rectangle

NAMESPACE = "{http://www.w3.org/2000/svg}"


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` by WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_one_group_a_step():
    picture = draw(nn.Conv2d(1, 1, 3, stride=2), 7)
    tree = ElementTree.fromstring(picture.svg())
    groups = [group for group in tree.iter(f"{NAMESPACE}g") if group.get("class") == "step"]
    assert len(groups) == 9
    assert tree.find(f"{NAMESPACE}title").text == picture.title
    style = tree.find(f"{NAMESPACE}style").text
    assert "@media(prefers-color-scheme:dark)" in style
    assert "@media(prefers-reduced-motion:no-preference)" in style
    assert "11.1111%" in style  # each step's share of the round


def test_everything_lies_on_the_sheet():
    for picture in (draw(nn.Conv2d(1, 1, 3, stride=2, padding=1), 7), draw(nn.GroupNorm(3, 6), (3, 6, 2, 2))):
        tree = ElementTree.fromstring(picture.svg())
        width, height = (float(tree.get(name)) for name in ("width", "height"))
        for box in tree.iter(f"{NAMESPACE}rect"):
            x, y = float(box.get("x", 0)), float(box.get("y", 0))
            assert 0 <= x <= x + float(box.get("width")) <= width
            assert 0 <= y <= y + float(box.get("height")) <= height


def test_text_is_escaped():
    tree = ElementTree.fromstring(Picture("a < b & c", [Label(0, 20, "1 < 2 & 3")]).svg())
    assert tree.find(f"{NAMESPACE}text").text == "1 < 2 & 3"


def test_an_arrow_ends_in_its_head():
    text = Picture("", [Arrow(0, 0, 30, 0), Rectangle(0, 0, 5, 5, "padding")]).svg()
    assert 'd="M0 0L30 0"' in text
    assert 'points="30,0 21.8,3.7 21.8,-3.7"' in text


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_read(palette):
    """4.5 : 1 for text on what it is written on, 3 : 1 for lines on the sheet (WCAG 2.2, 1.4.3 and 1.4.11)."""
    sheet = palette["sheet"].fill
    pairs = [("text", role) for role in palette if palette[role].fill and role not in ("now", "read", "text", "faint", "on read", "on now")]
    pairs += [("faint", "sheet"), ("on read", "read"), ("on now", "now")]
    for text, ground in pairs:
        assert contrast(palette[text].fill, palette[ground].fill) >= 4.5, (text, ground)
    for role, style in palette.items():
        if style.stroke:
            assert contrast(style.stroke, sheet) >= 3, role


def test_palettes_have_the_same_roles():
    assert LIGHT.keys() == DARK.keys()


def test_notebooks_show_it():
    picture = draw(nn.Conv2d(1, 1, 3), 4)
    assert picture._repr_svg_() == picture.svg()

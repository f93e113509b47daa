"""Pictures in pixels."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.scene import DARK, LIGHT, Label, Picture, Rectangle

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def picture():
    return draw(nn.Conv2d(1, 1, 3, stride=2), 5)


def test_gif_has_a_frame_for_each_step(picture, tmp_path):
    picture.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == len(picture.steps) == 4
        assert image.info["loop"] == 0
        assert image.info["duration"] == 800
        frames = []
        for at in range(4):
            image.seek(at)
            frames.append(np.asarray(image.convert("RGB")))
    assert all((one != other).any() for one, other in zip(frames, frames[1:]))


@pytest.mark.parametrize(("theme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_png_has_the_colours_of_the_theme(picture, tmp_path, theme, palette):
    picture.save(tmp_path / "a.png", theme=theme)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == tuple(2 * size for size in picture.size)
        colours = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert {palette[role].fill for role in ("sheet", "input", "read", "output", "now")} <= colours


def test_a_dashed_cell_has_gaps(tmp_path):
    Picture("", [Rectangle(10, 10, 40, 40, "padding")]).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        top = np.asarray(image.convert("L"))[20, 24:96]
    assert (top == 255).any()
    assert (top < 255).any()


def test_text_in_any_font(monkeypatch, tmp_path):
    """Without a font that has mathematical signs they are spelled out, and the picture is drawn all the same."""
    from PIL import ImageFont

    from flambeau.draw import raster

    def missing(*arguments, **keywords):
        raise OSError("no such font")

    plain = ImageFont.load_default(30)
    monkeypatch.setattr(raster, "_font", raster._font.__wrapped__)
    monkeypatch.setattr(ImageFont, "truetype", missing)
    monkeypatch.setattr(ImageFont, "load_default", lambda size: plain)
    Picture("", [Label(10, 30, "⌊7 / 2⌋ → 3")]).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("L")).min() < 100


def test_without_pillow(picture, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "flambeau\[vision\]"'):
        picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "a.svg")


def test_endings_and_themes(picture, tmp_path):
    with pytest.raises(ValueError, match=r"must end in .svg, .gif or .png, but got 'a.jpeg'"):
        picture.save("a.jpeg")
    with pytest.raises(ValueError, match="theme must be 'light' or 'dark', but got 'sepia'"):
        picture.save(tmp_path / "a.png", theme="sepia")

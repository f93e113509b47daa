"""Images to files and back."""

from __future__ import annotations

import contextlib

import pytest

import flambeau as torch
from flambeau.vision import io

pytest.importorskip("PIL")
IMAGE = torch.arange(3 * 5 * 7, dtype=torch.uint8).reshape(3, 5, 7)


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:1]], ids=["colour", "gray"])
def test_png(tmp_path, image):
    io.write_png(image, tmp_path / "x.png")
    assert torch.equal(io.read_image(tmp_path / "x.png"), image) and torch.equal(io.decode_png(io.encode_png(image, 0)), image)
    assert io.decode_image(tmp_path / "x.png", "rgb").shape == (3, 5, 7)
    assert io.read_image(tmp_path / "x.png", io.ImageReadMode.GRAY).shape == (1, 5, 7)
    assert io.read_image(tmp_path / "x.png", io.ImageReadMode.RGB_ALPHA).shape == (4, 5, 7)


def test_jpeg(tmp_path):
    flat = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    io.write_jpeg(flat, tmp_path / "x.jpg", 95)
    assert (io.read_image(tmp_path / "x.jpg").int() - flat.int()).abs().max() <= 2
    assert torch.equal(io.decode_jpeg(io.read_file(tmp_path / "x.jpg")), io.read_image(tmp_path / "x.jpg"))


def test_bad_input(tmp_path):
    with pytest.raises(RuntimeError, match="no image"):
        io.decode_image(torch.arange(10, dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="uint8 of one dimension"):
        io.decode_image(torch.ones(3))
    with pytest.raises(RuntimeError, match="1 or 3, height, width"):
        io.encode_png(torch.ones(2, 3, 3, dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="from 0 to 9"):
        io.encode_png(IMAGE, 10)
    with pytest.raises(ValueError, match="from 1 to 100"):
        io.encode_jpeg(IMAGE, 0)
    with pytest.raises(ValueError, match="no mode"):
        io.decode_image(tmp_path / "x.png", "infrared")
    with pytest.raises(FileNotFoundError):
        io.read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_damaged_files(kind, tmp_path):
    """Whatever is wrong with the bytes is a RuntimeError, as in torchvision; a file that is not there is its own."""
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = bytearray(getattr(io, f"encode_{kind}")(image).tolist())
    for end in (20, len(whole) // 2, len(whole) - 30):
        with pytest.raises(RuntimeError, match="damaged or cut off|no image"):
            io.decode_image(torch.tensor(list(whole[:end]), dtype=torch.uint8))
    for place in range(8, 60):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with contextlib.suppress(RuntimeError):
            io.decode_image(torch.tensor(list(damaged), dtype=torch.uint8))
    with pytest.raises(FileNotFoundError):
        io.decode_image(tmp_path / "nowhere.png")

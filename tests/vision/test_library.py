"""torchvision's own Python finds its operators here."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import ops, vision

BOXES = torch.tensor([[0.0, 0, 0, 4, 4], [0, 1, 1, 6, 7]])


@pytest.fixture
def operators():
    ops.load_library("/somewhere/torchvision/_C.so")
    return torch.ops.torchvision


def test_operators(operators):
    x = torch.arange(64.0).reshape(1, 1, 8, 8).requires_grad_()
    aligned = operators.roi_align(x, BOXES, 1.0, 2, 2, -1, True)
    assert torch.equal(aligned, vision.ops.roi_align(x, BOXES, 2, 1.0, -1, True))
    aligned.sum().backward()
    assert x.grad.sum() == 8
    values, places = operators.roi_pool(x, BOXES, 1.0, 2, 2)
    assert torch.equal(values, vision.ops.roi_pool(x, BOXES, 2)) and places.dtype is torch.int32
    assert torch.equal(x.flatten()[places.long()], values)
    empty = operators.roi_pool(x, torch.tensor([[0.0, 20, 20, 30, 30]]), 1.0, 1, 1)
    assert empty[0].item() == 0 and empty[1].item() == -1
    kept = operators.nms(BOXES[:, 1:], torch.tensor([0.5, 0.9]), 0.1)
    assert kept.tolist() == [1]
    weight, offset, nothing = torch.ones(1, 1, 3, 3), torch.zeros(1, 18, 6, 6), torch.zeros(0)
    found = operators.deform_conv2d(x, weight, offset, nothing, torch.zeros(1), 1, 1, 0, 0, 1, 1, 1, 1, False)
    assert torch.equal(found, torch.nn.functional.conv2d(x, weight))


def test_what_there_is_none_of_says_so(operators):
    with pytest.raises(NotImplementedError, match="no kernel for the CPU"):
        operators.ps_roi_pool(torch.ones(1, 4, 8, 8), BOXES, 1.0, 2, 2)
    for path in ("x.so", "/somewhere/torchvision/video_reader.so", "/somewhere/torchaudio/_C.so"):
        with pytest.raises(OSError, match="compiled libraries"):
            ops.load_library(path)


def test_images():
    pytest.importorskip("PIL")
    ops.load_library("/somewhere/torchvision/image.so")
    pixels = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5)
    found = torch.ops.image.decode_png(torch.ops.image.encode_png(pixels, 6), 0, False)
    assert torch.equal(found, pixels)
    assert torch.ops.image.decode_jpeg(torch.ops.image.encode_jpeg(pixels, 90), 1, False).shape == (1, 4, 5)

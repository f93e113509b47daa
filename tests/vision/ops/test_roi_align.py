from __future__ import annotations

import math

import pytest

import flambeau
from flambeau.vision import ops


def _pixel(image, y, x):
    """A bilinear sample of a list of rows, 0 more than a pixel outside."""
    height, width = len(image), len(image[0])
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    above = image[top][left] * (1 - dx) + image[top][right] * dx
    below = image[bottom][left] * (1 - dx) + image[bottom][right] * dx
    return above * (1 - dy) + below * dy


def _aligned(image, box, cells, scale, ratio, aligned):
    """RoIAlign of one channel, sample by sample, in Python's numbers."""
    x1, y1, x2, y2 = (corner * scale - 0.5 * aligned for corner in box)
    width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
    high, wide = height / cells[0], width / cells[1]
    down, across = (ratio, ratio) if ratio > 0 else (math.ceil(high), math.ceil(wide))
    grid = []
    for row in range(cells[0]):
        for column in range(cells[1]):
            samples = [
                _pixel(image, y1 + row * high + (i + 0.5) * high / down, x1 + column * wide + (j + 0.5) * wide / across)
                for i in range(down)
                for j in range(across)
            ]
            grid.append(sum(samples) / max(len(samples), 1))
    return grid


BOXES = [[0, 0.7, 1.2, 6.4, 5.9], [1, -3.0, -2.0, 4.0, 12.0], [0, 2.0, 2.0, 2.3, 2.4], [1, 5.0, 3.0, 30.0, 7.5], [0, 3.0, 3.0, 3.0, 3.0]]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 1, 3])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_roi_align_is_the_loop(aligned, ratio, scale):
    flambeau.manual_seed(0)
    x = flambeau.randn(2, 3, 7, 9, dtype=flambeau.float64)
    found = ops.roi_align(x, flambeau.tensor(BOXES, dtype=flambeau.float64), (2, 3), scale, ratio, aligned)
    assert found.shape == (5, 3, 2, 3)
    for number, (image, *box) in enumerate(BOXES):
        for channel in range(3):
            expected = _aligned(x[image, channel].tolist(), box, (2, 3), scale, ratio, aligned)
            flambeau.testing.assert_close(found[number, channel].flatten(), flambeau.tensor(expected, dtype=flambeau.float64))


@pytest.mark.parametrize("ratio", [-1, 2])
def test_gradients_of_roi_align(ratio):
    x = flambeau.randn(2, 2, 4, 5, dtype=flambeau.float64, requires_grad=True)
    boxes = [
        flambeau.tensor([[0.3, 0.2, 3.6, 3.1]], dtype=flambeau.float64),
        flambeau.tensor([[1.0, 0.0, 4.4, 2.0]], dtype=flambeau.float64),
    ]
    assert flambeau.autograd.gradcheck(lambda x: ops.roi_align(x, boxes, 2, sampling_ratio=ratio, aligned=True), x)
    assert flambeau.autograd.gradcheck(lambda x: ops.roi_pool(x, boxes, 2), x)


def test_roi_pool_takes_the_greatest_pixel():
    x = flambeau.arange(24.0).reshape(1, 1, 4, 6)
    found = ops.roi_pool(x, flambeau.tensor([[0.0, 1.0, 1.0, 4.0, 3.0], [0.0, 9.0, 9.0, 12.0, 12.0]]), (2, 2))
    assert found.tolist() == [[[[14, 16], [20, 22]]], [[[0, 0], [0, 0]]]]
    assert ops.RoIPool((2, 2), 1.0)(x, [flambeau.tensor([[1.0, 1.0, 4.0, 3.0]])]).tolist() == found[:1].tolist()


def test_no_boxes_and_wrong_ones():
    x = flambeau.ones(1, 2, 4, 4)
    assert ops.roi_align(x, flambeau.empty(0, 5), 3).shape == ops.roi_pool(x, flambeau.empty(0, 5), 3).shape == (0, 2, 3, 3)
    assert (
        ops.RoIAlign(3, 1.0, 2, aligned=True)(x, [flambeau.tensor([[0.0, 0.0, 3.0, 3.0]])]).tolist() == flambeau.ones(1, 2, 3, 3).tolist()
    )
    assert repr(ops.RoIAlign(3, 1.0, 2)) == "RoIAlign(output_size=3, spatial_scale=1.0, sampling_ratio=2, aligned=False)"
    assert repr(ops.RoIPool(3, 1.0)) == "RoIPool(output_size=3, spatial_scale=1.0)"
    with pytest.raises(ValueError, match=r"\(K, 5\)"):
        ops.roi_align(x, flambeau.ones(2, 4), 3)
    with pytest.raises(ValueError, match=r"\(L, 4\)"):
        ops.roi_align(x, [flambeau.ones(2, 5)], 3)
    with pytest.raises(RuntimeError, match=r"\(N, C, H, W\)"):
        ops.roi_align(x[0], flambeau.ones(2, 5), 3)

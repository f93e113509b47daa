from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.vision.ops import batched_nms, box_area, box_convert, box_iou, clip_boxes_to_image, nms, remove_small_boxes

RNG = np.random.default_rng(0)


def random_boxes(count):
    corners = np.sort(RNG.uniform(0, 100, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    return flambeau.tensor(corners)


def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (area(a) + area(b) - width * height)


def test_iou():
    left, right = random_boxes(6), random_boxes(4)
    expected = [[iou(a, b) for b in right.tolist()] for a in left.tolist()]
    np.testing.assert_allclose(box_iou(left, right).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert box_area(flambeau.tensor([[0, 0, 20, 20]], dtype=flambeau.uint8)).tolist() == [400]


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms_keeps_the_best(threshold):
    boxes, scores = random_boxes(60), flambeau.tensor(RNG.random(60).astype(np.float32))
    kept = []
    for index in np.argsort(-scores.numpy()):
        if all(iou(boxes[int(index)].tolist(), boxes[other].tolist()) <= threshold for other in kept):
            kept.append(int(index))
    assert nms(boxes, scores, threshold).tolist() == kept


def test_nms_of_odd_boxes():
    assert nms(flambeau.zeros(0, 4), flambeau.zeros(0), 0.5).tolist() == []
    points = flambeau.zeros(2, 4)
    assert nms(points, flambeau.zeros(2), 0.5).tolist() == [0, 1]
    with pytest.raises(RuntimeError, match=r"boxes should have shape \(N, 4\)"):
        nms(flambeau.zeros(4), flambeau.zeros(1), 0.5)
    with pytest.raises(RuntimeError, match="scores should have shape"):
        nms(flambeau.zeros(2, 4), flambeau.zeros(1), 0.5)


def test_categories_do_not_suppress_each_other():
    boxes = flambeau.tensor([[0.0, 0.0, 10.0, 10.0]] * 3)
    scores = flambeau.tensor([0.1, 0.3, 0.2])
    assert batched_nms(boxes, scores, flambeau.tensor([0, 0, 1]), 0.5).tolist() == [1, 2]
    assert batched_nms(boxes[:0], scores[:0], flambeau.tensor([]), 0.5).tolist() == []


@pytest.mark.parametrize("there", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("back", ["xyxy", "xywh", "cxcywh"])
def test_formats(there, back):
    boxes = {"xyxy": [1.0, 2.0, 5.0, 10.0], "xywh": [1.0, 2.0, 4.0, 8.0], "cxcywh": [3.0, 6.0, 4.0, 8.0]}
    assert box_convert(flambeau.tensor([boxes[there]]), there, back).tolist() == [boxes[back]]


def test_unknown_formats():
    with pytest.raises(ValueError, match="Unsupported Bounding Box Conversions"):
        box_convert(flambeau.zeros(1, 4), "xyxy", "polar")


def test_clipping_and_small_boxes():
    boxes = flambeau.tensor([[-5.0, 2.0, 30.0, 8.0], [1.0, 1.0, 2.0, 9.0]])
    assert clip_boxes_to_image(boxes, (6, 20)).tolist() == [[0.0, 2.0, 20.0, 6.0], [1.0, 1.0, 2.0, 6.0]]
    assert remove_small_boxes(boxes, 2.0).tolist() == [0]

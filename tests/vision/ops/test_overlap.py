from __future__ import annotations

import math

import pytest

import flambeau
from flambeau.vision import ops


def test_generalized_overlap():
    first = flambeau.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    second = flambeau.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 1.0]])
    expected = [[1 / 7 - 2 / 9, 1, -1 / 6], [-4 / 9, 1 / 4, -1 / 3]]
    flambeau.testing.assert_close(ops.generalized_box_iou(first, second), flambeau.tensor(expected))
    losses = ops.generalized_box_iou_loss(first, second[1:], eps=0)
    flambeau.testing.assert_close(losses, flambeau.tensor([0, 4 / 3]))
    assert ops.generalized_box_iou_loss(first, second[1:], "mean", 0).item() == losses.mean().item()


def test_focal_loss():
    x, y = [0.3, -2.0, 1.5], [1.0, 0.0, 0.0]
    for alpha, gamma in ((0.25, 2.0), (-1, 0.0)):
        expected = []
        for logit, target in zip(x, y):
            right = 1 / (1 + math.exp(-logit if target else logit))
            weight = 1 if alpha < 0 else alpha if target else 1 - alpha
            expected.append(-weight * (1 - right) ** gamma * math.log(right))
        found = ops.sigmoid_focal_loss(flambeau.tensor(x), flambeau.tensor(y), alpha, gamma)
        flambeau.testing.assert_close(found, flambeau.tensor(expected))
        assert ops.sigmoid_focal_loss(flambeau.tensor(x), flambeau.tensor(y), alpha, gamma, "sum").item() == found.sum().item()
    with pytest.raises(ValueError, match="alpha"):
        ops.sigmoid_focal_loss(flambeau.tensor(x), flambeau.tensor(y), 3.0)
    with pytest.raises(ValueError, match="reduction"):
        ops.sigmoid_focal_loss(flambeau.tensor(x), flambeau.tensor(y), reduction="all")

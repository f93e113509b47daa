"""Pruning against what the masks must hold; the numbers of `random_*` are those of the random stream."""

from __future__ import annotations

import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.utils import prune


@pytest.fixture
def layer():
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(12.0).reshape(3, 4) - 5)
    return layer


def test_smallest_magnitudes_go(layer):
    assert prune.l1_unstructured(layer, "weight", 3) is layer and prune.is_pruned(layer)
    assert layer.weight_mask.reshape(-1).tolist() == [1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert sorted(layer.state_dict()) == ["bias", "weight_mask", "weight_orig"] and "weight" not in dict(layer.named_parameters())
    layer(torch.ones(1, 4)).sum().backward()
    assert torch.equal(layer.weight_orig.grad, layer.weight_mask)
    with torch.no_grad():
        layer.weight_orig.add_(100)
    assert layer(torch.ones(1, 4)).isfinite().all() and layer.weight[1, 0].item() == 0 and layer.weight[0, 0].item() == 95


def test_slices_and_iterations(layer):
    prune.ln_structured(layer, "weight", 1, n=2, dim=0)
    assert layer.weight_mask.sum(1).tolist() == [4, 0, 4]
    prune.l1_unstructured(layer, "weight", 0.5)
    assert layer.weight_mask.sum(1).tolist() == [1, 0, 3] and len(layer._forward_pre_hooks) == 1
    prune.random_structured(layer, "weight", 1, dim=1)
    assert (layer.weight_mask.sum(0) == 0).sum() >= 1


def test_remove(layer):
    prune.l1_unstructured(layer, "weight", 3)
    expected = layer.weight.detach().clone()
    prune.remove(layer, "weight")
    assert (
        isinstance(layer.weight, nn.Parameter) and torch.equal(layer.weight, expected) and sorted(layer.state_dict()) == ["bias", "weight"]
    )
    assert not prune.is_pruned(layer)
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(layer, "weight")


def test_global(layer):
    other = nn.Conv2d(1, 2, 2)
    with torch.no_grad():
        other.weight.fill_(100)
    prune.global_unstructured([(layer, "weight"), (other, "weight")], prune.L1Unstructured, amount=10)
    assert layer.weight_mask.sum() == 2 and other.weight_mask.sum() == 8


def test_copies(layer):
    prune.l1_unstructured(layer, "weight", 3)
    for made in (pickle.loads(pickle.dumps(layer)),):
        assert torch.equal(made(torch.ones(1, 4)), layer(torch.ones(1, 4))) and prune.is_pruned(made)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda layer: prune.l1_unstructured(layer, "weight", -1), ValueError),
        (lambda layer: prune.l1_unstructured(layer, "weight", 1.5), ValueError),
        (lambda layer: prune.l1_unstructured(layer, "weight", 13), ValueError),
        (lambda layer: prune.l1_unstructured(layer, "weight", "half"), TypeError),
        (lambda layer: prune.ln_structured(layer, "bias", 1, 2, 0), ValueError),
        (lambda layer: prune.ln_structured(layer, "weight", 1, 2, 2), IndexError),
        (lambda layer: prune.l1_unstructured(layer, "weight", 1, torch.ones(2)), ValueError),
    ],
)
def test_bad_arguments_leave_the_layer_alone(layer, call, error):
    before = layer(torch.ones(1, 4))
    with pytest.raises(error):
        call(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"] and torch.equal(layer(torch.ones(1, 4)), before)

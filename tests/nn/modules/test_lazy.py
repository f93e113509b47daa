"""Layers that take their sizes from their first input."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from flambeau import nn


def test_first_call_makes_an_ordinary_layer():
    layer = nn.LazyLinear(4)
    assert repr(layer) == "LazyLinear(in_features=0, out_features=4, bias=True)"
    assert layer.has_uninitialized_params() and repr(layer.weight) == "<UninitializedParameter>"
    weight = layer.weight
    layer(flambeau.zeros(2, 3))
    assert type(layer) is nn.Linear and type(layer.weight) is nn.Parameter
    assert layer.weight is weight and tuple(weight.shape) == (4, 3) and layer.in_features == 3
    assert not layer._hooked or layer(flambeau.zeros(1, 3)).shape == (1, 4)


@pytest.mark.parametrize(
    ("layer", "shape", "kind"),
    [
        (nn.LazyConv1d(4, 3), (2, 6, 9), nn.Conv1d),
        (nn.LazyConv2d(4, 3, groups=2), (2, 6, 9, 9), nn.Conv2d),
        (nn.LazyConv3d(4, 2, bias=False), (2, 6, 4, 4, 4), nn.Conv3d),
        (nn.LazyConvTranspose2d(4, 3), (6, 9, 9), nn.ConvTranspose2d),
        (nn.LazyBatchNorm1d(), (5, 6), nn.BatchNorm1d),
        (nn.LazyBatchNorm2d(affine=False), (5, 6, 2, 2), nn.BatchNorm2d),
        (nn.LazyInstanceNorm1d(affine=True), (5, 6, 4), nn.InstanceNorm1d),
    ],
)
def test_lazy_layers(layer, shape, kind):
    layer(flambeau.rand(*shape))
    assert type(layer) is kind
    assert getattr(layer, "in_channels", getattr(layer, "num_features", None)) == 6


def test_shapes_are_unknown_before():
    layer = nn.LazyLinear(4)
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        layer.weight.shape  # noqa: B018


def test_loading_gives_the_shapes():
    source, layer = nn.Linear(3, 4), nn.LazyLinear(4)
    layer.load_state_dict(source.state_dict())
    assert bool((layer.weight == source.weight).all())
    layer(flambeau.zeros(1, 3))
    assert bool((layer.weight == source.weight).all()) and layer.in_features == 3


def test_copies_before_the_first_call():
    layer = nn.LazyLinear(4)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        other(flambeau.zeros(1, 3))
        assert tuple(other.weight.shape) == (4, 3)
    assert layer.has_uninitialized_params()


def test_initialize_parameters_is_required():
    class Incomplete(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="initialize_parameters is not implemented for Incomplete"):
        Incomplete()(1)


def test_wrong_inputs():
    with pytest.raises(RuntimeError, match=r"Expected 3D .* or 4D .* input to LazyConv2d"):
        nn.LazyConv2d(4, 3)(flambeau.zeros(3, 3))
    with pytest.raises(ValueError, match=r"in_channels \(=5\) must be divisible by groups \(=2\)"):
        nn.LazyConv2d(4, 3, groups=2)(flambeau.zeros(1, 5, 8, 8))

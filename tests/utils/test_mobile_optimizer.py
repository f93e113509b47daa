"""Modules made ready for inference."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import jit, nn
from flambeau.utils.mobile_optimizer import LintCode, MobileOptimizerType, generate_mobile_module_lints, optimize_for_mobile


@pytest.fixture
def network():
    torch.manual_seed(0)
    return jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5)))


def test_same_results_from_fewer_layers(network):
    x = torch.randn(2, 1, 6, 6)
    optimized = optimize_for_mobile(network)
    assert network.training and not optimized.training and isinstance(optimized, jit.ScriptModule)
    assert {type(each).__name__ for each in optimized.children()} == {"Conv2d", "ReLU"}
    torch.testing.assert_close(optimized(x), network.eval()(x))


def test_steps_can_be_left_out(network):
    kept = optimize_for_mobile(network, {MobileOptimizerType.CONV_BN_FUSION, MobileOptimizerType.REMOVE_DROPOUT})
    assert len(list(kept.children())) == 4 and kept is not network and not kept.training
    kept = optimize_for_mobile(network, {MobileOptimizerType.CONV_BN_FUSION})
    assert [type(each).__name__ for each in kept.children()] == ["Conv2d", "BatchNorm2d", "ReLU"]


def test_what_cannot_be_done_says_so(network):
    with pytest.raises(TypeError, match="Sequential"):
        optimize_for_mobile(nn.Sequential())
    with pytest.raises(TypeError, match="MobileOptimizerType"):
        optimize_for_mobile(network, {1})
    with pytest.raises(TypeError, match="'Other'"):
        optimize_for_mobile(network, backend="Other")
    with pytest.raises(NotImplementedError, match="Vulkan"):
        optimize_for_mobile(network, backend="Vulkan")
    with pytest.raises(AttributeError, match="missing"):
        optimize_for_mobile(network, preserved_methods=["missing"])

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(NotImplementedError, match="Branching"):
        optimize_for_mobile(jit.script(Branching()))


def test_lints(network):
    found = generate_mobile_module_lints(network)
    assert [each["name"] for each in found] == ["BUNDLED_INPUT", *["REQUIRES_GRAD"] * 4, "BATCHNORM", "DROPOUT"]
    assert "0.weight" in found[1]["message"] and LintCode.DROPOUT.value == 3
    assert [each["name"] for each in generate_mobile_module_lints(optimize_for_mobile(network.requires_grad_(False)))] == ["BUNDLED_INPUT"]
    with pytest.raises(TypeError, match="Linear"):
        generate_mobile_module_lints(nn.Linear(1, 1))

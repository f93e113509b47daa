"""Folding normalisations into the layers before them, and removing dropout."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import fx, nn
from flambeau.fx.experimental.optimization import fuse, remove_dropout


def randomised(network):
    generator = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU()), (2, 3, 8)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)), (2, 3, 8, 8)),
        (lambda: nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)), (1, 3, 5, 5, 5)),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (5, 3)),
    ],
)
def test_a_layer_and_its_normalisation_become_one(network, shape):
    network = randomised(network())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    fused = fuse(network)
    assert not any("BatchNorm" in type(module).__name__ for module in fused.modules()) and "BatchNorm" in type(network[1]).__name__
    torch.testing.assert_close(fused(x), expected)


def test_what_is_needed_otherwise_stays():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)
            self.norm = nn.BatchNorm2d(2)
            self.other = nn.Conv2d(1, 2, 1)
            self.by_batch = nn.BatchNorm2d(2, track_running_stats=False)

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y) + self.by_batch(self.other(x))

    network = randomised(Net())
    x = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    fused = fuse(network)
    assert {name for name, _ in fused.named_children()} == {"conv", "norm", "other", "by_batch"} and torch.equal(fused(x), network(x))


def test_in_place_and_without_tracing():
    network = randomised(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))
    x = torch.ones(1, 1, 2, 2)
    expected = network(x)
    traced = fx.symbolic_trace(network)
    assert fuse(traced, inplace=True, no_trace=True) is traced and len(list(traced.children())) == 1
    torch.testing.assert_close(traced(x), expected)
    with pytest.raises(TypeError, match="no GraphModule"):
        fuse(network, no_trace=True)
    with pytest.raises(AssertionError, match="eval"):
        fuse(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))


def test_dropout_goes():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Sequential(nn.AlphaDropout(), nn.ReLU())).eval()
    x = torch.ones(1, 2)
    lean = remove_dropout(network)
    assert "Dropout" not in str(lean) and torch.equal(lean(x), network(x))

"""Initialisation."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn import init


@pytest.fixture(autouse=True)
def seeded():
    flambeau.manual_seed(0)


def test_default_weights_are_pytorchs():
    """The first numbers of `torch.manual_seed(0); torch.nn.Linear(3, 2)`."""
    layer = nn.Linear(3, 2)
    np.testing.assert_allclose(layer.weight.tolist(), [[-0.004323, 0.309716, -0.475185], [-0.424895, -0.222369, 0.154821]], atol=1e-6)
    np.testing.assert_allclose(layer.bias.tolist(), [-0.011439, 0.457775], atol=1e-6)


def test_constants():
    x = flambeau.empty(2, 3)
    assert init.constant_(x, 3.0) is x and x.tolist() == [[3.0] * 3] * 2
    assert init.ones_(x).tolist() == [[1.0] * 3] * 2
    assert not bool(init.zeros_(x).any())
    assert init.eye_(x).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_no_gradient_is_recorded():
    parameter = nn.Parameter(flambeau.empty(4, 4))
    for fill in (init.uniform_, init.normal_, init.xavier_normal_, init.kaiming_normal_, init.trunc_normal_, init.orthogonal_, init.eye_):
        fill(parameter)
        assert parameter.is_leaf and parameter.requires_grad


def test_dirac_passes_channels_on():
    x = flambeau.rand(1, 4, 5, 5)
    weight = init.dirac_(flambeau.empty(4, 2, 3, 3), groups=2)
    assert bool((nn.functional.conv2d(x, weight, padding=1, groups=2) == x).all())


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda w: init.xavier_uniform_(w, gain=2.0), 2 * math.sqrt(6 / (40 * 9 + 60 * 9))),
        (lambda w: init.kaiming_uniform_(w, a=1.0), math.sqrt(3 / (40 * 9))),
        (lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), math.sqrt(6 / (60 * 9))),
        (lambda w: init.uniform_(w, -0.3, 0.3), 0.3),
    ],
)
def test_uniform_bounds(fill, bound):
    weight = fill(flambeau.empty(60, 40, 3, 3))
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert abs(float(weight.mean())) < 0.02 * bound


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (init.xavier_normal_, math.sqrt(2 / (40 + 60))),
        (lambda w: init.kaiming_normal_(w, nonlinearity="tanh"), 5 / 3 / math.sqrt(40)),
        (lambda w: init.normal_(w, 0.0, 0.2), 0.2),
    ],
)
def test_normal_deviation(fill, std):
    weight = fill(flambeau.empty(60, 40))
    assert abs(float(weight.std()) / std - 1) < 0.05


@pytest.mark.parametrize("bounds", [(-2.0, 2.0), (0.5, 3.0), (2.0, 2.5)])
def test_trunc_normal_stays_within(bounds):
    x = init.trunc_normal_(flambeau.empty(2000), 0.0, 1.0, *bounds)
    assert bounds[0] <= float(x.min()) and float(x.max()) <= bounds[1]
    assert float(x.std()) > 0.05


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3)])
def test_orthogonal(shape):
    matrix = init.orthogonal_(flambeau.empty(*shape), gain=2.0).reshape(shape[0], -1).numpy()
    small = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_sparse():
    x = init.sparse_(flambeau.empty(10, 4), sparsity=0.25)
    assert (x == 0).sum(0).tolist() == [3, 3, 3, 3]


def test_gains():
    assert init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("leaky_relu", 1) == 1.0
    assert init.calculate_gain("selu") == 0.75


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: init.calculate_gain("nothing"), ValueError, "Unsupported nonlinearity nothing"),
        (lambda: init.calculate_gain("leaky_relu", True), ValueError, "negative_slope True not a valid number"),
        (lambda: init.xavier_normal_(flambeau.empty(3)), ValueError, "fewer than 2 dimensions"),
        (lambda: init.kaiming_normal_(flambeau.empty(3, 3), mode="fan"), ValueError, "Mode fan not supported"),
        (lambda: init.eye_(flambeau.empty(3)), ValueError, "Only tensors with 2 dimensions"),
        (lambda: init.dirac_(flambeau.empty(3, 3)), ValueError, "Only tensors with 3, 4, or 5 dimensions"),
        (lambda: init.dirac_(flambeau.empty(3, 3, 3), 2), ValueError, "dim 0 must be divisible by groups"),
        (lambda: init.orthogonal_(flambeau.empty(3)), ValueError, "2 or more dimensions"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_warnings():
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        init.kaiming_uniform_(flambeau.empty(0, 3))
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        init.trunc_normal_(flambeau.empty(3), mean=5.0)
    with pytest.warns(FutureWarning, match=r"`nn.init.uniform` is now deprecated in favor of `nn.init.uniform_`"):
        init.uniform(flambeau.empty(3))

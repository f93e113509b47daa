"""Regions of automatic casts: what they cast, gradients, nesting."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn import functional as F


def test_what_is_cast() -> None:
    x, conv = flambeau.randn(2, 3), nn.Conv1d(1, 1, 2)
    with flambeau.autocast("cpu"):
        assert flambeau.is_autocast_enabled("cpu")
        low = x @ x.t()
        assert low.dtype == flambeau.bfloat16
        assert nn.Linear(3, 2)(x).dtype == conv(x.unsqueeze(1)).dtype == flambeau.bfloat16
        assert flambeau.addmm(flambeau.zeros(2), x, x.t()).dtype == flambeau.bfloat16
        assert (low + 1).softmax(-1).dtype == flambeau.bfloat16
        assert F.mse_loss(low, low).dtype == F.cross_entropy(low, flambeau.tensor([0, 1])).dtype == low.prod().dtype == flambeau.float32
        assert (x.double() @ x.double().t()).dtype == flambeau.float64
        assert (x * x).dtype == flambeau.float32
    assert (x @ x.t()).dtype == flambeau.float32 and not flambeau.is_autocast_enabled("cpu")


def test_values_and_gradients() -> None:
    flambeau.manual_seed(0)
    layer, x = nn.Linear(4, 3), flambeau.randn(5, 4)
    with flambeau.autocast("cpu", dtype=flambeau.bfloat16):
        found = layer(x)
    found.float().sum().backward()
    low = [each.detach().bfloat16().float().numpy() for each in (x, layer.weight, layer.bias)]
    np.testing.assert_allclose(found.detach().float().numpy(), low[0] @ low[1].T + low[2], rtol=1e-2, atol=1e-2)
    assert layer.weight.grad.dtype == flambeau.float32
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.tile(low[0].sum(0), (3, 1)), rtol=2e-2, atol=2e-2)


def test_regions_nest_and_decorate() -> None:
    x = flambeau.ones(2, 2)

    @flambeau.autocast("cpu", dtype=flambeau.float16)
    def product() -> flambeau.Tensor:
        return x @ x

    assert product().dtype == flambeau.float16
    with flambeau.autocast("cpu"):
        with flambeau.autocast("cpu", enabled=False):
            assert (x @ x).dtype == flambeau.float32
        assert (x @ x).dtype == flambeau.bfloat16
    with pytest.raises(ZeroDivisionError), flambeau.autocast("cpu"):
        1 / 0  # noqa: B018
    assert not flambeau.is_autocast_enabled("cpu")


def test_regions_that_are_not_there() -> None:
    x = flambeau.ones(2, 2)
    with pytest.warns(UserWarning, match="'cuda', but it is not available"):
        region = flambeau.autocast("cuda")
    with region:
        assert (x @ x).dtype == flambeau.float32
    with pytest.warns(UserWarning, match="not supported"):
        flambeau.autocast("cpu", dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'toaster'"):
        flambeau.autocast("toaster")


def test_custom_functions() -> None:
    seen = []

    class Product(flambeau.autograd.Function):
        @staticmethod
        @flambeau.amp.custom_fwd(device_type="cpu")
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a @ a

        @staticmethod
        @flambeau.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            seen.append(flambeau.is_autocast_enabled("cpu"))
            (a,) = ctx.saved_tensors
            return grad @ a.t() + a.t() @ grad

    a = flambeau.ones(2, 2, requires_grad=True)
    with flambeau.autocast("cpu"):
        result = Product.apply(a)
    result.float().sum().backward()
    assert seen == [True] and a.grad.tolist() == [[4, 4], [4, 4]]

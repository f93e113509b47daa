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


def test_layers_follow_each_other() -> None:
    """What a convolution gives is in half precision, and what the next one gets."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1, padding="same"), nn.ConvTranspose2d(4, 2, 3, stride=2))
    with flambeau.autocast("cpu"):
        out = net(flambeau.rand(2, 2, 5, 5))
        mixed = F.conv1d(flambeau.rand(1, 2, 3).half(), flambeau.rand(2, 2, 1), flambeau.rand(2))
    assert out.dtype is mixed.dtype is flambeau.bfloat16
    out.float().sum().backward()
    assert all(parameter.grad.dtype is flambeau.float32 for parameter in net.parameters())


def test_borders_and_copies_of_slices() -> None:
    half = flambeau.rand(1, 2, 3, dtype=flambeau.bfloat16)
    with flambeau.autocast("cpu"):
        padded = {mode: F.pad(half, (1, 1), mode=mode).dtype for mode in ("constant", "circular", "reflect", "replicate")}
        written = flambeau.rand(3, 4).index_copy(0, flambeau.tensor([0]), half[0, :1, :1].expand(1, 4))
    low, full = flambeau.bfloat16, flambeau.float32
    assert padded == {"constant": low, "circular": low, "reflect": full, "replicate": full}
    assert written.dtype is full


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


def test_what_runs_in_float32() -> None:
    """Linear algebra, transforms, distances and some pooling run in float32, and products with a vector in what they get."""
    half = (flambeau.eye(3) + 0.25).bfloat16()
    image = half[None, None]
    with flambeau.autocast("cpu"):
        full = [
            flambeau.cdist(half, half), flambeau.linalg.inv(half), flambeau.linalg.eigh(half)[0], flambeau.linalg.svdvals(half), flambeau.linalg.cholesky(half),
            flambeau.linalg.solve(half, half), flambeau.quantile(half, 0.5), flambeau.trace(half), flambeau.fft.fft(half).real,
            F.grid_sample(image, flambeau.zeros(1, 1, 1, 2).bfloat16(), align_corners=False), F.avg_pool3d(image, 1), F.max_pool3d(image, 1),
        ]  # fmt: skip
        matrix, vector = flambeau.ones(2, 2), flambeau.ones(2)
        kept = [matrix.mv(vector), vector.dot(vector), flambeau.addmv(vector, matrix, vector), flambeau.vdot(vector, vector)]
        cast = [matrix @ vector, matrix @ matrix, vector @ vector, flambeau.inner(matrix, vector)]
    assert {each.dtype for each in (*full, *kept)} == {flambeau.float32} and {each.dtype for each in cast} == {flambeau.bfloat16}
    np.testing.assert_allclose(full[1].numpy(), np.linalg.inv(np.eye(3) + 0.25), rtol=1e-4, atol=1e-5)


def test_what_is_cast_only_in_part() -> None:
    """Results that are one number are computed as a product of vectors is; a pseudo-inverse and low-rank factors end with a product."""
    matrix, vector, volume = flambeau.rand(8, 6), flambeau.rand(6), flambeau.rand(1, 2, 4, 4, 4).bfloat16()
    with flambeau.autocast("cpu"):
        u, s, v = flambeau.pca_lowrank(matrix)
        full = [
            flambeau.inner(vector, vector), flambeau.tensordot(matrix, matrix), flambeau.pinverse(matrix), s, v, F.max_pool3d(volume, 2),
            F.bilinear(matrix, matrix, flambeau.ones(2, 6, 6)), F.cross_entropy(matrix.bfloat16(), matrix.softmax(1).bfloat16()),
        ]  # fmt: skip
        low = [
            flambeau.tensordot(matrix, vector, 1), flambeau.linalg.pinv(matrix), u, F.prelu(matrix, flambeau.rand(6)), flambeau.linalg.vecdot(matrix, matrix),
            F.max_pool3d(volume, 2, return_indices=True)[0],
        ]  # fmt: skip
    assert {each.dtype for each in full} == {flambeau.float32} and {each.dtype for each in low} == {flambeau.bfloat16}
    np.testing.assert_allclose(low[1].float().numpy(), np.linalg.pinv(matrix.numpy()), rtol=0.02, atol=0.02)


def test_an_lstm_is_cast_as_a_whole() -> None:
    """But for one with projections, and packed sequences; of a GRU only the first product."""
    x, low, full = flambeau.randn(5, 2, 4), flambeau.bfloat16, flambeau.float32
    lstm, packed = nn.LSTM(4, 3, 2, bidirectional=True), nn.utils.rnn.pack_sequence([flambeau.randn(3, 4)])
    expected, (hidden, cell) = lstm(x)
    with flambeau.autocast("cpu"):
        found, state = lstm(x, (flambeau.zeros(4, 2, 3), flambeau.zeros(4, 2, 3)))
        assert {each.dtype for each in (found, *state)} == {low}
        assert lstm(packed)[0].data.dtype is nn.GRU(4, 3)(x)[0].dtype is nn.LSTM(4, 3, proj_size=2)(x)[1][1].dtype is full
    for one, other in zip((found, *state), (expected, hidden, cell), strict=True):
        np.testing.assert_allclose(one.detach().float().numpy(), other.detach().numpy(), atol=0.02)
    found.float().sum().backward()
    assert {each.grad.dtype for each in lstm.parameters()} == {full}


def test_the_device_that_is_asked_of_by_default_is_cudas() -> None:
    with flambeau.autocast("cpu"):
        assert not flambeau.is_autocast_enabled() and flambeau.is_autocast_enabled("cpu")


def test_regions_within_a_region_have_its_dtype() -> None:
    a = flambeau.ones(2, 2)
    with flambeau.autocast("cpu", flambeau.float16):
        assert flambeau.get_autocast_dtype("cpu") is flambeau.float16
        with flambeau.autocast("cpu", enabled=False):
            assert flambeau.get_autocast_dtype("cpu") is flambeau.float16 and (a @ a).dtype is flambeau.float32
            with flambeau.autocast("cpu"):
                assert (a @ a).dtype is flambeau.float16
    assert flambeau.get_autocast_dtype("cpu") is flambeau.bfloat16

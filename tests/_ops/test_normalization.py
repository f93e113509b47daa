"""Norms against their definition in float64: where the mean is large, where squares overflow, in every layout; and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F

SHAPES = [(4, 6, 7, 9), (2, 64, 4, 4), (2, 32, 20, 20), (3, 12, 5), (5, 12)]


def normalised(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def grouped(x: np.ndarray, groups: int, eps: float = 1e-5) -> np.ndarray:
    return normalised(x.reshape(x.shape[0], groups, -1), (2,), eps).reshape(x.shape)


def laid(x: np.ndarray, last: bool) -> flambeau.Tensor:
    tensor = flambeau.tensor(x)
    return tensor.contiguous(memory_format=flambeau.channels_last) if last and tensor.dim() == 4 else tensor


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean, scale", [(0, 1), (1e6, 1), (0, 1e30), (0, 1e-30), (-1e3, 1e-2)])
def test_group_norm_of_any_magnitude(shape: tuple[int, ...], mean: float, scale: float, last: bool) -> None:
    x = (draw(shape) * np.float32(scale) + np.float32(mean)).astype(np.float32)
    result = F.group_norm(laid(x, last), 2, eps=0.0).numpy()
    assert np.abs(result - grouped(x, 2, 0.0)).max() < 2e-6


@pytest.mark.parametrize("mean, scale", [(1e6, 1), (0, 1e30)])
def test_other_norms_of_any_magnitude(mean: float, scale: float) -> None:
    x = (draw((6, 4, 30)) * np.float32(scale) + np.float32(mean)).astype(np.float32)
    tensor = flambeau.tensor(x)
    assert np.abs(F.layer_norm(tensor, (4, 30), eps=0.0).numpy() - normalised(x, (1, 2), 0.0)).max() < 2e-6
    assert np.abs(F.batch_norm(tensor, None, None, training=True, eps=1e-30).numpy() - normalised(x, (0, 2), 0.0)).max() < 2e-6
    exact = x.astype(np.float64)
    wanted = exact / np.sqrt(np.square(exact).mean(2, keepdims=True))
    assert np.allclose(F.rms_norm(tensor, (30,), eps=0.0).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape: tuple[int, ...], last: bool) -> None:
    """Against the same function in float64, whose own gradients the samples check by differences."""

    def gradients(dtype: flambeau.dtype) -> list[np.ndarray]:
        w, b, ahead = draw(shape[1:2], 1), draw(shape[1:2], 2), draw(shape, 3)
        leaves = [laid(draw(shape), last), flambeau.tensor(w), flambeau.tensor(b)]
        leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
        result = F.silu(F.group_norm(leaves[0], 3 if shape[1] % 3 == 0 else 4, *leaves[1:]))
        return [grad.double().numpy() for grad in flambeau.autograd.grad(result, leaves, laid(ahead, last).to(dtype))]

    for single, double in zip(gradients(flambeau.float32), gradients(flambeau.float64), strict=True):
        assert np.abs(single - double).max() <= 3e-6 * np.abs(double).max()


def test_a_constant_group_has_no_variance() -> None:
    x = np.full((2, 4, 33), 123456.789, np.float32)
    assert np.abs(F.group_norm(flambeau.tensor(x), 2).numpy()).max() < 1e-3
    assert F.group_norm(flambeau.zeros(2, 4, 3), 2).abs().max().item() == 0


def test_what_is_not_a_number_stays_in_its_group() -> None:
    x = draw((2, 4, 50))
    x[0, 1, 7] = np.nan
    result = F.group_norm(flambeau.tensor(x), 2).numpy()
    assert np.isnan(result[0, :2]).all() and np.isfinite(result[0, 2:]).all() and np.isfinite(result[1]).all()


def test_the_result_keeps_its_layout() -> None:
    x = laid(draw((2, 8, 5, 6)), True)
    assert F.group_norm(x, 2).is_contiguous(memory_format=flambeau.channels_last)


@pytest.mark.parametrize("mean", [0, 1e6])
def test_small_results_are_right_too(mean: float) -> None:
    """Where an element is near the mean, the mean's error is its own: that of a float32 sum was 40 epsilons of a thousandth of the largest."""
    array = (np.random.default_rng(0).standard_normal((64, 4096)) + mean).astype(np.float32)
    exact = array.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    error = np.abs(flambeau.nn.functional.layer_norm(flambeau.tensor(array), (4096,)).numpy() - exact)
    assert (error / np.maximum(np.abs(exact), np.abs(exact).max() * 1e-3)).max() < 2 * 2**-23


def test_gradients_of_rows_store_no_products() -> None:
    x = flambeau.randn(64, 128, requires_grad=True)
    weight, bias = (flambeau.randn(128, requires_grad=True) for _ in range(2))
    grad = flambeau.randn(64, 128)

    def gradients() -> None:
        x.grad = weight.grad = bias.grad = None
        flambeau.nn.functional.layer_norm(x, (128,), weight, bias).backward(grad)

    for _ in range(2):
        kernels = flambeau.explain(gradients).kernels
    assert sum(kernel.bytes_written for kernel in kernels) < 1.25 * 4 * x.numel()

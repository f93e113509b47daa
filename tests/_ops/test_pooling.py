"""Pooling to a given size, and the gradient of a maximum: against the definition, in every layout."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import flambeau
from flambeau._ops import pooling
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

SIZES = [((10, 13), (7, 5)), ((20, 9), (3, 9)), ((41, 60), (7, 7)), ((5, 6), (8, 11)), ((7, 100), (2, 1)), ((3, 3), (3, 2))]


def windows(old: int, new: int) -> list[slice]:
    return [slice(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]


def image(shape: tuple[int, ...], last: bool, dtype: flambeau.dtype = flambeau.float32) -> flambeau.Tensor:
    x = flambeau.randn(shape, generator=flambeau.Generator().manual_seed(0)).to(dtype)
    return x.contiguous(memory_format=flambeau.channels_last) if last else x


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("channels", [3, 18])
def test_pooling_to_a_size(channels: int, old: tuple[int, int], new: tuple[int, int], last: bool) -> None:
    x = image((2, channels, *old), last)
    x[0, 0, 1, 1] = x[1, 0, 0, 0] = 3.0  # the largest, in two places
    values = x.numpy()
    means = F.adaptive_avg_pool2d(x, new)
    maxima, index = F.adaptive_max_pool2d(x, new, return_indices=True)
    assert means.stride() == maxima.stride() == index.stride()
    for (i, rows), (j, columns) in itertools.product(enumerate(windows(old[0], new[0])), enumerate(windows(old[1], new[1]))):
        window = values[:, :, rows, columns].reshape(2, channels, -1)
        assert np.allclose(means[:, :, i, j].numpy(), window.mean(-1, dtype=np.float64), rtol=1e-6, atol=1e-6)
        assert np.array_equal(maxima[:, :, i, j].numpy(), window.max(-1))
        places = (np.arange(old[0])[rows, None] * old[1] + np.arange(old[1])[columns]).reshape(-1)
        assert np.array_equal(index[:, :, i, j].numpy(), places[window.argmax(-1)])


@pytest.mark.parametrize("last", [False, True])
def test_a_nan_wins_and_infinity_stays_in_its_windows(last: bool) -> None:
    x = image((1, 17, 10, 11), last)
    x[0, 3, 4, 5] = float("nan")
    x[0, 5, 9, 10] = float("inf")
    values, index = F.adaptive_max_pool2d(x, (4, 3), return_indices=True)
    assert values.isnan().sum().item() == (index == 4 * 11 + 5).sum().item() >= 1
    means = F.adaptive_avg_pool2d(x[:, 5:6], (4, 3))
    assert means.isinf().nonzero().tolist() == [[0, 0, 3, 2]] and not means.isnan().any().item()


def test_dtypes() -> None:
    for dtype in (flambeau.float64, flambeau.bfloat16, flambeau.float16):
        x = image((2, 3, 9, 10), False, dtype)
        wide = F.adaptive_avg_pool2d(x.double(), 4)
        assert flambeau.equal(F.adaptive_avg_pool2d(x, 4), wide.to(dtype)) or dtype is flambeau.float64
        assert flambeau.equal(F.adaptive_max_pool2d(x, 4), F.adaptive_max_pool2d(x.double(), 4).to(dtype))
    integers = flambeau.arange(70).reshape(1, 7, 10)
    assert F.adaptive_max_pool1d(integers, 3).tolist() == [[[row * 10 + 3, row * 10 + 6, row * 10 + 9] for row in range(7)]]


def test_nothing_to_pool() -> None:
    assert F.adaptive_avg_pool2d(flambeau.ones(2, 3, 5, 6), (0, 4)).shape == (2, 3, 0, 4)
    assert F.adaptive_avg_pool2d(flambeau.ones(0, 3, 5, 6), (2, 4)).shape == (0, 3, 2, 4)
    assert [each.shape for each in pooling.adaptive_max_pool(flambeau.ones(2, 3, 5, 6), (3, 0))] == [(2, 3, 3, 0)] * 2


def test_gradients() -> None:
    x = flambeau.randperm(2 * 4 * 3).reshape(1, 2, 4, 3).double().requires_grad_()  # no two are equal, nor nearly
    for pool in (
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        lambda x: F.adaptive_max_pool2d(x, (3, 2)),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ):
        assert gradcheck(pool, (x,)) and gradgradcheck(pool, (x,))
    for pool in (lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, (2, 1), (1, 2), (1, 0), 2, ceil_mode=True)):
        assert gradcheck(pool, (x,))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 3, 0), (3, 1, 1), (2, 3, 0), (10, 1, 4)])
def test_the_gradient_of_a_maximum_goes_to_its_place(kernel: int, stride: int, padding: int, last: bool) -> None:
    """Channels last, where windows tile the image, each position looks at its own; elsewhere windows scatter."""
    x = image((2, 19, 24, 30), last).round().double().requires_grad_()  # many are equal
    pool = lambda: F.max_pool2d(x, kernel, stride, padding)
    ahead = flambeau.randn(pool().shape, dtype=flambeau.float64)
    (found,) = flambeau.autograd.grad(pool(), [x], ahead)
    assert found.stride() == x.stride()
    index = F.max_pool2d(x, kernel, stride, padding, return_indices=True)[1].numpy()
    wanted = np.zeros((2 * 19, 24 * 30))
    np.add.at(wanted, (np.arange(2 * 19)[:, None], index.reshape(2 * 19, -1)), ahead.numpy().reshape(2 * 19, -1))
    assert np.allclose(found.numpy().reshape(wanted.shape), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 1, 2), ((2, 4), (1, 3), (1, 0))])
def test_indices_are_the_same_whether_a_gradient_is_recorded(kernel: int, stride: int, padding: int) -> None:
    """Channels last, a gradient needs which place of its window each maximum has, and not its index."""
    x = image((2, 18, 11, 9), True).round()
    x[0, 0, 3, 4] = flambeau.nan
    for source in (x, x.contiguous()):
        wanted = F.max_pool2d(source, kernel, stride, padding, return_indices=True)
        found = F.max_pool2d(source.detach().requires_grad_(), kernel, stride, padding, return_indices=True)
        assert found[0].requires_grad and flambeau.equal(found[1], wanted[1])
        assert np.array_equal(found[0].detach().numpy(), wanted[0].numpy(), equal_nan=True)


def test_gradients_of_gradients_of_channels_last_maxima() -> None:
    x = flambeau.randperm(8 * 4 * 3).reshape(1, 8, 4, 3).double().contiguous(memory_format=flambeau.channels_last).requires_grad_()
    for pool in (lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.max_pool2d(x, (2, 3)), lambda x: F.max_pool2d(x, (2, 3), (1, 2), (1, 0))):
        assert gradcheck(pool, (x,)) and gradgradcheck(pool, (x,))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 3, 2), (2, 3, 0), (7, 4, 3)])
@pytest.mark.parametrize("size", [(9, 11), (10, 7), (8, 13)])
def test_a_mean_s_gradient_is_the_same_written_part_by_part(
    size: tuple[int, int], kernel: int, stride: int, padding: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradient(images: int) -> np.ndarray:
        x = image((images, 18, *size), last).requires_grad_()
        mean = F.avg_pool2d(x, kernel, stride, padding, ceil_mode=True)
        ahead = (flambeau.arange(mean.numel()) % 7 + 1.0).reshape(mean.shape)
        (found,) = flambeau.autograd.grad(mean, x, ahead.contiguous(memory_format=flambeau.channels_last) if last else ahead)
        assert found.stride() == x.stride()
        return found.numpy()

    whole = gradient(2)
    monkeypatch.setattr(pooling, "LARGE", 0)
    parts = gradient(3)  # another shape: what was lowered for the first is kept
    assert np.array_equal(parts[:2], whole)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("rank, kernel", [(2, (4, 5)), (3, (2, 3, 3)), (2, (6, 6))])
def test_large_windows_are_summed_axis_by_axis(rank: int, kernel: tuple[int, ...], last: bool) -> None:
    shape = (2, 3, *(2 * wide + 5 for wide in kernel))
    x = np.random.default_rng(0).standard_normal(shape)
    format = (flambeau.channels_last if rank == 2 else flambeau.channels_last_3d) if last else flambeau.contiguous_format
    pool = getattr(flambeau.nn.functional, f"avg_pool{rank}d")
    for stride, padding in ((kernel, 0), (1, 0), (2, tuple(wide // 2 for wide in kernel))):
        wanted = pool(flambeau.tensor(x), kernel, stride, padding).numpy()  # float64
        found = pool(flambeau.tensor(x.astype(np.float32)).contiguous(memory_format=format), kernel, stride, padding)
        assert np.allclose(found.numpy(), wanted, rtol=0, atol=3e-7)


@pytest.mark.parametrize("size, kernel", [(13, 4), (40, 7), (9, 2)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_gradients_of_windows_that_follow_each_other(size: int, kernel: int, ceil_mode: bool) -> None:
    """By tables where pixels lie side by side, and otherwise as sums over the windows that cover a position."""
    x = flambeau.randn(2, 8, size, size + 1, requires_grad=True)
    pool = functools.partial(flambeau.nn.functional.avg_pool2d, kernel_size=kernel, ceil_mode=ceil_mode)
    result = pool(x)
    ahead = flambeau.randn(result.shape)
    (found,) = flambeau.autograd.grad(result, x, ahead, create_graph=True)
    last = x.detach().contiguous(memory_format=flambeau.channels_last).requires_grad_()
    (wanted,) = flambeau.autograd.grad(pool(last), last, ahead)
    assert flambeau.equal(found, wanted)
    ahead.requires_grad_()
    (linear,) = flambeau.autograd.grad(pool(x), x, ahead, create_graph=True)
    (back,) = flambeau.autograd.grad(linear, ahead, x.detach())
    assert flambeau.allclose(back, result.detach(), atol=1e-6)


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.bfloat16])
def test_maxima_of_few_large_windows(dtype: flambeau.dtype) -> None:
    """Reductions that several threads share."""
    x = image((1, 48, 28, 28), True, dtype)
    for size in (2, 1):
        found = F.adaptive_max_pool2d(x.requires_grad_(), size, return_indices=True)
        wanted = F.adaptive_max_pool2d(x.detach().contiguous(), size, return_indices=True)
        assert all(flambeau.equal(*pair) for pair in zip(found, wanted, strict=True))

"""Sampling at points: the operator against SciPy, and against what is recorded for a gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import flambeau
from flambeau._ops.grid_sampling import Sampling, sampled_at

DRAW = np.random.default_rng(0)
EVERY = [
    Sampling(*each) for each in itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True))
]


def operands(shape: tuple[int, ...], points: tuple[int, ...], dtype: flambeau.dtype = flambeau.float64) -> tuple:
    image = flambeau.tensor(DRAW.standard_normal(shape)).to(dtype)
    return image, flambeau.tensor(DRAW.uniform(-1.6, 1.6, (shape[0], *points, len(shape) - 2))).to(dtype)


def by_scipy(image: np.ndarray, grid: np.ndarray, how: Sampling) -> np.ndarray:
    sizes = np.array(image.shape[2:])
    points = np.moveaxis(grid, -1, 0)[::-1]
    places = [(p + 1) / 2 * (size - 1) if how.align_corners else ((p + 1) * size - 1) / 2 for p, size in zip(points, sizes, strict=True)]
    outside = "grid-constant" if how.padding_mode == "zeros" else "nearest"
    return np.stack(
        [
            np.stack([map_coordinates(plane, [place[n] for place in places], order=1, mode=outside) for plane in planes])
            for n, planes in enumerate(image)
        ]
    )


@pytest.mark.parametrize("how", [each for each in EVERY if each.mode == "bilinear" and each.padding_mode != "reflection"])
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 21, 5, 40), (2, 2, 4, 5, 6)])
def test_linear_sampling_is_that_of_scipy(shape: tuple[int, ...], how: Sampling) -> None:
    image, grid = operands(shape, (4, 9) if len(shape) == 4 else (2, 4, 9))
    assert np.allclose(sampled_at(image, grid, how).numpy(), by_scipy(image.numpy(), grid.numpy(), how), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_the_operator_gives_what_is_recorded_for_a_gradient(channels: int, how: Sampling) -> None:
    image, grid = operands((2, channels, 6, 11), (5, 7))
    for source in (image, image.contiguous(memory_format=flambeau.channels_last), image[:, :, ::2, 1:]):
        recorded = sampled_at(source.detach().requires_grad_(), grid, how)
        found = sampled_at(source, grid, how)
        assert recorded.requires_grad and not found.requires_grad
        assert np.allclose(found.numpy(), recorded.detach().numpy(), rtol=1e-13, atol=1e-13) and found.is_contiguous()


@pytest.mark.parametrize("how", [each for each in EVERY if each.mode != "bicubic"])
def test_what_is_no_number_reads_no_foreign_memory(how: Sampling) -> None:
    """A point that is not a number is nowhere, or (inside of a border) at 0; PyTorch's results."""
    image, grid = operands((1, 1, 3, 4), (1, 5), flambeau.float32)
    grid[0, 0] = flambeau.tensor([[np.nan, 0.3], [0.3, np.nan], [np.inf, 0.3], [-np.inf, -np.inf], [1e30, 0.3]])
    for source in (image, image.clone().requires_grad_()):
        found = sampled_at(source, grid, how).detach().numpy()[0, 0, 0]
        corners = image.numpy()[0, 0]
        if how.padding_mode == "border":
            assert np.isfinite(found).all() and found[3] == corners[0, 0]
        elif how.mode == "nearest" and how.padding_mode == "zeros":
            assert not found.any()
        elif how.padding_mode == "zeros":
            assert np.isnan(found[:2]).all()


def test_an_axis_of_one() -> None:
    image = flambeau.tensor([[[[2.5]]]])
    for how in EVERY:
        inside = sampled_at(image, flambeau.zeros(1, 1, 1, 2), how)
        assert inside.item() == pytest.approx(2.5, rel=1e-6), how


def test_under_vmap_and_in_half_precision() -> None:
    image, grid = operands((3, 2, 4, 5), (3, 3), flambeau.float32)
    how = EVERY[0]
    mapped = flambeau.vmap(lambda image, grid: sampled_at(image[None], grid[None], how)[0])(image, grid)
    assert np.allclose(mapped.numpy(), sampled_at(image, grid, how).numpy(), rtol=1e-5, atol=1e-6)
    half = sampled_at(image.bfloat16(), grid.bfloat16(), how)
    assert half.dtype is flambeau.bfloat16 and half.shape == (3, 2, 3, 3)


def test_a_grid_whose_points_are_rounded_has_a_gradient_of_zeros() -> None:
    image, grid = operands((1, 2, 3, 4), (2, 5), flambeau.float32)
    grid[0, 0, 0] = flambeau.tensor([np.nan, np.inf])
    for how in (each for each in EVERY if each.mode == "nearest"):
        points = grid.clone().requires_grad_()
        found = sampled_at(image, points, how)
        assert np.array_equal(found.detach().numpy(), sampled_at(image, grid, how).numpy())
        (gradient,) = flambeau.autograd.grad(found.sum(), points)
        assert gradient.shape == grid.shape and not gradient.any()

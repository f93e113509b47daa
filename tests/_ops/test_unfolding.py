"""Windows as columns and back: against the definition, and each is the adjoint of the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

Pair = tuple[int, int]
CASES = [
    ((9, 11), (3, 3), (1, 1), (1, 1)),
    ((20, 17), (2, 4), (2, 3), (1, 0)),
    ((8, 8), (4, 4), (4, 4), (0, 0)),
    ((7, 40), (2, 3), (3, 5), (0, 2)),
    ((6, 5), (6, 5), (1, 1), (0, 0)),
]


def columns_of(image: np.ndarray, kernel: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    padded = np.pad(image, [(0, 0), (0, 0), *((pad, pad) for pad in padding)])
    counts = [(padded.shape[2 + axis] - kernel[axis]) // stride[axis] + 1 for axis in range(2)]
    found = np.empty((*image.shape[:2], *kernel, *counts), image.dtype)
    for i, j in itertools.product(*map(range, kernel)):
        rows, columns = (slice(first, first + step * count, step) for first, step, count in zip((i, j), stride, counts, strict=True))
        found[:, :, i, j] = padded[:, :, rows, columns][:, :, : counts[0], : counts[1]]
    return found.reshape(image.shape[0], -1, counts[0] * counts[1])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CASES)
def test_columns_and_their_sum(size: Pair, kernel: Pair, stride: Pair, padding: Pair, last: bool) -> None:
    x = flambeau.randn(2, 17, *size)
    x = (x.contiguous(memory_format=flambeau.channels_last) if last else x).requires_grad_()
    columns = F.unfold(x, kernel, 1, padding, stride)
    assert columns.is_contiguous()
    assert np.array_equal(columns.detach().numpy(), columns_of(x.detach().numpy(), kernel, stride, padding))
    ahead = flambeau.randn(columns.shape)
    back = F.fold(ahead, size, kernel, 1, padding, stride)
    (grad,) = flambeau.autograd.grad(columns, [x], ahead)
    assert flambeau.equal(grad, back)
    assert np.isclose((columns.detach().double() * ahead).sum().item(), (x.detach().double() * back).sum().item(), rtol=1e-4, atol=1e-4)


def test_gradients_of_gradients() -> None:
    x = flambeau.randn(1, 2, 4, 5, dtype=flambeau.float64, requires_grad=True)
    unfold = lambda x: F.unfold(x, (2, 3), 1, (1, 0), (1, 2))
    assert gradcheck(unfold, (x,)) and gradgradcheck(unfold, (x,))
    columns = flambeau.randn(2 * 6, 5 * 2, dtype=flambeau.float64, requires_grad=True)
    fold = lambda columns: F.fold(columns, (4, 5), (2, 3), 1, (1, 0), (1, 2))
    assert gradcheck(fold, (columns,)) and gradgradcheck(fold, (columns,))


@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "complex64"])
def test_dtypes(dtype: str) -> None:
    x = flambeau.tensor([[[1, 0, 1], [0, 1, 1]]]).to(getattr(flambeau, dtype))
    columns = F.unfold(x, 2)
    assert (
        columns.dtype is x.dtype
        and columns.tolist() == flambeau.stack([x[0, i : i + 1, j : j + 2] for i in (0, 1) for j in (0, 1)], 0)[:, 0].tolist()
    )
    if dtype != "bool":
        assert F.fold(columns, (2, 3), 2).tolist() == (x * flambeau.tensor([1, 2, 1])).tolist()


def test_of_nothing() -> None:
    assert F.unfold(flambeau.ones(0, 3, 5, 6), 2).shape == (0, 12, 20)
    assert F.fold(flambeau.ones(0, 12, 20), (5, 6), 2).shape == (0, 3, 5, 6)

"""Fourier transforms of every way to lie in memory, and of lengths of every kind."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck

FUNCTIONS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 20, 22, 31, 37, 64, 74, 113, 221, 224, 256, 257, 500, 1000, 1009, 1024, 2018]


def _values(*shape: int, seed: int = 0) -> np.ndarray:
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return parts[0] + 1j * parts[1]


def _error(found: flambeau.Tensor, exact: np.ndarray) -> float:
    """The error in quadratic mean, relative to the values'."""
    assert found.shape == exact.shape
    return float(np.sqrt(np.mean(abs(found.numpy() - exact) ** 2) / np.mean(abs(exact) ** 2)))


@pytest.mark.parametrize("n", LENGTHS)
def test_every_kind_of_length(n: int) -> None:
    """Rows, fewer and more than a vector has lanes; and columns; in both dtypes, there and back."""
    for dtype, limit in ((np.complex64, 4e-7), (np.complex128, 8e-16)):
        for lines in (1, 19):
            x = _values(lines, n, seed=n).astype(dtype)
            for axis, each in ((1, x), (0, np.ascontiguousarray(x.T))):
                wide, given = each.astype(np.complex128), flambeau.tensor(each)
                assert _error(flambeau.fft.fft(given, dim=axis), np.fft.fft(wide, axis=axis)) < limit
                assert _error(flambeau.fft.ifft(given, dim=axis), np.fft.ifft(wide, axis=axis)) < limit
                assert _error(flambeau.fft.rfft(given.real, dim=axis), np.fft.rfft(wide.real, axis=axis)) < limit
                assert _error(flambeau.fft.irfft(given, n, dim=axis), np.fft.irfft(wide, n, axis=axis)) < limit


@pytest.mark.parametrize("n", [1 << 16, 1 << 17, 99991, 100000])
def test_long_transforms(n: int) -> None:
    x = _values(2, n).astype(np.complex64)
    assert _error(flambeau.fft.fft(flambeau.tensor(x)), np.fft.fft(x.astype(np.complex128))) < 6e-7
    assert _error(flambeau.fft.ifft(flambeau.tensor(x)), np.fft.ifft(x.astype(np.complex128))) < 6e-7
    assert _error(flambeau.fft.rfft(flambeau.tensor(x.real)), np.fft.rfft(x.real.astype(np.float64))) < 6e-7


def test_every_order_of_memory() -> None:
    x = flambeau.tensor(_values(6, 20, 7))
    views = [
        x[:, ::2],
        x[::3, 1:],
        x.transpose(0, 2),
        x.permute(2, 0, 1)[..., ::3],
        x.expand(2, 6, 20, 7),
        x.conj(),
        x.real[:, :15:2],
        x.imag[1:],
    ]
    for view in views:
        array = view.resolve_conj().numpy()
        for axis in range(view.ndim):
            np.testing.assert_allclose(flambeau.fft.fft(view, dim=axis).numpy(), np.fft.fft(array, axis=axis), atol=1e-12)
            if not view.is_complex():
                np.testing.assert_allclose(flambeau.fft.rfft(view, dim=axis).numpy(), np.fft.rfft(array, axis=axis), atol=1e-12)
        np.testing.assert_allclose(flambeau.fft.fftn(view).numpy(), np.fft.fftn(array), atol=1e-11)


@pytest.mark.parametrize("dims", [(1, 2), (0, 2), (2, 0), (2, 1), (0, 1, 2), (1, 0)])
def test_several_dimensions_in_any_order(dims: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal((5, 6, 7))
    found = flambeau.fft.rfftn(flambeau.tensor(x), dim=dims)
    np.testing.assert_allclose(found.numpy(), np.fft.rfftn(x, axes=dims), atol=1e-12)
    for last in (x.shape[dims[-1]], 8):
        sizes = [*[x.shape[axis] for axis in dims[:-1]], last]
        np.testing.assert_allclose(flambeau.fft.irfftn(found, sizes, dims).numpy(), np.fft.irfftn(found.numpy(), sizes, dims), atol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("n", [2, 5, 20, 41])
def test_gradients_of_gradients(function: str, n: int) -> None:
    x = flambeau.tensor(np.random.default_rng(n).standard_normal((2, n)), requires_grad=True)

    def real(x: flambeau.Tensor) -> flambeau.Tensor:
        y = getattr(flambeau.fft, function)(x)
        return flambeau.view_as_real(y) if y.is_complex() else y

    assert gradcheck(real, (x,))
    assert gradgradcheck(real, (x,))


@pytest.mark.parametrize("shape", [(40, 64), (33, 1000), (5, 1009), (2, 1 << 16), (3, 224, 113)])
def test_threads_do_not_change_bits(shape: tuple[int, ...]) -> None:
    x = flambeau.tensor(_values(*shape).astype(np.complex64))
    before, found = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            found.append([flambeau.fft.fftn(x).numpy().tobytes(), flambeau.fft.rfft(x.real).numpy().tobytes()])
    finally:
        flambeau.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("n", "axis"), [(64, 1), (1000, 1), (1009, 1), (64, 0), (256, 0)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_line(n: int, axis: int, bad: float) -> None:
    x = _values(20, n)
    x[3, 5] = bad
    found = flambeau.fft.fft(flambeau.tensor(x if axis else np.ascontiguousarray(x.T)), dim=axis).numpy()
    lines = np.isfinite(found).all(axis)
    assert not lines[3]
    assert lines.sum() == 19


def test_imaginary_parts_that_a_real_result_cannot_have_are_not_looked_at() -> None:
    x = flambeau.tensor(_values(3, 5))
    for n in (8, 9):
        expected = flambeau.fft.irfft(x, n)
        changed = x.clone()
        changed[:, 0] += 3j
        if n == 8:
            changed[:, 4] += 5j
        np.testing.assert_array_equal(flambeau.fft.irfft(changed, n).numpy(), expected.numpy())


def test_nothing_to_transform() -> None:
    assert flambeau.fft.fft(flambeau.empty(0, 8)).shape == (0, 8)
    assert flambeau.fft.rfft(flambeau.empty(3, 0, 8)).shape == (3, 0, 5)
    assert flambeau.fft.irfft2(flambeau.empty(0, 4, 5)).shape == (0, 4, 8)


def test_a_mapped_transform() -> None:
    x = flambeau.tensor(_values(3, 4, 10))
    for function in (flambeau.fft.fft, flambeau.fft.irfft):
        np.testing.assert_allclose(flambeau.vmap(function)(x).numpy(), function(x).numpy(), atol=1e-12)
        np.testing.assert_allclose(flambeau.vmap(function, 1, 1)(x).numpy(), function(x).numpy(), atol=1e-12)


def test_half_precision_is_refused_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="float32 and float64"):
        flambeau.fft.fft(flambeau.ones(4, dtype=flambeau.float16))

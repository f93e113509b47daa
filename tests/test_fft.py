"""Fourier transforms against NumPy, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck


@pytest.mark.parametrize("norm", ["backward", "forward", "ortho"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize("n", [None, 4, 9])
def test_one_dimension(name: str, norm: str, n: int | None) -> None:
    values = np.random.default_rng(0).standard_normal((3, 6))
    found = getattr(flambeau.fft, name)(flambeau.tensor(values), n, 1, norm).numpy()
    np.testing.assert_allclose(found, getattr(np.fft, name)(values, n, 1, norm), atol=1e-12)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_dimensions(name: str) -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 6))
    found = getattr(flambeau.fft, name)(flambeau.tensor(values), dim=(0, 2)).numpy()
    np.testing.assert_allclose(found, getattr(np.fft, name)(values, axes=(0, 2)), atol=1e-12)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_gradients(name: str) -> None:
    x = flambeau.tensor(np.random.default_rng(0).standard_normal((2, 5)), requires_grad=True)
    assert gradcheck(lambda x: flambeau.view_as_real(y) if (y := getattr(flambeau.fft, name)(x)).is_complex() else y, (x,))


def test_frequencies() -> None:
    for n in (4, 5):
        np.testing.assert_allclose(flambeau.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
        np.testing.assert_allclose(flambeau.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
        order = flambeau.fft.fftshift(flambeau.arange(n))
        assert flambeau.fft.ifftshift(order).tolist() == list(range(n))
